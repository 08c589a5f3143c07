"""Random questions for the prover."""

import numpy as np

from wdaverify.cost import TransportCost
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.support import Box, Polytope

SUPPORTS = {
    "box": Box(-1.0, 1.5),
    "half": Box(-1.0),
    "space": Box(),
    "flat": Box([-1.0, 0.25], [1.0, 0.25]),
    "triangle": Polytope([[-1.0, 0.0], [0.0, -1.0], [1.0, 1.0]], [1.0, 1.0, 1.5]),
    "segment": Polytope([[1.0, 1.0], [-1.0, -1.0], [1.0, 0.0], [-1.0, 0.0]], [0.5, -0.5, 1.0, 1.0]),
}


def random_problem(seed, *, classes=2, support="box", loss="margin", **cost):
    rng = np.random.default_rng(seed)
    network = ReLUNetwork(
        [rng.normal(size=(4, 2)), rng.normal(size=(3, 4)), rng.normal(size=(classes, 3))],
        [rng.normal(size=4) / 2, rng.normal(size=3) / 2, rng.normal(size=classes) / 2],
        [[0.0, 0.0, 0.25, 1.0], [0.0, 0.0, -0.5]],
    )
    points = rng.uniform(-0.9, 0.4, size=(4, 2))
    if support == "flat":
        points[:, 1] = 0.25
    if support == "segment":
        points = np.array([[0.5, 0.0], [0.25, 0.25], [-0.5, 1.0], [0.125, 0.375]])
    return Problem(
        network, points, rng.integers(classes, size=4), loss=loss,
        cost=TransportCost(**({"norm": "linf", "order": 1} | cost)),
        support=SUPPORTS[support], weights=[1.0, 2.0, 0.0, 0.7],
    )  # fmt: skip
