"""Several processes and other devices: the same cells in the same order."""

import threading

import numpy as np
import pytest

from wdaverify.cells import parallel
from wdaverify.cells.block import Block
from wdaverify.cells.complex import enumerate_cells
from wdaverify.cells.dictionary import search
from wdaverify.cells.frame import frame_of
from wdaverify.cells.stream import cell_blocks
from wdaverify.cells.subdivision import subdivide
from wdaverify.cells.subdivision.arrays import paired
from wdaverify.cells.subdivision.device import DeviceProducts, products_on
from wdaverify.cells.subdivision.exact import ExactArrangement
from wdaverify.cells.subdivision.reach import walled
from wdaverify.cells.subdivision.start import DegenerateArrangement
from wdaverify.cells.subdivision.subdivide import subdivision_blocks
from wdaverify.cells.subdivision.values import Values
from wdaverify.errors import LimitReached, ProblemError
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.rational import rationals
from wdaverify.support import Box

CUBE = Box(-1.0, 1.0)


def network(sizes, seed=0, scale=None):
    rng = np.random.default_rng(seed)
    shapes = list(zip((*sizes[1:], 2), sizes, strict=True))
    W, b = [rng.normal(size=s) for s in shapes], [rng.normal(size=s[0]) for s in shapes]
    if scale:
        W, b = ([np.round(v * scale) / scale for v in part] for part in (W, b))
    return ReLUNetwork(W, b)


@pytest.fixture
def small(monkeypatch):
    """Let small complexes and few cells be shared, too."""
    monkeypatch.setattr(subdivide, "LARGE", 100)
    monkeypatch.setattr(search, "ALONE", 100)


def both(net, support, **options):
    frame = frame_of(support.bind(net.features))
    return [
        Block.joined(list(cell_blocks(net, frame, **how))) for how in ({}, {"workers": 2} | options)
    ]


CASES = {
    "subdivision": (network((3, 12, 12)), CUBE),
    "walls": (network((3, 8, 8)), Box()),
    "dictionaries": (network((7, 8, 4)), CUBE),
    "gives up at once": (network((3, 12, 12), scale=4.0), CUBE),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", CASES)
def test_two_processes_find_the_same_in_the_same_order(case, monkeypatch):
    asked = []
    in_order = parallel.in_order
    for module in (subdivide, search):
        monkeypatch.setattr(module, "in_order", lambda *a: asked.append(a[0]) or in_order(*a))
    one, two = both(*CASES[case])
    assert len(one.patterns) > 150
    assert asked or case == "gives up at once", "nothing was shared"
    for left, right in zip(one[:3], two[:3], strict=True):
        assert np.array_equal(left, right)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_refusal_leaves_the_same_parts(monkeypatch, at):
    """Parts that refuse while they are dealt out: those before are finished, the rest is named."""
    net, frame = network((3, 12, 12)), frame_of(CUBE.bind(3))
    halved, calls = subdivide._halved, []

    def refusing(part, signs):
        calls.append(1)
        if len(calls) > at:
            raise DegenerateArrangement("for the test")
        return halved(part, signs)

    monkeypatch.setattr(subdivide, "_halved", refusing)
    found, pending = [], ()
    try:
        for block in subdivision_blocks(net, frame, workers=2):
            found += [tuple(p) for p in block.patterns]
    except DegenerateArrangement as refusal:
        pending = refusal.pending
    assert pending
    every = [tuple(p) for p in enumerate_cells(net, CUBE).patterns]
    left = [
        p for p in every
        if any(all(p[k] == on for k, on in signs.items()) for signs in pending)
    ]  # fmt: skip
    assert set(found).isdisjoint(left)
    assert set(found) | set(left) == set(every)


@pytest.mark.usefixtures("small")
def test_limits_and_interrupts_reach_the_processes():
    net = network((3, 12, 12))
    with pytest.raises(LimitReached, match="cells"):
        enumerate_cells(net, CUBE, limits=Limits(cells=150), workers=2)
    with pytest.raises(LimitReached, match="time"):
        enumerate_cells(net, CUBE, limits=Limits(seconds=0.0), workers=2)


def _sleeper(limits):
    def answer(_):
        limits.stop.wait(60.0)
        limits.check("sleeping")

    return answer


def test_an_interrupt_ends_what_the_processes_do():
    limits = Limits()
    threading.Timer(1.0, limits.stop.set).start()
    with pytest.raises(LimitReached, match="interrupted"):
        list(parallel.in_order([0, 1, 2], _sleeper, 2, limits))


def _squares(_):
    return lambda n: n * n


def test_answers_come_in_the_order_of_the_requests():
    answers = parallel.in_order(list(range(9)), _squares, 3, Limits())
    assert list(answers) == [n * n for n in range(9)]
    partly = parallel.in_order(list(range(9)), _squares, 3, Limits())
    assert next(partly) == 0
    partly.close()


# devices ------------------------------------------------------------------------------------


class Perturbed(DeviceProducts):
    """Torch with errors as large as the bounds allow: other orders of summation, fused products."""

    def affine(self, W, X, b):
        order = np.random.default_rng(0).permutation(W.shape[1])
        return super().affine(W[:, order], X[order], b) * (1 + 2.0**-53)


@pytest.mark.parametrize("products", [DeviceProducts, Perturbed])
@pytest.mark.parametrize("support", [CUBE, Box()])
@pytest.mark.parametrize("sizes", [(2, 12, 12), (3, 8, 8), (4, 7, 6)])
def test_torch_finds_what_numpy_finds(sizes, support, products):
    net, frame = network(sizes, 1), frame_of(support.bind(sizes[0]))
    if not np.isfinite(support.lower).all():
        frame = walled(net, frame, 2.0**24)
    numpy = Block.joined(list(subdivision_blocks(net, frame)))
    torch = Block.joined(list(subdivision_blocks(net, frame, products=products("cpu"))))
    assert np.array_equal(numpy.patterns, torch.patterns)
    assert np.array_equal(numpy.cuts, torch.cuts)
    assert np.array_equal(numpy.bounded, torch.bounded)


def test_bounds_of_errors_hold_for_torch():
    net = network((3, 6, 5), 2)
    arrangement = ExactArrangement(net, frame_of(CUBE.bind(3)))
    values = Values(arrangement, np.ones(3), Perturbed("cpu"))
    points = np.random.default_rng(0).uniform(-1, 1, size=(3, 40))
    computed, bounds = values.below(points, 2), values.errors(slice(None), values.sizes(points))
    for point, column, error in zip(points.T, computed.T, bounds.T, strict=True):
        pattern = net.patterns(point[None, :])[0]
        for k in range(net.neurons):
            w, b = arrangement.cells.row(k, pattern)
            assert abs(w @ rationals(point) + b - rationals(column[k : k + 1])[0]) <= error[k]


def test_keys_are_sorted_as_unsigned_numbers():
    keys = np.random.default_rng(0).integers(0, 2**64, size=50, dtype=np.uint64)
    order = DeviceProducts("cpu").sorted_by(keys)
    assert np.array_equal(keys[order], np.sort(keys))
    words = np.concatenate([keys, keys[::-1]])[None, :]
    assert np.array_equal(paired(words, DeviceProducts("cpu").sorted_by), paired(words))


@pytest.mark.usefixtures("small")
def test_torch_and_processes_together():
    net, frame = network((3, 12, 12)), frame_of(CUBE.bind(3))
    one = Block.joined(list(subdivision_blocks(net, frame)))
    two = subdivision_blocks(net, frame, workers=2, products=DeviceProducts("cpu"))
    assert np.array_equal(one.patterns, Block.joined(list(two)).patterns)


def test_devices_that_are_not_there():
    with pytest.raises(ProblemError, match="expected cpu or cuda, found 'tpu'"):
        products_on("tpu")
    with pytest.raises(ProblemError, match="device: asked for 'cuda:99'"):
        enumerate_cells(network((2, 3)), CUBE, device="cuda:99")


def test_cuda_finds_what_numpy_finds():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    net = network((4, 12, 12))
    one, two = both(net, CUBE, workers=1, device="cuda")
    for left, right in zip(one[:2], two[:2], strict=True):
        assert np.array_equal(left, right)
