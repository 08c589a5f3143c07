r"""The points that each sample wants at the prices of the merge, from which walkers set out again.

At the multiplier ``λ`` of a radius a sample wants a maximiser of :math:`\ell - \lambda s`. Where it
is split, two points tie: prices just below and just above ``λ`` ask for each of them.
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.atoms import Atoms

__all__ = ["Bases", "leaders", "wanted"]

ASIDE = 1e-6
"""How far beside the multiplier, relatively, the two ends of a split are asked for."""


class Bases(NamedTuple):
    """Points ``(B, n)``, the samples that want them ``(B,)`` and the distance allowed ``(B,)``."""

    points: Floats
    owners: Integers
    reaches: Floats


def leaders(owners: Integers, scores: Floats) -> Integers:
    """Index of the best point of each owner that has one, by owner: ``(M,), (M,) -> (L,)``."""
    order = np.lexsort((-scores, owners))
    return order[np.unique(owners[order], return_index=True)[1]]


def wanted(atoms: Atoms, radii: tuple[float, ...]) -> Bases:
    """Return what samples of positive weight want at each radius, themselves maybe.

    For a finite order the distance allowed is that of the point, for order infinity the radius.
    """
    if not atoms.problem.cost.finite:
        return _within(atoms, radii)
    prices = _prices(atoms, radii)
    return _at(atoms, np.concatenate([prices * (1.0 - ASIDE), prices * (1.0 + ASIDE)]))


def _prices(atoms: Atoms, radii: tuple[float, ...]) -> Floats:
    merged = atoms.merge()
    prices = [merged.multiplier(atoms.problem.cost.budget(radius)) for radius in radii]
    return np.array([price if np.isfinite(price) else 0.0 for price in prices])


def _at(atoms: Atoms, prices: Floats) -> Bases:
    chosen = [leaders(atoms.owners, atoms.losses - price * atoms.costs) for price in prices]
    index = np.unique(np.concatenate(chosen))
    index = index[atoms.problem.weights[atoms.owners[index]] > 0]
    points, owners = atoms.points[index], atoms.owners[index]
    return Bases(
        points, owners, atoms.problem.cost.norm.length(points - atoms.problem.points[owners])
    )


def _within(atoms: Atoms, radii: tuple[float, ...]) -> Bases:
    chosen = [
        leaders(atoms.owners, np.where(atoms.costs <= radius, atoms.losses, -np.inf))
        for radius in radii
    ]
    index, reaches = np.concatenate(chosen), np.repeat(radii, [len(group) for group in chosen])
    active = atoms.problem.weights[atoms.owners[index]] > 0
    return Bases(
        atoms.points[index[active]], atoms.owners[index[active]], np.asarray(reaches[active])
    )
