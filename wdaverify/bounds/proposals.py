"""Attacks from outside the package: functions that propose points, for the merge to judge.

Nothing that they return is believed: points outside the support drop out, losses and costs are
evaluated again, and each sample keeps the points on its envelope.
"""

import numpy as np

from wdaverify.arrays import Floats, Integers, floats, integers
from wdaverify.atoms import Atoms
from wdaverify.bounds.options import AttackOptions
from wdaverify.errors import ProblemError
from wdaverify.problem import Problem

__all__ = ["proposed"]


def proposed(problem: Problem, radii: tuple[float, ...], options: AttackOptions) -> Atoms:
    """Return the points that a registered attack proposes at each positive radius.

    Raises
    ------
    ProblemError
        It returns something else than points and owners.
    """
    propose = options.recipe.propose
    assert propose is not None
    atoms, rng = Atoms(problem), np.random.default_rng(options.seed)
    for radius in sorted({r for r in radii if r > 0}):
        if options.limits.reached("attack") is not None:
            break
        atoms.add(*_checked(options.method, propose(problem, radius, rng), problem))
        atoms.prune()
    return atoms


def _checked(name: str, answer: object, problem: Problem) -> tuple[Floats, Integers]:
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise ProblemError(
            f"attack {name}: expected points and owners, found {type(answer).__name__}"
        )
    points = floats(answer[0], f"attack {name}: points", ndim=2, infinite=True)
    owners = integers(answer[1], f"attack {name}: owners")
    if points.shape != (len(owners), problem.network.features):
        raise ProblemError(
            f"attack {name}: expected points of shape (M, {problem.network.features}) and owners "
            f"(M,), found {points.shape} and {owners.shape}"
        )
    if len(owners) and not 0 <= owners.min() <= owners.max() < len(problem):
        raise ProblemError(
            f"attack {name}: expected owners 0 to {len(problem) - 1}, "
            f"found {owners.min()} to {owners.max()}"
        )
    return points, owners
