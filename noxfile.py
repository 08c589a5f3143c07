"""Everything that is checked, each in its own environment.

``nox`` runs tests, lint and typecheck. On request: ``docs``, ``verify`` (solve every problem
folder), ``package`` (a wheel, used from elsewhere), ``bench`` and ``nightly`` (the slow tests too).
"""

from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "lint", "typecheck"]
nox.options.reuse_existing_virtualenvs = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
SAMPLES = {
    "breast": ("--samples", "20"),
    "digits": ("--samples", "10"),
    "digits-deep": ("--samples", "5"),
}
"""How much of a large problem ``verify`` solves."""
QUIET = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def install(session: nox.Session, *groups: str, package: bool = True) -> None:
    """Install dependency groups, and the package unless told otherwise, in pinned versions."""
    wanted = nox.project.dependency_groups(PYPROJECT, *groups)
    if package:
        wanted = ("-e", ".", *wanted)
    session.install("-q", "-c", "constraints.txt", *wanted)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the default tests on both cores; arguments go to pytest."""
    install(session, "test")
    arguments = session.posargs or ["-n", "2", "-m", "not slow"]
    session.run("pytest", *arguments, env=QUIET)


@nox.session
def nightly(session: nox.Session) -> None:
    """Run every test, also those that take minutes."""
    install(session, "test", "problems", "browser")
    session.run("pytest", "-n", "2", *session.posargs, env=QUIET)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and the direction of imports."""
    install(session, "lint", package=False)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", env={"PYTHONPATH": "."})


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "typecheck")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings being errors: docs/_build/html/index.html."""
    install(session, "docs")
    session.run("sphinx-build", "-n", "-W", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session
def verify(session: nox.Session) -> None:
    """Solve every problem folder, then prove and check it at its first radius.

    Fails on a violated sandwich, a missed expected value or a proof that is rejected.
    """
    install(session)
    problems = sorted(path.parent for path in Path("problems").glob("*/problem.toml"))
    failed = []
    for problem in problems:
        try:
            first = SAMPLES.get(problem.name, ())
            session.run("wdaverify", "verify", str(problem), *first, env=QUIET)
        except nox.command.CommandFailed:
            failed.append(problem.name)
    try:
        session.run("python", "tests/proof/prove_all.py", "problems", env=QUIET)
    except nox.command.CommandFailed:
        failed.append("proofs")
    if failed:
        session.error(f"{len(failed)} of {len(problems)} problems failed: {', '.join(failed)}")


@nox.session
def package(session: nox.Session) -> None:
    """Build wheel and sdist; install the wheel, and use it from elsewhere."""
    session.install("-q", "-c", "constraints.txt", "build")
    folder = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "-q", "--outdir", str(folder), ".")
    (wheel,) = folder.glob("*.whl")
    session.install("-q", "-c", "constraints.txt", f"{wheel}[report,proof]")
    problem = Path("problems/moons").resolve()
    session.chdir(folder)
    session.run("wdaverify", "--version")
    session.run("wdaverify", "verify", str(problem), "--report", "moons.html", env=QUIET)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks; prints machine, versions, sizes, medians and ratios; over an hour."""
    install(session, "test", "problems", "bench")
    session.run("python", "tests/benchmarks/bench_verify.py", env=QUIET)
    session.run("python", "tests/benchmarks/bench_cells.py", env=QUIET)
    session.run("python", "tests/benchmarks/bench_bounds.py", env=QUIET)
    session.run("python", "tests/benchmarks/bench_proof.py", env=QUIET)
    session.run("python", "tests/benchmarks/bench_scaling.py", env=QUIET)
    session.run("python", "tests/benchmarks/bench_exact.py", *session.posargs, env=QUIET)
