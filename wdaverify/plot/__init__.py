"""Pictures: of a sandwich, and of cells in the plane."""

from wdaverify.plot.cells import draw_cells, save_cells
from wdaverify.plot.sandwich import draw_sandwich, save_sandwich

__all__ = ["draw_cells", "draw_sandwich", "save_cells", "save_sandwich"]
