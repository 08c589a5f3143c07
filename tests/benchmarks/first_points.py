r"""A quick attack, so that no baseline starts from nothing: ascent within a ladder of balls.

Sign steps in ℓ∞; in ℓ1 the coordinate of the largest derivative that still has room is moved to its
wall, one after the other.
"""

import numpy as np
import numpy.typing as npt

import wdaverify as wv

Floats = npt.NDArray[np.float64]

LADDER = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
STEPS = 20


def margin_gradients(problem: wv.Problem, X: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    """Gradient of ``max_{j != y} z_j − z_y`` at every point, ``(N, n)``."""
    network = problem.network
    hidden, active = X, []
    for W, b in zip(network.weights[:-1], network.biases[:-1], strict=True):
        z = hidden @ W.T + b
        active.append(z > 0)
        hidden = np.maximum(z, 0.0)
    logits = hidden @ network.weights[-1].T + network.biases[-1]
    rows = np.arange(len(X))
    logits[rows, labels] = -np.inf
    back = network.weights[-1][logits.argmax(axis=1)] - network.weights[-1][labels]
    for W, on in zip(network.weights[-2::-1], reversed(active), strict=True):
        back = (back * on) @ W
    return np.asarray(back)


def first_points(problem: wv.Problem) -> list[Floats]:
    """Return the end of every ascent, per sample ``(len(LADDER), n)``."""
    climb = _climb_l1 if problem.cost.norm.name == "l1" else _climb_linf
    return list(np.stack([climb(problem, radius) for radius in LADDER], axis=1))


def _climb_linf(problem: wv.Problem, radius: float) -> Floats:
    centre = problem.points
    lower, upper = problem.support.bounds
    low, high = np.maximum(lower, centre - radius), np.minimum(upper, centre + radius)
    X = centre
    for k in range(STEPS):
        step = 2.0 * radius * (1.0 - k / STEPS)
        X = np.clip(X + step * np.sign(margin_gradients(problem, X, problem.labels)), low, high)
    return X


def _climb_l1(problem: wv.Problem, radius: float) -> Floats:
    rows = np.arange(len(problem))
    lower, upper = problem.support.bounds
    X, left = problem.points.copy(), np.full(len(problem), radius)
    for _ in range(STEPS):
        slope = margin_gradients(problem, X, problem.labels)
        room = np.where(slope > 0, upper - X, X - lower)
        k = np.where(room > 0, np.abs(slope), 0.0).argmax(axis=1)
        move = np.minimum(left, room[rows, k])
        X[rows, k] += np.sign(slope[rows, k]) * move
        left -= move
    return X
