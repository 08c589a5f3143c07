"""Proofs by the trees of the search: accepted, and as tight as the engine's bracket."""

import gzip
import json
import math

import numpy as np
import pytest
from search.cases import random_problem

import wdaverify as wv
from wdaverify.checker.verdict import check_file
from wdaverify.errors import LimitReached, SolverError
from wdaverify.loss import loss_named
from wdaverify.proof.prove import prove
from wdaverify.search import growth, lagrangian, nodes, refresh, single

CASES = [
    ("margin", "linf", 1.0, None),
    ("margin", "l1", 1.0, None),
    ("margin", "l2", 1.0, None),
    ("hinge", "linf", 1.0, 0.3),
    ("margin", "l1", 2.0, None),
    ("hinge", "linf", 1.5, None),
    ("margin", "l2", 2.0, None),
    ("hinge", "l1", math.inf, None),
    ("margin", "l2", math.inf, None),
    ("zero-one", "linf", 1.0, None),
    ("zero-one", "l1", 2.0, None),
    ("zero-one", "l2", math.inf, None),
]


def question(name, samples, loss, norm, order, label_cost=None):
    problem = wv.load_problem(f"problems/{name}").head(samples)
    cost = wv.TransportCost(norm, order, label_cost)
    return problem.replace(loss=loss_named(loss), cost=cost)


@pytest.mark.parametrize(("loss", "norm", "order", "label_cost"), CASES)
def test_a_proof_is_as_tight_as_the_engine(tmp_path, loss, norm, order, label_cost):
    name = "iris" if (loss, norm) == ("margin", "linf") else "moons"
    problem = question(name, 3, loss, norm, order, label_cost)
    file = tmp_path / "iris.proof"
    proof = prove(problem, radius=0.06, path=file, engine="search", checked=False)
    verdict = check_file(file)
    assert verdict.accepted, verdict.reason
    value = wv.solve(problem, radius=0.06, engine="cells")
    slack = 1e-7 * max(1.0, abs(value.upper))
    assert verdict.lower <= value.upper + 1e-12
    assert verdict.upper >= value.lower - 1e-12
    assert float(verdict.upper - verdict.lower) <= value.upper - value.lower + slack
    assert proof.engine == "search"
    assert proof.loss <= 2e-9


@pytest.mark.parametrize("seed", range(8))
def test_random_networks(tmp_path, seed):
    """Leaky and linear neurons, fixed features, no hidden layer, up to three of them."""
    norm = ("linf", "l1", "l2")[seed % 3]
    loss = ("margin", "hinge", "zero-one")[seed % 2 + (seed % 4 == 3)]
    problem = random_problem(seed, norm=norm, loss=loss)
    file = tmp_path / "random.proof"
    prove(problem, radius=0.2, path=file, engine="search", checked=False)
    verdict = check_file(file)
    assert verdict.accepted, verdict.reason
    value = wv.solve(problem, radius=0.2, engine="cells")
    assert float(verdict.lower) <= value.upper + 1e-9
    assert float(verdict.upper) >= value.lower - 1e-9


def lines_of(file):
    with gzip.open(file, "rt", encoding="utf-8") as text:
        return text.readlines()


def rewritten(file, lines):
    end = json.dumps({"end": len(lines)}) + "\n"
    with gzip.open(file, "wt", encoding="utf-8") as text:
        text.writelines([*lines, end])
    return check_file(file)


def test_a_tree_covers_every_ring_and_target(tmp_path):
    problem = question("iris", 3, "margin", "linf", 1.0)
    file = tmp_path / "iris.proof"
    prove(problem, radius=0.06, path=file, engine="search", checked=False)
    *lines, _ = lines_of(file)
    assert rewritten(file, lines).accepted
    heads = [k for k, line in enumerate(lines) if line.startswith('{"tree"')]
    about = [json.loads(lines[k])["tree"] for k in heads]
    assert {(tree["samples"][0][0], tree["target"]) for tree in about} == {
        (i, j) for i in range(3) for j in range(3) if j != problem.labels[i]
    }
    heads.append(len(lines))
    for k in (0, len(about) - 1):  # without any one of them there is a gap
        verdict = rewritten(file, lines[: heads[k]] + lines[heads[k + 1] :])
        assert not verdict.accepted
        assert "gap" in verdict.reason


def wrong(monkeypatch, fault):
    if fault == "offset":
        true = lagrangian.dual_bound

        def lowered(scaled, *arguments):
            bound = true(scaled, *arguments)
            return bound._replace(value=bound.value - 0.02)

        for module in (lagrangian, refresh, single):
            monkeypatch.setattr(module, "dual_bound", lowered)
    elif fault == "half of a split":
        true_split = nodes.Nodes.split

        def halved(self, rows, neurons, layers):
            true_split(self, rows, neurons, layers)
            self.value[self.count - len(rows) : self.count] = -np.inf
            self.lower[self.count - len(rows) : self.count] = 1.0
            self.upper[self.count - len(rows) : self.count] = 0.0

        monkeypatch.setattr(nodes.Nodes, "split", halved)
    else:
        true_walks = growth._preorder

        def swapped(root, forks, row_of):
            turned = {at: (neuron, on, off) for at, (neuron, off, on) in forks.items()}
            return true_walks(root, turned, row_of)

        monkeypatch.setattr(growth, "_preorder", swapped)


@pytest.mark.parametrize("fault", ["offset", "half of a split", "children swapped"])
def test_a_wrong_engine_is_caught(tmp_path, monkeypatch, fault):
    """The proof fails, or the checker says no: nothing false is accepted."""
    problem = question("moons", 10, "margin", "linf", 1.0)
    true = wv.solve(problem, radius=0.1, engine="cells")
    wrong(monkeypatch, fault)
    file = tmp_path / "moons.proof"
    try:
        prove(problem, radius=0.1, path=file, engine="search", checked=False)
    except SolverError:
        return
    verdict = check_file(file)
    if verdict.accepted:
        assert float(verdict.lower) <= true.upper + 1e-9
        assert float(verdict.upper) >= true.lower - 1e-9
    assert not verdict.accepted


def test_forgotten_nodes_are_no_proof():
    tree = nodes.Nodes(2)
    tree.keep(np.zeros(0, dtype=bool))
    with pytest.raises(LimitReached, match="forgotten"):
        next(growth.walks(tree))


def test_a_limit_writes_nothing(tmp_path):
    problem = question("breast", 8, "margin", "linf", 1.0)
    file = tmp_path / "breast.proof"
    with pytest.raises(LimitReached):
        prove(problem, radius=0.1, path=file, engine="search", limits=wv.Limits(seconds=0.0))
    assert not file.exists()
