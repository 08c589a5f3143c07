"""Decided nodes for l2: multipliers of the path of projections make the bound as low as a point."""

import numpy as np
import pytest
from search.cases import dense_points, random_problem, search_of
from search.test_bounds import hidden

from wdaverify.search.cell import Cell
from wdaverify.search.lagrangian import Region, dual_bound
from wdaverify.search.program import Node
from wdaverify.search.rings import Price, rings_for

EDGES = np.array([0.0, 0.3, 6.0])


def decided_nodes(seed, order):
    """Yield the search, its rings and nodes decided by the signs of points."""
    rng = np.random.default_rng(seed)
    problem = random_problem(seed, norm="l2", order=order, samples=2)
    search = search_of(problem)
    net = search.scaled
    edges = np.tile(EDGES, (2, 1))
    rings = rings_for(search.norm, net.lower, net.upper, edges[:, :-1], edges[:, 1:])
    for point in dense_points(rng, problem, 3):
        z = np.concatenate(hidden(problem.network, point[None, :]), axis=1)[0]
        lower = np.where(z >= 0, 0.0, -net.magnitudes)
        upper = np.where(z >= 0, net.magnitudes, 0.0)
        for owner in range(2):
            for ring in range(2):
                node = Node(owner, 0, *EDGES[ring : ring + 2].tolist(), lower, upper)
                yield search, rings, node, ring


def bound_of(search, rings, node, ring, nu, price):
    region = Region(*(np.array([v]) for v in (node.owner, 0, ring)), *bounds_of(node))
    shell = rings.at(region.owner, region.ring)
    return float(dual_bound(search.scaled, shell, region, nu[None, :], price).value[0])


def bounds_of(node):
    return node.lower[None, :], node.upper[None, :]


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_the_bound_of_a_decided_node_is_attained(order):
    attained, empty = 0, 0
    for seed in range(12):
        for search, rings, node, ring in decided_nodes(seed, order):
            for multiplier in (0.0, 0.05, 0.4):
                price = Price(multiplier, order)
                cell = Cell(search.scaled, node)
                found = cell.finish(price)
                assert found is not None
                if found.ray:
                    nu = 1e8 * found.nu
                    empty += bound_of(search, rings, node, ring, nu, price) < -10.0
                    continue
                inside = cell.matrix @ found.move <= cell.room + 1e-9
                assert inside.all()
                length = max(float(np.linalg.norm(found.move)), node.inner)
                assert length <= node.outer + 1e-9
                value = cell.offset + cell.gradient @ found.move - multiplier * length**order
                bound = bound_of(search, rings, node, ring, found.nu, price)
                assert bound >= value - 1e-12
                attained += bound <= value + 1e-9
    assert attained >= 150
    assert empty >= 30


def test_the_nearest_error_of_a_decided_node_has_a_proof():
    near, none, price = 0, 0, Price(0.0, 1.0)
    for seed in range(12):
        for search, _, node, _ in decided_nodes(seed, 1.0):
            cell = Cell(search.scaled, node)
            if np.linalg.norm(cell.gradient) <= 1e-12:
                continue
            found = cell.nearest(1e-6)
            assert found is not None
            radius = 10.0 if found.move is None else 0.999 * float(np.linalg.norm(found.move))
            net = search.scaled
            ends = np.zeros((2, 1)), np.full((2, 1), radius)
            rings = rings_for(search.norm, net.lower, net.upper, *ends)
            nu = 1e8 * found.nu if found.ray else found.nu
            shorter = node._replace(inner=0.0, outer=radius)
            bound = bound_of(search, rings, shorter, 0, nu, price)
            if found.move is None:
                none += bound < 1e-6
            elif radius > 1e-6:
                assert cell.offset + cell.gradient @ found.move >= 1e-6 - 1e-12
                assert bound < 1e-6
                near += 1
    assert near >= 20
    assert none >= 20
