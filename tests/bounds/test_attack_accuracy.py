"""Distributional accuracy from flip distances against hand counts."""

import json
from pathlib import Path

import numpy as np
import pytest

from wdaverify.bounds.accuracy import KAPPAS, accuracy_of, distributional_accuracy, kappa_sweep
from wdaverify.bounds.attack import attack
from wdaverify.cli import main
from wdaverify.cost import TransportCost
from wdaverify.errors import ProblemError
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem


def line(**options):
    """Zero-one: an error where ``x >= 0``; distances 0, 1/2, 1, 2, 4."""
    network = ReLUNetwork([[[0.0], [1.0]]], [[0.0, 0.0]])
    X = [[0.5], [-0.5], [-1.0], [-2.0], [-4.0]]
    return Problem(network, X, np.zeros(5), loss="zero-one", **options)


def test_accuracy_by_hand():
    """κ = 2 at ε = 0.51 moves half of each sample by 1.02: two flip, half their mass."""
    assert distributional_accuracy(line(), radius=0.51) == pytest.approx(0.6)
    assert distributional_accuracy(line(), radius=0.51, kappa=2.0) == pytest.approx(0.6)
    assert distributional_accuracy(line(), radius=0.51, kappa=8.0) == pytest.approx(0.7)
    assert kappa_sweep(line(), radius=0.49, kappas=[1, 2, 5]) == pytest.approx([0.8, 0.7, 0.68])


def test_the_order_moves_the_reach():
    """Order 2: κ = 4 doubles the reach instead of quadrupling it."""
    square = line(cost=TransportCost(order=2))
    assert distributional_accuracy(square, radius=0.51, kappa=4.0) == pytest.approx(
        0.75 * 0.8 + 0.25 * 0.4
    )
    assert distributional_accuracy(line(), radius=0.51, kappa=4.0) == pytest.approx(
        0.75 * 0.8 + 0.25 * 0.2
    )
    far = line(cost=TransportCost(order="inf"))
    assert distributional_accuracy(far, radius=2.01) == pytest.approx(0.2)


def test_weights_count():
    weighted = line(weights=[0, 3, 1, 0, 0])
    assert distributional_accuracy(weighted, radius=0.51) == pytest.approx(0.25)


@pytest.mark.parametrize("order", [1, 2])
def test_no_kappa_beats_the_attack(order):
    """Each κ is one distribution in the ball: its error is at most that of the best one found."""
    problem = line(cost=TransportCost(order=order))
    for radius in (0.1, 0.5, 1.3):
        sweep = kappa_sweep(problem, radius=radius)
        assert len(sweep) == len(KAPPAS)
        assert 1.0 - sweep.min() <= attack(problem, radius=radius).value + 1e-12


@pytest.mark.parametrize(("kappa", "order"), [(0.5, 1.0), (np.inf, 1.0), (2.0, np.inf)])
def test_kappas_that_make_no_sense(kappa, order):
    with pytest.raises(ProblemError, match="kappa"):
        accuracy_of(np.ones(2), np.full(2, 0.5), radius=1.0, kappa=kappa, order=order)


PROBLEM = Path(__file__).parents[2] / "problems" / "zero-one-line"


@pytest.mark.parametrize("kappa", [None, 2.0])
def test_the_command_reports_the_sweep(kappa, capsys):
    given = [] if kappa is None else ["--kappa", str(kappa)]
    with pytest.raises(SystemExit) as stop:
        main(["attack", str(PROBLEM), "--radius", "0.3", "--json", "-", "--quiet", *given])
    assert stop.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["kappa"] for row in found["accuracy"]] == list(KAPPAS if kappa is None else [kappa])
    distances = np.array([np.inf if d is None else d for d in found["distances"]])
    for row in found["accuracy"]:
        weights = np.full(len(distances), 1.0 / len(distances))
        expected = accuracy_of(distances, weights, radius=row["radius"], kappa=row["kappa"])
        assert row["value"] == pytest.approx(expected)
    assert found["seed"] == 0
