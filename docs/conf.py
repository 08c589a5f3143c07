"""Sphinx configuration; ``sphinx-build -n -W -b html docs docs/_build`` needs no network."""

from typing import Any

import numpy.typing as npt
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

import wdaverify
from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.rational import Rationals

project = "wdaverify"
author = "The wdaverify developers"
project_copyright = author
release = version = wdaverify.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build"]

nb_execution_mode = "cache"  # by the text of a notebook: delete _build after changing the package
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
html_theme = "furo"
html_title = f"wdaverify {release}"

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
math_eqref_format = "({number})"
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

default_role = "code"  # single backticks in docstrings
add_module_names = False  # api.md says where every name is imported from
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
numpydoc_show_class_members = False  # autodoc lists them

nitpick_ignore_regex = [
    # other projects: links to them need intersphinx, which needs a network
    (
        r"py:.*",
        r"(collections|fractions|matplotlib|networkx|numpy|nx|os|pathlib|threading|torch)\..*",
    ),
]

nitpick_ignore = [
    ("py:class", "Axes"),  # of matplotlib, imported only for types
    # numpydoc shows attributes of data classes as a list, which is no target
    ("py:attr", "worst_case"),
    # what registrations take, and what readers of networks are made of inside
    ("py:class", "wdaverify.extending.L"),
    ("py:class", "wdaverify.extending.F"),
    ("py:class", "Propose"),
    ("py:class", "Tensor"),
    ("py:class", "Neurons"),
    ("py:mod", "wdaverify.importers.piecewise"),
    ("py:mod", "wdaverify.units"),
    # what a certificate is made of inside
    ("py:class", "wdaverify.bounds.growth.Part"),
    # what a property is made of inside
    ("py:class", "wdaverify.vnnlib.cases.Case"),
]

_ALIASES = {
    "numpy.typing.ArrayLike": npt.ArrayLike,
    "wdaverify.arrays.Bools": Bools,
    "wdaverify.arrays.Floats": Floats,
    "wdaverify.arrays.Integers": Integers,
    "wdaverify.rational.Rationals": Rationals,
}
_NAMES = {stringify_annotation(alias, "smart"): f"~{name}" for name, alias in _ALIASES.items()}


def _named(text: str | None) -> str | None:
    for written_out, name in _NAMES.items():
        text = text and text.replace(written_out, name)
    return text


def _name_arrays(*event: Any) -> tuple[str | None, str | None]:  # noqa: ANN401
    """Write array types as the source does."""
    *_, signature, returned = event
    return _named(signature), _named(returned)


def setup(app: Sphinx) -> None:
    """Connect what no option of autodoc does."""
    app.connect("autodoc-process-signature", _name_arrays)
