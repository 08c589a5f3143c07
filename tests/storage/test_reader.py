"""Reading problem folders: what is in them arrives unchanged, what was changed is said."""

import math
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from wdaverify.cost import TransportCost
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers import onnx_reader
from wdaverify.loss import Hinge, Margin
from wdaverify.network import ReLUNetwork
from wdaverify.norms import L1, NORMS, LInf
from wdaverify.problem import Problem
from wdaverify.storage import (
    Expected,
    Overrides,
    load_network,
    load_problem,
    load_stored,
    networks,
)
from wdaverify.storage.projection import project
from wdaverify.support import Box, Polytope

PROBLEMS = Path(__file__).parents[2] / "problems"
FOLDERS = sorted(path.parent for path in PROBLEMS.glob("*/problem.toml"))

TOML = """
network = "network.npz"
data = "data.npz"
loss = "margin"
norm = "linf"
order = 1
radii = [0.5, 1, 2.0]
"""
EXPECTED = """
[expected]
values = [1.5, 2, inf]
source = "by hand"
"""
LAYERS = {
    "W0": np.array([[1.0, 0.5], [-1.0, 2.0], [0.25, 0.0]]),
    "b0": np.array([0.0, 0.5, -1.0]),
    "W1": np.array([[1.0, 0.0, 1.0], [0.0, -1.0, 1.0]]),
    "b1": np.array([0.0, 0.125]),
}
DATA = {
    "points": np.array([[0.0, 1.0], [1.0, 0.25], [0.5, 0.5]]),
    "labels": np.array([0, 1, 1]),
    "weights": np.array([1.0, 0.0, 3.0]),
}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "small"
    path.mkdir()
    write(path)
    return path


def write(path, toml=TOML, layers=LAYERS, data=DATA):
    (path / "problem.toml").write_text(toml, encoding="utf-8")
    np.savez(path / "network.npz", **layers)
    np.savez(path / "data.npz", **data)


def onnx_network(path, dtype=np.float32):
    """Write the network of `LAYERS` as ONNX."""
    weights = {k: v.astype(dtype) for k, v in LAYERS.items()}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Gemm", ["x", "W0", "b0"], ["z"], transB=1),
        helper.make_node("Relu", ["z"], ["h"]),
        helper.make_node("Gemm", ["h", "W1", "b1"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", kind, ["batch", 2])],
        [helper.make_tensor_value_info("y", kind, ["batch", 2])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


# ---- the question -------------------------------------------------------------------------------


def test_every_part_arrives(folder):
    stored = load_stored(folder)
    problem = stored.problem
    assert isinstance(problem, Problem)
    assert problem.name == "small"
    assert problem.loss == Margin()
    assert problem.cost == TransportCost("linf", 1)
    assert isinstance(problem.support, Box)
    assert np.isinf(problem.support.lower).all()
    assert stored.radii == (0.5, 1.0, 2.0)
    assert all(type(radius) is float for radius in stored.radii)
    assert stored.expected is None
    assert stored.notes == ()
    assert stored.path == folder / "problem.toml"
    for k, layer in enumerate(problem.network.weights):
        assert np.array_equal(layer, LAYERS[f"W{k}"])
    for key, array in DATA.items():
        assert np.array_equal(getattr(problem, key), array)


def test_a_file_is_as_good_as_its_folder(folder, monkeypatch):
    by_file = load_problem(folder / "problem.toml")
    assert by_file.network.digest == load_problem(str(folder)).network.digest
    monkeypatch.chdir(folder)
    assert load_problem("problem.toml").name == "small"
    assert load_problem(".").name == "small"
    (folder / "other.toml").write_text('name = "Zoë"' + TOML, encoding="utf-8")
    assert load_problem("other.toml").name == "Zoë"


def test_paths_are_relative_to_the_file(folder):
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    toml = TOML.replace("network.npz", "../../network.npz")
    (deep / "problem.toml").write_text(toml.replace("data.npz", str(folder / "data.npz")))
    assert load_problem(deep).network.digest == load_problem(folder).network.digest


@pytest.mark.parametrize(
    ("order", "expected"), [("1", 1.0), ("2.5", 2.5), ('"inf"', math.inf), ("inf", math.inf)]
)
def test_orders(folder, order, expected):
    write(folder, TOML.replace("order = 1", f"order = {order}"))
    assert load_problem(folder).cost.order == expected


def test_label_cost_and_norm(folder):
    write(folder, TOML.replace('"linf"', '"l1"') + "label_cost = 2")
    assert load_problem(folder).cost == TransportCost("l1", 1, 2.0)


@pytest.mark.parametrize(
    ("support", "lower", "upper"),
    [
        ("lower = 0\nupper = 1.5", [0, 0], [1.5, 1.5]),
        ("lower = [-1, 0.0]\nupper = 1", [-1, 0], [1, 1]),
        ('lower = ["-inf", 0]\nupper = [inf, 1]', [-math.inf, 0], [math.inf, 1]),
        ("upper = 1", [-math.inf] * 2, [1, 1]),
        ("# nothing", [-math.inf] * 2, [math.inf] * 2),
    ],
)
def test_boxes(folder, support, lower, upper):
    write(folder, f"{TOML}[support]\n{support}")
    box = load_problem(folder).support
    assert isinstance(box, Box)
    assert box.lower.tolist() == lower
    assert box.upper.tolist() == upper


def test_a_polytope(folder):
    A, b = np.array([[-1.0, 0], [0, -1], [1, 1]]), np.array([0.0, 0, 3])
    np.savez(folder / "triangle.npz", A=A, b=b)
    write(folder, f'{TOML}[support]\npolytope = "triangle.npz"')
    support = load_problem(folder).support
    assert isinstance(support, Polytope)
    assert np.array_equal(support.A, A)
    assert np.array_equal(support.b, b)


def test_expected_values(folder):
    write(folder, TOML + EXPECTED)
    assert load_stored(folder).expected == Expected((1.5, 2.0, math.inf), "by hand")


def test_weights_are_optional_and_other_arrays_are_left_alone(folder):
    data = {k: v for k, v in DATA.items() if k != "weights"}
    write(folder, data={**data, "origin": np.arange(3), "notes": np.array({"a": 1}, dtype=object)})
    assert load_problem(folder).weights.tolist() == [1, 1, 1]


def test_other_number_types_lift(folder):
    data = {
        "points": DATA["points"].astype(np.float32),
        "labels": DATA["labels"].astype(np.float64),
        "weights": DATA["weights"].astype(np.uint8),
    }
    write(folder, data=data, layers={k: v.astype(np.float16) for k, v in LAYERS.items()})
    problem = load_problem(folder)
    assert problem.points.dtype == problem.weights.dtype == np.float64
    assert problem.labels.dtype == np.int64
    assert problem.network.weights[0].dtype == np.float64


# ---- overrides ----------------------------------------------------------------------------------


def test_overrides_replace(folder):
    write(folder, TOML + "label_cost = 1")
    overrides = Overrides(
        radii=(3.0,), loss="hinge", norm="l1", order="2", label_cost=4.0, samples=2
    )
    stored = load_stored(folder, overrides=overrides)
    assert stored.radii == (3.0,)
    assert stored.problem.loss == Hinge()
    assert stored.problem.cost == TransportCost("l1", 2, 4.0)
    assert len(stored.problem) == 2
    assert stored.notes == ()


@pytest.mark.parametrize(
    ("overrides", "options"),
    [
        (Overrides(loss="hinge"), "--loss changes"),
        (Overrides(norm="l1"), "--norm changes"),
        (Overrides(order=2), "--order changes"),
        (Overrides(order="inf"), "--order changes"),
        (Overrides(label_cost=1.0), "--label-cost changes"),
        (Overrides(samples=2), "--samples changes"),
        (Overrides(radii=(0.5, 3.0)), "--radius changes"),
        (Overrides(norm="l2", order=2.0, samples=1), "--norm, --order, --samples change"),
    ],
)
def test_a_changed_question_drops_the_expected_values(folder, overrides, options):
    write(folder, TOML + EXPECTED)
    stored = load_stored(folder, overrides=overrides)
    assert stored.expected is None
    assert stored.notes == (f"expected values ignored: {options} the question",)


@pytest.mark.parametrize(
    ("overrides", "values"),
    [
        (Overrides(loss="margin", norm="linf", order="1", samples=3), (1.5, 2.0, math.inf)),
        (Overrides(radii=(0.5, 1.0, 2.0)), (1.5, 2.0, math.inf)),
        (Overrides(radii=(2.0, 0.5)), (math.inf, 1.5)),
        (Overrides(radii=(1.0, 1.0)), (2.0, 2.0)),
    ],
)
def test_the_same_question_keeps_the_expected_values(folder, overrides, values):
    write(folder, TOML + EXPECTED)
    stored = load_stored(folder, overrides=overrides)
    assert stored.expected == Expected(values, "by hand")
    assert stored.notes == ()


def test_order_inf_is_the_same_in_both_spellings(folder):
    write(folder, TOML.replace("order = 1", 'order = "inf"') + EXPECTED)
    assert load_stored(folder, overrides=Overrides(order=math.inf)).expected is not None
    assert load_stored(folder, overrides=Overrides(order="inf")).expected is not None


def test_samples_keep_the_first_weights(folder):
    problem = load_stored(folder, overrides=Overrides(samples=2)).problem
    assert problem.points.tolist() == DATA["points"][:2].tolist()
    assert problem.weights.tolist() == [1, 0]


# ---- clipping -----------------------------------------------------------------------------------


CLIP = TOML.replace('data = "data.npz"', 'data = { file = "data.npz", clip = true }')


def test_points_clipped_into_a_box(folder):
    points = np.array([[0.0, 1.0], [0.5, 0.5], [1 + 2.0**-52, -0.25]])
    write(folder, CLIP + "[support]\nlower = 0\nupper = 1", data={**DATA, "points": points})
    stored = load_stored(folder)
    assert stored.problem.points.tolist() == [[0, 1], [0.5, 0.5], [1, 0]]
    (note,) = stored.notes
    assert note == "1 point clipped into the support, the first at index 2 by 0.25"
    assert load_stored(folder, overrides=Overrides(samples=2)).notes == ()


def test_how_many_points_were_clipped(folder):
    points = np.array([[0.5, 0.5], [1 + 2.0**-52, 0], [-3, 0]])
    write(folder, CLIP + "[support]\nlower = 0\nupper = 1", data={**DATA, "points": points})
    (note,) = load_stored(folder).notes
    assert note == "2 points clipped into the support, the first at index 1 by 2.2e-16"


def test_nothing_to_clip_is_not_mentioned(folder):
    write(folder, CLIP + "[support]\nlower = 0\nupper = 1")
    stored = load_stored(folder)
    assert stored.notes == ()
    assert np.array_equal(stored.problem.points, DATA["points"])


def test_clipping_is_off_by_default(folder):
    toml = CLIP.replace(", clip = true", "") + "[support]\nlower = 0\nupper = 0.75"
    write(folder, toml)
    with pytest.raises(ProblemError, match=r"2 of 3 lie outside .* index 0 by 0\.25"):
        load_problem(folder)


def test_points_clipped_into_a_polytope(folder):
    points = np.array([[0.25, 0.25], [1.0, 1.0], [0.5, 0.5 + 2.0**-30]])
    np.savez(folder / "triangle.npz", A=[[-1, 0], [0, -1], [1, 1]], b=[0, 0, 1])
    toml = CLIP + '[support]\npolytope = "triangle.npz"'
    write(folder, toml, data={**DATA, "points": points})
    stored = load_stored(folder)
    assert stored.problem.points[0].tolist() == [0.25, 0.25]
    assert np.allclose(stored.problem.points[1], 0.5, atol=1e-12)
    assert stored.notes == ("2 points clipped into the support, the first at index 1 by 1",)


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("distance", [2.0**-50, 1e-6, 0.3, 1e3])
def test_projection_is_inside_and_nearest(norm, distance):
    """For polytopes given by their vertices' convex combinations no other point is nearer."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 5):
        A = np.concatenate([np.eye(n), -np.eye(n), rng.standard_normal((4, n))])
        b = np.ones(len(A))
        support = Polytope(A, b)
        direction = rng.standard_normal((6, n))
        reach = (b[:, None] / np.maximum(A @ direction.T, 1e-9)).min(axis=0)
        boundary = direction * reach[:, None]
        points = boundary * (1 + distance)
        result = project(support, points, norm)
        assert support.contains(result).all()
        used = norm if norm == L1() else LInf()
        least = used.length(result - points)
        assert (least <= used.length(boundary - points) * (1 + 1e-9) + 1e-14).all()
        # a hyperplane that the point violates by s is at least s / ‖row‖* away
        violation = np.maximum((points @ A.T - b) / used.dual_length(A), 0).max(axis=1)
        assert (least >= violation * (1 - 1e-9) - 1e-14).all()


@pytest.mark.parametrize("distance", [2.0**-52, 1e-9, 0.5])
def test_projection_onto_a_flat_polytope(distance):
    """The probability simplex has no interior point to be pulled to."""
    n = 4
    A = np.concatenate([-np.eye(n), np.ones((1, n)), -np.ones((1, n))])
    support = Polytope(A, np.append(np.zeros(n), [1.0, -1.0]))
    points = np.array([[0.25 + distance, 0.25, 0.25, 0.25], [1.0, -distance, 0.0, 0.0]])
    result = project(support, points, L1())
    assert support.contains(result).all()
    assert np.allclose(L1().length(result - points), [distance, 2 * distance], rtol=0.5)


def test_projection_onto_an_unbounded_polytope():
    support = Polytope([[1.0, 1.0]], [0.0])
    result = project(support, np.array([[3.0, 1.0], [-1.0, 0.0]]), LInf())
    assert np.allclose(result, [[1, -1], [-1, 0]], atol=1e-12)
    assert support.contains(result).all()


def test_an_inside_point_is_not_touched():
    points = np.array([[0.1, 0.2]])
    assert np.array_equal(project(Polytope([[1.0, 1.0]], [0.3]), points, LInf()), points)


# ---- networks -----------------------------------------------------------------------------------


def test_slopes_of_arrays(tmp_path):
    network = ReLUNetwork(
        [LAYERS["W0"], LAYERS["W1"]], [LAYERS["b0"], LAYERS["b1"]], [[0.0, 0.25, 1.0]]
    )
    np.savez(tmp_path / "leaky.npz", **network.arrays())
    assert load_network(tmp_path / "leaky.npz").digest == network.digest


def test_order_of_layers_is_by_number_not_by_name(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {f"W{k}": rng.standard_normal((2, 2)) for k in range(12)}
    arrays |= {f"b{k}": rng.standard_normal(2) for k in range(12)}
    np.savez(tmp_path / "deep.npz", **dict(sorted(arrays.items())))
    network = load_network(tmp_path / "deep.npz")
    assert all(np.array_equal(network.weights[k], arrays[f"W{k}"]) for k in range(12))
    assert all(np.array_equal(network.biases[k], arrays[f"b{k}"]) for k in range(12))


def test_a_compressed_archive(tmp_path):
    with (tmp_path / "network.NPZ").open("wb") as file:
        np.savez_compressed(file, **LAYERS)
    assert load_network(str(tmp_path / "network.NPZ")).widths == (3,)


def test_onnx_is_compared_with_the_original(folder):
    onnx_network(folder / "network.onnx")
    write(folder, TOML.replace("network.npz", "network.onnx"))
    stored = load_stored(folder)
    assert stored.problem.network.digest == load_network(folder / "network.npz").digest
    assert stored.notes == (
        "largest difference of the folded network from the original on the data: 0",
    )


def test_a_difference_is_reported(folder, monkeypatch):
    onnx_network(folder / "network.onnx", np.float64)
    write(folder, TOML.replace("network.npz", "network.onnx"))
    other = ReLUNetwork([LAYERS["W0"], LAYERS["W1"]], [LAYERS["b0"], [0.5, 0.125]])
    monkeypatch.setattr(onnx_reader, "read_onnx", lambda _: other)
    monkeypatch.setattr(networks, "COMPARED", 2)
    assert load_stored(folder).notes == (
        "largest difference of the folded network from the original on the first 2 samples: 0.5",
    )


def test_a_comparison_that_fails_is_a_note(folder, monkeypatch):
    def fail(path, network, points):
        raise UnsupportedError("no such\noperator")

    onnx_network(folder / "network.onnx")
    write(folder, TOML.replace("network.npz", "network.onnx"))
    monkeypatch.setattr(onnx_reader, "reference_difference", fail)
    (note,) = load_stored(folder).notes
    assert note.endswith(r"could not be evaluated for comparison: no such\noperator")
    assert load_problem(folder).name == "small"


def test_an_exported_program(folder):
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)]
    module = torch.nn.Sequential(*layers).double().eval()
    with torch.no_grad():
        for layer, k in ((layers[0], 0), (layers[2], 1)):
            layer.weight.copy_(torch.from_numpy(LAYERS[f"W{k}"]))
            layer.bias.copy_(torch.from_numpy(LAYERS[f"b{k}"]))
    program = torch.export.export(module, (torch.zeros((1, 2), dtype=torch.float64),))
    torch.export.save(program, folder / "network.pt2")
    write(folder, TOML.replace("network.npz", "network.pt2"))
    stored = load_stored(folder)
    assert stored.problem.network.digest == load_network(folder / "network.npz").digest
    assert stored.notes[0].startswith("largest difference")


def test_an_unsupported_operator_is_named(folder):
    onnx_network(folder / "network.onnx")
    model = onnx.load(folder / "network.onnx")
    model.graph.node[1].op_type = "Sigmoid"
    onnx.save(model, folder / "network.onnx")
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    write(folder, TOML.replace("network.npz", "network.onnx"))
    with pytest.raises(UnsupportedError, match=r"network\.onnx: .*Sigmoid"):
        load_problem(folder)


# ---- the repository's own problems --------------------------------------------------------------


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_every_folder_of_the_repository_loads(path):
    stored = load_stored(path)
    assert stored.problem.name == path.name
    assert stored.radii
    assert all(note.startswith("largest difference") for note in stored.notes)
    if stored.expected is not None:
        assert len(stored.expected.values) == len(stored.radii)
        assert stored.expected.source


def test_there_are_folders():
    assert len(FOLDERS) > 10


def test_reading_leaves_nothing_open(folder):
    load_stored(folder)
    with zipfile.ZipFile(folder / "data.npz") as archive:
        assert archive.testzip() is None
