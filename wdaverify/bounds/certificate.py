r"""Certificates: upper bounds by every method that proves something about the question.

The methods, what each proves and where, stand in :mod:`wdaverify.bounds.registry`. *layer-product*
needs no cells and so does not share the enumerator with the exact value.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from wdaverify.bounds.cell_constants import cell_lipschitz
from wdaverify.bounds.lipschitz import Certificate
from wdaverify.bounds.registry import METHODS
from wdaverify.bounds.statements import Certified, Means
from wdaverify.cells.complex import CellComplex
from wdaverify.errors import UnsupportedError
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.registry import load_extensions
from wdaverify.units import Units, require_plain

__all__ = [
    "CERTIFICATES",
    "Certificate",
    "UpperBound",
    "cell_lipschitz",
    "certificates",
    "certify",
    "constants_of",
]

CERTIFICATES: Final = {name: method.proves for name, method in METHODS.items()}
"""Methods of the package and what they prove."""

QUICK = 400
"""Partial patterns that a search may look at unasked."""

WORK = 2e7
"""Products in one pass of a network's Jacobian beyond which nothing is searched unasked."""


@dataclass(frozen=True, slots=True, eq=False)
class UpperBound:
    """The smallest certificate at one radius, and all of them by name."""

    radius: float
    value: float
    method: str
    by_method: dict[str, float]


def certify(
    problem: Problem,
    *,
    radius: float,
    cells: CellComplex | None = None,
    method: str = "all",
    limits: Limits | None = None,
) -> UpperBound:
    """Return the best certified upper bound at a radius.

    Parameters
    ----------
    cells
        With the activation cells the constants that rest on them are exact; else they are searched.
    method
        One method by name, or ``"all"``: every standard one that proves something.
    limits
        Where they are reached, bounds are looser but valid.

    Raises
    ------
    UnsupportedError
        The method, or every method, proves nothing about the question; says why.
    ProblemError
        No such method.
    """
    units = Units.of(problem)
    units.refuse("cells", cells)
    problem = units.problem
    found: Sequence[Certified]
    if method == "all":
        found = certificates(problem, cells=cells, limits=limits)
    else:
        chosen = METHODS.named(method, also=" or all")
        chosen.check(problem)
        found = [chosen.make(problem, Means(cells, limits or Limits()))]
    if not found:
        reasons = "; ".join(f"{name}: {m.refuses(problem)}" for name, m in METHODS.items())
        raise UnsupportedError(f"no certificate proves anything here ({reasons})")
    values = {c.method: c.bound(radius) for c in found}
    best = min(values, key=lambda name: values[name])
    return UpperBound(radius, values[best], best, values)


def certificates(
    problem: Problem, *, cells: CellComplex | None = None, limits: Limits | None = None
) -> Sequence[Certified]:
    """Return every standard certificate that proves something about the question.

    Where no cells are given, those that rest on them are searched for a short while, unless the
    network is too large even for that.
    """
    load_extensions()
    require_plain(problem, "certificates")
    means = Means(cells, limits or Limits(), QUICK)
    searchable = cells is not None or _work(problem.network) <= WORK
    kept = [
        method
        for method in METHODS.values()
        if method.standard
        and method.refuses(problem) is None
        and (searchable or not method.searches)
    ]
    found: list[Certified] = []
    for done, method in enumerate(kept):
        with suppress(UnsupportedError), means.limits.part(done, len(kept)):
            means.limits.report(method.name)
            found.append(method.make(problem, means))
    return found


def constants_of(found: Sequence[Certified]) -> dict[str, float]:
    """Return the Lipschitz constants by method, of the certificates that rest on one."""
    return {c.method: c.constant for c in found if isinstance(c, Certificate)}


def _work(network: ReLUNetwork) -> float:
    """Products in one pass of the Jacobian, for all pairs of classes."""
    passes = sum(float(W.size) for W in network.weights) * network.features
    return passes * network.classes**2
