"""Images: the sample, where its mass goes, and the difference, as PNG data inside the page."""

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError
from wdaverify.problem import Problem
from wdaverify.report.moves import Move

__all__ = ["SHOWN", "Picture", "Shape", "guess_shape", "pictures"]

SHOWN: Final = 8
"""Moves that are shown as pictures."""
SMALLEST: Final = 25
"""Pixels from which on features are taken for a picture unasked."""
LESS, MORE = np.array([0.0, 95.0, 160.0]), np.array([200.0, 80.0, 0.0])
"""Colours of pixels that become darker and brighter, told apart without red and green."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shape:
    """Height, width and channels (first, as networks have them); ``guessed`` from their number."""

    channels: int
    height: int
    width: int
    guessed: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """Data URIs of a move."""

    move: Move
    before: str
    after: str
    difference: str
    largest: float


def guess_shape(problem: Problem, given: tuple[int, ...] | None) -> Shape | None:
    """Return the shape of the samples as pictures, ``None`` where they are none.

    Parameters
    ----------
    given
        ``(height, width)`` or ``(channels, height, width)``; empty: they are no pictures; ``None``:
        a square number of features from 25 on (three times one: colours) with one range for all.

    Raises
    ------
    ProblemError
        The shape does not fit the number of features.
    """
    n = problem.network.features
    if given is not None:
        if given == ():
            return None
        channels, height, width = (1, 1, 1, *given)[-3:]
        fits = channels in (1, 3) and min(given) > 0 and math.prod(given) == n
        if not (fits and len(given) in (2, 3)):
            raise ProblemError(
                f"image_shape: expected (height, width) or (1 or 3, height, width) of {n} "
                f"features, found {given}"
            )
        return Shape(channels, height, width, guessed=False)
    lower, upper = problem.support.bind(n).bounds
    if len(np.unique(lower)) > 1 or len(np.unique(upper)) > 1:
        return None
    for channels in (1, 3):
        side = math.isqrt(n // channels)
        if side * side * channels == n and side * side >= SMALLEST:
            return Shape(channels, side, side, guessed=True)
    return None


def pictures(problem: Problem, moves: Sequence[Move], shape: Shape) -> list[Picture]:
    """Return pictures of the first moves."""
    low, high = _range(problem)
    found = []
    for move in moves[:SHOWN]:
        change = move.target - move.origin
        largest = float(np.abs(change).max())
        found.append(
            Picture(
                move,
                _png(_plain(move.origin, shape, low, high)),
                _png(_plain(move.target, shape, low, high)),
                _png(_signed(change / (largest or 1.0), shape)),
                largest,
            )
        )
    return found


def _range(problem: Problem) -> tuple[float, float]:
    """Return what is black and what is white: the support's range, else that of the data."""
    lower, upper = problem.support.bounds
    low, high = float(lower.min()), float(upper.max())
    points = problem.points
    low = low if math.isfinite(low) else float(points.min())
    high = high if math.isfinite(high) else float(points.max())
    return low, high if high > low else low + 1.0


def _plain(point: Floats, shape: Shape, low: float, high: float) -> Bytes:
    values = np.clip((point - low) / (high - low), 0.0, 1.0)
    image = values.reshape(shape.channels, shape.height, shape.width).transpose(1, 2, 0)
    return np.round(255.0 * np.broadcast_to(image, (*image.shape[:2], 3))).astype(np.uint8)


def _signed(change: Floats, shape: Shape) -> Bytes:
    """Colour changes from −1 to 1: blue, white, orange (the channel that changes most)."""
    by_channel = change.reshape(shape.channels, shape.height, shape.width)
    most = np.abs(by_channel).argmax(axis=0)[None]
    values = np.take_along_axis(by_channel, most, axis=0)[0]
    colour = np.where(values[..., None] > 0, MORE, LESS)
    strength = np.abs(values)[..., None]
    image: Bytes = np.round(strength * colour + (1.0 - strength) * 255.0).astype(np.uint8)
    return image


def _png(image: Bytes) -> str:
    """Return a data URI of an RGB image ``(h, w, 3)`` (PNG specification, ISO/IEC 15948)."""
    height, width = image.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in image)  # filter 0: as it is
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()
