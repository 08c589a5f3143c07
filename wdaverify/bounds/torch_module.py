"""Any torch module as a classifier of flat points."""

import math
from copy import deepcopy
from typing import final

import torch
from torch import Tensor

from wdaverify.bounds.torch_network import TorchModel

__all__ = ["TorchModule"]


@final
class TorchModule(TorchModel):
    """A copy of a module, in evaluation mode, that takes flat points.

    Parameters
    ----------
    module
        From inputs ``(W, *shape)`` to logits ``(W, K)``; it is not changed.
    shape
        Of one input.
    device, dtype
        Where and in which precision the copy works.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        shape: tuple[int, ...],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__(device, dtype)
        self.shape = shape
        self._module = deepcopy(module).to(device=self.device, dtype=dtype).eval()
        self._module.requires_grad_(False)

    @property
    def features(self) -> int:
        """Number of coordinates of one input."""
        return math.prod(self.shape)

    def logits(self, points: Tensor) -> Tensor:
        """Evaluate the module: ``(W, n) -> (W, K)``."""
        result: Tensor = self._module(points.view(len(points), *self.shape))
        return result
