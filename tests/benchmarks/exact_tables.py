"""The sections of the benchmark page: what is run, and what is said about it."""

from dataclasses import replace
from typing import Final

from exact_jobs import Job
from exact_runs import Bench, contradiction, contradictions, ratio, run, seconds, table, widest

INTEGER_CAP: Final = 180.0
"""Wall-clock seconds of an integer program, so that all takes less than an hour."""

WIDTHS: Final = {
    "moons": "2-16-16-2",
    "iris": "4-12-12-3",
    "breast": "30-16-16-2",
    "digits": "64-16-16-10",
}
SIZES: Final = {"moons": 50, "iris": 60, "breast": 20, "digits": 20}
VALUES: Final = (
    ("moons", "linf", "≥ 15"),
    ("iris", "linf", "≥ 5"),
    ("breast", "linf", "≥ 15"),
    ("digits", "linf", "≥ 60"),
    ("moons", "l1", ""),
    ("breast", "l1", "≥ 15"),
)
"""Net, norm, and the ratio to the plain branch and bound that was asked for."""

Data = dict[str, str]


def question(net: str, data: Data, samples: int | None = None) -> Job:
    """Return the margin values of a net by the engine."""
    count = SIZES[net] if samples is None else samples
    return Job(method="wdaverify", task="values", net=net, samples=count, data=data.get(net, ""))


def values(bench: Bench, data: Data) -> str:
    """Margin values of the four nets, by everybody."""
    rows, worst = [], 0.0
    for net, norm, asked in VALUES:
        job = replace(question(net, data), norm=norm)
        mine, plain = bench(job), bench(replace(job, method="branch-and-bound"))
        others = []
        if norm == "linf":
            others = [
                bench(replace(job, method="highs", seconds=INTEGER_CAP)),
                bench(replace(job, method="scip", seconds=INTEGER_CAP)),
            ]
        worst = max(worst, *(contradiction(mine, other) for other in (plain, *others)))
        shown = [seconds(other) for other in others] or ["", ""]
        over = ratio(others[0], mine) if others else ""
        name = f"{net} {WIDTHS[net]}, {norm}, {job.samples}"
        rows.append((name, seconds(mine), seconds(plain), *shown, ratio(plain, mine), asked, over))
    head = (
        *("net, norm, N", "`wdaverify`", "branch and bound", "MILP, HiGHS", "MILP, SCIP"),
        *("branch and bound / `wdaverify`", "asked", "HiGHS / `wdaverify`"),
    )
    return f"""## Margin values

CPU seconds for all four radii in one call; margin loss, order 1, box [0, 1]ⁿ. `wdaverify` to a
relative gap of 1e-7; a plain branch and bound (one warm LP model a sample, triangle relaxation,
most violated neuron first, nothing shared) to 1e-9; big-M integer programs to 1e-6. All three start
from a quick attack. A job is stopped after {bench.cap:.0f} s of wall clock, an integer
program after {min(INTEGER_CAP, bench.cap):.0f} s; in brackets how far it got. *Open*: values whose
bracket stayed wider. The last ten samples of iris are training samples. Brackets miss each other
by {worst:.1e} at most.

{table(head, *rows)}
"""


def samples(bench: Bench, data: Data) -> str:
    """How time and memory grow with the number of samples."""
    rows = []
    cases = (("moons", 50, 5000), ("breast", 20, 100), ("digits", 20, 100))
    for net, few, many in cases:
        small = bench(question(net, data, few))
        path = data.get(f"{net}-{many}", "")
        large = bench(replace(question(net, data, many), data=path))
        asked = "≤ 10" if many == 5000 else ""
        for count, found, over in ((few, small, ""), (many, large, ratio(large, small))):
            memory = f"{found.megabytes:.0f}, {found.megabytes_before:.0f}"
            rows.append((net, count, seconds(found), over, asked if over else "", memory))
    head = ("net", "N", "CPU s", "ratio", "asked", "peak MB, and before the work")
    return f"""## More samples

Margin, ℓ∞, order 1, four radii. The 5,000 points of moons are new draws, scaled as the others and
clipped.

{table(head, *rows)}
"""


def losses(bench: Bench, data: Data) -> str:
    """Cross-entropy and the Euclidean norm against the margin in ℓ∞."""
    rows = []
    for net in ("moons", "iris"):
        job = question(net, data)
        margin = bench(job)
        rows.append(
            (f"{net}, {job.samples}", "margin, ℓ∞", seconds(margin), widest(margin), "", "")
        )
        entropy = bench(replace(job, loss="cross-entropy", tolerance=1e-6))
        euclid = bench(replace(job, norm="l2"))
        for name, found, asked in (
            ("cross-entropy, ℓ∞, to 1e-6", entropy, "≤ 20"),
            ("margin, ℓ2", euclid, "≤ 10"),
        ):
            rows.append(("", name, seconds(found), widest(found), ratio(found, margin), asked))
    head = ("net, N", "loss, norm", "CPU s", "widest gap", "ratio", "asked")
    return f"""## Cross-entropy and ℓ2

Order 1, four radii in one call.

{table(head, *rows)}
"""


def distances(bench: Bench, counts: dict[str, int]) -> str:
    """Distances to the error set in ℓ∞ and ℓ1, against Marabou in ℓ∞."""
    rows = []
    for net, count in counts.items():
        job = Job(method="wdaverify", task="distances", net=net, samples=count)
        linf, l1 = bench(job), bench(replace(job, norm="l1"))
        other = bench(replace(job, method="marabou"))
        missed = contradictions(linf, other, 1e-5)
        times = (seconds(linf), widest(linf), seconds(other), ratio(other, linf), missed)
        asked = " (≤ 5)" if net == "breast" else ""
        more = (seconds(l1), widest(l1), ratio(l1, linf) + asked)
        rows.append((f"{net} {WIDTHS[net]}, {count}", *times, *more))
    head = (
        *("net, N", "`wdaverify` ℓ∞", "gap", "Marabou ℓ∞", "ratio (≥ 5)", "contradictions"),
        *("`wdaverify` ℓ1", "gap", "ℓ1 / ℓ∞"),
    )
    return f"""## Distances

CPU seconds for all samples, in brackets what was asked for. Marabou bisects to 1e-4, starting from
the distance of a quick attack, and is given weights below 1e-6 as zeros: with weights of 1e-11,
which weight decay leaves, it answers *unsat* where points exist. Contradictions: samples at which
its bracket misses the exact distance by more than 1e-5.

{table(head, *rows)}
"""


def deep(count: int) -> str:
    """The test samples of the wider network: how many are exact, and how many to 1 %."""
    job = Job(
        method="wdaverify",
        task="distances",
        net="digits-deep",
        samples=count,
        workers=2,
        seconds=3600.0,
    )
    found = run(job)
    pairs = list(zip(found.lower, found.upper, strict=True))
    exact = sum(high - low <= 1e-7 * max(1.0, high) for low, high in pairs)
    close = sum(high - low <= 0.01 * high for low, high in pairs) - exact
    row = (count, f"{found.wall:.0f}", exact, close, count - exact - close, found.note)
    head = ("N", "wall seconds, 2 cores", "exact", "bracketed to 1 %", "wider", "note")
    return f"""## Distances, digits 64-64-64-10, ℓ∞

{table(head, row)}
"""
