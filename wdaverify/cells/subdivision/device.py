"""Products of the subdivision on a device, by torch: an option with the same results.

Signs are decided by bounds that hold for every order of summation and for fused products, in doubt
by rational arithmetic on this machine: a device changes roundings, and so no sign and no cell.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.subdivision.values import Products
from wdaverify.errors import ProblemError

__all__ = ["DeviceProducts", "products_on"]

TOP = -(2**63)
"""Flips the first bit, so that signed numbers are in the order of unsigned ones."""


class DeviceProducts(Products):
    """Products and sorting in float64 and int64 on a device of torch.

    Parameters
    ----------
    name
        As torch names it.

    Raises
    ------
    ProblemError
        There is no such device.
    """

    def __init__(self, name: str) -> None:
        import torch  # noqa: PLC0415  (only when asked for)

        try:
            self._device = torch.device(name)
            torch.zeros(1, dtype=torch.float64, device=self._device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ProblemError(
                f"device: asked for {name!r}, which torch {torch.__version__} cannot use "
                f"({reason}); use cpu"
            ) from None
        self._name, self._torch = name, torch
        self._kept: dict[int, tuple[Floats, Any]] = {}

    def __reduce__(self) -> tuple[type["DeviceProducts"], tuple[str]]:
        return DeviceProducts, (self._name,)

    def affine(self, W: Floats, X: Floats, b: Floats) -> Floats:  # noqa: D102  (inherited)
        points = self._there(X)
        return np.asarray(self._torch.addmm(self._known(b)[:, None], self._known(W), points).cpu())

    def sorted_by(self, keys: npt.NDArray[np.uint64]) -> Integers:  # noqa: D102
        signed = self._there(keys.view(np.int64)) ^ TOP
        return np.asarray(self._torch.argsort(signed, stable=True).cpu())

    def _there(self, array: npt.NDArray[Any]) -> Any:  # noqa: ANN401
        return self._torch.tensor(array, device=self._device)

    def _known(self, array: Floats) -> Any:  # noqa: ANN401
        """Return the copy on the device of weights, made once."""
        if id(array) not in self._kept:
            self._kept[id(array)] = array, self._there(array)
        return self._kept[id(array)][1]


def products_on(device: str) -> Products:
    """Return numpy for ``cpu``, else what works on the device.

    Raises
    ------
    ProblemError
        There is no such device.
    """
    kind = device.split(":", maxsplit=1)[0]
    if kind not in {"cpu", "cuda"}:
        raise ProblemError(f"device: expected cpu or cuda, found {device!r}")
    return Products() if kind == "cpu" else DeviceProducts(device)
