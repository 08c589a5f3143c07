"""A draft as `problem.toml`, in which every guess says what it is and how it came about."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from wdaverify.drafts.draft import Draft
from wdaverify.drafts.guess import Guess, T
from wdaverify.loss import LOSSES
from wdaverify.norms import NORMS
from wdaverify.storage.spelling import (
    LOSS_WORDS,
    NORM_WORDS,
    REGISTERED,
    assigned,
    bound_value,
    list_value,
    order_value,
    price_words,
    printable,
    string_value,
)

__all__ = ["render_draft", "sizes"]

MANY: Final = 50
"""Features up to which all are named."""


def render_draft(draft: Draft, network: str) -> str:
    """Return the text of `problem.toml`.

    Parameters
    ----------
    draft
        The question.
    network
        Name of the network's file beside it.
    """
    problem = draft.problem
    data = '{ file = "data.npz", clip = true }' if draft.clipped else '"data.npz"'
    lines = [
        *_comment(_head(draft)),
        "",
        f"name = {string_value(problem.name)}",
        assigned(f"network = {string_value(network)}", f"a copy of {printable(draft.model.name)}"),
        assigned(f"data = {data}", f"arrays {_arrays(draft)}"),
        "",
        *_comment([f"loss: {_origin(draft.loss)}. {_others(_losses(draft), draft.loss.value)}."]),
        assigned(
            f"loss = {string_value(draft.loss.value)}", LOSS_WORDS.get(draft.loss.value, REGISTERED)
        ),
        "",
        *_comment([f"norm: {_origin(draft.norm)}. {_others(NORMS, draft.norm.value)}."]),
        assigned(
            f"norm = {string_value(draft.norm.value)}", NORM_WORDS.get(draft.norm.value, REGISTERED)
        ),
        "",
        *_comment([f'order: {_origin(draft.order)}. Any number >= 1, or "inf".']),
        assigned(f"order = {order_value(draft.order.value)}", price_words(draft.order.value)),
        "",
        *_comment([f"radii, in units of the inputs: {_origin(draft.radii)}."]),
        f"radii = {list_value(draft.radii.value)}",
        "",
        *_support(draft),
    ]
    return "\n".join(lines) + "\n"


def sizes(draft: Draft) -> str:
    """Return what the network looks like, in a few words."""
    network = draft.problem.network
    hidden = ", ".join(str(width) for width in network.widths)
    layers = f"hidden layers of {hidden}" if hidden else "no hidden layer"
    return f"{network.features} inputs, {network.classes} logits, {layers}"


def _head(draft: Draft) -> list[str]:
    count = len(draft.problem)
    lines = [
        (
            f"{draft.problem.name}: a first draft by `wdaverify new`. A guess is marked as one: "
            f"read it, and change what does not fit your question."
        ),
        "",
        f"network  {draft.model.name}: {sizes(draft)}",
        f"data     {draft.data.name}: {count} samples; {'; '.join(draft.samples.notes)}",
        f"accuracy {draft.correct / count:.1%} ({draft.correct} of {count})",
        "",
        "Logits stand for:",
        *_enumerated(draft.classes, _counts(draft)),
    ]
    features = draft.samples.features
    if features and features != tuple(str(k) for k in range(len(features))):
        shown = ", ".join(_short(name) for name in features[:MANY])
        lines += ["", f"Features: {shown}{', …' if len(features) > MANY else ''}"]
    if draft.warnings:
        lines += ["", *(f"WARNING: {warning}" for warning in draft.warnings)]
    return lines


def _counts(draft: Draft) -> list[str]:
    counts = np.bincount(draft.problem.labels, minlength=draft.problem.network.classes)
    return [f"{count} samples" if count != 1 else "1 sample" for count in counts]


def _enumerated(names: Sequence[str], remarks: Sequence[str]) -> list[str]:
    """Return a line for each logit: its number, its name if it has another, a remark."""
    shown = [_short(name) for name in names]
    width = max(len(name) for name in shown)
    rows = zip(range(len(shown)), shown, remarks, strict=True)
    if all(name == str(k) for k, name in enumerate(names)):
        return [f"  {k}  {remark}" for k, _, remark in rows]
    return [f"  {k}  {name:<{width}}  {remark}" for k, name, remark in rows]


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:59]}…"


def _arrays(draft: Draft) -> str:
    names = f"points {draft.samples.points.shape} and labels"
    weights = ", and weights" if draft.samples.weights is not None else ""
    clip = "; clip: rounding errors at the edge of the support" if draft.clipped else ""
    return names + weights + clip


def _origin(guess: Guess[T], words: str = "") -> str:
    if not guess.guessed:
        return guess.why
    return f"a guess, {words}; {guess.why}" if words else f"a guess; {guess.why}"


def _losses(draft: Draft) -> list[str]:
    classes = draft.problem.network.classes
    return [name for name, loss in LOSSES.items() if loss.classes <= classes]


def _others(known: Iterable[str], chosen: str) -> str:
    return f"Others are {', '.join(name for name in known if name != chosen)}"


def _support(draft: Draft) -> list[str]:
    box = draft.support.value
    if np.isneginf(box.lower).all() and np.isposinf(box.upper).all():
        return ["# No [support], as asked: mass may move to anywhere in R^n."]
    what = "Mass may move nowhere else; without this table it may move to anywhere in R^n."
    return [
        *_comment([f"support: {_origin(draft.support, draft.support.words)}. {what}"]),
        "[support]",
        f"lower = {bound_value(box.lower)}",
        f"upper = {bound_value(box.upper)}",
    ]


def _comment(lines: Iterable[str]) -> list[str]:
    """Return lines as remarks of at most 100 characters, continued with an indent."""
    wrapped: list[str] = []
    for line in lines:
        text = printable(line)
        hang = (
            "         " if text.startswith(("network ", "data ", "accuracy ", "Features: ")) else ""
        )
        parts = textwrap.wrap(text, 97, subsequent_indent=hang, break_long_words=False) or [""]
        wrapped += [f"# {part}".rstrip() for part in parts]
    return wrapped
