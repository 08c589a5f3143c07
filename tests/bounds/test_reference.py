"""The published attacks: counts, a plain re-implementation, invariants; checks shown to fail."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from wdaverify.bounds.knapsack import allocate
from wdaverify.bounds.published import METRICS, Settings, score
from wdaverify.bounds.reference import reference_wda, reference_wdapp
from wdaverify.bounds.reference_adaptive import reference_a3
from wdaverify.bounds.region import region_of
from wdaverify.bounds.steps import steps_of
from wdaverify.bounds.torch_network import TorchNetwork
from wdaverify.errors import ProblemError
from wdaverify.network import ReLUNetwork
from wdaverify.norms import NORMS
from wdaverify.support import Box

norms = pytest.mark.parametrize("norm", list(NORMS))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def setting(norm, *, count=70, seed=1, widths=(5, 12, 12, 4), support=None):
    """A model, its region, samples and their labels."""
    rng = np.random.default_rng(seed)
    shapes = list(itertools.pairwise(widths))
    weights = [rng.normal(size=(b, a)) * 2 / math.sqrt(a) for a, b in shapes]
    biases = [0.4 * rng.normal(size=b) for _, b in shapes]
    middle = ReLUNetwork(weights, biases).logits(rng.uniform(size=(500, widths[0]))).mean(axis=0)
    biases[-1] = biases[-1] - middle  # no class rules the box
    model = TorchNetwork(ReLUNetwork(weights, biases))
    region = region_of((support or Box(0.0, 1.0)).bind(widths[0]), steps_of(NORMS[norm]), model)
    x = model.tensor(rng.uniform(0.0, 1.0, size=(count, widths[0])))
    return model, region, x, model.logits(x).argmax(dim=1)


# --- passes through the model ----------------------------------------------------------------


def test_wda_counts_of_the_published_code():
    """Per sample 1 + k(s + 1) + T + 1 forward and ks + T backward, and one to see who is right."""
    model, region, x, y = setting("linf")
    y[:3] = (y[:3] + 1) % 4
    k, s, T = 3, 4, 6
    found = reference_wda(model, region, x, y, eps=0.05, settings=Settings(steps=T, probes=s))
    assert found.forward == 70 + 67 * (1 + k * (s + 1) + T + 1)
    assert found.backward == 67 * (k * s + T)
    found = reference_wda(model, region, x, y, eps=0.05, settings=Settings(steps=T, probes=0))
    assert found.forward == 70 + 67 * (1 + k + T + 1)
    assert found.backward == 67 * (k + T)


def test_wdapp_counts_of_the_published_code():
    """A step costs 1 + k + 1 forward and k backward; halvings those that flipped."""
    model, region, x, y = setting("linf")
    k, T = 3, 5
    none = reference_wdapp(model, region, x, y, settings=Settings(steps=T, step=1e-9))
    assert not none.flipped.any()
    assert none.forward == 70 + 70 * (1 + T * (1 + k + 1) + 1)
    assert none.backward == 70 * T * k
    every = reference_wdapp(model, region, x, y, settings=Settings(step=0.3, batch=1, halvings=7))
    assert every.flipped.all()
    taken = every.backward // k  # with batches of one a sample stops at its flip
    assert every.forward == 70 + 70 * 2 + taken * (1 + k + 1) + 70 * 7


# --- step for step ---------------------------------------------------------------------------


def steep(g, norm):
    if norm == "linf":
        return np.sign(g)
    if norm == "l2":
        return g / np.linalg.norm(g)
    u = np.zeros_like(g)
    u[np.abs(g).argmax()] = np.sign(g[np.abs(g).argmax()])
    return u


def into(z, centre, eps, norm):
    d = z - centre
    if norm == "linf":
        d = np.clip(d, -eps, eps)
    else:
        length = np.linalg.norm(d, 2 if norm == "l2" else 1)
        d = d * min(1.0, eps / max(length, 1e-12))
    return np.clip(centre + d, 0.0, 1.0)


def slope(model, x, j, label):
    point = torch.tensor(x[None]).requires_grad_()
    z = model.logits(point)[0]
    (g,) = torch.autograd.grad(z[j] - z[label], point)
    return g[0].numpy()


def value(model, x):
    return model.logits(torch.tensor(x[None]))[0].detach().numpy()


def plain_wda(model, x, label, eps, norm, *, steps, step, probes, top_k):
    """WDA on one sample, as the paper tells it."""
    others = [j for j in np.argsort(-value(model, x), kind="stable") if j != label][:top_k]
    size = (2.0 if norm == "linf" else 1.0) * eps / probes
    scores = []
    for j in others:
        trial = x
        for _ in range(probes):
            trial = into(trial + size * steep(slope(model, trial, j, label), norm), x, eps, norm)
        scores.append(value(model, trial)[j])
    target, point = others[int(np.argmax(scores))], x
    for _ in range(steps):
        point = into(point + step * steep(slope(model, point, target, label), norm), x, eps, norm)
    return point


def plain_wdapp(model, x, label, norm, *, steps, step, top_k, halvings):
    """WDA++ on one sample; the sample itself where nothing flips."""
    others = [j for j in np.argsort(-value(model, x), kind="stable") if j != label][:top_k]
    point = x
    for _ in range(steps):
        moved = [
            np.clip(point + step * steep(slope(model, point, j, label), norm), 0, 1) for j in others
        ]
        scores = [value(model, m)[j] for m, j in zip(moved, others, strict=True)]
        further = moved[int(np.argmax(scores))]
        if value(model, further).argmax() != label:
            low, high = 0.0, 1.0
            for _ in range(halvings):
                middle = (low + high) / 2
                wrong = value(model, point + middle * (further - point)).argmax() != label
                low, high = (low, middle) if wrong else (middle, high)
            return point + high * (further - point)
        point = further
    return x


@norms
def test_wda_is_the_plain_algorithm(norm):
    model, region, x, y = setting(norm, count=12)
    given = {"steps": 5, "step": 0.03, "probes": 3, "top_k": 2}
    found = reference_wda(model, region, x, y, eps=0.15, settings=Settings(**given))
    expected = np.array([
        plain_wda(model, a, int(b), 0.15, norm, **given) for a, b in zip(x.numpy(), y, strict=True)
    ])  # fmt: skip
    assert np.allclose(found.points.numpy(), expected, atol=1e-12)
    other = reference_wda(model, region, x, y, eps=0.15, settings=Settings(**given | {"steps": 4}))
    assert not np.allclose(other.points.numpy(), expected, atol=1e-3)  # one step less is seen


@norms
def test_wdapp_is_the_plain_algorithm(norm):
    model, region, x, y = setting(norm, count=12)
    given = {"steps": 8, "step": 0.1, "top_k": 2, "halvings": 5}
    found = reference_wdapp(model, region, x, y, settings=Settings(**given))
    expected = np.array([
        plain_wdapp(model, a, int(b), norm, **given) for a, b in zip(x.numpy(), y, strict=True)
    ])  # fmt: skip
    assert found.flipped.any()
    assert np.allclose(found.points.numpy(), expected, atol=1e-12)
    rough = reference_wdapp(model, region, x, y, settings=Settings(**given | {"halvings": 1}))
    assert not np.allclose(rough.points.numpy(), expected, atol=1e-3)


def test_scores():
    z, y, j = torch.tensor([[1.0, 3.0, 0.0]]), torch.tensor([0]), torch.tensor([2])
    found = {metric: float(score(z, y, j, metric)) for metric in METRICS}
    assert found["logit-raw"] == 0.0
    assert found["logit"] == 1.0
    assert found["cross-entropy"] == pytest.approx(math.log(math.e + math.e**3 + 1) - 1)
    assert found["dlr"] == pytest.approx(2 / 3)
    assert float(score(z[:, :2], y, j - 1, "dlr")) == pytest.approx(1.0)


# --- invariants ------------------------------------------------------------------------------


def check(region, x, y, model, found, *, eps=math.inf):
    """Raise unless points lie in support and ball and what is called a flip is one."""
    assert torch.equal(region.inside(found.points, x), found.points), "outside the support"
    lengths = region.steps.length(found.points - x)
    assert (lengths <= eps * (1 + 1e-12)).all(), "outside the ball"
    wrong = model.logits(found.points).argmax(dim=1) != y
    assert torch.equal(wrong, found.flipped), "a flip that is none"
    assert torch.equal(lengths[wrong], found.lengths[wrong]), "distance"
    assert (found.lengths[~wrong] == torch.inf).all(), "distance"


@norms
@pytest.mark.parametrize("support", [Box(), Box(0.0, 1.0)])
def test_published_attacks_keep_to_support_and_ball(norm, support):
    model, region, x, y = setting(norm, support=support)
    eps = 0.3
    settings = Settings(steps=6, probes=2, step=None)
    wda = reference_wda(model, region, x, y, eps=eps, settings=settings)
    check(region, x, y, model, wda, eps=eps)
    a3 = reference_a3(
        model,
        region,
        x,
        y,
        eps=eps,
        generator=torch.Generator().manual_seed(0),
        settings=Settings(restarts=4),
    )
    check(region, x, y, model, a3, eps=eps)
    assert a3.flipped.sum() >= wda.flipped.sum() > 0
    check(region, x, y, model, reference_wdapp(model, region, x, y, eps=3.0, settings=settings))
    with pytest.raises(AssertionError, match="outside the ball"):
        check(region, x, y, model, a3, eps=eps / 2)
    with pytest.raises(AssertionError, match="a flip that is none"):
        check(region, x, y, model, wda._replace(flipped=~wda.flipped))


def test_wrong_samples_are_not_moved():
    model, region, x, y = setting("linf", count=10)
    y = (y + 1) % 4
    generator = torch.Generator().manual_seed(0)
    for found in (
        reference_wda(model, region, x, y, eps=0.1),
        reference_wdapp(model, region, x, y),
        reference_a3(model, region, x, y, eps=0.1, generator=generator),
    ):
        assert torch.equal(found.points, x)
        assert (found.lengths == 0).all()
        assert found.backward == 0


def test_adaptive_restarts_are_reproducible_and_help():
    model, region, x, y = setting("linf", count=150, seed=4)

    def run(seed, restarts):
        generator = torch.Generator().manual_seed(seed)
        return reference_a3(
            model, region, x, y, eps=0.08, generator=generator, settings=Settings(restarts=restarts)
        )

    assert torch.equal(run(0, 3).points, run(0, 3).points)
    assert not torch.equal(run(0, 3).points, run(1, 3).points)
    counts = [int(run(0, r).flipped.sum()) for r in (1, 4, 13)]
    assert counts == sorted(counts)
    assert counts[-1] > 0


# --- the budget ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 3.5])
def test_the_budget_is_spent_best(order):
    rng = np.random.default_rng(5)
    for radius in (0.1, 0.5, 2.0):
        d, w = rng.exponential(size=9), rng.dirichlet(np.ones(9))
        d[3], d[4] = np.inf, 0.0
        shares = allocate(d, w, radius, order)
        finite = np.isfinite(d)
        best = linprog(
            -w[finite], A_ub=[w[finite] * d[finite] ** order], b_ub=[radius**order], bounds=(0, 1)
        )
        assert w @ shares == pytest.approx(-best.fun, abs=1e-9)
        spent = w[finite] @ (shares[finite] * d[finite] ** order)
        assert spent <= radius**order * (1 + 1e-12)
        assert shares[3] == 0.0
        assert shares[4] == 1.0
        uniform = shares[finite].mean() * np.ones(9)  # a worse allocation is seen
        assert w @ uniform != pytest.approx(-best.fun, abs=1e-9) or shares[finite].all()


def test_order_infinity_pays_for_each():
    d = np.array([0.1, 0.2, np.inf, 0.3])
    assert allocate(d, np.full(4, 0.25), 0.2, math.inf).tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "loudness"}, "metric: expected logit-raw"),
        ({"steps": 0}, "steps: expected at least 1, found 0"),
        ({"probes": -1}, "probes: expected at least 0"),
        ({"batch": 0}, "batch: expected at least 1"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ProblemError, match=message):
        Settings(**options)


def test_wdapp_wants_a_radius_where_no_step_is_given():
    model, region, x, y = setting("linf", count=3)
    with pytest.raises(ProblemError, match="eps"):
        reference_wdapp(model, region, x, y, settings=Settings(step=None))
