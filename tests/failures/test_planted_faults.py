"""Planted faults: a lost cell, a false dual, a wrong weight, bounds out of order are all caught."""

import math
from dataclasses import replace

import numpy as np
import pytest
from reference.milp import worst_case_value
from reference.question import Question

from wdaverify import Box, Problem, ReLUNetwork, Sandwich, TransportCost, enumerate_cells
from wdaverify.bounds.certificate import certificates
from wdaverify.cells.complex import CellComplex
from wdaverify.errors import SandwichViolation, SolverError
from wdaverify.exact.cuts import Cut
from wdaverify.exact.engine import Choice
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.pieces import loss_pieces
from wdaverify.exact.program import PieceProgram
from wdaverify.exact.value import ExactSolver
from wdaverify.loss import Margin
from wdaverify.norms import norm_named
from wdaverify.verification import Row

RADIUS = 0.4
TOLERANCE = 1e-7


def problem_of(seed, loss="margin", order=1):
    rng = np.random.default_rng(seed)
    shapes = [(3, 2), (2, 3), (3, 2)]
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    network = ReLUNetwork(weights, [0.5 * rng.normal(size=rows) for rows, _ in shapes])
    points = rng.uniform(-0.8, 0.8, size=(3, 2))
    labels = network.logits(points).argmax(axis=1)
    cost = TransportCost("linf", order)
    return Problem(network, points, labels, loss=loss, cost=cost, support=Box(-1.0, 1.0))


def oracle(problem, **changes):
    """Bracket by integer programs, which know no cells."""
    options = {
        "weights": problem.network.weights,
        "biases": problem.network.biases,
        "points": problem.points,
        "labels": problem.labels,
        "loss": problem.loss.name,
        "norm": problem.cost.norm.name,
        "order": problem.cost.order,
        "lower": problem.support.lower,
        "upper": problem.support.upper,
    }
    return worst_case_value(Question(**(options | changes)), RADIUS)


def without(cells, lost):
    kept = [cell for k, cell in enumerate(cells) if k != lost]
    return CellComplex(cells.network, cells.support, cells.frame, kept)


def lost_one_by_one(problem):
    """The true value, and the value without each of the cells."""
    cells = enumerate_cells(problem.network, problem.support)
    truth = ExactSolver(problem, cells).solve(RADIUS)
    return truth, [solved_without(problem, cells, k) for k in range(len(cells))]


def solved_without(problem, cells, k):
    """The value without a cell; ``None`` where the engine's own points show that it is wrong."""
    try:
        return ExactSolver(problem, without(cells, k)).solve(RADIUS)
    except SolverError as error:
        if "was found as an upper bound" not in str(error):
            raise
        return None


# --- a lost cell ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
@pytest.mark.parametrize("order", [1, math.inf])
def test_a_lost_cell_lowers_the_value_below_the_oracle(loss, order):
    noticed = 0
    for seed in range(4):
        problem = problem_of(seed, loss, order)
        truth, losses = lost_one_by_one(problem)
        low, high = oracle(problem)
        assert low - TOLERANCE <= truth.lower <= truth.upper + 1e-9 <= high + TOLERANCE + 1e-9
        noticed += losses.count(None)
        for value in filter(None, losses):
            assert value.lower <= high + TOLERANCE  # a lost cell never invents anything
            noticed += value.upper < low - 1e-4
    assert noticed > 0


@pytest.mark.parametrize("order", [1, math.inf])
def test_a_lost_cell_lets_an_attack_exceed_the_upper_value(order):
    """The attack: the worst case of the whole complex, evaluated by the network alone."""
    violations = 0
    for seed in range(4):
        problem = problem_of(seed, order=order)
        truth, losses = lost_one_by_one(problem)
        attack = truth.worst_case.risk(problem)
        bounds_of(problem, truth, attack=attack).check()
        violations += losses.count(None)
        for value in filter(None, losses):
            if value.upper < attack - 1e-6:
                with pytest.raises(SandwichViolation, match="attack"):
                    bounds_of(problem, value, attack=attack).check()
                violations += 1
    assert violations > 0


# --- a false dual --------------------------------------------------------------------------------


def tight_cut(seed):
    """A cut that the piece touches, with the piece's affine function and the point it touches."""
    problem = problem_of(seed)
    cells, norm = enumerate_cells(problem.network, problem.support), norm_named("linf")
    pieces = loss_pieces(cells, Margin(), int(problem.labels[0]))
    lengths = norm.dual_length(pieces.gradients)
    for piece in np.argsort(-lengths).tolist():
        program = PieceProgram(pieces.rows(cells, piece), cells.support, norm)
        penalty = Penalty(0.5 * float(lengths[piece]))
        solution = program.solve(pieces.gradients[piece], problem.points[0], penalty)
        eta = program.matrix @ solution.point - program.bound > -1e-9
        if eta.any() and norm.length(solution.point - problem.points[0]) > 1e-3:
            return problem.points[0], pieces.gradients[piece], program, solution
    raise AssertionError("no piece has an active row")


def is_weakly_dual(cut, gradient, sample, point):
    """Whether the cut holds at a point of the piece (without the piece's offset)."""
    distance = float(np.abs(point - sample).max())
    line = cut.gradient @ sample + cut.offset + cut.steepness * distance
    return gradient @ point <= line + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_a_dual_changed_without_its_cut_violates_weak_duality(seed):
    sample, gradient, program, solution = tight_cut(seed)
    cut, point = solution.cut, solution.point
    assert is_weakly_dual(cut, gradient, sample, point)
    active = int(np.argmax(program.matrix @ point - program.bound))
    row, side = program.matrix[active], program.bound[active]
    caught = 0
    for change in (-0.1, 0.1):  # η changed, and only half of what follows from it
        only_offset = cut._replace(offset=cut.offset + change * side)
        moved = cut.gradient - change * row
        only_gradient = Cut(moved, cut.offset, float(np.abs(moved).sum()))
        flattened = cut._replace(steepness=cut.steepness - abs(change))
        for false in (only_offset, only_gradient, flattened):
            caught += not is_weakly_dual(false, gradient, sample, point)
    assert caught >= 2


@pytest.mark.parametrize("seed", range(4))
def test_a_dual_changed_with_its_cut_is_still_valid(seed):
    sample, gradient, program, solution = tight_cut(seed)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        eta = rng.exponential(size=len(program.bound))
        moved = solution.cut.gradient - program.matrix.T @ eta
        offset = solution.cut.offset + float(program.bound @ eta)
        looser = Cut(moved, offset, float(np.abs(moved).sum()))
        assert is_weakly_dual(looser, gradient, sample, solution.point)


# --- a wrong network -----------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("loss", ["margin", "hinge"])
def test_a_wrong_bias_in_the_network_of_the_oracle_is_noticed(layer, loss):
    problem = problem_of(2, loss)
    found = ExactSolver(problem, enumerate_cells(problem.network, problem.support)).solve(RADIUS)
    low, high = oracle(problem)
    assert low - TOLERANCE <= found.upper <= high + TOLERANCE

    def noticed(neuron):
        biases = [bias.copy() for bias in problem.network.biases]
        biases[layer][neuron] += 1e-3
        low, high = oracle(problem, biases=biases)
        return not low - TOLERANCE <= found.upper <= high + TOLERANCE

    assert any(noticed(neuron) for neuron in range(len(problem.network.biases[layer])))


# --- bounds out of order -------------------------------------------------------------------------


def bounds_of(problem, value, *, attack=None, certificate=math.inf):
    """A sandwich of one radius with an exact value, an attack and a certificate of choice."""
    attack = value.lower if attack is None else attack
    row = Row(
        RADIUS,
        attack,
        value.lower,
        value.upper,
        certificate,
        "layer-product",
        value.attained,
        value.status,
        value,
        0.0,
    )
    found = tuple(certificates(problem))
    return Sandwich(
        problem=problem,
        nominal=problem.nominal,
        rows=(row,),
        lower_bounds={"attack": [attack]},
        upper_bounds={"layer-product": [certificate]},
        certificates=found,
        slope=None,
        verdict=None,
        counts={},
        seconds={},
        engine=Choice("cells", "as asked"),
        stopped=None,
    )


@pytest.fixture
def solved():
    problem = problem_of(0)
    cells = enumerate_cells(problem.network, problem.support)
    return problem, ExactSolver(problem, cells).solve(RADIUS)


def with_bounds(solved, lower, upper):
    """The exact value replaced by other numbers."""
    problem, value = solved
    return problem, replace(value, lower=lower, upper=upper)


def test_bounds_in_order_pass(solved):
    problem, value = solved
    certificate = certificates(problem)[0].bound(RADIUS)
    bounds_of(problem, value, attack=problem.nominal, certificate=certificate).check()


@pytest.mark.parametrize("size", [1.0, 1e3, -1e3, 1e-3])
def test_a_lower_bound_pushed_above_an_upper_one_is_raised(solved, size):
    room = 1e-9 * max(1.0, abs(size))
    for excess, violated in ((0.0, False), (0.5 * room, False), (3 * room, True), (1e-3, True)):
        problem, value = with_bounds(solved, size, size)
        checks = {
            "attack": bounds_of(problem, value, attack=size + excess),
            "layer-product": bounds_of(problem, value, attack=size, certificate=size - excess),
            "exact lower": bounds_of(problem, replace(value, lower=size + excess), attack=size),
        }
        for name, result in checks.items():
            if violated:
                with pytest.raises(SandwichViolation, match=name):
                    result.check()
            else:
                result.check()


def test_the_message_names_radius_both_bounds_and_the_excess(solved):
    problem, value = with_bounds(solved, 1.0, 1.0)
    with pytest.raises(SandwichViolation) as raised:
        bounds_of(problem, value, attack=1.5).check()
    message = str(raised.value)
    for part in (f"radius {RADIUS:g}", "attack", "1.5", "exact upper", "0.5"):
        assert part in message


@pytest.mark.parametrize("place", ["attack", "certificate"])
def test_a_bound_that_is_no_number_is_raised(solved, place):
    problem, value = solved
    with pytest.raises(SandwichViolation):
        bounds_of(problem, value, **{place: math.nan}).check()


def test_infinite_certificates_are_in_order(solved):
    problem, value = solved
    bounds_of(problem, value, certificate=math.inf).check()


def test_every_radius_is_checked(solved):
    problem, value = solved
    good = bounds_of(problem, value)
    bad = bounds_of(problem, value, attack=value.upper + 0.1)
    both = replace(
        good,
        rows=good.rows + bad.rows,
        lower_bounds={"attack": [*good.lower_bounds["attack"], *bad.lower_bounds["attack"]]},
        upper_bounds={"layer-product": [math.inf, math.inf]},
    )
    with pytest.raises(SandwichViolation):
        both.check()
