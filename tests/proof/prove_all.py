"""Prove and check every problem folder at its first radius; print sizes, times and loss of bound.

``python tests/proof/prove_all.py problems``. What has no rational proof is named with its reason.
Run by ``nox -s verify``.
"""

import sys
import tempfile
import time
from pathlib import Path

from wdaverify.checker.verdict import check_file
from wdaverify.errors import UnsupportedError, WDAVerifyError
from wdaverify.proof.prove import prove
from wdaverify.storage import load_stored

FIRST = {"breast": 10, "digits": 3, "digits-deep": 2}
"""How many samples of a large problem are proved."""


def proved(folder: Path, file: Path) -> tuple[bool, str]:
    """Return whether a problem may pass, and what happened."""
    stored = load_stored(folder)
    count = len(stored.problem)
    problem = stored.problem.head(min(FIRST.get(folder.name, count), count))
    radius = stored.radii[0]
    start = time.perf_counter()
    try:
        found = prove(problem, radius=radius, path=file, checked=False)
    except UnsupportedError as error:
        return True, f"not proved: {error}"
    except WDAVerifyError as error:
        return False, f"FAILED: {error}"
    middle = time.perf_counter()
    verdict = check_file(file)
    end = time.perf_counter()
    text = (
        f"[{found.lower:.12g}, {found.upper:.12g}] radius {radius:g}, N = {len(problem)}, "
        f"{found.engine}: {file.stat().st_size:,} bytes, proved in {middle - start:.1f} s, "
        f"checked in {end - middle:.1f} s, loss of bound {found.loss:.0e}"
    )
    if not verdict.accepted:
        return False, f"REJECTED at line {verdict.line}: {verdict.reason}; {text}"
    return True, f"accepted {text}"


def main(problems: Path) -> int:
    """Prove all of them."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(problems.glob("*/problem.toml")):
            passed, text = proved(path.parent, Path(folder) / "proof")
            failed += not passed
            print(f"{path.parent.name}: {text}", flush=True)  # noqa: T201
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
