"""The exact engine against what else can do its job: side by side, one thread, in one run.

``python tests/benchmarks/bench_exact.py --page docs/benchmarks.md`` writes the page; under an hour.
``--deep`` adds the 500 distances of the 64-64-64-10 network (an hour more, two cores). Every job is
a process of its own with a time limit; one that passes it is stopped, and the page says so. Run by
``nox -s bench``.
"""

import argparse
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from exact_data import write_iris, write_moons
from exact_jobs import RADII
from exact_runs import SHORT, Bench
from exact_tables import deep, distances, losses, samples, values

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("wdaverify", "highspy", "numpy", "pyscipopt", "maraboupy")
SECTIONS = ("values", "samples", "losses", "distances")


def machine() -> str:
    """Return processor, system and versions."""
    cpu, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = models[0] if models else cpu
    parts = [cpu, f"{os.cpu_count()} cores", platform.system()]
    return ", ".join([*parts, f"Python {platform.python_version()}", *map(installed, PACKAGES)])


def installed(package: str) -> str:
    """Return a package's name and version."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"


def sections(bench: Bench, wanted: list[str]) -> list[str]:
    """Run the sections and return their text."""
    with tempfile.TemporaryDirectory() as folder:
        data = {"iris": f"{folder}/iris.npz", "moons-5000": f"{folder}/moons.npz"}
        write_iris(Path(data["iris"]), 60)
        write_moons(Path(data["moons-5000"]), 5000)
        parts: dict[str, Callable[[], str]] = {
            "values": lambda: values(bench, data),
            "samples": lambda: samples(bench, data),
            "losses": lambda: losses(bench, data),
            "distances": lambda: distances(bench, {"breast": 120, "digits": 100}),
        }
        return [parts[name]() for name in wanted]


def page(arguments: argparse.Namespace) -> str:
    """Run everything that was asked for and return the page."""
    start, bench = time.monotonic(), Bench(arguments.repeats, arguments.cap)
    body = sections(bench, arguments.only or list(SECTIONS))
    if arguments.deep:
        body.append(deep(500))
    minutes = (time.monotonic() - start) / 60
    head = f"""# Benchmarks

Made on {datetime.now(UTC):%d %B %Y} in {minutes:.0f} minutes by
`python tests/benchmarks/bench_exact.py --page docs/benchmarks.md`.

Machine: {machine()}. One thread. Times are CPU seconds of the solution: without loading, but with
cells, neuron ranges and models. The median of {arguments.repeats} runs where one takes less than
{SHORT:.0f} s, else a single run. Radii {", ".join(map(str, RADII))}. Networks and samples are those
of `problems/`.
"""
    return "\n".join([head, *body])


def main() -> None:
    """Print the page, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--page", type=Path, help="file to write")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cap", type=float, default=600.0, help="wall-clock seconds a job")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="sections; all when omitted")
    parser.add_argument("--deep", action="store_true", help="an hour more: digits-deep")
    arguments = parser.parse_args()
    text = page(arguments)
    print(text)
    if arguments.page:
        arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
