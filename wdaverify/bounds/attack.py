r"""Lower bounds: explicit feasible distributions found by Wasserstein distributional attacks.

An attack only has to supply points; the methods are listed in :mod:`wdaverify.bounds.options` and
their stages in :mod:`wdaverify.bounds.campaign`. The merge over the envelopes of all points ever
visited is the best distribution that they allow, and its risk, evaluated again in float64, is the
bound.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.atoms import Atoms
from wdaverify.bounds.campaign import Campaign
from wdaverify.bounds.ladder import checked_radii, scale_of
from wdaverify.bounds.options import AttackOptions, Progress
from wdaverify.bounds.proposals import proposed
from wdaverify.cost import TransportCost
from wdaverify.distribution import Distribution
from wdaverify.errors import LimitReached
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem
from wdaverify.units import Units

__all__ = [
    "LowerBound",
    "attack",
    "attack_points",
    "distances_of",
    "flip_atoms",
    "flip_distances",
    "joined",
]


@dataclass(frozen=True, slots=True, eq=False)
class LowerBound:
    """A lower bound and the distribution that proves it.

    Attributes
    ----------
    radius
        The radius within which the distribution lies.
    value
        Its expected loss, evaluated in float64.
    distribution
        Atoms, masses and where the mass comes from.
    seed, method
        How it was found.
    """

    radius: float
    value: float
    distribution: Distribution
    seed: int
    method: str


def attack_points(  # noqa: PLR0913  (the options of AttackOptions, spelled out)
    problem: Problem,
    radii: Sequence[float],
    *,
    method: str = "wda",
    seed: int = 0,
    steps: int = 20,
    kappas: Sequence[float] | None = None,
    top_k: int = 9,
    restarts: int = 1,
    device: str = "cpu",
    dtype: str = "float64",
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Atoms:
    """Find points that make good distributions at the given radii.

    Parameters
    ----------
    radii
        Radii ``ε``; one table of points serves them all.
    method, seed, steps, kappas, top_k, restarts, device, dtype, limits, progress
        See :class:`~wdaverify.bounds.options.AttackOptions`.

    Returns
    -------
    Atoms
        The samples and every point worth keeping; when a limit is reached, those found so far.

    Raises
    ------
    ProblemError
        An option or a radius that makes no sense, or a device that is not there.
    """
    options = AttackOptions(
        method=method,
        seed=seed,
        steps=steps,
        kappas=kappas,
        top_k=top_k,
        restarts=restarts,
        device=device,
        dtype=dtype,
        limits=limits or Limits(),
        progress=progress,
    )
    return _run(problem, checked_radii(radii), options)


def attack(  # noqa: PLR0913  (the options of AttackOptions, spelled out)
    problem: Problem,
    *,
    radius: float,
    method: str = "wda",
    seed: int = 0,
    steps: int = 20,
    kappa: float | None = None,
    top_k: int = 9,
    restarts: int = 1,
    device: str = "cpu",
    dtype: str = "float64",
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> LowerBound:
    """Bound the worst-case risk at one radius from below.

    Parameters
    ----------
    radius
        Radius ``ε`` of the ambiguity set.
    kappa
        Try only the distance ``κ^{1/p} ε`` (at least 1; 1 for order infinity).
    method, seed, steps, top_k, restarts, device, dtype, limits, progress
        See :class:`~wdaverify.bounds.options.AttackOptions`.

    Raises
    ------
    ProblemError
        An option or a radius that makes no sense, or a device that is not there.

    Examples
    --------
    >>> from wdaverify.network import ReLUNetwork
    >>> affine = ReLUNetwork([[[0.0, 0.0], [2.0, 1.0]]], [[0.0, -1.0]])
    >>> bound = attack(Problem(affine, [[0.0, 0.0]], [0]), radius=0.5)
    >>> round(bound.value, 9)  # -1 + 0.5 (2 + 1)
    0.5
    """
    options = AttackOptions(
        method=method,
        seed=seed,
        steps=steps,
        kappas=None if kappa is None else (kappa,),
        top_k=top_k,
        restarts=restarts,
        device=device,
        dtype=dtype,
        limits=limits or Limits(),
        progress=progress,
    )
    (checked,) = checked_radii([radius])
    units = Units.of(problem)
    found = _run(units.problem, (checked,), options).distribution(checked)
    risk = found.risk(units.problem)
    return LowerBound(checked, risk, units.restored(found), seed, method)


def flip_distances(  # noqa: PLR0913  (the options of AttackOptions, spelled out)
    problem: Problem,
    *,
    method: str = "wda",
    seed: int = 0,
    steps: int = 20,
    top_k: int = 9,
    restarts: int = 1,
    device: str = "cpu",
    dtype: str = "float64",
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Floats:
    """Smallest distance at which each sample was found misclassified, shape ``(N,)``.

    0 where a sample is misclassified already, infinity where no such point was found. The loss,
    the order and the weights of the problem play no part.

    Parameters
    ----------
    method, seed, steps, top_k, restarts, device, dtype, limits, progress
        See :class:`~wdaverify.bounds.options.AttackOptions`.

    Raises
    ------
    ProblemError
        An option that makes no sense, or a device that is not there.
    """
    found = flip_atoms(
        Units.of(problem).problem,
        method=method,
        seed=seed,
        steps=steps,
        top_k=top_k,
        restarts=restarts,
        device=device,
        dtype=dtype,
        limits=limits,
        progress=progress,
    )
    return distances_of(found)


def flip_atoms(  # noqa: PLR0913  (the options of AttackOptions, spelled out)
    problem: Problem,
    *,
    method: str = "wda",
    seed: int = 0,
    steps: int = 20,
    top_k: int = 9,
    restarts: int = 1,
    device: str = "cpu",
    dtype: str = "float64",
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Atoms:
    """Return the misclassified points of :func:`flip_distances`.

    Returns
    -------
    Atoms
        Of the same samples with the zero-one loss, order 1 and equal weights.
    """
    options = AttackOptions(
        method=method,
        seed=seed,
        steps=steps,
        top_k=top_k,
        restarts=restarts,
        device=device,
        dtype=dtype,
        limits=limits or Limits(),
        progress=progress,
    )
    question = problem.replace(
        loss=ZeroOne(), cost=TransportCost(problem.cost.norm), weights=np.ones(len(problem))
    )
    scale = scale_of(question)
    return _run(question, (2.0**-10 * scale, scale), options)


def distances_of(atoms: Atoms) -> Floats:
    """Return the distance of each sample to its nearest error in a table of :func:`flip_atoms`."""
    wrong = atoms.losses == 1
    distances = np.full(len(atoms.problem), np.inf)
    np.minimum.at(distances, atoms.owners[wrong], atoms.costs[wrong])
    return distances


def joined(tables: Sequence[Atoms]) -> Atoms:
    """Return one table with the points of several, all of the same problem.

    The merge over it is at least as good as over each of them.
    """
    union = Atoms(tables[0].problem)
    for table in tables:
        union.add(table.points, table.owners, table.labels)
    union.prune()
    return union


def _run(problem: Problem, radii: tuple[float, ...], options: AttackOptions) -> Atoms:
    if options.recipe.propose is not None:
        atoms = proposed(problem, radii, options)
    else:
        campaign = Campaign(problem, radii, options)
        with suppress(LimitReached):
            campaign.run()
        atoms = campaign.atoms
    if problem.cost.label_cost is not None:
        _relabel(atoms)
    return atoms


def _relabel(atoms: Atoms) -> None:
    """Offer every point found under every other label too: steps are taken under the own one."""
    points, owners = atoms.points, atoms.owners
    for label in range(atoms.problem.network.classes):
        atoms.add(points, owners, np.full(len(owners), label))
    atoms.prune()
