"""One enumeration in a process of its own: ``python cells_jobs.py '{…}'`` prints one JSON line.

Times are CPU seconds of the process and its children, memory the peak above the imports.
"""

import json
import re
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to enumerate, and with what.

    Parameters
    ----------
    method
        ``wdaverify``, ``depth-first`` or ``relucent``.
    task
        ``patterns`` or ``graph`` (facets and neighbours too).
    sizes
        Features, then the widths of the hidden layers.
    kind
        ``generic`` or one of the degenerate kinds.
    radius
        The box is ``[-radius, radius]^n``; infinite for the whole space.
    most
        Cells after which to stop.
    """

    method: str
    sizes: tuple[int, ...]
    task: str = "patterns"
    kind: str = "generic"
    radius: float = 1.0
    seed: int = 0
    most: int = 10**9
    seconds: float = 120.0


def layers_of(job: Job) -> list[tuple[Floats, Floats]]:
    """Draw weights as torch does by default, then make them degenerate; two logits at the end."""
    rng = np.random.default_rng(job.seed)
    layers = []
    for before, after in zip(job.sizes, (*job.sizes[1:], 2), strict=True):
        bound = 1.0 / np.sqrt(before)
        W, b = rng.uniform(-bound, bound, (after, before)), rng.uniform(-bound, bound, after)
        layers.append((W, b))
    degenerate(job.kind, layers, rng)
    return layers


def degenerate(kind: str, layers: list[tuple[Floats, Floats]], rng: np.random.Generator) -> None:
    """Change layers in place."""
    for W, b in layers:
        half = len(b) // 2
        if kind == "no bias":
            b[:] = 0.0
        elif kind in ("eighths", "quarters"):
            scale = 8.0 if kind == "eighths" else 4.0
            W[:], b[:] = np.round(W * scale) / scale, np.round(b * scale) / scale
        elif kind == "duplicates":
            W[half : 2 * half], b[half : 2 * half] = W[:half], b[:half]
            W[half : 2 * half : 2] *= -1.0
            b[half : 2 * half : 2] *= -1.0
        elif kind == "dead":
            dead = rng.choice(len(b), size=max(1, len(b) // 4), replace=False)
            W[dead] = 0.0
        elif kind == "walls":
            W[:half] = np.eye(W.shape[1])[np.arange(half) % W.shape[1]]
            b[:half] = np.where(np.arange(half) % 2, -1.0, 1.0)


def enumerated(job: Job, layers: list[tuple[Floats, Floats]]) -> tuple[int, int]:
    """Run the job; return the numbers of cells and of edges."""
    n = job.sizes[0]
    if job.method == "relucent":
        import relucent  # noqa: PLC0415
        import torch  # noqa: PLC0415

        # the last pair is the output: relucent counts hidden neurons only
        complex_ = relucent.Complex(relucent.convert(layers))
        box = {} if np.isinf(job.radius) else {"cube_radius": job.radius, "cube_mode": "clipped"}
        start = torch.full((n,), 1e-3, dtype=torch.float64)
        complex_.bfs(start=start, nworkers=1, verbose=0, **box)
        return len(complex_), 0
    import wdaverify as wv  # noqa: PLC0415

    network = wv.ReLUNetwork([W for W, _ in layers], [b for _, b in layers])
    if job.method == "depth-first":
        from baseline_cells import DepthFirst  # noqa: PLC0415

        box = np.full(n, job.radius)
        return DepthFirst(network, -box, box).count(np.zeros(n), most=job.most), 0
    support = wv.Box(-job.radius, job.radius)
    if job.task == "graph":
        cells = wv.enumerate_cells(network, support)
        return len(cells), cells.graph.number_of_edges()
    from wdaverify.cells.frame import frame_of  # noqa: PLC0415
    from wdaverify.cells.stream import cell_blocks  # noqa: PLC0415

    count = 0
    for block in cell_blocks(network, frame_of(support.bind(n))):
        count += len(block.patterns)
    return count, 0


def used() -> float:
    """Return CPU seconds of this process and of children that have ended."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak() -> int:
    """Return the largest resident size so far, kB; that of the parent process does not count."""
    status = Path("/proc/self/status")
    if not status.exists():
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text(encoding="ascii"))[0])


def main() -> None:
    """Run once on a net of one neuron, for imports and start-up, then the job."""
    job = Job(**json.loads(sys.argv[1]))
    tiny = Job(method=job.method, sizes=(job.sizes[0], 1), task=job.task, radius=job.radius)
    enumerated(tiny, layers_of(tiny))
    before, start = used(), time.perf_counter()
    memory = peak()
    layers = layers_of(job)
    cells, edges = enumerated(job, layers)
    print(
        json.dumps(
            {
                "cells": cells,
                "edges": edges,
                "seconds": used() - before,
                "wall": time.perf_counter() - start,
                "megabytes": (peak() - memory) / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
