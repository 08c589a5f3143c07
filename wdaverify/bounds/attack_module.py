r"""Attacks on any torch module: convolutions, any input shape, no exact side.

The nearest flips are verified by a copy of the module in float64; from their distances follow the
worst-case error and the distributional accuracy of every radius, order and ``κ``.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wdaverify.arrays import Bools, Floats, floats, integers
from wdaverify.bounds.accuracy import accuracy_of
from wdaverify.bounds.batches import in_batches
from wdaverify.bounds.knapsack import allocate
from wdaverify.bounds.nearest_flip import Hunt, nearest_flips
from wdaverify.bounds.options import Progress
from wdaverify.bounds.published import Settings
from wdaverify.bounds.reference import reference_wda, reference_wdapp
from wdaverify.bounds.reference_adaptive import reference_a3
from wdaverify.bounds.region import Region, region_of
from wdaverify.bounds.steps import steps_of
from wdaverify.bounds.torch_module import TorchModule
from wdaverify.bounds.torch_network import TorchModel, device_named, dtype_named
from wdaverify.errors import ProblemError
from wdaverify.limits import Limits
from wdaverify.norms import GroundNorm, norm_named
from wdaverify.support import Box, Support

__all__ = ["MODULE_METHODS", "ModuleAttack", "attack_module"]

MODULE_METHODS: Final = ("nearest", "wda", "wda++", "a3-wda", "all")
"""The minimum-distance attack, the three published ones, and the best of all."""

PUSHES: Final = tuple(2.0**-k for k in range(40, 7, -1))
"""By how much, relatively, a flip that float64 does not confirm is lengthened."""


@dataclass(frozen=True, slots=True, eq=False)
class ModuleAttack:
    """What an attack on a module found.

    Attributes
    ----------
    points
        Nearest misclassified point of each sample, the sample where there is none, ``(N, *shape)``.
    distances
        Their distances, 0 where a sample is wrong, infinite where nothing was found, ``(N,)``.
    radius, method, seed
        How it was found.
    stopped
        Whether a limit ended the attack early.
    """

    points: Floats
    distances: Floats
    radius: float
    method: str
    seed: int
    stopped: bool

    def error(self, radius: float | None = None, *, order: float = 1.0) -> float:
        r"""Return a lower bound of the worst-case error within the radius, weights uniform."""
        size = self.radius if radius is None else radius
        weights = np.full(len(self.distances), 1.0 / len(self.distances))
        return float(weights @ allocate(self.distances, weights, size, order))

    def accuracy(
        self, radius: float | None = None, *, kappa: float = 1.0, order: float = 1.0
    ) -> float:
        """Return the distributional accuracy, ``accuracy_of``."""
        size = self.radius if radius is None else radius
        weights = np.full(len(self.distances), 1.0 / len(self.distances))
        return accuracy_of(self.distances, weights, radius=size, kappa=kappa, order=order)


def attack_module(  # noqa: PLR0913  (the question and how to attack)
    module: torch.nn.Module,
    points: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    eps: float,
    norm: str = "linf",
    support: Support | None = None,
    method: str = "nearest",
    hunt: Hunt | None = None,
    settings: Settings | None = None,
    batch: int = 512,
    device: str = "cpu",
    dtype: str = "float32",
    seed: int = 0,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> ModuleAttack:
    """Find near misclassified points of a torch module.

    Parameters
    ----------
    module
        From inputs ``(W, *shape)`` to logits ``(W, K)``; a copy in evaluation mode is attacked.
    points, labels
        Samples ``(N, *shape)`` and labels ``(N,)``.
    eps
        Radius; the published attacks search within it, the results are quoted at it.
    norm, support
        Ground norm, and where points may be (of flattened points); everywhere when omitted.
    method
        One of ``MODULE_METHODS``.
    hunt, settings
        How thoroughly the minimum-distance attack looks, and parameters of the published ones.
    batch
        Samples attacked at once; halved where memory does not suffice.
    device, dtype
        Where and in which precision torch works; flips are verified in float64.
    seed
        The same seed on the same device gives the same points.
    limits, progress
        When a limit is reached the attack ends with what it has; progress counts samples.

    Raises
    ------
    ProblemError
        Shapes that do not fit, an option that makes no sense, a device that is not there.

    Examples
    --------
    >>> module = torch.nn.Linear(2, 2, dtype=torch.float64)
    >>> with torch.no_grad():
    ...     module.weight.copy_(torch.tensor([[0.0, 0.0], [2.0, 1.0]]))
    ...     module.bias.copy_(torch.tensor([0.0, -1.0]))
    Parameter containing:
    tensor([[0., 0.],
            [2., 1.]], dtype=torch.float64, requires_grad=True)
    Parameter containing:
    tensor([ 0., -1.], dtype=torch.float64, requires_grad=True)
    >>> attack_module(module, [[0.0, 0.0]], [0], eps=0.5).distances.round(6)  # 1 / (2 + 1)
    array([0.333333])
    """
    if method not in MODULE_METHODS:
        raise ProblemError(f"method: expected {', '.join(MODULE_METHODS)}, found {method!r}")
    X, y = floats(points, "points", ndim=np.ndim(points)), integers(labels, "labels")
    if X.ndim < 2 or y.shape != X.shape[:1]:
        raise ProblemError(f"labels: shape {y.shape} does not fit points of shape {X.shape}")
    if not 0 <= eps < math.inf:
        raise ProblemError(f"eps: expected a finite number >= 0, found {eps:g}")
    ground, limits = norm_named(norm), limits or Limits()
    shape, flat = X.shape[1:], X.reshape(len(X), -1)
    bound = (support or Box()).bind(flat.shape[1])
    if not bound.contains(flat).all():
        raise ProblemError(f"points: some lie outside the support ({bound.describe()})")
    model = TorchModule(module, shape, device=device_named(device), dtype=dtype_named(dtype))
    exact = TorchModule(module, shape, device=model.device)
    best = _Best(exact, bound, ground, flat, y)
    names = MODULE_METHODS[:-1] if method == "all" else (method,)
    generator = torch.Generator().manual_seed(seed)
    region = region_of(bound, steps_of(ground), model)
    hunter = _Hunter(model, region, eps, hunt or Hunt(), settings or Settings(), generator, limits)

    def work(start: int, stop: int) -> None:
        for name in names:
            if limits.reached("attack"):
                return
            rows = slice(start, stop)
            best.offer(hunter.hunt(name, model.tensor(flat[rows]), torch.tensor(y[rows])), start)
        if progress is not None:
            progress(stop, len(X))

    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        in_batches(len(X), batch, work)
    stopped = limits.reached("attack") is not None
    found = best.points.reshape(X.shape)
    return ModuleAttack(found, best.distances, eps, method, seed, stopped)


@dataclass(frozen=True, slots=True, eq=False)
class _Hunter:
    """Runs one method on one batch."""

    model: TorchModel
    region: Region
    eps: float
    how: Hunt
    settings: Settings
    generator: torch.Generator
    limits: Limits

    def hunt(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """Return one candidate for each sample, ``(W, n)``."""
        y = y.to(x.device)
        before = self.generator.get_state()
        try:
            return self._hunt(name, x, y)
        except RuntimeError:
            self.generator.set_state(before)  # a smaller batch begins where this one did
            raise

    def _hunt(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        if name == "nearest":
            return nearest_flips(
                self.model, self.region, x, y, hunt=self.how, generator=self.generator,
                stop=lambda: self.limits.reached("attack") is not None,
            ).points  # fmt: skip
        asked = (self.model, self.region, x, y)
        if name == "wda":
            return reference_wda(*asked, eps=self.eps, settings=self.settings).points
        if name == "wda++":
            return reference_wdapp(*asked, eps=self.eps, settings=self.settings).points
        return reference_a3(
            *asked, eps=self.eps, settings=self.settings, generator=self.generator
        ).points


class _Best:
    """The nearest flips that float64 confirms."""

    def __init__(
        self,
        exact: TorchModule,
        support: Support,
        norm: GroundNorm,
        flat: Floats,
        y: npt.NDArray[np.int64],
    ) -> None:
        self._exact, self._support, self._norm = exact, support, norm
        self._flat, self._labels = flat, y
        self.points = np.array(flat)
        self.distances = np.full(len(flat), np.inf)

    def offer(self, points: Tensor, start: int) -> None:
        """Keep points ``(W, n)`` of the samples from ``start`` on where they are nearer."""
        rows = slice(start, start + len(points))
        origins = self._flat[rows]
        found = self._confirmed(np.asarray(points.cpu().double().numpy()), origins, rows)
        lengths = np.where(
            self._wrong(found, rows) & self._support.contains(found),
            self._norm.length(found - origins),
            np.inf,
        )
        nearer = lengths < self.distances[rows]
        self.points[rows] = np.where(nearer[:, None], found, self.points[rows])
        self.distances[rows] = np.where(nearer, lengths, self.distances[rows])

    def _confirmed(self, points: Floats, origins: Floats, rows: slice) -> Floats:
        """Lengthen the ways of points until they are misclassified in float64."""
        moves, result = points - origins, points
        for push in PUSHES:
            doubtful = ~self._wrong(result, rows)
            if not doubtful.any():
                break
            longer = np.clip(origins + (1.0 + push) * moves, *self._support.bounds)
            result = np.where(doubtful[:, None], longer, result)
        return result

    def _wrong(self, points: Floats, rows: slice) -> Bools:
        logits = self._exact.logits(self._exact.tensor(points)).cpu().numpy()
        own = np.take_along_axis(logits, self._labels[rows, None], axis=1)
        return np.asarray((logits > own).any(axis=1))
