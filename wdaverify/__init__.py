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
    from wdaverify.extending import (
        Layer,
        register_attack,
        register_certificate,
        register_layer,
        register_loss,
        register_norm,
    )
    from wdaverify.limits import Limits
    from wdaverify.loss import MaxAffineLoss
    from wdaverify.network import AffineMap, ReLUNetwork
    from wdaverify.norms import ScaledNorm
    from wdaverify.polishing import polish
    from wdaverify.problem import Problem
    from wdaverify.proof.prove import Proof, prove
    from wdaverify.report.page import write_report
    from wdaverify.storage import load_network, load_problem, write_problem
    from wdaverify.support import Box, Polytope
    from wdaverify.units import Units
    from wdaverify.verification import Sandwich, sandwich
    from wdaverify.vnnlib import Verdict, VNNLibProperty, export_vnnlib, load_vnnlib

__version__ = "0.1.0"

_HOME = {
    "AffineMap": "network",
    "Box": "support",
    "Cell": "cells.complex",
    "CellComplex": "cells.complex",
    "Distribution": "distribution",
    "EnumerationError": "errors",
    "ExactValue": "exact.answer",
    "Layer": "extending",
    "LimitReached": "errors",
    "Limits": "limits",
    "LowerBound": "bounds.attack",
    "MaxAffineLoss": "loss",
    "Polytope": "support",
    "Problem": "problem",
    "ProblemError": "errors",
    "Proof": "proof.prove",
    "ReLUNetwork": "network",
    "Sandwich": "verification",
    "SandwichViolation": "errors",
    "ScaledNorm": "norms",
    "SolverError": "errors",
    "TransportCost": "cost",
    "Units": "units",
    "UnsupportedError": "errors",
    "UpperBound": "bounds.certificate",
    "VNNLibProperty": "vnnlib",
    "ValueCurve": "exact.curve",
    "Verdict": "vnnlib",
    "WDAVerifyError": "errors",
    "attack": "bounds.attack",
    "certify": "bounds.certificate",
    "enumerate_cells": "cells.complex",
    "export_vnnlib": "vnnlib",
    "load_network": "storage",
    "load_problem": "storage",
    "load_vnnlib": "vnnlib",
    "polish": "polishing",
    "prove": "proof.prove",
    "register_attack": "extending",
    "register_certificate": "extending",
    "register_layer": "extending",
    "register_loss": "extending",
    "register_norm": "extending",
    "sandwich": "verification",
    "solve": "exact.solve",
    "value_curve": "exact.curve",
    "write_problem": "storage",
    "write_report": "report.page",
}

__all__ = [
    "AffineMap",
    "Box",
    "Cell",
    "CellComplex",
    "Distribution",
    "EnumerationError",
    "ExactValue",
    "Layer",
    "LimitReached",
    "Limits",
    "LowerBound",
    "MaxAffineLoss",
    "Polytope",
    "Problem",
    "ProblemError",
    "Proof",
    "ReLUNetwork",
    "Sandwich",
    "SandwichViolation",
    "ScaledNorm",
    "SolverError",
    "TransportCost",
    "Units",
    "UnsupportedError",
    "UpperBound",
    "VNNLibProperty",
    "ValueCurve",
    "Verdict",
    "WDAVerifyError",
    "__version__",
    "attack",
    "certify",
    "enumerate_cells",
    "export_vnnlib",
    "load_network",
    "load_problem",
    "load_vnnlib",
    "plot",
    "polish",
    "prove",
    "register_attack",
    "register_certificate",
    "register_layer",
    "register_loss",
    "register_norm",
    "sandwich",
    "solve",
    "value_curve",
    "write_problem",
    "write_report",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "plot":
        return import_module("wdaverify.plot")
    if name not in _HOME:
        raise AttributeError(f"module 'wdaverify' has no attribute {name!r}")
    return getattr(import_module(f"wdaverify.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
