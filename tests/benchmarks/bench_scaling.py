"""How the work spreads: wall-clock time with 1 and 2 workers, and what more of them could do.

Measured: whole calls of ``solve``, interleaved, medians. Simulated: every request of the run with
one worker is timed; each round of requests is then scheduled greedily, longest first, on W workers,
with a barrier between rounds, and what is done between the rounds stays as it is. Keys move freely
there, messages cost nothing, and nobody waits for memory: it is an upper bound on what W machines
of this kind can do, and no measurement.
"""

import argparse
import heapq
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wdaverify as wv
from wdaverify.exact.dispatch import Here
from wdaverify.exact.solve import solver_for

PROBLEMS = Path(__file__).parents[2] / "problems"
CASES = (
    ("breast", 120, "search", 0.1),
    ("digits", 60, "search", 0.05),
    ("breast-cancer", 200, "cells", 0.1),
)
WORKERS = (2, 4, 8, 16)
REPEATS = 3


@dataclass
class Timed:
    """A runner that notes how long each request of each round takes."""

    inner: Here
    rounds: list[list[float]] = field(default_factory=list)

    @property
    def counts(self) -> Any:
        """How much work was done."""
        return self.inner.counts

    def run(self, requests: list[Any]) -> list[Any]:
        """Answer, one request after the other."""
        found, times = [], []
        for request in requests:
            start = time.perf_counter()
            found += self.inner.run([request])
            times.append(time.perf_counter() - start)
        if times:
            self.rounds.append(times)
        return found


def makespan(times: list[float], workers: int) -> float:
    """Return when the last of some requests ends, longest first, each to whoever is free."""
    free = [0.0] * workers
    for seconds in sorted(times, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def wall(problem: wv.Problem, radius: float, engine: str, workers: int) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    wv.solve(problem, radius=radius, engine=engine, workers=workers)
    return time.perf_counter() - start


def profile(problem: wv.Problem, radius: float, engine: str) -> tuple[float, list[list[float]]]:
    """Return the seconds of a call with one worker, and those of its requests by round."""
    start = time.perf_counter()
    solver = solver_for(problem, engine)
    timed = Timed(solver.desk._runner)
    solver.desk._runner = timed
    solver.solve(radius)
    return time.perf_counter() - start, timed.rounds


def row(name: str, samples: int, engine: str, radius: float) -> str:
    """Measure one case."""
    problem = wv.load_problem(PROBLEMS / name)
    problem = problem.head(min(samples, len(problem)))
    pairs = [[wall(problem, radius, engine, w) for w in (1, 2)] for _ in range(REPEATS)]
    one, two = (statistics.median(times) for times in zip(*pairs, strict=True))
    total, rounds = profile(problem, radius, engine)
    alone = total - sum(map(sum, rounds))
    simulated = [total / (alone + sum(makespan(times, w) for times in rounds)) for w in WORKERS]
    cells = [name, str(len(problem)), engine, str(sum(map(len, rounds))), str(len(rounds))]
    cells += [f"{one:.1f}", f"{two:.1f}", f"**{one / two:.2f}**"]
    return f"| {' | '.join(cells + [f'{value:.2f}' for value in simulated])} |"


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    head = "| problem | N | engine | requests | rounds | 1 worker, s | 2 workers, s | speed-up |"
    print(head + "".join(f" {w}, simulated |" for w in WORKERS))
    print("|" + " --- |" * (8 + len(WORKERS)))
    for case in CASES:
        print(row(*case), flush=True)


if __name__ == "__main__":
    main()
