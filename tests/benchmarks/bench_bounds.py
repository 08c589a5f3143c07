"""How close attacks and certificates come to the exact value, on problems whose cells are listed.

``python tests/benchmarks/bench_bounds.py --page docs/benchmarks-bounds.md`` writes the page, with
the tables of ``bench_attack.py`` at its end. Run by ``nox -s bench``.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_exact import machine
from exact_runs import table

import wdaverify as wv
from wdaverify.bounds.attack import attack_points, distances_of, flip_atoms, flip_distances
from wdaverify.bounds.certificate import certificates
from wdaverify.bounds.growth import growth_certificate
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits
from wdaverify.polishing import polish_atoms
from wdaverify.storage import load_stored

FOLDER = Path(__file__).resolve().parent
PROBLEMS = FOLDER.parents[1] / "problems"
NETS = ("moons", "iris", "wine", "breast-cancer")
SAMPLES, FEW = 30, 12
"""Samples where certificates are compared; where each question is solved exactly as well."""

RADII = (0.02, 0.1)
LOSSES = ("margin", "hinge", "zero-one", "cross-entropy", "dlr", "truncated-dlr")
QUESTIONS = (("linf", 1), ("l1", 1), ("l2", 1), ("linf", 2), ("linf", "inf"))
SECONDS = 30.0
"""Wall-clock seconds for the exact values of a question; brackets after that are left out."""

LARGE = ("breast", "digits", "digits-deep")
"""Problems whose cells are too many to list."""


class Gaps:
    """Relative gaps of the attack, as it is and polished, and what they cost."""

    def __init__(self) -> None:
        self.plain: list[float] = []
        self.polished: list[float] = []
        self.spent = {"attack": 0.0, "polish": 0.0, "exact": 0.0}
        self.skipped = 0

    def measure(self, question: wv.Problem, radii: tuple[float, ...]) -> None:
        """Attack at each radius, polish, and solve."""
        cells = wv.enumerate_cells(question.network, question.support)
        solver = ExactSolver(question, cells, limits=Limits(seconds=SECONDS))
        for radius in radii:
            atoms = self.timed("attack", partial(attack_points, question, [radius]))
            better = self.timed("polish", partial(polish_atoms, atoms, [radius]))
            value = self.timed("exact", partial(solver.solve, radius))
            if value.status != "exact":
                self.skipped += value.status != "unbounded"
                continue
            size = max(1.0, abs(value.lower))
            for gaps, found in ((self.plain, atoms), (self.polished, better)):
                lower = found.distribution(radius).risk(question)
                if lower > value.upper + 1e-9 * size:
                    raise SystemExit(f"{question.name}, {radius}: {lower} > {value.upper}")
                gaps.append(max(0.0, value.lower - lower) / size)

    def timed(self, what: str, work: Callable[[], Any]) -> Any:
        """Add the CPU seconds of some work."""
        start = time.process_time()
        answer = work()
        self.spent[what] += time.process_time() - start
        return answer

    @property
    def cells(self) -> tuple[str, ...]:
        """What the tables say of it."""
        found = []
        for gaps in (self.plain, self.polished):
            found += [f"{statistics.median(gaps):.1e}", f"{max(gaps):.1e}"] if gaps else ["–", "–"]
        return (str(len(self.plain)), *found, *(f"{v:.1f}" for v in self.spent.values()))


GAPS = (
    "values", "median gap", "largest", "polished: median", "largest",
    "attack, CPU s", "polish", "exact",
)  # fmt: skip


def problem(net: str, loss: str, norm: str, order: float | str, samples: int = FEW) -> wv.Problem:
    """Return the first samples of a problem with another question."""
    whole = wv.load_problem(PROBLEMS / net)
    return wv.Problem(
        whole.network,
        whole.points[:samples],
        whole.labels[:samples],
        loss=loss,
        cost=wv.TransportCost(norm, order=order),
        support=whole.support,
    )


def attacks() -> str:
    """Relative gaps of the default attack, per loss, norm and order."""
    rows, skipped = [], 0
    for loss in LOSSES:
        for norm, order in QUESTIONS:
            gaps = Gaps()
            for net in NETS:
                if "dlr" in loss and net in ("moons", "breast-cancer"):
                    continue  # two classes
                gaps.measure(problem(net, loss, norm, order), RADII)
            skipped += gaps.skipped
            rows.append((loss, f"{norm}, {order}", *gaps.cells))
            print(*rows[-1], file=sys.stderr, flush=True)
    return f"""## The attack against the exact value

{", ".join(NETS)}; {FEW} samples, radii {", ".join(map(str, RADII))}. The two kinds of DLR need
three classes, which moons and breast-cancer do not have. Gap: exact minus attack, relative to
max(1, |value|); asked for margin and zero-one: a median of at most 1e-3. *Polished*: after
`polish`. Left out: {skipped} values that were not exact after {SECONDS:.0f} s for both radii.

{table(("loss", "norm, order", *GAPS), *rows)}
"""


def as_they_are() -> str:
    """Relative gaps on every problem folder whose cells can be listed."""
    rows = []
    for folder in sorted(path.parent for path in PROBLEMS.glob("*/problem.toml")):
        if folder.name in LARGE:
            continue
        stored = load_stored(folder)
        question = stored.problem.head(min(FEW, len(stored.problem)))
        gaps = Gaps()
        gaps.measure(question, stored.radii)
        kind = f"{question.loss.name}, {question.cost.norm.name}, {question.cost.order:g}"
        rows.append((folder.name, kind, *gaps.cells))
        print(*rows[-1], file=sys.stderr, flush=True)
    return f"""## Every problem as it stands

All folders of `problems/` but {", ".join(LARGE)}, whose cells are too many to list; their own
questions and radii, at most {FEW} samples. Left out: values that are infinite or were not
exact after {SECONDS:.0f} s. Where a supremum is not attained the attack stays a little below.

{table(("problem", "loss, norm, order", *GAPS), *rows)}
"""


def flips() -> str:
    """Flips found beside flips that exist, and their distances beside the exact ones."""
    rows = []
    for net in NETS:
        for norm in ("linf", "l1", "l2"):
            question = problem(net, "zero-one", norm, 1)
            cells = wv.enumerate_cells(question.network, question.support)
            exact = ExactSolver(question, cells).distances()
            there = np.isfinite(exact.upper) & (exact.upper > 0)
            plain = flip_distances(question)
            table_of = polish_atoms(flip_atoms(question), [1.0])
            better = distances_of(table_of)
            row = []
            for found in (plain, better):
                hit = there & np.isfinite(found)
                excess = 100.0 * (found[hit] / exact.upper[hit] - 1.0).clip(min=0.0)
                row += [hit.sum(), f"{excess.mean():.4f} %", f"{excess.max():.2f} %"]
            others = [
                (there & np.isfinite(flip_distances(question, method=name))).sum()
                for name in ("reference-wda++", "a3-wda")
            ]
            rows.append((net, norm, there.sum(), *row, *others))
            print(*rows[-1], file=sys.stderr, flush=True)
    head = (
        "net", "norm", "flips there are", "default attack", "mean excess", "largest",
        "polished", "mean excess", "largest", "WDA++, published", "a3-wda",
    )  # fmt: skip
    return f"""## Flips against the exact distances

Samples that are right and whose exact distance to an error within the support is finite, among
{FEW}; how many of them each attack flips, and by how much the distances exceed the exact ones.

{table(head, *rows)}
"""


def bounds() -> str:
    """Every certificate beside the exact value."""
    rows = []
    for net in (*NETS, "breast"):
        question = problem(net, "margin", "linf", 1, SAMPLES)
        listed = net != "breast"
        cells = wv.enumerate_cells(question.network, question.support) if listed else None
        start = time.process_time()
        growth = growth_certificate(question)
        seconds = time.process_time() - start
        others = {c.method: c for c in certificates(question, cells=cells)}
        for radius in (0.01, 0.05, 0.1, 0.2):
            exact = wv.solve(question, radius=radius, cells=cells)
            values = [growth.bound(radius), *(c.bound(radius) for c in others.values())]
            if min(values) < exact.lower - 1e-9 * max(1.0, abs(exact.lower)):
                raise SystemExit(f"{net}, {radius}: a certificate lies below the exact value")
            best = min(values)
            shown = [f"**{v:.4g}**" if v == best else f"{v:.4g}" for v in values]
            rows.append((net, radius, f"{exact.lower:.4g}", *shown, f"{seconds:.2f}"))
    head = ("net", "radius", "exact", "growth", *others, "growth, CPU s, all radii")
    return f"""## Certificates against the exact value

Margin, ℓ∞, order 1, {SAMPLES} samples; the smallest upper bound in bold. For *breast* the
constants are searched, not read off cells.

{table(head, *rows)}
"""


def nearest() -> str:
    """Return the tables of the attack benchmark."""
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", str(FOLDER / "bench_attack.py")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return f"## Distances by attack\n\n{answer.stdout}"


def main() -> None:
    """Print the page, or write it; what is finished is written at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start, parts, text = time.monotonic(), [], ""
    for section in (bounds, attacks, as_they_are, flips, nearest):
        parts.append(section())
        minutes = (time.monotonic() - start) / 60
        text = f"""# Attacks and certificates measured

Made on {datetime.now(UTC):%d %B %Y} in {minutes:.0f} minutes by
`python tests/benchmarks/bench_bounds.py --page docs/benchmarks-bounds.md`, on a machine that may
have been busy with other work: times are CPU seconds.

Machine: {machine()}. One thread.

{chr(10).join(parts)}"""
        if arguments.page:
            arguments.page.write_text(text, encoding="utf-8")
    if not arguments.page:
        print(text)


if __name__ == "__main__":
    main()
