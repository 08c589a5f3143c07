"""Everything that can go wrong, by whose fault it is.

The command line turns `SandwichViolation` and `CheckFailedError` into exit code 1, `LimitReached`
into 3 and the others into 2.
"""

__all__ = [
    "CheckFailedError",
    "EnumerationError",
    "LimitReached",
    "ProblemError",
    "SandwichViolation",
    "SolverError",
    "UnsupportedError",
    "WDAVerifyError",
]


class WDAVerifyError(Exception):
    """Base class of every error that this package raises on purpose."""


class ProblemError(WDAVerifyError, ValueError):
    """The question is malformed: the message says what was found, expected, and where."""


class UnsupportedError(WDAVerifyError, NotImplementedError):
    """The question is well-formed, but no method here answers it; the message says why."""


class SolverError(WDAVerifyError, RuntimeError):
    """A solver returned an answer that its own residuals contradict, also when asked again."""


class EnumerationError(WDAVerifyError, RuntimeError):
    """A complex of cells violates one of its invariants."""


class CheckFailedError(WDAVerifyError):
    """A known answer was missed, or a proof is rejected."""


class LimitReached(WDAVerifyError, RuntimeError):  # noqa: N818  (the public contract fixes the name)
    """A limit on cells, time or memory stopped the work; the message says what was reached."""


class SandwichViolation(WDAVerifyError, AssertionError):  # noqa: N818  (the public contract fixes the name)
    """A lower bound exceeds an upper bound: one of the two is wrong."""
