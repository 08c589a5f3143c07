"""Proofs written by hand, each with the value that its problem's README derives.

An item is ``(problem, radius, body, value, kind)``; the bodies say what a prover would.
"""

import math
from fractions import Fraction
from functools import cache

import numpy as np
from checker.forge import tree, value

from wdaverify import Box, Problem, ReLUNetwork, TransportCost, load_problem

LEAF = {"cuts": [{"target": 1}]}
OTHER = {"cuts": [{"target": 0}]}
SPLIT = {"split": 0}
RELU = ({}, SPLIT, LEAF, LEAF)


def golden(name):
    return load_problem(f"problems/{name}")


def relu_interval():
    atoms = [[0, 0, 0.5, [3.0]], [0, 0, 0.5, [-1.0]]]
    return golden("relu-interval"), 2.0, value(atoms, 0.75, [0], RELU), 1.5


def relu_line():
    far = 2.0**-30
    atoms = [[0, 0, far, [4.0 / far - 1]], [0, 0, 1 - far, [-1.0]]]
    return golden("relu-line"), 4.0, value(atoms, 1, [0], RELU), 4


def relu_line_2():
    atoms = [[0, 0, 0.25, [1.0]], [0, 0, 0.75, [-1.0]]]
    return golden("relu-line-2"), 1.0, value(atoms, 0.25, [0], RELU), Fraction(1, 4)


def relu_line_inf():
    body = value([[0, 0, 1, [0.5]]], 0, [0.5], ({"samples": [[0, 0, 1.5]]}, *RELU[1:]))
    return golden("relu-line-inf"), 1.5, body, Fraction(1, 2)


def relu_line_order_three_halves():
    problem = golden("relu-line").replace(cost=TransportCost("l2", 1.5))
    mass = Fraction(3**-1.5 * (1 - 1e-15))
    atoms = [[0, 0, str_of(mass), [2.0]], [0, 0, str_of(1 - mass), [-1.0]]]
    return problem, 1.0, value(atoms, 2 * 3**-1.5, [1e-15], RELU), 2 * 3**-1.5


def hinge_line():
    atoms = [[0, 0, 0.25, [-3]], [1, 0, 0.25, [0]], [2, 1, 0.5, [-1]]]
    trees = (({"samples": [[0, 0, None], [1, 0, None]]}, LEAF),
             ({"label": 1, "samples": [[2, 0, None]]}, OTHER))  # fmt: skip
    return golden("hinge-line"), 1.0, value(atoms, 1, [0, 1, 0], *trees), Fraction(5, 4)


def hinge_line_3():
    body = value([[0, 0, 1, [-0.5]]], "4/27", [1e-30], ({}, LEAF))
    return golden("hinge-line-3"), 1.5, body, Fraction(1, 2)


def affine(name, radius, multiplier, gain, direction, outer=None):
    """Every sample moves by the radius in the steepest direction."""
    problem = golden(name)
    losses = problem.nominal_losses.tolist()
    atoms = []
    for i, (x, y) in enumerate(zip(problem.points.tolist(), problem.labels.tolist(), strict=True)):
        moved = [
            Fraction(v) + (1 - 2 * y) * Fraction(radius) * d
            for v, d in zip(x, direction, strict=True)
        ]
        atoms.append([i, y, str_of(problem.exact_probabilities[i]), [str_of(v) for v in moved]])
    trees = [
        ({"label": y, "target": 1 - y,
          "samples": [[i, 0, outer] for i in np.flatnonzero(problem.labels == y).tolist()]},
         {"cuts": [{"target": 1 - y}]})
        for y in (0, 1)
    ]  # fmt: skip
    body = value(atoms, multiplier, [v + gain for v in losses], *trees)
    return problem, radius, body


def str_of(v):
    return f"{v.numerator}/{v.denominator}"


def affine_l1():
    return *affine("affine-l1", 0.5, 1.5, 0, [1, 0, 0]), Fraction(0.859375)


def affine_linf():
    return *affine("affine-linf", 0.5, 3, 0, [1, -1, 1]), Fraction(1.609375)


def affine_linf_inf():
    return *affine("affine-linf-inf", 0.5, 0, 1.5, [1, -1, 1], 0.5), Fraction(1.609375)


def affine_l2():
    direction = [Fraction(3, 5), Fraction(4, 5)]
    return *affine("affine-l2", 1.0, 1.25, 1.25, direction), Fraction(2)


def affine_l2_inf():
    direction = [Fraction(3, 5), Fraction(4, 5)]
    return *affine("affine-l2-inf", 1.0, 0, 2.5, direction, 1), Fraction(2)


def label_move():
    atoms = [[0, 1, 0.5, [-2]], [0, 0, 0.5, [-2]]]
    body = value(atoms, 4, [-2], ({}, LEAF), ({"label": 1}, OTHER))
    return golden("label-move"), 0.5, body, 0


def polytope_triangle():
    atoms = [[0, 0, 0.25, [0.5, 0.5]], [0, 0, 0.25, [0, 1]], [1, 1, 0.5, [0, 0]]]
    trees = (({}, {"cuts": [{"target": 1, "rows": [0, 1]}]}),
             ({"label": 1, "samples": [[1, 0, None]]}, OTHER))  # fmt: skip
    return golden("polytope-triangle"), 0.5, value(atoms, 1, [0.25, 0.5], *trees), Fraction(7, 8)


def zero_one_line():
    """The trees end a little before the error set."""
    problem = golden("zero-one-line")
    atoms = [
        [i, y, 0.125, x]
        for i, (x, y) in enumerate(
            zip(problem.points.tolist(), problem.labels.tolist(), strict=True)
        )
    ]
    atoms[1][3] = [0]
    atoms[2][3] = [0]
    atoms[3:4] = [[3, 1, 0.0625, [0]], [3, 1, 0.0625, [0.5]]]
    reach = {i: abs(v) * (1 - 1e-12) for i, v in enumerate(problem.points[:, 0].tolist())}
    trees = [
        ({"label": y, "samples": [[i, 0, reach[i]] for i in group]}, {"cuts": [{"target": 1 - y}]})
        for y, group in ((0, [1, 2, 5, 7]), (1, [3, 4, 6]))
    ]
    return problem, 0.125, value(atoms, 2, None, *trees), Fraction(7, 16)


def zero_one_line_inf():
    problem = golden("zero-one-line-inf")
    atoms = [
        [i, y, 0.125, x]
        for i, (x, y) in enumerate(
            zip(problem.points.tolist(), problem.labels.tolist(), strict=True)
        )
    ]
    atoms[1][3] = [0]
    trees = [
        (
            {"label": y, "target": 1 - y, "samples": [[i, 0, 0.375] for i in group]},
            {"cuts": [{"target": 1 - y}]},
        )
        for y, group in ((0, [2, 5, 7]), (1, [3, 4, 6]))
    ]
    return problem, 0.375, value(atoms, 0, None, *trees), Fraction(1, 4)


def zero_one_label_move():
    atoms = [[0, 1, 0.25, [-1]], [1, 0, 0.25, [0]], [2, 0, "7/32", [2]], [2, 1, "9/32", [2]]]
    trees = (({"samples": [[0, 0, 1 - 1e-12], [1, 0, 0.25 - 1e-13]]}, LEAF),
             ({"label": 1, "samples": [[2, 0, 2 - 1e-12]]}, OTHER))  # fmt: skip
    return golden("zero-one-label-move"), 0.5, value(atoms, 2, None, *trees), Fraction(23, 32)


def softplus(x):
    return math.log1p(math.exp(x))


def chord(a, b):
    """Return a cut on the chord of softplus, a little above."""
    slope = (softplus(b) - softplus(a)) / (b - a)
    return {"cuts": [{"theta": [0, slope], "const": softplus(a) - slope * a + 1e-14}]}


def cross_entropy_interval():
    atoms = [[0, 0, 0.5, [3]], [0, 0, 0.5, [-1]]]
    nodes = [
        {"margin": 1, "at": 3},
        {"margin": 1, "at": -3},
        {"cuts": [{"theta": [0, 0], "const": softplus(-3) + 1e-14}]},
        {"margin": 1, "at": -1},
        chord(-3, -1),
        chord(-1, 3),
        {"cuts": [{"theta": [0, 1], "const": softplus(-3) + 1e-14}]},
    ]
    slope = (softplus(3) - softplus(-1)) / 4
    body = value(atoms, slope, [softplus(-1) + 1e-13], ({}, *nodes))
    return golden("cross-entropy-interval"), 2.0, body, softplus(-1) + 2 * slope


def leaky_and_linear():
    """A linear neuron before a leaky one: ``leaky(x)`` on [-3, 3], slope 1/2 below 0."""
    network = ReLUNetwork(
        [[[2.0]], [[0.5]], [[0.0], [1.0]]], [[1.0], [-0.5], [0.0, 0.0]], [[1.0], [0.5]]
    )
    problem = Problem(network, [[-1.0]], [0], support=Box(-3.0, 3.0), cost=TransportCost("l1"))
    atoms = [[0, 0, 0.5, [3.0]], [0, 0, 0.5, [-1.0]]]
    for_all = ({"intervals": "support"}, {"split": 1}, LEAF, LEAF)
    return problem, 2.0, value(atoms, 0.875, [-0.5], for_all), Fraction(5, 4)


def by_ball():
    """Order inf: within the ball nothing is undecided, so one leaf will do."""
    problem = golden("relu-line-inf")
    trees = ({"intervals": "ball", "samples": [[0, 0, 1]]}, LEAF)
    return problem, 1.0, value([[0, 0, 1, [-1]]], 0, [0], trees), 0


def by_lemma():
    """The ball of radius 1 reaches no further than 0, which a lemma shows."""
    problem = golden("relu-line-inf")
    trees = ({"samples": [[0, 0, 1]]}, {"lemmas": [[0, "off", {}]], "cuts": [{"target": 1}]})
    return problem, 1.0, value([[0, 0, 1, [-1]]], 0, [0], trees), 0


def by_rings():
    """Two rings, the farther one empty."""
    problem = golden("relu-interval")
    near = ({"samples": [[0, 0, 4]]}, SPLIT, LEAF, {"cuts": [{"target": 1, "neurons": [0, 0]}]})
    far = ({"samples": [[0, 2, "9/2"]]}, *RELU[1:])
    atoms = [[0, 0, 0.5, [3.0]], [0, 0, 0.5, [-1.0]]]
    return problem, 2.0, value(atoms, 0.75, [0], far, near), Fraction(3, 2)


VALUES = (
    relu_interval, relu_line, relu_line_2, relu_line_inf, relu_line_order_three_halves, hinge_line,
    hinge_line_3, affine_l1, affine_linf, affine_linf_inf, affine_l2, affine_l2_inf, label_move,
    polytope_triangle, zero_one_line, zero_one_line_inf, zero_one_label_move,
    cross_entropy_interval, leaky_and_linear, by_ball, by_lemma, by_rings,
)  # fmt: skip


def slope_relu_line():
    body = value([[0, 0, 1, [1]]], 0, [1], ({"samples": [[0, 0, 1]]}, *RELU[1:]))
    return golden("relu-line"), 1.0, body, 1


def slope_of_a_box():
    body = value([], 0, [0], ({"samples": [[0, 0, 1]]}, *RELU[1:]))
    return golden("relu-interval"), 2.0, body, 0


def twins(first, second):
    """Two neurons ``x`` and ``a x + b``: ``relu(x) + relu(a x + b)`` against 0."""
    network = ReLUNetwork([[[1.0], [first]], [[0.0, 0.0], [1.0, 1.0]]], [[0.0, second], [0.0, 0.0]])
    return Problem(network, [[-1.0]], [0], support=Box(-3.0, 3.0))


def lipschitz_flat():
    """Off for ``x``, on for ``2 x``: the point 0."""
    flat = {"cuts": [{"flat": True, "neurons": [0, 2, 1, 1]}]}
    also = {"cuts": [{"flat": True, "neurons": [0, 2, 1, 1]}]}
    head = tree(samples=[])
    body = [
        {"witness": [0, 1, [1]]},
        {"tree": head},
        SPLIT,
        {"split": 1},
        {},
        flat,
        {"split": 1},
        also,
        {},
    ]
    return twins(2.0, 0.0), 1.0, body, 3


def lipschitz_empty():
    """Off for ``x``, on for ``x - 1``: nothing."""
    empty = {"cuts": [{"empty": True, "neurons": [0, 1, 1, 1]}]}
    head = tree(samples=[], intervals="support")
    body = [
        {"witness": [0, 1, [2]]},
        {"tree": head},
        SPLIT,
        {"split": 1},
        {},
        empty,
        {"split": 1},
        {},
        {},
    ]
    return twins(1.0, -1.0), 1.0, body, 2


@cache
def every():
    """Return ``name -> (problem, radius, body, value, kind)``."""
    found = {make.__name__: (*make(), "value") for make in VALUES}
    found |= {make.__name__: (*make(), "slope") for make in (slope_relu_line, slope_of_a_box)}
    return found | {
        make.__name__: (*make(), "lipschitz") for make in (lipschitz_flat, lipschitz_empty)
    }
