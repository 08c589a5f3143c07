"""Checker of proof files in exact rational arithmetic; the standard library is all it imports.

One way through: ``reading`` (lines, numbers) → ``question`` → ``claims`` (lower and upper) →
``trees`` (coverage) → ``bounds`` (what a cut proves) → ``transport`` (the term in x) →
``enclosures`` (roots, exp, log). The mathematics and the format are in ``docs/proof-format.md``.
"""
