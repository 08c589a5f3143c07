"""How users add losses, norms, certificates, attacks and layers: one registration each.

A registration checks what it can and complains in a line. :mod:`wdaverify.registry` says how the
module that makes it is found by the command line.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from wdaverify.errors import ProblemError
from wdaverify.loss import LOSSES, MaxAffineLoss
from wdaverify.norms import NORMS, ScaledNorm
from wdaverify.problem import Problem

if TYPE_CHECKING:
    from wdaverify.bounds.options import Propose
    from wdaverify.importers.neurons import Neurons
    from wdaverify.importers.tensor import Tensor

__all__ = [
    "Layer",
    "register_attack",
    "register_certificate",
    "register_layer",
    "register_loss",
    "register_norm",
]

L = TypeVar("L", bound=MaxAffineLoss | type[MaxAffineLoss])
F = TypeVar("F", bound=Callable[..., Any])
Bound = Callable[[float], float]
"""An upper bound on the worst-case value at a radius."""


def register_loss(loss: L) -> L:
    """Add a loss that is a maximum of affine functions of the logits.

    Parameters
    ----------
    loss
        A :class:`~wdaverify.loss.MaxAffineLoss`, or a class of such that needs no arguments (so
        this is a decorator too).

    Raises
    ------
    ProblemError
        The name is taken, or the pieces for the least number of classes are not what they should
        be; see :meth:`~wdaverify.loss.MaxAffineLoss.check`.
    """
    made: object = loss
    if isinstance(loss, type):
        try:
            made = loss()
        except TypeError as error:
            raise ProblemError(f"loss {loss.__name__}: cannot be made: {error}") from None
    if not isinstance(made, MaxAffineLoss):
        raise ProblemError(f"loss: expected a MaxAffineLoss, found {made!r}")
    made.check(made.classes)
    LOSSES.register(made.name, made)
    return loss


def register_norm(norm: ScaledNorm) -> ScaledNorm:
    """Add a plain norm of scaled features.

    Raises
    ------
    ProblemError
        The name is taken, or it is no :class:`~wdaverify.norms.ScaledNorm`: the engines know the
        unit balls of l1, l2 and linf, and those that a scaling makes of them.
    """
    if not isinstance(norm, ScaledNorm):
        raise ProblemError(f"norm: expected a ScaledNorm, found {norm!r}")
    NORMS.register(norm.name, norm)
    return norm


@dataclass(frozen=True, slots=True, eq=False)
class _Registered:
    """A certificate made of a function."""

    problem: Problem
    method: str
    function: Bound

    def bound(self, radius: float) -> float:
        """Return what the function says.

        Raises
        ------
        ProblemError
            It is not a number.
        """
        value = float(self.function(radius))
        if math.isnan(value):
            raise ProblemError(f"certificate {self.method}: expected a number, found NaN")
        return value


def register_certificate(
    name: str,
    *,
    proves: str,
    covers: str,
    refuses: Callable[[Problem], str | None] | None = None,
) -> Callable[[F], F]:
    """Add an upper bound: decorates ``make(problem)``, which returns ``bound(radius)``.

    Every sandwich uses it unasked, and fails if it falls below a lower bound.

    Parameters
    ----------
    proves, covers
        What it proves, and for which losses, norms, orders and supports, each in a line.
    refuses
        Returns why it proves nothing about a problem, or ``None``.

    Raises
    ------
    ProblemError
        The name is taken, or what is decorated takes other arguments.
    """

    def decorate(make: F) -> F:
        from wdaverify.bounds.registry import METHODS, OTHERS  # noqa: PLC0415
        from wdaverify.bounds.statements import Means, Method  # noqa: PLC0415

        _check_signature("certificate", name, make, ("problem",))
        if name in OTHERS:
            raise ProblemError(f"certificate: {name!r} is taken, choose another name")

        def certificate(problem: Problem, means: Means) -> _Registered:  # noqa: ARG001
            return _Registered(problem, name, make(problem))

        refuse = refuses or (lambda _: None)
        METHODS.register(name, Method(name, proves, covers, refuse, certificate))
        return make

    return decorate


def register_attack(name: str) -> Callable[["Propose"], "Propose"]:
    """Add an attack: decorates ``propose(problem, radius, rng)``.

    It returns points ``(M, n)`` and the indices ``(M,)`` of the samples from which mass may move
    there, at any distance; the merge makes the best distribution of them.

    Raises
    ------
    ProblemError
        The name is taken, or what is decorated takes other arguments.
    """

    def decorate(propose: "Propose") -> "Propose":
        from wdaverify.bounds.options import METHODS, Method  # noqa: PLC0415

        _check_signature("attack", name, propose, ("problem", "radius", "rng"))
        METHODS.register(name, Method((), propose=propose))
        return propose

    return decorate


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer of a network that is read.

    Attributes
    ----------
    neurons
        Makes neurons: first argument of :mod:`wdaverify.importers.piecewise`'s functions.
    input
        What flows into it.
    source
        ``"onnx"`` or ``"torch"``.
    """

    neurons: "Neurons"
    input: "Tensor"
    source: str
    _read: Callable[[str, Any], Any]

    def parameter(self, name: str, default: float) -> float:
        """Return an attribute of the ONNX node or an argument of the torch operator."""
        return float(self._read(name, default))


def register_layer(
    *, onnx: str | None = None, torch: str | None = None
) -> Callable[[Callable[[Layer], "Tensor"]], Callable[[Layer], "Tensor"]]:
    """Add a piecewise affine layer of one input: decorates ``layer -> tensor``.

    Parameters
    ----------
    onnx
        Operator, such as ``HardSigmoid``; with its domain (``domain::name``) if it is not ONNX's.
    torch
        Operator without its overload, such as ``aten.hardsigmoid``.

    Raises
    ------
    ProblemError
        A name is known already, none is given, or what is decorated takes other arguments.
    """
    if onnx is None and torch is None:
        raise ProblemError("layer: expected onnx= or torch=, the name of an operator")

    def decorate(translate: Callable[[Layer], "Tensor"]) -> Callable[[Layer], "Tensor"]:
        _check_signature("layer", str(onnx or torch), translate, ("layer",))
        if onnx is not None:
            from wdaverify.importers.onnx_operators import OPERATORS  # noqa: PLC0415

            OPERATORS.register(
                onnx, lambda n: translate(Layer(n.neurons, n.tensor(), "onnx", n.attribute))
            )
        if torch is not None:
            from wdaverify.importers import torch_operators  # noqa: PLC0415

            torch_operators.OPERATORS.register(
                torch, lambda c: translate(Layer(c.neurons, c.operand("self"), "torch", c.get))
            )
        return translate

    return decorate


def _check_signature(kind: str, name: str, function: object, wanted: tuple[str, ...]) -> None:
    """Complain about a function that cannot be called with so many arguments."""
    words = ", ".join(wanted)
    if not callable(function):
        raise ProblemError(f"{kind} {name}: expected a function of ({words}), found {function!r}")
    try:
        inspect.signature(function).bind(*wanted)
    except TypeError:
        found = inspect.signature(function)
        raise ProblemError(
            f"{kind} {name}: expected a function of ({words}), found {found}"
        ) from None
