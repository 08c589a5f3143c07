"""Registries: what is known by name, and what users add to it.

An extension is a Python module that registers something when it is imported. Installed ones are
found through the entry points of the group ``wdaverify``, others are named in the environment
variable ``WDAVERIFY_EXTENSIONS``: modules or ``.py`` files, separated like the entries of ``PATH``.
Both are imported when a name is not known, and where every method is listed.
"""

import importlib
import os
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, TypeVar

from wdaverify.errors import ProblemError

__all__ = ["ENVIRONMENT", "GROUP", "Registry", "is_extension", "load_extensions"]

T = TypeVar("T")

GROUP: Final = "wdaverify"
"""Entry points of installed extensions."""

ENVIRONMENT: Final = "WDAVERIFY_EXTENSIONS"
"""Names further extensions."""

_loaded: Final[set[str]] = set()
_modules: Final[set[str]] = set()


class Registry(dict[str, T]):
    """What is known by name; names are taken once.

    Parameters
    ----------
    kind
        What the values are, for messages: ``loss``, ``norm``, …
    known
        Names and values from the start.
    """

    def __init__(self, kind: str, known: Iterable[tuple[str, T]] = ()) -> None:
        super().__init__(known)
        self.kind = kind

    def register(self, name: object, value: T) -> None:
        """Add a value under a new name.

        Raises
        ------
        ProblemError
            The name is taken, or it is no name.
        """
        if not isinstance(name, str) or not name or any(c.isspace() for c in name):
            raise ProblemError(
                f"{self.kind}: expected a name without spaces to register, found {name!r}"
            )
        if name in self:
            raise ProblemError(f"{self.kind}: {name!r} is registered already, choose another name")
        self[name] = value

    def named(self, name: str, *, also: str = "") -> T:
        """Return the value of a name, after a look at the extensions where it is not known.

        Parameters
        ----------
        also
            What else could have been asked for, for the message.

        Raises
        ------
        ProblemError
            No such name.
        """
        if name not in self:
            load_extensions()
        if name not in self:
            raise ProblemError(
                f"{self.kind}: expected one of {', '.join(self)}{also}, found {name!r}"
            )
        return self[name]


def load_extensions() -> None:
    """Import every extension that was not imported yet.

    Raises
    ------
    ProblemError
        An extension cannot be imported; says which, and why.
    """
    for point in entry_points(group=GROUP):
        _load(f"entry point {point.name!r}", point.value.partition(":")[0])
    for name in os.environ.get(ENVIRONMENT, "").split(os.pathsep):
        if name:
            _load(ENVIRONMENT, name)


def is_extension(module: str) -> bool:
    """Whether a module was loaded as an extension."""
    return module in _modules


def _load(source: str, name: str) -> None:
    if name in _loaded:
        return
    _loaded.add(name)  # first: what it imports may ask for extensions too
    try:
        module = _importable(name)
        _modules.add(module)
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001  (whatever it raises)
        _loaded.discard(name)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ProblemError(f"{source}: the extension {name!r} cannot be loaded: {reason}") from None


def _importable(name: str) -> str:
    """Return the module of a name or file; a file's folder joins the path, as for a script."""
    if not name.endswith(".py"):
        return name
    path = Path(name).resolve()
    if not path.is_file():
        raise FileNotFoundError("no such file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    return path.stem
