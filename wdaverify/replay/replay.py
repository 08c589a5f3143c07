r"""Replay: the atoms of a worst case in exact arithmetic and as the network is run in practice.

A proof speaks about the real-valued network with the given weights,
:math:`\sum_k w_k\,\ell(f(x_k), y_k)`; a deployed network rounds the points, every product and every
sum to float32. Both are evaluated at the same atoms.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.checker.losses import loss_at
from wdaverify.checker.question import Question, read_question
from wdaverify.checker.reading import Lines, Rejected, number, vector
from wdaverify.errors import ProblemError
from wdaverify.loss import loss_named
from wdaverify.network import ReLUNetwork
from wdaverify.replay.runners import runner_for

__all__ = ["Atoms", "Replay", "atoms_of_proof", "network_of", "replay"]


@dataclass(frozen=True, slots=True, eq=False)
class Atoms:
    """Atoms of a distribution as float64: points ``(M, n)``, labels and masses ``(M,)``."""

    points: Floats
    labels: Integers
    masses: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """Both worlds.

    Attributes
    ----------
    runtime
        What ran the network in float32.
    exact, rounded
        Expected loss of the atoms, over the rationals and in float32.
    logits, losses
        Largest difference of a logit and of a loss at an atom.
    predictions
        Number of atoms at which the predicted class differs.
    atoms
        Number of atoms.
    """

    runtime: str
    exact: float
    rounded: float
    logits: float
    losses: float
    predictions: int
    atoms: int

    @property
    def difference(self) -> float:
        """Expected loss in float32 minus the exact one."""
        return self.rounded - self.exact


def replay(q: Question, atoms: Atoms, network: ReLUNetwork, path: Path | None) -> Replay:
    """Evaluate atoms in both worlds.

    Parameters
    ----------
    q
        The question, whose network and loss are evaluated exactly.
    network, path
        What is run in float32; see :func:`wdaverify.replay.runners.runner_for`.

    Raises
    ------
    UnsupportedError
        The runtime is not installed.
    """
    runtime, run = runner_for(path, network)
    exact_logits = [q.logits(vector(x)) for x in atoms.points.tolist()]
    pairs = zip(exact_logits, atoms.labels.tolist(), strict=True)
    exact = np.array([float(loss_at(q, z, y)) for z, y in pairs])
    truth = np.array([[float(v) for v in z] for z in exact_logits])
    found = run(atoms.points)
    if found.shape != truth.shape:
        raise ProblemError(
            f"replay: expected {truth.shape[1]} logits of the original network, "
            f"found {found.shape[1]}"
        )
    rounded = loss_named(q.loss).evaluate(found, atoms.labels)
    return Replay(
        runtime,
        float(atoms.masses @ exact),
        float(atoms.masses @ rounded),
        float(np.abs(found - truth).max()),
        float(np.abs(rounded - exact).max()),
        int((found.argmax(axis=1) != truth.argmax(axis=1)).sum()),
        len(exact),
    )


def atoms_of_proof(path: Path) -> tuple[Question, Atoms]:
    """Return the question of a proof file and its atoms.

    Raises
    ------
    ProblemError
        Not a proof of a value.
    """
    try:
        with path.open("rb") as file:
            lines = Lines(file)
            kind = lines.next().get("kind")
            if kind != "value":
                raise ProblemError(f"{path}: expected the proof of a value, found one of {kind}")
            q = read_question(lines.raw())
            items: list[Any] = []
            while "atoms" in (line := lines.next()):
                items += line["atoms"]
    except OSError as error:
        raise ProblemError(f"{path}: {error.strerror or error}") from None
    except (Rejected, AttributeError, TypeError, KeyError) as error:
        raise ProblemError(f"{path}: expected a proof file, found: {error}") from None
    points = [[float(number(v)) for v in item[3]] for item in items]
    return q, Atoms(
        np.array(points).reshape(len(items), len(q.lower)),
        np.array([int(item[1]) for item in items], dtype=np.int64),
        np.array([float(number(item[2])) for item in items]),
    )


def network_of(q: Question) -> ReLUNetwork:
    """Return the network of a question: its numbers are float64."""
    weights = [[[float(Fraction(v, a.den)) for v in row] for row in a.rows] for a in q.layers]
    biases = [[float(Fraction(v, a.bias.den)) for v in a.bias.ints] for a in q.layers]
    slopes = [[float(Fraction(v, a.slopes.den)) for v in a.slopes.ints] for a in q.layers[:-1]]
    return ReLUNetwork(weights, biases, slopes)
