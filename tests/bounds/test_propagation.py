"""Bound propagation: above every sampled point and every exact maximum, and caught when broken."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wdaverify import Box, ReLUNetwork, enumerate_cells
from wdaverify.bounds import propagation
from wdaverify.bounds.propagation import RELAXATIONS, Balls, Propagation
from wdaverify.bounds.propagation_reach import tangent
from wdaverify.bounds.steps import steps_of
from wdaverify.convex.highs import LinearProgram
from wdaverify.norms import norm_named

NORMS = ["l1", "l2", "linf"]
ROOM = 1e-12
CONTRASTS = np.array([[1.0, -1.0, 0.0], [0.0, -1.0, 1.0], [0.3, 0.0, 2.0]])


def random_network(rng, widths, slopes=(0.0, 0.0, 0.1)):
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    biases = [0.5 * rng.normal(size=width) for width in widths[1:]]
    return ReLUNetwork(weights, biases, [rng.choice(slopes, size=w) for w in widths[1:-1]])


def balls_around(norm, X, radii, lower=-1.0, upper=1.0, device="cpu"):
    ladder = np.broadcast_to(radii, (len(X), len(radii)))
    arrays = (X, upper - X, X - lower, ladder)
    return Balls(norm, *(torch.tensor(np.array(v), device=device) for v in arrays))


def moves_within(rng, norm, x, radius, count=60):
    """Moves of many lengths that stay in the box, some on the sphere and some in corners."""
    d = rng.normal(size=(count, len(x))) * rng.integers(0, 2, size=(count, len(x)))
    d = np.concatenate([d, np.sign(d)])
    length = norm_named(norm).length(d)[:, None]
    share = rng.choice([1.0, 0.7, 0.2], size=(len(d), 1))
    d = d / np.where(length > 0, length, 1.0) * radius * share * (1 - 1e-15)
    return np.clip(x + d, -1.0, 1.0) - x


# --- lines of a linear function ------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_lines_touch_the_best_move_and_never_cut_it(norm):
    rng = np.random.default_rng(0)
    gains = torch.tensor(rng.exponential(size=(200, 4)) * rng.integers(0, 2, size=(200, 4)))
    rooms = torch.tensor(rng.exponential(size=(200, 4)) * rng.integers(0, 3, size=(200, 4)))
    radii = torch.tensor(rng.exponential(size=200) * rng.integers(0, 2, size=200))

    def best(at):
        return (steps_of(norm_named(norm)).fill(gains, rooms, at) * gains).sum(dim=-1)

    line = tangent(norm, gains, rooms, radii)
    assert (line.slope >= 0).all()
    assert torch.allclose(line.at(radii), best(radii), rtol=1e-9, atol=1e-12)
    for t in (0.0, 0.1, 0.5, 1.0, 4.0):
        at = torch.full((200,), t, dtype=torch.float64)
        assert (line.at(at) >= best(at) - ROOM).all()


# --- points --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    norm=st.sampled_from(NORMS),
    hidden=st.lists(st.integers(1, 5), max_size=3),
    slopes=st.sampled_from([(0.0,), (0.0, 0.1), (-1.0, 0.0, 1.0), (0.0, 2.0)]),
    scale=st.sampled_from([1e-3, 0.2, 3.0]),
)
def test_every_bound_holds_at_sampled_points(seed, norm, hidden, slopes, scale):
    rng = np.random.default_rng(seed)
    network = random_network(rng, [3, *hidden, 3], slopes)
    X, radii = rng.uniform(-1, 1, size=(2, 3)), scale * np.array([0.1, 0.4, 1.0])
    balls, steps = balls_around(norm, X, radii), Propagation(network)
    known, C = steps.neurons(balls), torch.tensor(CONTRASTS)
    affine = [steps.affine(balls, known, C, name) for name in RELAXATIONS]
    jacobian = steps.jacobian(balls, known, C)
    slack = ROOM * (1.0 + float(known.magnitude.max()))
    for i in range(2):
        for k, radius in enumerate(radii):
            d = moves_within(rng, norm, X[i], radius)
            length = norm_named(norm).length(d)
            z = network.preactivations(X[i] + d)
            bounds = (torch.cat([torch.zeros(2, 3, 0), *v], -1)[i, k].numpy() for v in known[:2])
            lower, upper = bounds
            assert (lower - slack <= z).all()
            assert (z <= upper + slack).all()
            values = network.logits(X[i] + d) @ CONTRASTS.T
            start = network.logits(X[i : i + 1]) @ CONTRASTS.T
            for found in affine:
                A, c = (v[i, k].numpy() for v in found)
                assert (values <= d @ A.T + c + slack).all()
                for touch in (0.0 * balls.radii, balls.radii):
                    line = balls.lines(found.matrix, touch)
                    c_t, s_t = (v[i, k].numpy() for v in line)
                    assert (values <= c + c_t + s_t * length[:, None] + slack).all()
            for touch in (0.0 * balls.radii, balls.radii):
                line = balls.lines_of_intervals(*jacobian, touch)
                c_t, s_t = (v[i, k].numpy() for v in line)
                assert (values <= start + c_t + s_t * length[:, None] + slack).all()
            low, high = (v[i, k].numpy() for v in jacobian)
            J = CONTRASTS @ network.affine_maps(network.patterns(X[i] + d))[1].matrix
            assert (low - slack <= J).all()
            assert (high + slack >= J).all()


# --- exact maxima --------------------------------------------------------------------------------


def exact_maxima(network, box):
    """Largest value of every pre-activation and contrast over a box, by its cells and LPs."""
    best = np.full(network.neurons + len(CONTRASTS), -np.inf)
    for cell in enumerate_cells(network, box):
        hidden, logits = network.affine_maps(cell.pattern)
        A = np.concatenate([hidden.matrix, CONTRASTS @ logits.matrix])
        c = np.concatenate([hidden.offset, CONTRASTS @ logits.offset])
        program = LinearProgram(box.lower, box.upper)
        program.add_rows(cell.half_spaces.matrix, cell.half_spaces.offset)
        best = np.maximum(
            best, [a @ program.maximize(a).point + v for a, v in zip(A, c, strict=True)]
        )
    return best


@pytest.mark.parametrize("seed", range(4))
def test_bounds_are_above_the_exact_maxima_and_tight_where_nothing_bends(seed):
    rng = np.random.default_rng(seed)
    network = random_network(rng, [2, 4, 3, 3])
    x, radii = rng.uniform(-0.9, 0.9, size=(1, 2)), np.array([0.05, 0.3, 3.0])
    balls, steps = balls_around("linf", x, radii), Propagation(network)
    known = steps.neurons(balls)
    found = [steps.affine(balls, known, torch.tensor(CONTRASTS), name) for name in RELAXATIONS]
    tops = torch.stack([v.offset + balls.tops(v.matrix) for v in found]).amin(dim=0)
    upper = torch.cat([*known.upper, tops], dim=-1)[0].numpy()
    for k, radius in enumerate(radii):
        box = Box(np.maximum(x[0] - radius, -1.0), np.minimum(x[0] + radius, 1.0))
        exact = exact_maxima(network, box)
        assert (upper[k] >= exact - 1e-7).all()
        assert np.allclose(upper[k, :4], exact[:4], atol=1e-7)
        assert radius > 0.1 or upper[k].max() <= exact.max() + 0.5


# --- rounding ------------------------------------------------------------------------------------


def first_layer_deficit(steps, network, x, radius):
    """How far the bounds of the first layer fall below the rational truth on a cube, at most 0."""
    balls = balls_around("linf", x, np.array([radius]), lower=-8.0, upper=8.0)
    upper = steps.neurons(balls).upper[0][0, 0].tolist()
    worst = Fraction(0)
    for w, b, bound in zip(network.weights[0], network.biases[0], upper, strict=True):
        moves = (Fraction(a) * Fraction(v) for a, v in zip(w, x[0], strict=True))
        truth = sum(moves, Fraction(b)) + sum(abs(Fraction(a)) for a in w) * Fraction(radius)
        worst = max(worst, truth - Fraction(bound))
    return worst


def test_the_error_term_is_needed_and_is_enough():
    broken = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        network, x = random_network(rng, [6, 5, 3]), rng.uniform(-1, 1, size=(1, 6))
        steps = Propagation(network)
        assert first_layer_deficit(steps, network, x, 0.3) == 0
        steps.relative_error = 0.0
        broken += first_layer_deficit(steps, network, x, 0.3) > 0
    assert broken > 5


def test_a_chord_below_the_activation_is_caught(monkeypatch):
    rng = np.random.default_rng(3)
    network, x = random_network(rng, [2, 4, 3, 3]), np.zeros((1, 2))
    balls = balls_around("linf", x, np.array([1.0]))
    z = network.preactivations(rng.uniform(-1, 1, size=(500, 2)))[:, 4:]

    def covered():
        known = Propagation(network).neurons(balls)
        return bool((z <= known.upper[1][0, 0].numpy() + ROOM).all())

    assert covered()
    honest = propagation._lines
    halved = lambda *a: honest(*a)._replace(rise=0.5 * honest(*a).rise)  # noqa: E731
    monkeypatch.setattr(propagation, "_lines", halved)
    assert not covered()


# --- devices -------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("norm", NORMS)
def test_both_devices_agree(norm):
    rng = np.random.default_rng(5)
    network, X = random_network(rng, [3, 6, 5, 3]), rng.uniform(-1, 1, size=(4, 3))
    found = []
    for device in ("cpu", "cuda"):
        balls = balls_around(norm, X, np.array([0.1, 0.5]), device=device)
        steps = Propagation(network, device=device)
        known = steps.neurons(balls)
        C = torch.tensor(CONTRASTS, device=device)
        affine = steps.affine(balls, known, C, "near")
        values = [*known.upper, affine.matrix, affine.offset, balls.tops(affine.matrix)]
        values += [*steps.jacobian(balls, known, C)]
        found.append([v.cpu().numpy() for v in values])
    for here, there in zip(*found, strict=True):
        assert np.allclose(here, there, rtol=1e-12, atol=1e-12)
