"""Growth certificate: above the exact value and every sampled point, and caught when broken."""

import itertools
import math
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from wdaverify import (
    Box,
    LimitReached,
    Limits,
    Polytope,
    Problem,
    ReLUNetwork,
    TransportCost,
    UnsupportedError,
    attack,
    certify,
    enumerate_cells,
    load_problem,
    solve,
)
from wdaverify.bounds import growth_lines, growth_steps
from wdaverify.bounds.growth import growth_certificate
from wdaverify.bounds.growth_sectors import cut_into_sectors
from wdaverify.bounds.propagation import ELEMENTS, Balls
from wdaverify.loss import LOSSES
from wdaverify.storage import load_stored

PROBLEMS = Path(__file__).resolve().parents[2] / "problems"
ORDER = 1e-9
SUPPORTS = {
    "box": Box(-1.0, 1.0),
    "flat": Box([-1.0, 0.25], [1.0, 0.25]),
    "space": Box(),
    "half": Box([-1.0, -np.inf], np.inf),
    "polytope": Polytope([[1.3, 1.0], [-1.0, 0.2], [0.1, -1.0]], [2.0, 1.5, 1.2]),
}
ORDERS = [1, 2, 3, math.inf]
SMALL = sorted(
    p.name
    for p in PROBLEMS.iterdir()
    if (p / "problem.toml").exists()
    and p.name not in {"breast", "digits", "digits-deep", "moons", "wine", "iris-l1", "iris"}
    and p.name not in {"breast-cancer", "moons-zero-one", "counted-cells", "dlr-interval"}
)


def random_problem(seed, loss="margin", order=1, norm="linf", space="box", label_cost=None):
    rng = np.random.default_rng(seed)
    widths = [2, 4, 3, 4 if loss == "dlr" else 3]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    slopes = [rng.choice([0.0, 0.0, 0.1], size=width) for width in widths[1:-1]]
    network = ReLUNetwork(weights, [0.5 * rng.normal(size=w) for w in widths[1:]], slopes)
    X = rng.uniform(-0.6, 0.6, size=(4, 2))
    if space == "flat":
        X[:, 1] = 0.25
    labels = network.logits(X).argmax(axis=1)
    labels[0] = (labels[0] + 1) % 3
    return Problem(
        network, X, labels, loss=loss, cost=TransportCost(norm, order, label_cost),
        support=SUPPORTS[space], weights=[1, 2, 3, 0],
    )  # fmt: skip


def assert_above_exact(problem, radii, certificate=None):
    """The certificate is above the exact value; return how far."""
    found = certificate or growth_certificate(problem, radii=radii, rungs=16)
    excess = []
    for radius in radii:
        value = solve(problem, radius=radius, limits=Limits(seconds=5)).lower
        bound = found.bound(radius)
        assert value <= bound + ORDER * max(1.0, abs(bound)), radius
        excess.append(bound - value)
    return excess


# --- soundness -----------------------------------------------------------------------------------

QUESTIONS = list(itertools.product(sorted(LOSSES), ORDERS, ["l1", "l2", "linf"], sorted(SUPPORTS)))
CHEAP = [q for q in QUESTIONS if q[2] != "l2" and q[0] in {"margin", "hinge", "zero-one"}]
DEAR = [q for q in QUESTIONS if q not in CHEAP]


def ask(question, label_cost=None):
    loss, order, norm, space = question
    seed = len(loss) + 10 * len(space) + (7 if math.isinf(order) else int(order))
    problem = random_problem(seed, loss, order, norm, space, label_cost)
    try:
        return assert_above_exact(problem, [0.1, 1.0])
    except (UnsupportedError, LimitReached) as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("question", CHEAP[::11])
def test_bound_is_above_the_exact_value(question):
    ask(question)


@pytest.mark.parametrize("question", DEAR[::67])
def test_bound_is_above_the_attack(question):
    problem = random_problem(11, *question)
    found = growth_certificate(problem, rungs=16)
    for radius in (0.1, 1.0):
        value, bound = attack(problem, radius=radius, seed=0).value, found.bound(radius)
        assert problem.nominal <= value <= bound + ORDER * max(1.0, abs(bound))


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS[::2])
def test_bound_is_above_the_exact_value_everywhere(question):
    ask(question)


@pytest.mark.parametrize("question", [q for q in CHEAP if q[1] != math.inf][::23])
def test_bound_is_above_the_exact_value_with_label_moves(question):
    ask(question, label_cost=0.2)


@pytest.mark.parametrize("name", SMALL)
def test_golden_problems(name):
    stored = load_stored(PROBLEMS / name)
    excess = assert_above_exact(stored.problem, stored.radii)
    if name.startswith("affine"):
        assert max(excess) < 2e-3


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_sampled_points_lie_below_growth_and_envelope(loss, norm):
    rng = np.random.default_rng(0)
    for order, space in ((1, "box"), (2.5, "space"), (40, "half")):
        problem = random_problem(5, loss, order, norm, space)
        found = growth_certificate(problem, rungs=12)
        envelopes = dict(zip(problem.active.tolist(), found.envelopes, strict=True))
        for samples, _, growth in found.parts:
            for row, i in enumerate(samples.tolist()):
                x = problem.points[i] + rng.normal(size=(400, 2)) * rng.choice(
                    [0.1, 1, 30], (400, 1)
                )
                x = np.clip(x, *problem.support.bounds)
                t = problem.cost.norm.length(x - problem.points[i])
                value = problem.evaluate(x, np.full(400, problem.labels[i]))
                bound = np.array([growth.within(v)[row] for v in t])
                room = ORDER * (1.0 + np.abs(value))
                assert (value <= bound + room).all()
                with np.errstate(over="ignore"):
                    cost = np.minimum(t**order, 1e299)
                if np.isfinite(envelopes[i].losses).all():
                    assert (value <= envelopes[i](cost) + room).all()


# --- how good it is ------------------------------------------------------------------------------


def test_it_beats_the_cell_constant_at_every_radius_of_iris():
    problem = load_problem(PROBLEMS / "iris")
    cells = enumerate_cells(problem.network, problem.support)
    found = growth_certificate(problem)
    for radius in (0.01, 0.05, 0.1, 0.2):
        by_cells = certify(problem, radius=radius, cells=cells).by_method["cell-lipschitz"]
        assert problem.nominal < found.bound(radius) < by_cells


def test_more_rungs_are_better_and_asked_radii_are_rungs():
    problem = random_problem(3)
    coarse, fine = (growth_certificate(problem, rungs=n).bound(0.2) for n in (4, 64))
    assert solve(problem, radius=0.2).lower <= fine < coarse
    infinite = problem.replace(cost=TransportCost("linf", math.inf))
    one = growth_certificate(infinite, rungs=1)
    asked = growth_certificate(infinite, rungs=1, radii=[0.2])
    assert asked.bound(0.2) < one.bound(0.2)


def test_radius_zero_is_the_nominal_risk():
    for loss, order in itertools.product(sorted(LOSSES), ORDERS):
        problem = random_problem(2, loss, order)
        assert growth_certificate(problem, rungs=4).bound(0.0) == pytest.approx(problem.nominal)


def test_chunks_do_not_matter(monkeypatch):
    problem = random_problem(4, "cross-entropy", 2, label_cost=0.3)
    whole = growth_certificate(problem, rungs=8).bound(0.3)
    monkeypatch.setitem(ELEMENTS, "cpu", 1)
    heard = []
    parts = growth_certificate(problem, rungs=8, progress=heard.append)
    assert parts.bound(0.3) == pytest.approx(whole, rel=1e-12)
    assert parts.method == "growth"
    assert heard == [1 / 3, 2 / 3, 1.0]


def test_a_limit_ends_the_work():
    stop = threading.Event()
    stop.set()
    with pytest.raises(LimitReached, match="growth certificate"):
        growth_certificate(random_problem(0), limits=Limits(stop=stop))


def test_sectors_tighten_the_bound():
    problem = random_problem(1)
    whole, cut = (growth_certificate(problem, splits=s).bound(0.3) for s in (0, 2))
    assert solve(problem, radius=0.3).lower <= cut < whole


# --- broken bounds are caught --------------------------------------------------------------------


def caught(problems):
    found = 0
    for problem in problems:
        try:
            assert_above_exact(problem, [0.3])
        except AssertionError:
            found += 1
    return found


def some_problems(order=1):
    return [random_problem(seed, "margin", order) for seed in range(4)]


def test_a_line_used_beyond_its_rung_is_caught(monkeypatch):
    valid = growth_lines.Lines.valid
    assert caught(some_problems()) == 0
    monkeypatch.setattr(growth_lines.Lines, "valid", lambda self, k: valid(self, max(k - 4, 0)))
    monkeypatch.setattr(growth_lines.Lines, "ceilings", lambda self: np.full(self.shape, np.inf))
    monkeypatch.setattr(
        growth_lines.Lines, "shape", property(lambda self: self.intercepts.shape[1:]), raising=False
    )
    assert caught(some_problems()) > 0


def test_a_lost_sector_is_caught(monkeypatch):
    def lossy(balls, features):
        whole = cut_into_sectors(balls, features)
        kept = torch.arange(len(whole.radii)) // 4 * 4  # the first of four, four times
        parts = (v[kept] for v in (whole.centres, whole.up, whole.down, whole.radii))
        return Balls(whole.norm, *parts)

    monkeypatch.setattr("wdaverify.bounds.growth.cut_into_sectors", lossy)
    assert caught(some_problems()) > 0


def test_interpolation_between_rungs_is_caught(monkeypatch):
    """Joining the ladder values by chords is what the theory forbids."""
    honest = growth_steps.convex_growth

    def interpolated(lines, loss, *, bounded):
        top = loss(lines.ceilings())
        start = honest(lines, loss, bounded=bounded).left[:, 0]
        edges = np.concatenate([np.zeros((len(top), 1)), lines.radii], axis=1)
        left = np.concatenate([start[:, None], top[:, :-1]], axis=1)
        return growth_steps.Growth(edges, left, top, np.zeros(len(top)))

    problem = Problem(
        ReLUNetwork([[[1.0], [-1.0]], [[1.0, -1.0], [0.0, 0.0]]], [[-0.1, -0.9], [0.0, 0.0]]),
        [[0.0]], [1], cost=TransportCost("linf", math.inf), support=Box(0.0, 1.0),
    )  # fmt: skip
    steep = Problem(
        ReLUNetwork([[[100.0], [100.0]], [[1.0, -1.0], [0.0, 0.0]]], [[-1.0, -2.0], [0.0, 0.0]]),
        [[0.0]], [1], cost=TransportCost("linf", math.inf), support=Box(0.0, 1.0),
    )  # fmt: skip
    for each in (problem, steep):
        assert_above_exact(each, [0.02, 0.3], growth_certificate(each, rungs=2))
    monkeypatch.setattr("wdaverify.bounds.growth.convex_growth", interpolated)
    with pytest.raises(AssertionError):
        assert_above_exact(steep, [0.02, 0.3], growth_certificate(steep, rungs=2))


# --- devices -------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_both_devices_agree(loss):
    problem = random_problem(6, loss, 2, "l2")
    here, there = (growth_certificate(problem, device=d) for d in ("cpu", "cuda"))
    for radius in (0.05, 0.5):
        assert here.bound(radius) == pytest.approx(there.bound(radius), rel=1e-9)
