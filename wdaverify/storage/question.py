"""The question as `problem.toml` and the command line put it, before any array is read."""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wdaverify.cost import TransportCost
from wdaverify.errors import ProblemError
from wdaverify.importers.place import at
from wdaverify.loss import Loss, loss_named
from wdaverify.norms import norm_named
from wdaverify.storage.networks import check_type
from wdaverify.storage.places import existing_file, keys_placed
from wdaverify.storage.values import Table, check_radii, number, shown
from wdaverify.support import Box

__all__ = ["Expected", "Overrides", "Question", "read_question"]

_KEYS: Final = (
    *("name", "network", "data", "loss", "norm", "order", "radii"),
    *("label_cost", "support", "expected"),
)
_OPTIONS: Final = {
    "loss": "--loss",
    "norm": "--norm",
    "order": "--order",
    "label_cost": "--label-cost",
}
_LARGEST: Final = 10**7  # bytes of a question: beyond it the file is something else


@dataclass(frozen=True, slots=True)
class Expected:
    """Known answers.

    Parameters
    ----------
    values
        One value per radius, in units of the loss; may be infinite.
    source
        Why they are known.
    """

    values: tuple[float, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Overrides:
    """What replaces parts of a stored question; ``None`` leaves the part as it is.

    Parameters
    ----------
    radii
        Radii, in units of distance.
    loss, norm
        Names.
    order
        A number of at least 1, or ``"inf"``.
    label_cost
        Price of a label move, in units of distance ``** order``.
    samples
        Keep this many samples, from the first on.
    """

    radii: tuple[float, ...] | None = None
    loss: str | None = None
    norm: str | None = None
    order: float | str | None = None
    label_cost: float | None = None
    samples: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that `problem.toml` says, checked; the files it names exist.

    Attributes
    ----------
    support
        A box, or the file of a polytope.
    stored_radii
        Radii of the file, to which ``expected`` belongs.
    names
        Keys whose value was overridden, and by which option.
    changes
        The options that changed something.
    """

    path: Path
    name: str
    network: Path
    data: Path
    clip: bool
    loss: Loss
    cost: TransportCost
    support: Box | Path
    radii: tuple[float, ...]
    stored_radii: tuple[float, ...]
    expected: Expected | None
    names: dict[str, str]
    changes: tuple[str, ...]


def read_question(path: Path, overrides: Overrides) -> Question:
    """Read a TOML file.

    Raises
    ------
    ProblemError
        Not TOML, a missing, unknown or wrong key, or a file that does not exist; the message
        begins with the path and the key.
    """
    with at(str(path)):
        stored = _parse(path)
    given = {k: v for k in _OPTIONS if (v := getattr(overrides, k)) is not None}
    if isinstance(given.get("order"), str):
        given["order"] = _typed(given["order"])
    names = {k: _OPTIONS[k] for k in given}
    table = Table({**stored, **given}, names=names)
    with keys_placed(path, {key: f"{path}: {option}" for key, option in names.items()}):
        table.check_keys(_KEYS)
        network = _network(table, path.parent)
        data, clip = _data(table, path.parent)
        radii, stored_radii = _radii(table, overrides)
        changed = [names[k] for k, v in given.items() if not _same(v, stored.get(k))]
        changed += ["--radius"] * (not set(radii) <= set(stored_radii))
        return Question(
            path=path,
            name=table.text("name") if "name" in table else path.resolve().parent.name,
            network=network,
            data=data,
            clip=clip,
            loss=loss_named(table.text("loss", "the name of a loss")),
            cost=_cost(table),
            support=_support(table, path.parent),
            radii=radii,
            stored_radii=stored_radii,
            expected=_expected(table, stored_radii),
            names=names,
            changes=tuple(changed),
        )


def _parse(path: Path) -> dict[str, Any]:
    existing_file(path, "a folder with a problem.toml or such a file")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ProblemError(f"expected a TOML file, found {error.strerror}") from None
    if len(content) > _LARGEST:
        raise ProblemError(f"expected a TOML file, found more than {_LARGEST} bytes")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise ProblemError(f"expected a TOML file, found one beginning {content[:12]!r}") from None
    except RecursionError:
        raise ProblemError("expected a TOML file, found one nested too deeply") from None
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise ProblemError(f"expected a TOML file, found a mistake: {reason}") from None


def _typed(order: str) -> float | str:
    """Return what an order on the command line means."""
    try:
        return float(order)
    except ValueError:
        return order


def _same(left: Any, right: Any) -> bool:  # noqa: ANN401
    left, right = (math.inf if value == "inf" else value for value in (left, right))
    return not isinstance(right, bool) and bool(left == right)


def _file(table: Table, key: str, folder: Path) -> Path:
    path = folder / table.text(key, "the path of a file")
    with at(table.name(key)):
        return existing_file(path, f"a file {str(path)!r}")


def _network(table: Table, folder: Path) -> Path:
    path = _file(table, "network", folder)
    with at(table.name("network")):
        check_type(path)
    return path


def _data(table: Table, folder: Path) -> tuple[Path, bool]:
    value = table.value("data", "the path of a file or a table")
    if isinstance(value, str):
        return _file(table, "data", folder), False
    if not isinstance(value, dict):
        raise ProblemError(f"data: expected the path of a file or a table, found {shown(value)}")
    inner = table.table("data")
    inner.check_keys(("file", "clip"), _KEYS)
    return _file(inner, "file", folder), inner.switch("clip")


def _radii(table: Table, overrides: Overrides) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the radii that are asked for and those of the file."""
    wanted = "a list of radii, finite numbers >= 0"
    values = table.value("radii", wanted)
    if not isinstance(values, list):
        raise ProblemError(f"radii: expected {wanted}, found {shown(values)}")
    stored = check_radii(values, "radii")
    if overrides.radii is None:
        return stored, stored
    return check_radii(overrides.radii, "--radius"), stored


def _cost(table: Table) -> TransportCost:
    norm = norm_named(table.text("norm", "the name of a norm"))
    wanted = 'a number p >= 1 or "inf"'
    order = table.value("order", wanted)
    number(order, table.name("order"), wanted)
    label_cost = table.entries.get("label_cost")
    if "label_cost" in table:
        number(label_cost, table.name("label_cost"), "a number >= 0")
    return TransportCost(norm, order, label_cost)


def _support(table: Table, folder: Path) -> Box | Path:
    inner = table.table("support")
    inner.check_keys(("lower", "upper", "polytope"), _KEYS)
    if "polytope" not in inner:
        return Box(
            inner.number_or_numbers("lower", -math.inf), inner.number_or_numbers("upper", math.inf)
        )
    for key in ("lower", "upper"):
        if key in inner:
            raise ProblemError(
                f"support.{key}: expected either lower and upper or polytope, found both"
            )
    return _file(inner, "polytope", folder)


def _expected(table: Table, radii: tuple[float, ...]) -> Expected | None:
    if "expected" not in table:
        return None
    inner = table.table("expected")
    inner.check_keys(("values", "source"), _KEYS)
    values = inner.numbers("values")
    if len(values) != len(radii):
        raise ProblemError(
            f"expected.values: expected one value for each of {len(radii)} radii, "
            f"found {len(values)}"
        )
    return Expected(tuple(values), inner.text("source", "a string that says why they are known"))
