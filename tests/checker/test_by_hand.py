"""Proofs of golden values, written by hand, are accepted with the bracket that they prove."""

from fractions import Fraction

import pytest
from checker.by_hand import every
from checker.forge import lines_of, write

from wdaverify.checker.verdict import check_file

LOOSE = {"relu_line": 2e-9, "zero_one_line": 1e-11, "zero_one_label_move": 1e-11,
         "cross_entropy_interval": 1e-12, "relu_line_order_three_halves": 1e-14,
         "hinge_line_3": 1e-20}  # fmt: skip


@pytest.mark.parametrize("name", every())
def test_accepted(name, tmp_path):
    problem, radius, body, true, kind = every()[name]
    true, slack = Fraction(true), Fraction(LOOSE.get(name, 0))
    ends = [f"{v.numerator}/{v.denominator}" for v in (true - slack, true + slack)]
    lines = lines_of(problem, radius, body, lower=ends[0], upper=ends[1], kind=kind)
    verdict = check_file(write(tmp_path / "proof", lines))
    assert verdict.accepted, verdict
    assert true - slack <= verdict.lower <= verdict.upper <= true + slack
    assert verdict.line == len(lines) + 1


@pytest.mark.parametrize("name", every())
@pytest.mark.parametrize(("low", "high"), [(1e-8, 1), (-1, -1e-8)])
def test_claims_beyond_are_rejected(name, low, high, tmp_path):
    problem, radius, body, true, kind = every()[name]
    true, slack = Fraction(true), Fraction(LOOSE.get(name, 0))
    ends = [true - slack + Fraction(low), true + slack + Fraction(high)]
    ends = [f"{v.numerator}/{v.denominator}" for v in ends]
    lines = lines_of(problem, radius, body, lower=ends[0], upper=ends[1], kind=kind)
    verdict = check_file(write(tmp_path / "proof", lines))
    assert not verdict.accepted
    assert "claimed" in verdict.reason
