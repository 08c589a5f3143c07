"""The bounds side by side, each with what it proves and the constant that it rests on."""

from dataclasses import dataclass

from wdaverify.bounds.certificate import constants_of
from wdaverify.bounds.registry import METHODS, OTHERS
from wdaverify.verification import Sandwich

__all__ = ["Bound", "bounds_compared", "not_used"]

_ATTACK = (
    "value ≥ the expected loss of an explicit distribution within the radius, found by gradient "
    "ascent and evaluated again in float64; knows neither cells nor solver"
)
_LOWER = (
    "value ≥ the expected loss of an explicit distribution within the radius, the worst case found "
    "by the exact engine"
)
_UPPER = (
    "value ≤ what the exact engine shows: no distribution within the radius does worse (for a "
    "finite order the dual bound of the best multiplier, for order ∞ the supremum around each "
    "sample)"
)


@dataclass(frozen=True, slots=True)
class Bound:
    """A method.

    Attributes
    ----------
    side
        ``lower`` or ``upper``.
    values
        One for each radius.
    constant
        Lipschitz constant or slope, ``None`` where the bound rests on none.
    best
        For which radii it is the sharpest of its side, the exact engine left out.
    """

    name: str
    side: str
    proves: str
    covers: str
    values: list[float]
    constant: float | None
    best: list[bool]


def bounds_compared(result: Sandwich) -> list[Bound]:
    """Return all bounds from the lowest to the highest kind."""
    rows = result.rows
    constants: dict[str, float] = dict(constants_of(result.certificates))
    if result.slope is not None:
        constants["asymptotic-slope"] = result.slope.lower
    nothing = [False] * len(rows)
    lower = [_bound(result, name, "lower", constants) for name in result.lower_bounds]
    upper = [_bound(result, name, "upper", constants) for name in result.upper_bounds]
    exact = [
        Bound("exact, lower", "lower", _LOWER, "", [r.lower for r in rows], None, nothing),
        Bound("exact, upper", "upper", _UPPER, "", [r.upper for r in rows], None, nothing),
    ]
    if all(row.exact is None for row in rows):
        exact = []
    return [*lower, *exact, *upper]


def _bound(result: Sandwich, name: str, side: str, constants: dict[str, float]) -> Bound:
    table = result.lower_bounds if side == "lower" else result.upper_bounds
    choose = max if side == "lower" else min
    best = [choose(values) for values in zip(*table.values(), strict=True)]
    statement = METHODS.get(name) or OTHERS.get(name)
    return Bound(
        name,
        side,
        _ATTACK if statement is None else statement.proves,
        "" if statement is None else statement.covers,
        list(table[name]),
        constants.get(name),
        [value == top for value, top in zip(table[name], best, strict=True)],
    )


def not_used(result: Sandwich) -> list[tuple[str, str]]:
    """Return the certificates that take no part, each with the reason."""
    found = []
    for name, method in METHODS.items():
        if name in result.upper_bounds:
            continue
        reason = method.refuses(result.problem)
        if reason is None:
            reason = (
                f"only on request: wdaverify certify --method {name}"
                if not method.standard
                else "left out: no cells were listed, and the network is too large to search"
            )
        found.append((name, reason))
    return found
