"""Cells in blocks of arrays: how the fast enumerations hand them on."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Block"]


class Block(NamedTuple):
    """Several cells at once, ``B`` of them."""

    patterns: Bools
    """Which neurons are on, ``(B, neurons)``; identically zero is off, slope 1 is on."""
    cuts: Bools
    """Neurons whose half-spaces, with the support, describe the cell, ``(B, neurons)``."""
    interiors: Floats
    """Points strictly inside, in the coordinates of the frame, ``(B, d)``."""
    bounded: Bools | None = None
    """Whether each cell is bounded, ``(B,)``, if that was found on the way."""

    def at(self, index: slice | Bools) -> "Block":
        """Return some of the cells."""
        bounded = None if self.bounded is None else self.bounded[index]
        return Block(self.patterns[index], self.cuts[index], self.interiors[index], bounded)

    @classmethod
    def joined(cls, blocks: "Sequence[Block]") -> "Block":
        """Return the cells of several blocks, at least one, as one."""
        bounded = [block.bounded for block in blocks if block.bounded is not None]
        return cls(
            np.concatenate([block.patterns for block in blocks]),
            np.concatenate([block.cuts for block in blocks]),
            np.concatenate([block.interiors for block in blocks]),
            np.concatenate(bounded) if len(bounded) == len(blocks) else None,
        )
