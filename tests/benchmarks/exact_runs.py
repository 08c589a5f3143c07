"""Jobs in processes of their own, and how two outcomes compare."""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from exact_jobs import Job, Outcome

WORKER = Path(__file__).resolve().parent / "exact_jobs.py"
SHORT = 20.0
"""Jobs that take less (wall seconds) are repeated."""

GRACE = 15.0
"""Seconds for start and loading, on top of a job's own limit."""

NEEDS = {"scip": "pyscipopt", "marabou": "maraboupy"}
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Bench:
    """Runs jobs, each once however often it is asked for.

    Parameters
    ----------
    repeats
        Runs of a short job; the one of median time counts.
    cap
        Wall-clock seconds after which any job is stopped.
    """

    def __init__(self, repeats: int, cap: float) -> None:
        self.repeats, self.cap = repeats, cap
        self.results: dict[Job, Outcome] = {}

    def __call__(self, job: Job) -> Outcome:
        """Return what a job reached."""
        job = replace(job, seconds=min(job.seconds, self.cap))
        if job not in self.results:
            runs = [run(job)]
            while len(runs) < self.repeats and runs[-1].done and runs[-1].wall < SHORT:
                runs.append(run(job))
            middle = statistics.median_low(one.seconds for one in runs)
            found = next(one for one in runs if one.seconds == middle)
            self.results[job] = found
            what = f"{job.method} {job.task} {job.net} {job.loss} {job.norm} N={job.samples}"
            print(f"{what}: {seconds(found)}", file=sys.stderr, flush=True)
        return self.results[job]


def run(job: Job) -> Outcome:
    """Run one job on one thread; at its time limit the process is ended."""
    missing = NEEDS.get(job.method)
    if missing and find_spec(missing) is None:
        return Outcome(note=f"{missing} not installed")
    command = [sys.executable, "-W", "ignore", str(WORKER), json.dumps(asdict(job))]
    with (
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, env=os.environ | THREADS, stdout=output, stderr=errors) as worker,
    ):
        stopped = False
        try:
            worker.wait(timeout=job.seconds + GRACE)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            stopped = True
        output.seek(0)
        errors.seek(0)
        lines = [line for line in output if line.startswith("{")]
        complaints = errors.read().strip().splitlines()
    outcome = Outcome(**json.loads(lines[-1])) if lines else Outcome()
    if stopped and not outcome.done:
        outcome.stopped = True
        outcome.seconds = outcome.seconds or job.seconds
    elif not outcome.done:
        outcome.note = f"failed: {complaints[-1] if complaints else worker.returncode}"
    return outcome


def seconds(outcome: Outcome) -> str:
    """Return CPU seconds for a table, or why there are none."""
    if outcome.done:
        shown = f"{outcome.seconds:.2f}" if outcome.seconds < 10 else f"{outcome.seconds:.0f}"
        return f"{shown} ({outcome.open} of {len(outcome.lower)} open)" if outcome.open else shown
    if outcome.stopped:
        return f"> {outcome.seconds:.0f} (stopped: {outcome.note or 'nothing yet'})"
    return f"– ({outcome.note})"


def ratio(slow: Outcome, fast: Outcome) -> str:
    """Return how many times longer the first took; a lower bound where it was stopped."""
    if not (fast.done and fast.seconds and (slow.done or slow.stopped)):
        return "–"
    value = slow.seconds / fast.seconds
    shown = f"{value:.1f}" if value < 10 else f"{value:.0f}"
    return shown if slow.done else f"> {shown}"


def contradiction(one: Outcome, other: Outcome) -> float:
    """Return by how much two brackets miss each other, relative to the values; 0 if they meet."""
    return max((excess / max(1.0, abs(low)) for low, excess in _excesses(one, other)), default=0.0)


def contradictions(one: Outcome, other: Outcome, allowed: float) -> str:
    """Return in how many of the places that both bracket the two miss each other."""
    excesses = [excess for _, excess in _excesses(one, other)]
    return f"{sum(excess > allowed for excess in excesses)} of {len(excesses)}"


def _excesses(one: Outcome, other: Outcome) -> list[tuple[float, float]]:
    brackets = zip(one.lower, one.upper, other.lower, other.upper, strict=False)
    return [
        (low, max(0.0, low - upper, lower - high))
        for low, high, lower, upper in brackets
        if math.isfinite(low) and math.isfinite(lower)
    ]


def widest(outcome: Outcome) -> str:
    """Return the largest gap, relative to ``max(1, |v|)``."""
    if not outcome.done:
        return "–"
    gaps = [
        (high - low) / max(1.0, abs(low))
        for low, high in zip(outcome.lower, outcome.upper, strict=True)
        if math.isfinite(low)
    ]
    return f"{max(gaps, default=0.0):.1e}"


def table(*rows: Any) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *body = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])
