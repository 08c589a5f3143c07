"""From a file of a network and a file of samples to a question, with a reason for each part."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Floats, floats
from wdaverify.cost import TransportCost
from wdaverify.drafts.guess import Guess
from wdaverify.drafts.radii import guess_radii
from wdaverify.drafts.support import DUST, guess_support
from wdaverify.drafts.warnings import correct, warnings_about
from wdaverify.errors import ProblemError
from wdaverify.loss import loss_named
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.samples import Labels, class_indices, flattened
from wdaverify.storage.networks import input_shape, load_network
from wdaverify.storage.places import complaints_on_one_line, keys_placed
from wdaverify.storage.samples import Samples, read_samples
from wdaverify.storage.values import check_radii
from wdaverify.support import Box

__all__ = ["AS_ASKED", "Draft", "FittedSamples", "Wishes", "draft"]

LOSS: Final = "margin"
NORM: Final = "linf"
ORDER: Final = 1.0

AS_ASKED: Final = "as asked"

_OPTIONS: Final = {
    **{name: f"--{name}" for name in ("classes", "loss", "norm", "order", "samples")},
    "--support": "--support",
}
_WHY_LOSS: Final = "positive where the network errs; piecewise affine, so every engine covers it"
_WHY_NORM: Final = "each feature may move by as much as the radius, all at once"
_WHY_ORDER: Final = "the average move over all mass is limited, not each one; inf limits each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is asked for; ``None`` leaves a part to be guessed.

    Parameters
    ----------
    name
        Name of the problem; that of the folder if ``None``.
    loss, norm, order
        As in `problem.toml`.
    radii
        Radii, in units of distance.
    support
        A box; ``Box()`` is the whole space.
    samples
        Keep this many samples, from the first on.
    label_column
        The column of labels of a table.
    classes
        What the data call the classes, in the order of the logits.
    """

    name: str | None = None
    loss: str | None = None
    norm: str | None = None
    order: float | str | None = None
    radii: tuple[float, ...] | None = None
    support: Box | None = None
    samples: int | None = None
    label_column: str | None = None
    classes: tuple[str, ...] | None = None


class FittedSamples(NamedTuple):
    """Samples in the form that the network takes."""

    points: npt.NDArray[Any]
    """Shape ``(N, n)``, in the number type of the file."""
    labels: Labels
    weights: npt.NDArray[Any] | None
    shape: tuple[int, ...]
    """Shape of one sample as network or data have it, whichever has more axes."""
    features: tuple[str, ...]
    """Names of the features; may be empty."""
    notes: tuple[str, ...]
    """What was understood of the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A question, how it came about, and what is to be stored of it.

    Parameters
    ----------
    problem
        The question, its points inside the support.
    samples
        The samples, as they will be stored.
    radii, support, loss, norm, order
        The parts of the question that may be guesses.
    clipped
        How many points rounding has left outside the support.
    correct
        How many samples the network classifies rightly.
    model, data
        The files that were read.
    warnings
        What looks wrong.
    """

    problem: Problem
    samples: FittedSamples
    radii: Guess[tuple[float, ...]]
    support: Guess[Box]
    loss: Guess[str]
    norm: Guess[str]
    order: Guess[float]
    clipped: int
    correct: int
    model: Path = Path()
    data: Path = Path()
    warnings: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """What to call the classes, in the order of the logits."""
        return self.samples.labels.names or tuple(
            str(k) for k in range(self.problem.network.classes)
        )


def draft(model: Path, data: Path, wishes: Wishes, *, name: str) -> Draft:
    """Return a question about a network and samples.

    Parameters
    ----------
    model
        ``.onnx``, ``.npz`` or ``.pt2``, as `load_network` reads it.
    data
        ``.npz`` or ``.csv``, as `read_samples` reads it.
    wishes
        What is asked for; the rest is guessed.
    name
        Name of the problem where none is asked for.

    Raises
    ------
    ProblemError
        A file or an option that is wrong, or files that do not fit each other; one line.
    UnsupportedError
        The network has an operator that is not piecewise affine or not known.
    """
    with complaints_on_one_line():
        radii = _radii(wishes.radii)
        network = load_network(model)
        shape = input_shape(model, network)
        samples = read_samples(data, wishes.label_column)
        with keys_placed(data, _OPTIONS):
            result = _draft(network, _fitted(samples, network, shape, wishes), wishes, radii, name)
        found = warnings_about(result.problem, result.classes, result.samples.features)
        return replace(result, model=model, data=data, warnings=tuple(found))


def _draft(
    network: ReLUNetwork,
    samples: FittedSamples,
    wishes: Wishes,
    radii: Guess[tuple[float, ...]] | None,
    name: str,
) -> Draft:
    """Return the draft without the names of its files."""
    loss, norm, order = _question(wishes)
    points = floats(samples.points, "points", ndim=2)
    support = _support(wishes.support, points, samples.shape)
    problem = Problem(
        network,
        np.clip(points, support.value.lower, support.value.upper),
        samples.labels.indices,
        loss=loss.value,
        cost=TransportCost(norm.value, order.value),
        support=support.value,
        weights=samples.weights,
        name=name if wishes.name is None else wishes.name,
    )
    return Draft(
        problem=problem,
        samples=samples,
        radii=radii or guess_radii(problem.points, problem.labels, problem.cost.norm),
        support=support,
        loss=loss,
        norm=norm,
        order=order,
        clipped=int((support.value.excess(points) > 0).sum()),
        correct=correct(problem),
    )


def _question(wishes: Wishes) -> tuple[Guess[str], Guess[str], Guess[float]]:
    """Return loss, norm and order."""
    loss = loss_named(LOSS if wishes.loss is None else wishes.loss).name
    norm = NORM if wishes.norm is None else wishes.norm
    cost = TransportCost(norm, ORDER if wishes.order is None else wishes.order)
    return (
        Guess(loss, loss, *_reason(wishes.loss, _WHY_LOSS)),
        Guess(cost.norm.name, cost.norm.name, *_reason(wishes.norm, _WHY_NORM)),
        Guess(cost.order, f"{cost.order:g}", *_reason(wishes.order, _WHY_ORDER)),
    )


def _reason(wish: object, why: str) -> tuple[str, bool]:
    return (why, True) if wish is None else (AS_ASKED, False)


def _radii(wish: tuple[float, ...] | None) -> Guess[tuple[float, ...]] | None:
    if wish is None:
        return None
    values = check_radii(wish, "--radius")
    return Guess(values, ", ".join(f"{v:g}" for v in values), AS_ASKED, guessed=False)


def _fitted(
    found: Samples, network: ReLUNetwork, shape: tuple[int, ...], wishes: Wishes
) -> FittedSamples:
    if found.features and len(found.features) != network.features:
        raise ProblemError(
            f"points: expected {network.features} columns of features, as the network has "
            f"{network.features} inputs, found {len(found.features)}: "
            f"{', '.join(found.features[:8])}{', …' if len(found.features) > 8 else ''}"
        )
    rows, fitted = flattened(found.points, shape)
    labels = class_indices(found.labels, network.classes, wishes.classes)
    if len(labels.indices) != len(rows):
        raise ProblemError(
            f"labels: expected one for each of {len(rows)} samples, found {len(labels.indices)}"
        )
    count = len(rows) if wishes.samples is None else wishes.samples
    if not 1 <= count <= len(rows):
        raise ProblemError(f"samples: expected 1 to {len(rows)}, found {count}")
    return FittedSamples(
        rows[:count],
        labels._replace(indices=labels.indices[:count]),
        None if found.weights is None else floats(found.weights, "weights", ndim=1)[:count],
        max(fitted, found.points.shape[1:], key=lambda axes: sum(size > 1 for size in axes)),
        found.features,
        (*found.notes, f"labels: {labels.how}"),
    )


def _support(wish: Box | None, points: Floats, shape: tuple[int, ...]) -> Guess[Box]:
    if wish is None:
        guess = guess_support(points, shape)
        return replace(guess, value=guess.value.bind(points.shape[1]))
    box = wish.bind(points.shape[1])
    excess = box.excess(points)
    far = np.flatnonzero(excess > DUST)
    if len(far):
        raise ProblemError(
            f"--support: {len(far)} of {len(points)} points lie outside {box.describe()}, "
            f"the first at index {far[0]} by {excess[far[0]]:.3g}"
        )
    return Guess(box, box.describe(), AS_ASKED, guessed=False)
