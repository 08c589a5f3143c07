"""Numbers for people: signs that are minus signs, digits that a bracket knows."""

import math

__all__ = ["figure", "percent", "seconds", "span"]

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def figure(value: float | None, digits: int = 6) -> str:
    """Format a number to some significant digits; ``None`` is a dash.

    Examples
    --------
    >>> figure(-1.25), figure(float("inf")), figure(6.87e10, 3), figure(None)
    ('−1.25', '∞', '6.87·10¹⁰', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value + 0.0:.{digits}g}"
    mantissa, _, exponent = text.partition("e")
    if exponent:
        text = f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return text.replace("-", "−")


def percent(value: float) -> str:
    """Format a share.

    Examples
    --------
    >>> percent(0.765625), percent(1.0)
    ('76.6 %', '100 %')
    """
    return f"{figure(100.0 * value, 3)} %"


def seconds(value: float) -> str:
    """Format a time."""
    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def span(low: float, high: float, digits: int = 4) -> str:
    """Format a bracket: one number where both ends round to it, else both.

    Examples
    --------
    >>> span(1.15511617, 1.15511618), span(1.0, 2.5)
    ('1.155', 'between 1 and 2.5')
    """
    low, high = (0.0 if abs(v) <= 1e-12 else v for v in (low, high))
    ends = figure(low, digits), figure(high, digits)
    close = high - low <= 10.0 ** (1 - digits) * max(abs(low), abs(high)) / 2.0
    if ends[0] == ends[1] or close:
        return ends[1]
    return f"between {ends[0]} and {ends[1]}"
