"""Every code block of the README and every ``>>>`` example of docs and docstrings runs."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import wdaverify

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
MODULES = [
    module.name
    for module in pkgutil.walk_packages(wdaverify.__path__, "wdaverify.")
    if not module.name.endswith("__main__")
]


def fenced(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def run(test: doctest.DocTest, names: dict[str, object] | None = None) -> int:
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, clear_globs=False)
    if names is not None:
        names.update(test.globs)
    assert runner.failures == 0
    return runner.tries


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page_run(page, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}  # the blocks of a page build on each other
    for number, block in enumerate(fenced(page)):
        if ">>>" in block:
            name = f"{page.name}, block {number}"
            run(doctest.DocTestParser().get_doctest(block, names, name, str(page), 0), names)
        else:
            names |= {name: None for name in names if name.startswith("test_")}
            exec(compile(block, str(page), "exec"), names)
            for test in [v for name, v in names.items() if name.startswith("test_") and v]:
                test()
    capsys.readouterr()


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        if test.examples:
            run(test)


def test_a_wrong_example_is_noticed():
    text = ">>> 1 + 1\n3\n"
    with pytest.raises(AssertionError):
        run(doctest.DocTestParser().get_doctest(text, {}, "wrong", None, 0))
