"""The report in a real browser: it renders, the slider tells the curve, nothing else is loaded."""

import base64
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

import wdaverify as wv
from wdaverify.report import report_html

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM.exists() and DRIVER.exists()), reason="needs chromium and chromedriver"
    ),
]
PROBLEMS = Path(__file__).parents[2] / "problems"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """File and sandwich of a problem, made once."""
    folder = tmp_path_factory.mktemp("reports")
    known = {}

    def make(name, samples=None):
        if name not in known:
            problem = wv.load_problem(PROBLEMS / name)
            problem = problem if samples is None else problem.head(samples)
            radii = [0.05, 0.1] if problem.cost.finite else [0.5, 1.0, 1.75]
            result = wv.sandwich(problem, radii)
            path = folder / f"{name}.html"
            path.write_text(report_html(result))
            known[name] = path, result
        return known[name]

    return make


def emulate(browser, *, scheme="light", width=1100, scripts=True):
    call = browser.execute_cdp_cmd
    call("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    feature = {"name": "prefers-color-scheme", "value": scheme}
    call("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    call("Emulation.setDeviceMetricsOverride", size)


def opened(browser, path, **how):
    emulate(browser, **how)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())


def text(browser, name):
    return browser.find_element("id", name).text


def number(words):
    return float(words.replace("−", "-"))


def to_radius(browser, name, radius):
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input'));",
        name, radius,
    )  # fmt: skip
    return browser.find_element("id", "readout").get_attribute("data-lower"), browser.find_element(
        "id", "readout"
    ).get_attribute("data-upper")


@pytest.mark.parametrize(
    ("name", "samples"),
    [("moons", 15), ("relu-interval", None), ("zero-one-line-inf", None), ("digits", 2),
     ("relu-line-inf", None), ("hinge-line-3", None)],
)  # fmt: skip
def test_it_renders_without_complaints_and_loads_nothing(browser, made, name, samples):
    path, _ = made(name, samples)
    opened(browser, path)
    assert browser.title.startswith(name)
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert browser.find_element("id", "chart").is_displayed()


@pytest.mark.parametrize("name", ["moons", "zero-one-line-inf", "hinge-line-3"])
def test_the_slider_tells_the_value_of_the_curve(browser, made, name):
    path, result = made(name, 15 if name == "moons" else None)
    opened(browser, path)
    problem = result.problem
    curve = wv.value_curve(problem, tolerance=1e-7 if name == "moons" else 1e-5)
    before = text(browser, "read-value")
    last = float(browser.find_element("id", "chart").get_attribute("data-end"))
    seen = set()
    for radius in np.linspace(0.0, last, 9)[:-1].tolist():
        for element in ("slider", "radius"):
            low, high = to_radius(browser, element, radius)
            shown = float(browser.find_element("id", "readout").get_attribute("data-radius"))
            assert shown == pytest.approx(radius, rel=1e-4)
            wanted = curve(shown)
            assert (float(low), float(high)) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
            assert number(text(browser, "read-value")) == pytest.approx(wanted[1], rel=1e-4)
        seen.add(text(browser, "read-value"))
    assert len(seen) > 2
    assert before  # something is shown before anything is touched
    far = 3.0 * last  # beyond the drawing, by typing
    low, high = to_radius(browser, "radius", far)
    assert (float(low), float(high)) == pytest.approx(curve(far), rel=1e-9)


def test_the_slider_tells_multiplier_and_samples(browser, made):
    path, result = made("moons", 15)
    opened(browser, path)
    for row in result.rows:
        to_radius(browser, "radius", row.radius)
        assert number(text(browser, "read-slope")) == pytest.approx(row.exact.multiplier, rel=1e-4)
        worst = row.exact.worst_case
        moved = (worst.points != result.problem.points[worst.origin]).any(axis=1)
        count = len(set(worst.origin[moved].tolist()))
        assert text(browser, "read-moved") == f"{count} of {len(result.problem)}"


def test_keys_and_buttons_move_the_slider(browser, made):
    path, _ = made("moons", 15)
    opened(browser, path)
    slider = browser.find_element("id", "slider")
    before = text(browser, "read-value")
    slider.send_keys(webdriver.Keys.ARROW_LEFT)
    assert text(browser, "read-value") != before
    button = browser.find_element("css selector", "button[data-radius='0.05']")
    button.click()
    assert float(slider.get_attribute("value")) == pytest.approx(0.05)


def test_hovering_reads_the_curve(browser, made):
    path, _ = made("moons", 15)
    opened(browser, path)
    chart = browser.find_element("id", "chart")
    webdriver.ActionChains(browser).scroll_to_element(chart).move_to_element(chart).perform()
    assert text(browser, "bubble").startswith("ε = ")


def test_choosing_a_radius_changes_arrows_and_table(browser, made):
    path, result = made("moons", 15)
    opened(browser, path)

    def shown(selector):
        found = browser.find_elements("css selector", selector)
        return [e.get_attribute("data-row") for e in found if e.is_displayed()]

    last = str(len(result.rows) - 1)
    assert shown(".panel") == shown(".arrows") == [last]
    browser.execute_script("document.querySelector('input[name=row][value=\"0\"]').click()")
    assert shown(".panel") == shown(".arrows") == ["0"]


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def test_dark_where_the_system_is_dark(browser, made):
    path, _ = made("relu-interval")
    opened(browser, path, scheme="light")
    light = background(browser)
    opened(browser, path, scheme="dark")
    assert background(browser) != light


@pytest.mark.parametrize("width", [340, 390, 768])
def test_nothing_sticks_out_of_a_narrow_window(browser, made, width):
    for name, samples in (("moons", 15), ("digits", 2)):
        opened(browser, made(name, samples)[0], width=width)
        page = browser.execute_script("return document.documentElement.scrollWidth")
        assert page <= width


def test_everything_can_be_read_with_scripts_off(browser, made):
    path, result = made("moons", 15)
    opened(browser, path, scripts=False)
    body = browser.find_element("tag name", "body").text
    for row in result.rows:
        assert f"At ε = {row.radius:g}" in body
    assert not browser.find_element("id", "slider").is_displayed()
    assert not any(e.is_displayed() for e in browser.find_elements("class name", "chooser"))
    assert browser.find_element("id", "chart").is_displayed()


def test_it_prints(browser, made):
    path, _ = made("moons", 15)
    opened(browser, path, scheme="dark")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    data = base64.b64decode(printed["data"])
    assert data.startswith(b"%PDF")
    assert 3 <= data.count(b"/Type /Page\n") + data.count(b"/Type /Page/") <= 14
    emulated = {"media": "print", "features": []}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
    assert not browser.find_element("id", "slider").is_displayed()
    colour = browser.execute_script("return getComputedStyle(document.body).color")
    assert sum(int(v) for v in colour[4:-1].split(",")) < 200  # dark ink
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_a_planted_error_is_noticed(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<title>bad</title><script>throw Error('planted')</script>")
    opened(browser, path)
    assert any("planted" in entry["message"] for entry in browser.get_log("browser"))
    assert math.isnan(number("nan"))
