"""Mutants of proof files are rejected, or accepted and true; none crashes the checker."""

import random

import pytest
from checker.by_hand import every
from checker.fuzz import Tally, hand_made, tightened


def fuzzed(name, count, folder):
    lines = tightened(name, dict(hand_made())[name], folder)
    tally, rng = Tally(name, lines, folder), random.Random(name)
    for _ in range(count):
        tally.one(rng)
    return tally.counts


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", every())
def test_some_mutants(name, tmp_path):
    counts = fuzzed(name, 40, tmp_path)
    assert counts["rejected"] > 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", every())
def test_thousands_of_mutants(name, tmp_path):
    counts = fuzzed(name, 3000, tmp_path)
    assert counts["rejected"] > 1000
    assert counts["accepted, true"] > 100
