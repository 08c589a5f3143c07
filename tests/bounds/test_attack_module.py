"""Attacks on torch modules: verified in float64, reproducible, split when memory is short."""

import numpy as np
import pytest
import torch

from wdaverify.bounds import attack_module as target
from wdaverify.bounds.attack_module import MODULE_METHODS, attack_module
from wdaverify.bounds.batches import in_batches
from wdaverify.bounds.published import Settings
from wdaverify.errors import ProblemError
from wdaverify.limits import Limits
from wdaverify.norms import NORMS
from wdaverify.support import Box, Polytope

BOX = Box(0.0, 1.0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def convolution(seed=0):
    """A small untrained convolutional net on two-channel images of 5 x 5, and its data."""
    generator = torch.Generator().manual_seed(seed)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(4, 6, 3, stride=2), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(24, 4),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in module.parameters():
            normal = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(normal / max(1, parameter[0].numel()) ** 0.5)
    X = np.random.default_rng(seed).uniform(0, 1, size=(30, 2, 5, 5))
    with torch.no_grad():
        logits = module.eval()(torch.tensor(X, dtype=torch.float32))
        module[-1].bias -= logits.mean(dim=0)
        y = module(torch.tensor(X, dtype=torch.float32)).argmax(dim=1).numpy()
    return module.train(), X, y


def check(module, X, y, found, norm):
    """Raise unless float64 confirms every flip, in the box, at its distance."""
    assert found.points.shape == X.shape
    double = torch.nn.Sequential(*module).double().eval()
    logits = double(torch.tensor(found.points)).detach().numpy()
    module.float().train()
    known = np.isfinite(found.distances)
    moves = (found.points - X).reshape(len(X), -1)
    assert (logits.argmax(axis=1) != y)[known].all(), "not misclassified"
    assert np.allclose(NORMS[norm].length(moves)[known], found.distances[known]), "distance"
    assert (moves[~known] == 0).all(), "a point that is no flip"
    assert ((found.points >= 0) & (found.points <= 1)).all(), "outside"


@pytest.mark.parametrize("norm", list(NORMS))
@pytest.mark.parametrize("method", MODULE_METHODS)
def test_flips_of_a_convolution_are_confirmed_in_float64(norm, method):
    module, X, y = convolution()
    if method in {"a3-wda", "all"}:
        X, y = X[:6], y[:6]
    found = attack_module(
        module, X, y, eps=0.3, norm=norm, support=BOX, method=method,
        settings=Settings(steps=10, step=0.05, probes=2, restarts=2),
    )  # fmt: skip
    check(module, X, y, found, norm)
    assert module.training
    if method in {"nearest", "all"}:
        assert np.isfinite(found.distances).all()
    nearer = X + 0.01 * (found.points - X)
    if np.isfinite(found.distances).any():
        cheat = target.ModuleAttack(nearer, 0.01 * found.distances, 0.3, method, 0, stopped=False)
        with pytest.raises(AssertionError, match="not misclassified"):
            check(module, X, y, cheat, norm)


def test_all_is_at_least_as_near_as_each():
    module, X, y = convolution()
    X, y = X[:8], y[:8]
    asked = {"eps": 0.1, "support": BOX, "settings": Settings(step=0.05, probes=2, restarts=1)}
    best = attack_module(module, X, y, method="all", **asked).distances
    for method in ("nearest", "wda++"):
        assert (best <= attack_module(module, X, y, method=method, **asked).distances + 1e-9).all()


def test_same_seed_same_result():
    module, X, y = convolution()
    a, b, c = (attack_module(module, X, y, eps=0.1, support=BOX, seed=s) for s in (1, 1, 2))
    assert (a.points == b.points).all()
    assert (a.points != c.points).any()
    assert a.seed == 1


def test_a_slanted_support_is_kept():
    module, X, y = convolution()
    slanted = Polytope(np.concatenate([np.eye(50), -np.eye(50), np.ones((1, 50))]),
                       np.concatenate([np.ones(50), np.zeros(50), [40.0]]))  # fmt: skip
    found = attack_module(module, X, y, eps=0.1, support=slanted, norm="l2")
    assert np.isfinite(found.distances).mean() > 0.9
    assert slanted.contains(found.points.reshape(30, -1)).all()


def affine():
    module = torch.nn.Linear(2, 2, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.0, 0.0], [2.0, 1.0]]))
        module.bias.copy_(torch.tensor([0.0, -1.0]))
    return module


def test_error_and_accuracy_of_an_affine_module():
    """Distances 1/3, 1/6 and 0: budgets of 1/18, 1/6 on average flip two and all three."""
    X, y = [[0.0, 0.0], [0.25, 0.0], [1.0, 0.0]], [0, 0, 0]
    found = attack_module(affine(), X, y, eps=1 / 18, dtype="float64")
    assert found.distances == pytest.approx([1 / 3, 1 / 6, 0.0], abs=1e-9)
    assert found.error() == pytest.approx(2 / 3, abs=1e-6)
    assert found.error(1 / 6) == pytest.approx(1.0, abs=1e-6)
    assert found.error(0.2, order=np.inf) == pytest.approx(2 / 3)
    assert found.accuracy(0.2) == pytest.approx(1 / 3)
    assert found.accuracy(0.2, kappa=2.0) == pytest.approx(1 / 2 * 2 / 3)
    assert found.accuracy(0.1, kappa=2.0, order=2.0) == pytest.approx(2 / 3)


# --- memory ----------------------------------------------------------------------------------


def test_batches_are_split_until_they_fit():
    done, tried = [], []

    def work(start, stop):
        tried.append(stop - start)
        if stop - start > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        done.extend(range(start, stop))

    in_batches(11, 8, work)
    assert done == list(range(11))
    assert tried == [8, 4, 2, 2, 2, 2, 2, 1]
    for error in (RuntimeError("out of memory"), MemoryError(), RuntimeError("shapes differ")):

        def hopeless(start, stop, error=error):
            raise error

        with pytest.raises(type(error)):
            in_batches(4, 4, hopeless)


def test_an_attack_goes_on_where_memory_is_short(monkeypatch):
    module, X, y = convolution()
    whole = attack_module(module, X, y, eps=0.1, support=BOX)
    calls, real = [], target.nearest_flips

    def tight(model, region, x, labels, **options):
        calls.append(len(x))
        if len(x) > 10:
            torch.rand(1, generator=options["generator"])
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return real(model, region, x, labels, **options)

    monkeypatch.setattr(target, "nearest_flips", tight)
    parts = attack_module(module, X, y, eps=0.1, support=BOX)
    assert calls == [30, 15, 7, 7, 7, 7, 2]
    assert np.isfinite(parts.distances).all()
    assert parts.distances[:7].mean() == pytest.approx(whole.distances[:7].mean(), rel=0.1)
    again = attack_module(module, X, y, eps=0.1, support=BOX, batch=7)
    assert (again.points == parts.points).all()  # the shortage left no trace in the randomness


# --- limits and errors -----------------------------------------------------------------------


def test_a_limit_keeps_what_is_there():
    module, X, y = convolution()
    limits, seen = Limits(), []

    def progress(done, total):
        seen.append((done, total))
        limits.stop.set()

    found = attack_module(
        module, X, y, eps=0.1, support=BOX, batch=10, limits=limits, progress=progress
    )
    assert seen[0] == (10, 30)
    assert found.stopped
    assert np.isfinite(found.distances[:10]).all()
    assert np.isinf(found.distances[10:]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "method: expected nearest"),
        ({"eps": -1.0}, "eps: expected a finite number"),
        ({"labels": [0]}, "labels: shape"),
        ({"support": Box(0.5, 1.0)}, "outside the support"),
        ({"dtype": "int8"}, "dtype"),
        ({"device": "cuda:99"}, "CUDA device"),
    ],
)
def test_questions_that_make_no_sense(options, message):
    asked = {"points": [[0.0, 0.0], [0.25, 0.0]], "labels": [0, 0], "eps": 0.1} | options
    points, labels = asked.pop("points"), asked.pop("labels")
    with pytest.raises(ProblemError, match=message):
        attack_module(affine(), points, labels, **asked)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_agrees():
    module, X, y = convolution()
    here, there = (
        attack_module(module, X, y, eps=0.1, support=BOX, device=d, dtype="float64").distances
        for d in ("cpu", "cuda")
    )
    assert np.allclose(here, there, rtol=1e-2)
