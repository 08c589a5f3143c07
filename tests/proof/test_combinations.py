"""Proofs from cells of random networks: every loss, norm, order and support that can be proved."""

import numpy as np
import pytest
from proof.cases import SUPPORTS, random_problem

from wdaverify.errors import UnsupportedError
from wdaverify.proof.prove import prove

CLOSE = 1e-9


def proved(problem, tmp_path, radius=0.3):
    found = prove(problem, radius=radius, path=tmp_path / "p", engine="cells")
    assert found.loss <= CLOSE
    assert found.lower <= found.value.upper + 1e-12
    assert found.upper >= found.value.lower - 1e-12
    return found


@pytest.mark.parametrize("support", SUPPORTS)
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
def test_order_one(support, norm, loss, tmp_path):
    proved(random_problem(1, support=support, norm=norm, loss=loss, classes=3), tmp_path)


@pytest.mark.parametrize("support", ["box", "space", "triangle"])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("order", [1.5, 2, np.inf])
def test_other_orders(support, norm, order, tmp_path):
    proved(random_problem(2, support=support, norm=norm, order=order), tmp_path)


@pytest.mark.parametrize("support", ["box", "half", "space"])
@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_cross_entropy(support, order, tmp_path):
    problem = random_problem(3, support=support, order=order, loss="cross-entropy", classes=3)
    if order == 1 and support != "box":
        with pytest.raises(UnsupportedError, match="several classes"):
            proved(problem, tmp_path)
        problem = random_problem(3, support=support, loss="cross-entropy")
    proved(problem, tmp_path)


@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one", "cross-entropy"])
def test_label_moves(loss, tmp_path):
    proved(random_problem(4, loss=loss, classes=3, label_cost=0.2), tmp_path)


@pytest.mark.parametrize("loss", ["margin", "zero-one"])
@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_radius_zero(loss, order, tmp_path):
    proved(random_problem(5, loss=loss, order=order), tmp_path, radius=0.0)


@pytest.mark.parametrize("support", ["triangle", "segment", "flat"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_a_budget_that_reaches_everything(support, norm, order, loss, tmp_path):
    """The multiplier is 0; on rows a gradient must match all the same."""
    problem = random_problem(7, support=support, norm=norm, order=order, loss=loss, classes=3)
    proved(problem, tmp_path, radius=5.0)


@pytest.mark.parametrize("loss", ["margin", "cross-entropy", "zero-one"])
@pytest.mark.parametrize("order", [1, 3])
def test_radius_zero_with_label_moves(loss, order, tmp_path):
    problem = random_problem(8, loss=loss, order=order, label_cost=1.0, classes=3)
    proved(problem, tmp_path, radius=0.0)


def test_the_file_is_the_same_every_time(tmp_path):
    problem = random_problem(6)
    for name in "ab":
        prove(problem, radius=0.3, path=tmp_path / name, engine="cells")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
