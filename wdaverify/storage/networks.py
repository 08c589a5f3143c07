"""Networks from files, by suffix: arrays of layers (npz), ONNX, or an exported torch program."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.place import at
from wdaverify.network import ReLUNetwork
from wdaverify.storage.archive import read_npz
from wdaverify.storage.places import complaints_on_one_line, existing_file

__all__ = ["COMPARED", "check_type", "compare", "contents", "input_shape", "load_network"]

COMPARED: Final = 256
"""Most samples on which a network is compared with its original."""

_NAME: Final = re.compile(r"[Wbs](0|[1-9][0-9]{0,5})")


def load_network(path: str | Path) -> ReLUNetwork:
    """Read a network.

    Parameters
    ----------
    path
        ``.npz`` with arrays ``W0, b0, W1, b1, …`` (``W`` of shape ``(out, in)``; ReLU between, or
        the negative slopes ``s0, s1, …`` of each hidden layer), ``.onnx``, or ``.pt2`` of
        ``torch.export.save``.

    Raises
    ------
    ProblemError
        No such file, another type of file, or one that contradicts itself.
    UnsupportedError
        An operator that is not piecewise affine or not known.
    """
    path = Path(path)
    with complaints_on_one_line():
        with at(str(path)):
            suffix = check_type(path)
            existing_file(path, "a network")
        if suffix == ".onnx":
            from wdaverify.importers.onnx_reader import read_onnx  # noqa: PLC0415  (onnx is slow)

            return read_onnx(path)
        if suffix == ".pt2":
            from wdaverify.importers.torch_reader import read_exported  # noqa: PLC0415  (slow)

            return read_exported(path)
        arrays = read_npz(path, _layers)
        with at(str(path)):
            named = {letter: [v for k, v in arrays.items() if k[0] == letter] for letter in "Wbs"}
            return ReLUNetwork(named["W"], named["b"], named["s"] or None)


def check_type(path: Path) -> str:
    """Return the suffix of a file of a network, in small letters.

    Raises
    ------
    ProblemError
        Another suffix.
    """
    suffix = path.suffix.lower()
    if suffix not in {".npz", ".onnx", ".pt2"}:
        raise ProblemError(
            f"expected a network of type .npz, .onnx or .pt2 (torch.export), found {path.name!r}"
        )
    return suffix


def input_shape(path: Path, network: ReLUNetwork) -> tuple[int, ...]:
    """Return the shape of one sample that the file of a network declares.

    Raises
    ------
    ProblemError
        The file cannot be read.
    """
    if path.suffix.lower() == ".npz":
        return (network.features,)
    if path.suffix.lower() == ".onnx":
        from wdaverify.importers import onnx_reader  # noqa: PLC0415  (slow)

        return onnx_reader.input_shape(path)
    from wdaverify.importers import torch_reader  # noqa: PLC0415  (slow)

    return torch_reader.input_shape(path)


def contents(path: Path) -> tuple[bytes, bool]:
    """Return the bytes of a file of a network, and whether data from beside it were put in.

    Raises
    ------
    ProblemError
        The file, or what it refers to, cannot be read.
    """
    if path.suffix.lower() == ".onnx":
        from wdaverify.importers.onnx_file import self_contained  # noqa: PLC0415  (slow)

        with at(str(path)):
            return self_contained(path)
    with at(str(path)):
        return path.read_bytes(), False


def compare(path: Path, network: ReLUNetwork, points: Floats) -> tuple[str, ...]:
    """Say by how much the network as read differs from its file on the first samples.

    Parameters
    ----------
    path
        The file that the network was read from.
    network
        The network.
    points
        Shape ``(N, n)``; at most `COMPARED` of them are looked at.

    Returns
    -------
    tuple
        One note, or none for arrays: they are read as they are.
    """
    if path.suffix.lower() == ".npz":
        return ()
    if path.suffix.lower() == ".onnx":
        from wdaverify.importers.onnx_reader import reference_difference  # noqa: PLC0415  (slow)
    else:
        from wdaverify.importers.torch_reader import reference_difference  # noqa: PLC0415  (slow)
    try:
        with complaints_on_one_line():
            difference = reference_difference(path, network, points[:COMPARED].copy())
    except (ProblemError, UnsupportedError) as error:
        return (f"the original network could not be evaluated for comparison: {error}",)
    where = "the data" if len(points) <= COMPARED else f"the first {COMPARED} samples"
    return (
        f"largest difference of the folded network from the original on {where}: {difference:.2g}",
    )


def _layers(found: Sequence[str]) -> list[str]:
    """Return ``W0, b0, …`` in order, then the slopes, if there are any."""
    strange = [name for name in found if not _NAME.fullmatch(name)]
    if strange:
        raise ProblemError(
            f"{strange[0]!r}: expected arrays W0, b0, W1, b1, … (and slopes s0, s1, …), "
            f"found an array of another name"
        )
    depth = max((int(name[1:]) for name in found if name[0] != "s"), default=0) + 1
    wanted = [f"{letter}{k}" for k in range(depth) for letter in "Wb"]
    if any(name[0] == "s" for name in found):
        wanted += [f"s{k}" for k in range(depth - 1)]
    missing = [name for name in wanted if name not in found]
    if missing:
        there = ", ".join(found[:20]) or "none"
        raise ProblemError(f"{missing[0]}: expected arrays W0, b0, W1, b1, …, found {there}")
    extra = [name for name in found if name not in wanted]
    if extra:
        raise ProblemError(
            f"{extra[0]}: expected slopes of {depth - 1} hidden layers, found one for layer "
            f"{extra[0][1:]}"
        )
    return wanted
