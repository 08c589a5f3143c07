"""The cells of every notebook run in order, in plain Python, where the docs build runs them."""

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.md"))


def cells(text: str) -> list[str]:
    return re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(text: str, name: str) -> None:
    names: dict[str, object] = {"__name__": name}
    for number, cell in enumerate(cells(text)):
        exec(compile(cell, f"{name}, cell {number}", "exec"), names)


@pytest.mark.slow
@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.stem)
def test_a_notebook_runs(page, monkeypatch, capsys):
    monkeypatch.chdir(FOLDER)
    before = sorted(FOLDER.iterdir())
    with mpl.rc_context():
        run(page.read_text(), page.name)
    plt.close("all")
    assert "nan" not in capsys.readouterr().out
    assert sorted(FOLDER.iterdir()) == before


def test_every_notebook_has_cells_and_the_kernel_that_runs():
    assert len(NOTEBOOKS) >= 3
    for page in NOTEBOOKS:
        text = page.read_text()
        assert "name: python3" in text
        assert len(cells(text)) == text.count("```{code-cell}") > 3


def test_a_failing_cell_is_noticed():
    with pytest.raises(NameError):
        run("```{code-cell} ipython3\nnothing_of_that_name\n```\n", "wrong")
