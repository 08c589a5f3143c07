"""One line for bug reports: what ran, on what."""

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]

OTHERS = ("numpy", "scipy", "highspy", "torch", "onnx")
"""Packages on which a number may depend."""


def versions(own: str) -> str:
    """Return the versions of the package, of those it rests on, and of the machine.

    Nothing is imported for it, so it also answers where an import fails.
    """
    others = ", ".join(f"{name} {_version(name)}" for name in OTHERS)
    machine = f"{platform.system()} {platform.machine()}"
    return f"wdaverify {own} (Python {platform.python_version()}, {others}, {machine})"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
