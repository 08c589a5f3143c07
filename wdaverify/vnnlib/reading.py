r"""From a VNN-LIB 1.0 file to point-wise problems of order ∞.

A property asks whether there is an input in one of some boxes whose outputs satisfy a condition. A
box and its condition become the question whether the worst-case zero-one loss of its centre is 1,
when mass may move anywhere in the box:

.. math:: \exists x\in[l,u]:\ \max_{j\ne y} z_j(x) \ge z_y(x)
          \quad\Longleftrightarrow\quad v_\infty(r) = 1,\qquad \mathcal{X} = [l, u],\
          x_1 = \tfrac{l+u}2,\ r = \max_i \tfrac{u_i-l_i}2
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import floats
from wdaverify.cost import TransportCost
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.place import at
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.rational import ExactNetwork, rationals
from wdaverify.storage import load_network
from wdaverify.storage.places import complaints_on_one_line
from wdaverify.support import Box
from wdaverify.vnnlib.cases import Case, cases
from wdaverify.vnnlib.condition import reduce_to_margin
from wdaverify.vnnlib.deciding import Verdict, decide
from wdaverify.vnnlib.formula import Formula, formula
from wdaverify.vnnlib.linear import Linear, Variable, variable_named
from wdaverify.vnnlib.text import Expression, expressions, read_bytes, read_text, shown

__all__ = ["Query", "VNNLibProperty", "load_vnnlib", "read_property"]

LARGEST_NETWORK: Final = 2**30
"""Most bytes of the file of a network, after unpacking."""

_IGNORED: Final = {"check-sat", "exit", "get-model", "set-logic"}


@dataclass(frozen=True, slots=True)
class Query:
    """One box of a property.

    Attributes
    ----------
    problem
        One sample, the centre of the box; zero-one loss, l∞ and order ∞; the support is the box.
    radius
        Distance from the centre within which the whole box lies, in input units.
    """

    problem: Problem
    radius: float


@dataclass(frozen=True, slots=True, eq=False)
class VNNLibProperty:
    """A property of a network: there is an input in one of some boxes, with outputs as described.

    Attributes
    ----------
    network
        The network whose inputs are ``X_0, X_1, …`` and whose outputs are ``Y_0, Y_1, …``.
    queries
        One for each box that is not empty; the property is satisfiable if one of them is.
    name
        Name of the file.
    cases
        The boxes that are not empty, and the condition on the outputs in each.
    outputs
        Number of outputs; a network with a single one holds it twice, as two logits.
    """

    network: ReLUNetwork
    queries: tuple[Query, ...]
    name: str
    cases: tuple[Case, ...]
    outputs: int

    def holds(self, point: npt.ArrayLike) -> bool:
        """Whether a point is a counterexample, decided over the rationals.

        The network itself is evaluated, and what the file says of its outputs: nothing that a
        query's network was made for.

        Parameters
        ----------
        point
            Shape ``(n,)``.
        """
        x = floats(point, "point", ndim=1)
        inside = [c for c in self.cases if (c.lower <= x).all() and (x <= c.upper).all()]
        if not inside:
            return False
        y = ExactNetwork(self.network).logits(rationals(x))

        def not_negative(expression: Linear) -> bool:
            terms = expression.coefficients.items()
            return bool(sum((a * y[v.number] for v, a in terms), expression.constant) >= 0)

        return any(case.condition.holds(not_negative) for case in inside)

    def decide(
        self,
        *,
        engine: str = "auto",
        limits: Limits | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> Verdict:
        """Return whether there is a counterexample; see :func:`~wdaverify.vnnlib.decide`."""
        return decide(self, engine=engine, limits=limits, progress=progress)


def load_vnnlib(network: ReLUNetwork | str | Path, path: str | Path) -> VNNLibProperty:
    """Read a VNN-LIB 1.0 file as point-wise problems of order ∞.

    Parameters
    ----------
    network
        A network, or its file, an ONNX file also compressed by gzip.
    path
        The property, ``.vnnlib``, also compressed by gzip.

    Raises
    ------
    ProblemError
        Not such a file, or one that does not fit the network; one line that names the place.
    UnsupportedError
        Not a box of inputs with a linear condition on outputs.

    Examples
    --------
    >>> import wdaverify as wv
    >>> text = '''
    ... (declare-const X_0 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
    ... (assert (>= X_0 -1)) (assert (<= X_0 3))
    ... (assert (>= Y_1 (+ Y_0 2)))
    ... '''
    >>> relu = wv.ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])
    >>> from wdaverify.vnnlib import read_property
    >>> verdict = read_property(relu, text).decide()
    >>> verdict.answer, bool(verdict.point[0] >= 2)
    ('sat', True)
    """
    outputs = None
    if not isinstance(network, ReLUNetwork):
        network, outputs = _load(Path(network))
    path = Path(path)
    with complaints_on_one_line(), at(str(path)):
        return read_property(network, read_text(path), name=path.name, outputs=outputs)


def read_property(
    network: ReLUNetwork, text: str, *, name: str = "property", outputs: int | None = None
) -> VNNLibProperty:
    """Read the text of a VNN-LIB 1.0 file; see :func:`load_vnnlib`.

    Parameters
    ----------
    outputs
        How many of the network's logits are outputs, if not all.
    """
    outputs = network.classes if outputs is None else outputs
    known: dict[str, Variable] = {}
    assertions: list[Formula] = []
    for line, command in expressions(text):
        with at(f"line {line}"):
            _obey(command, known, assertions)
    if not known:
        raise ProblemError("expected (declare-const X_0 Real), found no declaration")
    sizes = {"X": network.features, "Y": outputs}
    _check_declared(known, sizes)
    found = cases(assertions, sizes["X"])
    queries = tuple(_query(network, case, name) for case in found)
    return VNNLibProperty(network, queries, name, tuple(found), outputs)


def _load(path: Path) -> tuple[ReLUNetwork, int]:
    """Return a network and its number of outputs; a single output becomes two equal logits."""
    if path.suffix.lower() == ".gz":
        return _load_packed(path)
    if path.suffix.lower() != ".onnx" or not path.is_file():
        network = load_network(path)
        return network, network.classes
    from wdaverify.importers.onnx_reader import read_outputs  # noqa: PLC0415  (onnx is slow)

    with complaints_on_one_line():
        return read_outputs(path)


def _load_packed(path: Path) -> tuple[ReLUNetwork, int]:
    with complaints_on_one_line(), at(str(path)):
        content = read_bytes(path, "a network", LARGEST_NETWORK)
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / path.stem
        inner.write_bytes(content)
        try:
            return _load(inner)
        except (ProblemError, UnsupportedError) as error:
            raise type(error)(str(error).replace(str(inner), str(path))) from None


def _obey(
    command: Sequence[Expression], known: dict[str, Variable], assertions: list[Formula]
) -> None:
    word = command[0] if command else ""
    if word == "assert" and len(command) == 2:
        assertions.append(formula(command[1], known))
    elif word in {"declare-const", "declare-fun"}:
        _declare(command, known)
    elif not isinstance(word, str) or word not in _IGNORED:
        hint = "; VNN-LIB 2 is not read" if word in {"vnnlib-version", "declare-network"} else ""
        raise UnsupportedError(
            f"expected declare-const or assert with its formula, found {shown([*command])}{hint}"
        )


def _declare(command: Sequence[Expression], known: dict[str, Variable]) -> None:
    form = ["Real"] if command[0] == "declare-const" else [[], "Real"]
    name = command[1] if len(command) > 1 else ""
    if not isinstance(name, str) or list(command[2:]) != form:
        raise UnsupportedError(f"expected (declare-const X_0 Real), found {shown([*command])}")
    if name in known:
        raise ProblemError(f"{name}: expected one declaration, found another")
    known[name] = variable_named(name)


def _check_declared(known: Mapping[str, Variable], sizes: Mapping[str, int]) -> None:
    """Check that there are as many variables as inputs and outputs.

    Raises
    ------
    ProblemError
        Names what is missing or too much.
    """
    words = {"X": "inputs", "Y": "outputs"}
    for kind, size in sizes.items():
        declared = {variable.number for variable in known.values() if variable.kind == kind}
        if declared != set(range(size)):
            last = f"{kind}_{size - 1}"
            raise ProblemError(
                f"expected {kind}_0 to {last} declared (the network has {size} {words[kind]}), "
                f"found {len(declared)} of them"
            )


def _query(network: ReLUNetwork, case: Case, name: str) -> Query:
    reduced = reduce_to_margin(network, case.condition)
    centre = np.clip(0.5 * case.lower + 0.5 * case.upper, case.lower, case.upper)
    cost = TransportCost("linf", "inf")
    problem = Problem(
        reduced.network,
        centre[None],
        [reduced.label],
        loss=ZeroOne(),
        cost=cost,
        support=Box(case.lower, case.upper),
        name=name,
    )
    corners = np.stack([case.lower, case.upper])
    return Query(problem, float(cost.charge(corners, centre).max()))
