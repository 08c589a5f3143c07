"""Exact Wasserstein-distributional robustness of ReLU networks.

>>> import wdaverify as wv
>>> problem = wv.load_problem("problems/relu-interval")  # doctest: +SKIP
>>> wv.solve(problem, radius=2.0)  # doctest: +SKIP

Names are imported when they are first used, so that ``import wdaverify`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wdaverify import plot
    from wdaverify.bounds.attack import LowerBound, attack
    from wdaverify.bounds.certificate import UpperBound, certify
    from wdaverify.cells.complex import Cell, CellComplex, enumerate_cells
    from wdaverify.cost import TransportCost
    from wdaverify.distribution import Distribution
    from wdaverify.errors import (
        EnumerationError,
        LimitReached,
        ProblemError,
        SandwichViolation,
        SolverError,
        UnsupportedError,
        WDAVerifyError,
    )
    from wdaverify.exact.answer import ExactValue
    from wdaverify.exact.curve import ValueCurve, value_curve
    from wdaverify.exact.solve import solve
    from wdaverify.limits import Limits
    from wdaverify.network import ReLUNetwork
    from wdaverify.polishing import polish
    from wdaverify.problem import Problem
    from wdaverify.proof.prove import Proof, prove
    from wdaverify.storage import load_network, load_problem, write_problem
    from wdaverify.support import Box, Polytope
    from wdaverify.verification import Sandwich, sandwich

__version__ = "0.1.0"

_HOME = {
    "Box": "support",
    "Cell": "cells.complex",
    "CellComplex": "cells.complex",
    "Distribution": "distribution",
    "EnumerationError": "errors",
    "ExactValue": "exact.answer",
    "LimitReached": "errors",
    "Limits": "limits",
    "LowerBound": "bounds.attack",
    "Polytope": "support",
    "Problem": "problem",
    "ProblemError": "errors",
    "Proof": "proof.prove",
    "ReLUNetwork": "network",
    "Sandwich": "verification",
    "SandwichViolation": "errors",
    "SolverError": "errors",
    "TransportCost": "cost",
    "UnsupportedError": "errors",
    "UpperBound": "bounds.certificate",
    "ValueCurve": "exact.curve",
    "WDAVerifyError": "errors",
    "attack": "bounds.attack",
    "certify": "bounds.certificate",
    "enumerate_cells": "cells.complex",
    "load_network": "storage",
    "load_problem": "storage",
    "polish": "polishing",
    "prove": "proof.prove",
    "sandwich": "verification",
    "solve": "exact.solve",
    "value_curve": "exact.curve",
    "write_problem": "storage",
}

__all__ = [
    "Box",
    "Cell",
    "CellComplex",
    "Distribution",
    "EnumerationError",
    "ExactValue",
    "LimitReached",
    "Limits",
    "LowerBound",
    "Polytope",
    "Problem",
    "ProblemError",
    "Proof",
    "ReLUNetwork",
    "Sandwich",
    "SandwichViolation",
    "SolverError",
    "TransportCost",
    "UnsupportedError",
    "UpperBound",
    "ValueCurve",
    "WDAVerifyError",
    "__version__",
    "attack",
    "certify",
    "enumerate_cells",
    "load_network",
    "load_problem",
    "plot",
    "polish",
    "prove",
    "sandwich",
    "solve",
    "value_curve",
    "write_problem",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "plot":
        return import_module("wdaverify.plot")
    if name not in _HOME:
        raise AttributeError(f"module 'wdaverify' has no attribute {name!r}")
    return getattr(import_module(f"wdaverify.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
