"""Bounds of nodes after a split, a new price or narrower intervals."""

import numpy as np

from wdaverify.arrays import Integers
from wdaverify.search.goal import Goal
from wdaverify.search.lagrangian import dual_bound, first_multipliers
from wdaverify.search.nodes import Nodes
from wdaverify.search.relaxation import tighten
from wdaverify.search.rings import Rings
from wdaverify.search.scaling import Scaled

__all__ = ["BATCH", "refresh", "reprice", "start"]

BATCH = 1024
"""Nodes worked on at a time."""


def refresh(scaled: Scaled, rings: Rings, nodes: Nodes, rows: Integers) -> None:
    """Recompute bounds of layers behind the last changes."""
    for k in range(1, len(scaled.layers)):
        part = rows[nodes.stale[rows] <= k]
        if len(part) == 0:
            continue
        bounds = nodes.lower[part], nodes.upper[part]
        tighten(scaled, rings, (nodes.owner[part], nodes.ring[part]), bounds, k)
        nodes.lower[part], nodes.upper[part] = bounds
    nodes.stale[rows] = len(scaled.layers)


def start(scaled: Scaled, nodes: Nodes, rows: Integers, goal: Goal) -> None:
    """Begin with the multipliers that nodes have, or those of back-substitution if better."""
    region = nodes.region(rows)
    inherited, fresh = nodes.nu[rows], first_multipliers(scaled, region)
    shell = goal.rings.at(region.owner, region.ring)
    value = dual_bound(scaled, shell, region, fresh, goal.price).value
    old = dual_bound(scaled, shell, region, inherited, goal.price).value
    nodes.nu[rows] = np.where((value < old)[:, None], fresh, inherited)
    nodes.value[rows] = np.minimum(value, old)


def reprice(scaled: Scaled, nodes: Nodes, rows: Integers, goal: Goal) -> None:
    """Evaluate leaves at a new price."""
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        region = nodes.region(part)
        shell = goal.rings.at(region.owner, region.ring)
        bound = dual_bound(scaled, shell, region, nodes.nu[part], goal.price)
        inner = goal.rings.inner[region.owner, region.ring]
        empty = inner > goal.rings.outer[region.owner, region.ring]
        nodes.value[part] = np.where(empty, -np.inf, bound.value)
