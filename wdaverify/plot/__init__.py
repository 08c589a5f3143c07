"""Pictures, each a function that draws on axes and returns them.

>>> import wdaverify as wv
>>> problem = wv.load_problem("problems/moons")  # doctest: +SKIP
>>> wv.plot.transport(problem, wv.solve(problem, radius=0.05))  # doctest: +SKIP
"""

from wdaverify.plot.cells_plot import cells
from wdaverify.plot.curve_picture import curve
from wdaverify.plot.sandwich_picture import sandwich
from wdaverify.plot.transport_plot import transport

__all__ = ["cells", "curve", "sandwich", "transport"]
