"""The report as a file: whole, alone, escaped, and with the numbers of the sandwich."""

import base64
import hashlib
import json
import shlex
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from report.html_page import Page, loaded_from_elsewhere

import wdaverify as wv
from wdaverify.cli import main
from wdaverify.errors import ProblemError
from wdaverify.report import Origin, report_html
from wdaverify.report.moves import moves_of
from wdaverify.report.plane import view_of
from wdaverify.storage import load_stored

ROOT = Path(__file__).parents[2]
PROBLEMS = ROOT / "problems"
KINDS = (
    "relu-interval",  # one sample, one feature
    "relu-line",  # mass that escapes
    "relu-line-inf",  # order ∞ without a curve
    "zero-one-line-inf",  # a staircase
    "zero-one-label-move",  # labels that move, order 2
    "dlr-tie",  # infinite values
    "truncated-dlr-line",
    "cross-entropy-interval",
    "polytope-triangle",  # two features
    "affine-linf-inf",  # three features
    "negative-absolute-value",  # nothing moves
)


@pytest.fixture(scope="module")
def made():
    """Sandwich and page of a problem, made once."""
    known: dict[str, tuple[wv.Sandwich, Page]] = {}

    def make(name: str) -> tuple[wv.Sandwich, Page]:
        if name not in known:
            stored = load_stored(PROBLEMS / name)
            result = wv.sandwich(stored.problem, stored.radii)
            origin = Origin(problem=PROBLEMS / name, files=stored.files, seed=0)
            known[name] = result, Page(report_html(result, origin=origin))
        return known[name]

    return make


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


@pytest.mark.parametrize("name", KINDS)
def test_a_report_is_sound_html_that_needs_nothing_else(made, name):
    _, page = made(name)
    assert page.faults == []
    assert loaded_from_elsewhere(page) == []
    for table in page.named("table"):
        assert "caption" in [e.tag for e in page.elements if "table" in e.inside]
        assert table.text.strip()
    assert len(page.named("table")) == len(page.named("caption"))
    for svg in page.named("svg"):
        hidden = svg.attributes.get("aria-hidden") == "true"
        assert hidden or svg.attributes.get("role") == "img"
    assert all(e.attributes.get("alt") for e in page.named("img"))
    assert "nan" not in page.text.lower().split()
    assert "nan" not in [e.attributes["value"] for e in page.named("data")]


def test_the_checks_notice_a_faulty_page():
    page = Page("<body><p id='a'><b id='a'></p></b><a href='#none'></a></body>")
    assert len(page.faults) >= 3
    outside = (
        "<img src='http://a.b/c.png'>",
        "<p onclick='f()'></p>",
        "<p style='color: red'></p>",
        "<script>fetch('x')</script>",
        "<style>a { background: url(x.png) }</style>",
        "<link rel='stylesheet'>",
    )
    for piece in outside:
        assert loaded_from_elsewhere(Page(f"<body>{piece}</body>"))


@pytest.mark.parametrize("name", KINDS)
def test_the_sandwich_table_has_all_digits(made, name):
    result, page = made(name)
    table = page.table("Attack ≤ exact value ≤ certificate")
    rows = sorted(result.rows, key=lambda row: row.radius)
    assert len(table) == len(rows)
    for cells, row in zip(table, rows, strict=True):
        wanted = [row.radius, row.attack, row.lower, row.upper, row.certificate, row.gap]
        assert cells[:6] == wanted
        if row.exact is not None and row.exact.multiplier is not None:
            assert cells[6] == row.exact.multiplier


@pytest.mark.parametrize("name", KINDS)
def test_every_bound_is_compared(made, name):
    result, page = made(name)
    table = page.table("Every bound at every radius")
    listed = [row[-len(result.rows) :] for row in table]
    for values in [*result.lower_bounds.values(), *result.upper_bounds.values()]:
        assert list(values) in listed


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("relu-interval", "can reach 3."),
        ("relu-line", "as close to 4 as one likes"),
        ("dlr-tie", "can become arbitrarily large"),
        ("zero-one-line-inf", "the share of wrong predictions can reach 100 %"),
        ("negative-absolute-value", "stays at 0: nothing makes it worse"),
        ("relu-line-inf", "Only the radii asked for: margin of order inf on an unbounded support"),
        ("zero-one-label-move", "A label may change as well, at the price 0.5"),
        ("negative-absolute-value", "No mass moves"),
        ("relu-line", "mass that escapes"),
        ("polytope-triangle", "decision boundary"),
    ],
)
def test_words(made, name, words):
    assert words in made(name)[1].text


def test_the_policy_names_style_and_script_by_their_hashes(made):
    _, page = made("relu-interval")
    policy = page.named("meta")[1].attributes["content"]
    assert policy.startswith("default-src 'none'")
    texts = [page.named("style")[0].text, page.named("script")[1].text]
    for kind, text in zip(("style-src", "script-src"), texts, strict=True):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy


def test_the_embedded_curve_is_the_value_curve(made):
    result, page = made("zero-one-label-move")
    data = json.loads(page.named("script")[0].text)["curve"]
    curve = wv.value_curve(result.problem)
    assert data["radius"] == curve.radius.tolist()
    assert data["lower"] == curve.lower.tolist()
    assert data["upper"] == curve.upper.tolist()
    assert data["final"] == list(curve.final_slope)
    for row in result.rows:
        budget = row.radius**curve.order
        assert np.interp(budget, data["budget"], data["lower"]) == pytest.approx(row.lower)


def test_nothing_of_a_problem_is_taken_for_markup():
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"
    problem = wv.load_problem(PROBLEMS / "relu-interval").replace(name=bad)
    result = wv.sandwich(problem, [2.0])
    origin = Origin(
        problem=Path(bad), command=("verify", bad), notes=(bad,), expected=((1.5,), bad)
    )
    page = Page(report_html(result, origin=origin))
    assert page.faults == []
    assert loaded_from_elsewhere(page) == []
    assert len(page.named("script")) == 2
    assert page.named("img") == []
    assert page.named("h1")[0].text == bad
    assert page.text.count(bad) >= 4


def test_report_and_json_agree_and_the_command_repeats_them(capsys, tmp_path):
    target = tmp_path / "out.html"
    asked = [str(PROBLEMS / "hinge-line"), "--radius", "1", "--radius", "2.75", "--loss", "margin"]
    code, out, err = call(capsys, "verify", *asked, "--report", str(target), "--json", "-")
    assert code == 0, err
    data = json.loads(out)
    page = Page(target.read_text())
    table = page.table("Attack ≤ exact value ≤ certificate")
    keys = ("radius", "attack", "lower", "upper", "certificate", "gap", "multiplier")
    assert table == [[row[key] for key in keys] for row in data["rows"]]
    assert data["nominal"] in [float(e.attributes["value"]) for e in page.named("data")]
    commands = [e.text for e in page.named("code") if e.text.startswith("wdaverify ")]
    again, prove, check = map(shlex.split, commands)
    target.unlink()
    code, out, err = call(capsys, *again[1:])
    assert code == 0, err
    assert target.exists()
    assert [row["lower"] for row in json.loads(out)["rows"]] == [r["lower"] for r in data["rows"]]
    proof = str(tmp_path / "margin.proof")
    assert call(capsys, *prove[1 : prove.index("--out")], "--out", proof)[0] == 0
    assert call(capsys, "check", proof, *check[3:])[0] == 0


def test_files_are_named_by_their_hashes(made):
    _, page = made("relu-interval")
    toml = PROBLEMS / "relu-interval" / "problem.toml"
    codes = [e.text for e in page.named("code")]
    assert hashlib.sha256(toml.read_bytes()).hexdigest() in codes


def test_a_limit_leaves_a_report_of_brackets(capsys, tmp_path):
    target = tmp_path / "out.html"
    problem = str(PROBLEMS / "moons")
    code, _, err = call(
        capsys, "verify", problem, "--time-limit", "0", "--samples", "3", "--report", str(target)
    )
    assert code == 3, err
    page = Page(target.read_text())
    assert page.faults == []
    assert "lies between" in page.text
    assert "ended early" in page.text
    assert "bracket" in page.text


def test_without_jinja_one_line_says_how_to_get_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    target = tmp_path / "out.html"
    code, out, err = call(capsys, "verify", str(PROBLEMS / "moons"), "--report", str(target))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "pip install 'wdaverify[report]'" in err
    assert not target.exists()


def test_a_folder_that_does_not_exist_is_refused_before_the_work(capsys, tmp_path):
    target = tmp_path / "none" / "out.html"
    code, out, err = call(capsys, "verify", str(PROBLEMS / "moons"), "--report", str(target))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "none/out.html" in err


def test_write_report_writes_whole_files(made, tmp_path):
    result, _ = made("relu-interval")
    target = tmp_path / "out.html"
    wv.write_report(result, target)
    assert Page(target.read_text()).faults == []
    with pytest.raises(ProblemError, match="image_shape"):
        wv.write_report(result, target.with_name("other.html"), image_shape=(2, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]


def test_radius_zero_alone():
    problem = wv.load_problem(PROBLEMS / "polytope-triangle")
    page = Page(report_html(wv.sandwich(problem, [0.0])))
    assert page.faults == []
    assert "No mass moves" in page.text


@pytest.mark.slow
def test_many_samples_and_a_huge_support_stay_readable():
    rng = np.random.default_rng(0)
    network = wv.ReLUNetwork([[[1.0, 0.5], [-1.0, 0.25]]], [[0.0, 0.1]])
    points = rng.normal(size=(2500, 2))
    problem = wv.Problem(
        network, points, network.logits(points).argmax(axis=1), support=wv.Box(-1e9, 1e9)
    )
    result = wv.sandwich(problem, np.linspace(0.1, 1.0, 12))
    moves = [moves_of(problem, row.exact.worst_case) for row in result.rows]
    low, high = view_of(problem, moves)
    assert np.abs([low, high]).max() < 100.0
    html = report_html(result)
    page = Page(html)
    assert page.faults == []
    assert "500 further samples are not drawn" in page.text
    assert len(html) < 2_000_000


@pytest.mark.slow
def test_the_wheel_brings_templates_style_and_script(tmp_path):
    builder = pytest.importorskip("hatchling.builders.wheel")
    (wheel,) = builder.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    packed = set(zipfile.ZipFile(wheel).namelist())
    folder = ROOT / "wdaverify" / "report"
    files = [p for p in folder.rglob("*") if p.suffix in {".j2", ".css", ".js"}]
    assert len(files) >= 12
    assert {str(p.relative_to(ROOT)) for p in files} <= packed
