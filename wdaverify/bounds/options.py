"""How an attack is run: named methods and the options that every method understands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.bounds.ascent import ITSELF
from wdaverify.errors import ProblemError
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem
from wdaverify.registry import Registry, load_extensions

__all__ = [
    "METHODS",
    "AttackOptions",
    "Method",
    "Progress",
    "Propose",
    "Stage",
    "method_named",
    "parts_of",
    "top_classes",
]

Progress = Callable[[int, int], None]
"""Told how many of how many walkers are done."""


Propose = Callable[[Problem, float, np.random.Generator], tuple[Floats, Integers]]
"""Returns points ``(M, n)`` and whose they are ``(M,)``, for a problem and a positive radius."""


def top_classes(problem: Problem, top_k: int) -> Integers:
    """Wrong classes of each sample, largest logit first, at most ``top_k``: ``(N, C)``.

    Losses that do not simply rise with the margin add :data:`~wdaverify.bounds.ascent.ITSELF`.
    """
    N = len(problem)
    logits = np.array(problem.network.logits(problem.points))
    logits[np.arange(N), problem.labels] = -np.inf
    count = min(top_k, problem.network.classes - 1)
    classes = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    if not (problem.loss.of_margin or isinstance(problem.loss, ZeroOne)):
        return np.concatenate([classes, np.full((N, 1), ITSELF)], axis=1)
    return classes


class Stage(Enum):
    """One part of an attack; what each does stands in ``bounds.campaign``."""

    FLIP = "minimum distance"
    CLIMB = "climb"
    ADAPT = "adaptive restarts"
    SHARE = "share"
    REFINE = "refine"
    PUBLISHED_WDA = "WDA as published"
    PUBLISHED_WDAPP = "WDA++ as published"


BY_REACH: Final = (Stage.CLIMB, Stage.ADAPT, Stage.PUBLISHED_WDA)
"""Stages that search within given distances, so that ``κ`` means something to them."""


@dataclass(frozen=True, slots=True)
class Method:
    """A recipe.

    Parameters
    ----------
    stages
        What is done, in this order.
    propose
        For a registered attack: what finds its points, see
        :func:`wdaverify.extending.register_attack`.
    kappas
        Ladder of ``κ``; ``None``: distances over the whole support.
    rounds
        How often at most the reaches around the best atoms are refined.
    """

    stages: tuple[Stage, ...]
    kappas: tuple[float, ...] | None = None
    rounds: int = 20
    propose: Propose | None = None

    def at(self, kappas: tuple[float, ...], name: str) -> "Method":
        """Return the part of the recipe that searches within the distances of some ``κ``.

        Raises
        ------
        ProblemError
            No part does.
        """
        stages = tuple(stage for stage in self.stages if stage in BY_REACH)
        if not stages:
            raise ProblemError(f"kappa: the method {name} has none, it looks at any distance")
        return Method(stages, kappas, rounds=0)


_PUBLISHED: Final[dict[str, Method]] = {
    "wda": Method((Stage.FLIP, Stage.CLIMB, Stage.SHARE, Stage.REFINE)),
    "wda++": Method((Stage.FLIP, Stage.SHARE)),
    "a3-wda": Method((Stage.ADAPT, Stage.SHARE, Stage.REFINE), kappas=(1.0, 4.0)),
    "point-wise": Method((Stage.CLIMB,), kappas=(1.0,)),
    "all": Method((Stage.FLIP, Stage.CLIMB, Stage.ADAPT, Stage.SHARE, Stage.REFINE)),
    "reference-wda": Method((Stage.PUBLISHED_WDA,), kappas=(1.0,)),
    "reference-wda++": Method((Stage.PUBLISHED_WDAPP,), kappas=(1.0,)),
    "reference-a3-wda": Method((Stage.ADAPT,), kappas=(1.0,)),
}
"""Published attacks as they are, and what became of them here."""

METHODS: Final[Registry[Method]] = Registry("method", _PUBLISHED.items())
"""All attacks, registered ones among them."""


def method_named(name: str) -> Method:
    """Return the method called ``name``.

    Raises
    ------
    ProblemError
        No such method.
    """
    return METHODS.named(name)


PARTS: Final = ("wda", "wda++", "a3-wda", "point-wise")
"""What ``all`` consists of, where each is asked for its own bound."""


def parts_of(method: str, *, by_reach: bool) -> tuple[str, ...]:
    """Return the methods that a method consists of.

    Parameters
    ----------
    by_reach
        Leave out those of ``all`` that do not search within given distances.
    """
    if method != "all":
        return (method,)
    load_extensions()
    registered = [name for name, recipe in METHODS.items() if recipe.propose is not None]
    every = (*PARTS, *registered)
    return tuple(p for p in every if not by_reach or set(METHODS[p].stages) & set(BY_REACH))


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackOptions:
    """Options of every attack.

    Parameters
    ----------
    seed
        Of the random starts; the same seed on the same device gives the same points.
    method
        Name of a :class:`Method`.
    steps
        Steps of each walk.
    kappas
        Use only these ``κ`` (each at least 1) and no refinement.
    top_k
        At most so many wrong classes are climbed towards.
    restarts
        Random starts beside the sample itself.
    device, dtype
        Where and in which precision torch climbs.
    limits
        When they are reached, the attack ends with what it has.
    progress
        Called now and then.

    Raises
    ------
    ProblemError
        An option that no attack can follow.
    """

    seed: int = 0
    method: str = "wda"
    steps: int = 20
    kappas: Sequence[float] | None = None
    top_k: int = 9
    restarts: int = 1
    device: str = "cpu"
    dtype: str = "float64"
    limits: Limits = field(default_factory=Limits)
    progress: Progress | None = None

    def __post_init__(self) -> None:
        method_named(self.method)
        for name, least in (("steps", 1), ("top_k", 1), ("restarts", 0), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise ProblemError(f"{name}: expected at least {least}, found {value}")
        if self.seed >= 2**63:
            raise ProblemError(f"seed: expected less than 2**63, found {self.seed}")

    @property
    def recipe(self) -> Method:
        """The method, restricted to the ``κ`` that were asked for."""
        method = method_named(self.method)
        return method if self.kappas is None else method.at(tuple(self.kappas), self.method)
