"""Random, cut and mutated files: an answer or one line, never anything else."""

import random
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vnnlib.samples import box, condition, declarations, network

import wdaverify as wv
from wdaverify.vnnlib import read_property
from wdaverify.vnnlib.text import expressions

NET = network(0, classes=3, widths=(3,))
WORDS = [
    *("(", ")", "and", "or", "<=", ">=", "=", "+", "-", "*", "assert", "declare-const", "Real"),
    *("X_0", "X_1", "Y_0", "Y_1", "Y_2", "Y_99", "Z", "0", "1", "-1", "0.5", "1e9", "1e999", ";"),
    *("\n", '"', "|", "not", "<", "X_00", "Y_-1", "nan", "inf", "٣", "\x00", "é", "..", "-", ""),
]


def valid(seed):
    rng = np.random.default_rng(seed)
    return declarations(2, 3) + box([-1.0, 0.0], [1.0, 0.5]) + f"(assert {condition(rng, 3)[0]})\n"


def check(text):
    """Read, and decide what could be read; anything but our own errors fails the test."""
    complaint = ""
    try:
        question = read_property(NET, text)
    except (wv.ProblemError, wv.UnsupportedError) as error:
        complaint = str(error)
    if complaint:
        assert len(complaint.splitlines()) == 1
        assert len(complaint) < 400
        return None
    verdict = question.decide(limits=wv.Limits(seconds=5))
    assert verdict.answer != "sat" or question.holds(verdict.point) or not verdict.verified
    return verdict.answer


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_random_words(words):
    check(valid(0) + " ".join(words))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60))
def test_random_text(text):
    check(text)


@pytest.mark.parametrize("seed", range(5))
def test_mutated_files(seed):
    rng = random.Random(seed)
    read = 0
    for _ in range(12):
        text = list(valid(seed))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text))
            kind = rng.randrange(4)
            if kind == 0:
                del text[at : at + rng.randint(1, 9)]
            elif kind == 1:
                text.insert(at, rng.choice(string.printable))
            elif kind == 2:
                text[at] = rng.choice(string.printable)
            else:
                text.insert(at, f" {rng.choice(WORDS)} ")
        read += check("".join(text)) is not None
    assert read < 12


def test_cut_files():
    text = valid(3)
    answers = [check(text[:end]) for end in range(0, len(text), 5)]
    assert answers[0] is None
    assert check(text) is not None


def test_the_check_would_notice_a_traceback(monkeypatch):
    def broken(text):
        yield from expressions(text)
        raise KeyError(text)

    monkeypatch.setattr("wdaverify.vnnlib.reading.expressions", broken)
    with pytest.raises(KeyError):
        check(valid(0))
