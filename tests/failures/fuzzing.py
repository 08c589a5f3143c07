"""Files that nobody meant to write: mutants of valid ones, from a seed.

Run as a script for longer: ``python tests/failures/fuzzing.py SECONDS FIRST_SEED [READER …]``
prints each file that gets past the rule (two errors, one line) and how long the slowest took.
"""

import io
import signal
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from wdaverify.drafts.draft import Wishes, draft
from wdaverify.drafts.folder import write_draft
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.samples import class_indices, flattened
from wdaverify.storage import load_network, load_problem
from wdaverify.storage.samples import read_samples

LAYERS = {
    "W0": np.array([[1.0, 0.5], [-1.0, 2.0], [0.25, 0.0]]),
    "b0": np.array([0.0, 0.5, -1.0]),
    "W1": np.array([[1.0, 0.0, 1.0], [0.0, -1.0, 1.0]]),
    "b1": np.array([0.0, 0.125]),
}
CSV = b"a,b,label\n0,1,no\n1,0.25,yes\n0.5,0.5,no\n"
TOML = b"""name = "x"
network = "network.npz"
data = { file = "data.npz", clip = true }
loss = "margin"
norm = "linf"
order = 1
radii = [0.5, 1.0]
label_cost = 0.5
[support]
lower = [0.0, -inf]
upper = 1.0
[expected]
values = [0.0, 1.0]
source = "by hand"
"""
TOKENS = [
    *(b"\x00", b"\xff", b"\n", b",", b'"', b"'", b";", b"\t", b"nan", b"inf", b"1e999", b"-1"),
    *(b"\xff" * 8, b"\x00" * 8, b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", b"PK\x01\x02"),
    *(b"[", b"[[", b"{", b"}", b"=", b"1_0", b"0x10", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"#"),
    *(b"\xff\xff\xff\x7f", b"9" * 40, b"(1000000000, 1000000000)", b"|O", b"<U9", b"\r", b"\\"),
]


def npz(*, compressed: bool = False, **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def onnx_model() -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["a"]),
        helper.make_node("Conv", ["a", "W"], ["b"], pads=[1, 1, 0, 0], strides=[1, 1]),
        helper.make_node("BatchNormalization", ["b", "g", "h", "h", "g"], ["c"], epsilon=1e-5),
        helper.make_node("LeakyRelu", ["c"], ["d"], alpha=0.1),
        helper.make_node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[1, 1]),
        helper.make_node("Reshape", ["e", "shape"], ["f"]),
        helper.make_node("Gemm", ["f", "V", "v"], ["i"], transB=1, alpha=1.0),
        helper.make_node("Expand", ["one", "wide"], ["j"]),
        helper.make_node("Add", ["i", "j"], ["k"]),
        helper.make_node("Pad", ["k", "pads"], ["y"]),
    ]
    constants = {
        "mean": np.float32(0.5),
        "W": rng.normal(size=(2, 1, 2, 2)).astype(np.float32),
        "g": np.array([1, 2], np.float32),
        "h": np.array([0.5, -1], np.float32),
        "shape": np.array([1, -1]),
        "V": rng.normal(size=(3, 4)).astype(np.float32),
        "v": np.array([1, 2, 3], np.float32),
        "one": np.array([[0.5]], np.float32),
        "wide": np.array([1, 3]),
        "pads": np.array([0, 0, 0, 1]),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 3, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def pt2() -> bytes:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module, (torch.zeros(1, 2),)), buffer)
    return buffer.getvalue()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut, overwrite, insert, repeat or shuffle a few pieces of a file."""
    if rng.random() < 0.02:
        return rng.bytes(int(rng.integers(0, 200)))
    content = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        size = len(content)
        start = int(rng.integers(0, size + 1))
        length = int(min(rng.integers(1, 40), size - start))
        kind = rng.integers(0, 7)
        if kind == 0:
            content = content[:start]
        elif kind == 1 and length:
            content[start] ^= 1 << int(rng.integers(0, 8))
        elif kind == 2:
            content[start : start + length] = rng.bytes(length)
        elif kind == 3:
            content[start:start] = TOKENS[rng.integers(len(TOKENS))]
        elif kind == 4:
            token = TOKENS[rng.integers(len(TOKENS))]
            content[start : start + len(token)] = token
        elif kind == 5:
            content[start:start] = content[start : start + length] * int(rng.integers(1, 4))
        else:
            del content[start : start + length]
    return bytes(content)


_NAMES = (
    "Add AveragePool BatchNormalization Cast Clip Concat ConstantOfShape Conv DepthToSpace Expand "
    "Flatten Gather Gemm LeakyRelu MatMul MaxPool OneHot PRelu Pad Range ReduceSum Reshape Resize "
    "Shape Slice Softmax SpaceToDepth Split Squeeze Sub Tile Transpose Unsqueeze"
)
OPERATORS = tuple(_NAMES.split())
NUMBERS = (
    *(-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7),
    *(2**20, 2**31, 2**40, 2**62, 2**63 - 1),
)
ODD = (np.nan, np.inf, -1.0, 0.0, 1e38)


def picked(items, rng: np.random.Generator):
    return items[rng.integers(len(items))]


def change_operator(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    picked(graph.node, rng).op_type = picked(OPERATORS, rng)


def change_input(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    node = picked(graph.node, rng)
    names = [t.name for t in graph.initializer] + [n.output[0] for n in graph.node] + ["x"]
    node.input[rng.integers(len(node.input))] = picked(names, rng)


def change_attribute(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    attribute = picked([a for node in graph.node for a in node.attribute], rng)
    if attribute.ints:
        attribute.ints[rng.integers(len(attribute.ints))] = picked(NUMBERS, rng)
    attribute.i, attribute.f = picked(NUMBERS, rng), picked(ODD, rng)


def add_attribute(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    name = picked(("axis", "axes", "perm", "kernel_shape", "group", "mode", "pads"), rng)
    values = [picked(NUMBERS, rng) for _ in range(int(rng.integers(1, 4)))]
    picked(graph.node, rng).attribute.append(helper.make_attribute(name, values))


def change_constant(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    tensor = picked(graph.initializer, rng)
    array = numpy_helper.to_array(tensor).copy().ravel()
    if array.size:
        array[rng.integers(array.size)] = picked(NUMBERS if array.dtype == np.int64 else ODD, rng)
    tensor.CopyFrom(numpy_helper.from_array(array.reshape(list(tensor.dims)), tensor.name))


def change_shape(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[rng.integers(len(dims))].dim_value = picked(NUMBERS, rng)
        return
    tensor = picked(graph.initializer, rng)
    if tensor.dims:
        tensor.dims[rng.integers(len(tensor.dims))] = picked(NUMBERS, rng)


CHANGES = (
    *(change_operator, change_input, change_attribute, add_attribute, change_constant),
    change_shape,
)


def mutated_onnx(model: onnx.ModelProto, rng: np.random.Generator) -> bytes:
    """Change what an ONNX model says, not its bytes: operators, names, attributes, shapes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for change in [picked(CHANGES, rng) for _ in range(int(rng.integers(1, 4)))]:
        try:
            change(copy.graph, rng)
        except (TypeError, ValueError):  # a shape that an earlier change has spoilt
            break
    return copy.SerializeToString()


def mutated_npz(arrays: dict[str, np.ndarray], rng: np.random.Generator) -> bytes:
    """Change one array in the archive, its header or its name, with the checksums right."""
    buffer = io.BytesIO()
    target = list(arrays)[rng.integers(len(arrays))]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.save(part, array)
            content = part.getvalue()
            if name == target:
                content = mutated(content, rng)
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


class Reader:
    """Reads a mutant in a folder of its own, as a user's command would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "network.npz").write_bytes(npz(**LAYERS))
        self.samples = {
            "X": np.array([[0.0, 1.0], [1.0, 0.25], [0.5, 0.5]]),
            "y": np.array(["no", "yes", "no"]),
            "weights": np.ones(3),
        }
        self.data = {"points": self.samples["X"], "labels": np.array([0, 1, 0])}
        (folder / "data.npz").write_bytes(npz(**self.data))
        (folder / "problem.toml").write_bytes(TOML)
        self.model = onnx_model()
        self.exported = pt2()

    def csv(self, rng: np.random.Generator) -> None:
        path = self._write("samples.csv", mutated(CSV, rng))
        self._new(self.folder / "network.npz", path)

    def arrays(self, rng: np.random.Generator) -> None:
        either = rng.random() < 0.5
        whole = mutated(npz(compressed=bool(rng.integers(2)), **self.samples), rng)
        path = self._write("s.npz", whole if either else mutated_npz(self.samples, rng))
        self._new(self.folder / "network.npz", path)

    def layers(self, rng: np.random.Generator) -> None:
        either = rng.random() < 0.5
        content = mutated(npz(**LAYERS), rng) if either else mutated_npz(LAYERS, rng)
        load_network(self._write("n.npz", content))

    def toml(self, rng: np.random.Generator) -> None:
        self._write("problem.toml", mutated(TOML, rng))
        try:
            load_problem(self.folder)
        finally:
            (self.folder / "problem.toml").write_bytes(TOML)

    def stored(self, rng: np.random.Generator) -> None:
        either = rng.random() < 0.5
        content = mutated(npz(**self.data), rng) if either else mutated_npz(self.data, rng)
        self._write("data.npz", content)
        try:
            load_problem(self.folder)
        finally:
            (self.folder / "data.npz").write_bytes(npz(**self.data))

    def onnx(self, rng: np.random.Generator) -> None:
        data = self.model.SerializeToString()
        content = mutated(data, rng) if rng.random() < 0.4 else mutated_onnx(self.model, rng)
        load_network(self._write("n.onnx", content))

    def pt2(self, rng: np.random.Generator) -> None:
        if rng.random() < 0.3:
            content = mutated(self.exported, rng)
        else:
            content = repacked(self.exported, rng)
        load_network(self._write("n.pt2", content))

    def labels(self, rng: np.random.Generator) -> None:
        kinds = [0, 1, 2, -1, 1.0, 0.5, np.nan, None, "a", "b", "1", "", True, 2**70, 1e300, "1_0"]
        values = [kinds[k] for k in rng.integers(0, len(kinds), size=rng.integers(0, 5))]
        class_indices(np.array(values, dtype=object), int(rng.integers(2, 4)))
        shape = tuple(int(v) for v in rng.integers(0, 4, size=rng.integers(0, 4)))
        flattened(rng.normal(size=shape), shape[1:] if rng.random() < 0.5 else (1, 2))

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def _new(self, model: Path, data: Path) -> None:
        read_samples(data)
        out = self.folder / "new"
        try:
            write_draft(out, draft(model, data, Wishes(), name="new"))
            load_problem(out)
            for path in out.iterdir():
                path.unlink()
            out.rmdir()
        finally:
            assert not out.exists()
            assert not list(self.folder.glob(".wdaverify-*"))


READERS = ("arrays", "csv", "labels", "layers", "onnx", "pt2", "stored", "toml")


def repacked(data: bytes, rng: np.random.Generator) -> bytes:
    """Change one part of a zip archive, with the checksums right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        target = names[rng.integers(len(names))]
        with zipfile.ZipFile(buffer, "w") as new:
            for name in names:
                content = archive.read(name)
                new.writestr(name, mutated(content, rng) if name == target else content)
    return buffer.getvalue()


def refusal(read: Callable[[np.random.Generator], None], seed: int) -> str:
    """Read one mutant; the message it is refused with, empty if it is none.

    Anything but the two errors for users, on one line, comes out as it is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            read(np.random.default_rng(seed))
        except (ProblemError, UnsupportedError) as error:
            message = str(error)
            assert len(message.splitlines()) == 1, message
            assert len(message) < 2000, message
            return message
    return ""


class HangError(BaseException):
    """Not an `Exception`: the readers turn most of those into refusals."""


@contextmanager
def alarm(seconds: int) -> Iterator[None]:
    """Turn a hang into an exception (only in a main thread, where Python code still runs)."""

    def ring(*_: object) -> None:
        raise HangError(f"not back after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main(seconds: float, first: int, names: list[str]) -> None:
    import resource  # noqa: PLC0415  (a limit for this process only)
    import traceback  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(Path(folder))
        for name in names or READERS:
            end, seed, slowest, seen = time.monotonic() + seconds, first, (0.0, 0), Counter()
            while time.monotonic() < end:
                start = time.monotonic()
                try:
                    with alarm(60):
                        seen[bool(refusal(getattr(reader, name), seed))] += 1
                except BaseException as error:  # that is what is looked for
                    if isinstance(error, KeyboardInterrupt):
                        raise
                    frames = traceback.extract_tb(error.__traceback__)[-4:]
                    where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames)
                    seen[f"{type(error).__name__} {where}"] += 1
                    if seen[f"{type(error).__name__} {where}"] == 1:
                        sys.stdout.write(f"{name} {seed}: {type(error).__name__} {error} {where}\n")
                slowest = max(slowest, (time.monotonic() - start, seed))
                seed += 1
            sys.stdout.write(f"{name}: {seed - first} files, slowest {slowest}, {dict(seen)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
