"""Points found for one sample, offered to the other samples with its label.

The loss of a point depends on the label only, so all that another sample has to pay is the way.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.atoms import Atoms
from wdaverify.envelope import Envelope, majorant
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne

__all__ = ["shared_points"]

WORK = 2**28
"""Nothing is shared where it would take more coordinate differences than this."""

Picker = Callable[[int, Floats, Floats], Integers]
"""From a sample and the costs and losses ``(M,)`` of points: which of them it wants."""


def shared_points(
    atoms: Atoms, radii: tuple[float, ...], limits: Limits
) -> tuple[Floats, Integers]:
    """Return points and the samples that they would serve better than what these know.

    Parameters
    ----------
    atoms
        Points known so far.
    radii
        Where the losses within reach are compared, for order infinity.
    limits
        Asked before every sample.

    Returns
    -------
    points, owners
        Shapes ``(M, n)`` and ``(M,)``.
    """
    problem = atoms.problem
    labels = problem.labels[atoms.owners]
    pools = {y: np.flatnonzero((labels == y) & (atoms.costs > 0)) for y in problem.active_labels}
    samples = problem.active
    own_pools = [pools[y] for y in problem.labels[samples].tolist()]
    if problem.network.features * sum(map(len, own_pools)) > WORK:
        return problem.points[:0], samples[:0]
    pick = _picker(atoms, radii)
    wanted: list[Integers] = []
    for i, pool in zip(samples.tolist(), own_pools, strict=True):
        limits.check("attack: sharing points")
        costs = problem.cost.charge(atoms.points[pool], problem.points[i])
        wanted.append(pool[pick(i, costs, atoms.losses[pool])])
    owners = np.repeat(samples, [len(group) for group in wanted])
    return atoms.points[np.concatenate(wanted)], owners


def _picker(atoms: Atoms, radii: tuple[float, ...]) -> Picker:
    size = len(atoms.problem)
    if isinstance(atoms.problem.loss, ZeroOne):
        nearest = np.full(size, np.inf)
        wrong = atoms.losses == 1
        np.minimum.at(nearest, atoms.owners[wrong], atoms.costs[wrong])
        return partial(_nearer_flip, nearest)
    if atoms.problem.cost.finite:
        return partial(_higher, atoms.envelopes())
    known = np.full((len(radii), size), -np.inf)
    for best, radius in zip(known, radii, strict=True):
        within = atoms.costs <= radius
        np.maximum.at(best, atoms.owners[within], atoms.losses[within])
    return partial(_worse_within, known, radii)


def _nearer_flip(nearest: Floats, sample: int, costs: Floats, losses: Floats) -> Integers:
    wrong = np.flatnonzero((losses == 1) & (costs < nearest[sample]))
    return wrong[np.argsort(costs[wrong], kind="stable")[:1]]


def _higher(envelopes: list[Envelope], sample: int, costs: Floats, losses: Floats) -> Integers:
    """Return the points on the joint envelope."""
    known = envelopes[sample]
    above = np.flatnonzero(losses > known(costs))
    joint = majorant(
        np.concatenate([known.costs, costs[above]]),
        np.concatenate([known.losses, losses[above]]),
        np.concatenate([np.full(len(known.costs), -1), above]),
    )
    return joint.atoms[joint.atoms >= 0]


def _worse_within(
    known: Floats, radii: tuple[float, ...], sample: int, costs: Floats, losses: Floats
) -> Integers:
    wanted = set()
    for best, radius in zip(known, radii, strict=True):
        reachable = np.where(costs <= radius, losses, -np.inf)
        if reachable.max(initial=-np.inf) > best[sample]:
            wanted.add(int(np.argmax(reachable)))
    return np.array(sorted(wanted), dtype=np.int64)
