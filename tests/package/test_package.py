"""What the package says of itself, what it imports, and what ends in a wheel."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import wdaverify as wv

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "matplotlib", "onnx", "pandas", "distributed", "joblib")

SOLVE = """
import json, sys
import wdaverify as wv
net = wv.ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])
problem = wv.Problem(net, [[-1.0]], [0], support=wv.Box(-3.0, 3.0))
wv.solve(problem, radius=2.0, engine="cells")
print(json.dumps(sorted(sys.modules)))
"""


def modules_after(program: str) -> set[str]:
    """Return what a program has imported, which prints that as its last line."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_solving_imports_nothing_heavy():
    assert not modules_after(SOLVE) & set(HEAVY)


def test_the_package_alone_imports_next_to_nothing():
    bare = "import json, sys, wdaverify\nprint(json.dumps(sorted(sys.modules)))"
    assert not modules_after(bare) & {"numpy", "scipy", "networkx", "highspy", *HEAVY}


def test_help_imports_nothing_heavy():
    program = (
        "import json, sys\nfrom wdaverify.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    assert not modules_after(program) & set(HEAVY)


def test_an_import_would_be_noticed():
    assert "torch" in modules_after("import torch\n" + SOLVE)


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == wv.__version__ == citation["version"]
    assert project["license"] == citation["license"]
    assert f"## {wv.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_citation_has_what_its_format_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    (paper,) = citation["references"]
    assert "2510.10000" in paper["url"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Le", "Dao", "Nguyen", "Chu"]


def test_extras_are_those_that_messages_and_docs_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {"report", "dask", "proof", "replay", "sdp", "ray"} <= set(extras)
    assert (ROOT / "wdaverify" / "py.typed").exists()


@pytest.mark.slow
def test_a_typed_client_checks_strictly(tmp_path):
    client = tmp_path / "client.py"
    client.write_text(
        "import wdaverify as wv\n\n"
        "problem: wv.Problem = wv.load_problem('problems/moons')\n"
        "value: wv.ExactValue = wv.solve(problem, radius=0.1)\n"
        "low: float = value.lower\n"
        "wrong: str = value.lower\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(client)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No module named mypy" in done.stderr:
        pytest.skip("mypy is not installed")
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == 1, done.stdout
    assert 'variable has type "str"' in errors[0]
