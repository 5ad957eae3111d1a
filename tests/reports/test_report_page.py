"""The HTML page in a browser: bands, links, keys, and that it sends no request."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from squall.reports.output import html
from squall.reports.report import Report
from tests.patience import PATIENCE_S, until
from tests.reports.sample_runs import SampleRun

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="THE PAGE WAS NOT TRIED IN A BROWSER: install chromium and chromium-driver",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser that records what its console says."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1300,900"):
        options.add_argument(argument)
    options.add_argument("--disable-dev-shm-usage")  # 64 MB in a container, and the tab dies
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(PATIENCE_S)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(
    tmp_path_factory: pytest.TempPathFactory, broken_report: Report, large: SampleRun
) -> dict[str, Path]:
    """The pages as files."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, report in {"broken": broken_report, "large": Report.of(*large)}.items():
        found[name] = folder / f"{name}.html"
        found[name].write_bytes(html.render(report))
    return found


Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Open]:
    """Open a page, wait until it is drawn, and demand afterwards that nothing complained."""

    def visit(name: str = "broken", fragment: str = "") -> Any:
        browser.get("about:blank")
        browser.get(pages[name].as_uri() + fragment)
        ready = "return document.documentElement.dataset.ready"
        until(lambda: browser.execute_script(ready), "a page that is drawn")
        return browser

    browser.get_log("browser")
    yield visit
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def text(browser: Any, selector: str) -> str:
    return str(browser.execute_script(f"return document.querySelector({selector!r}).textContent"))


def shows(browser: Any, part: str) -> None:
    """Wait until the band's caption, drawn with the next frame, holds this."""
    until(lambda: part in text(browser, "#span"), f"{part!r} above the bands")


def press(browser: Any, keys: str) -> None:
    for key in keys:
        browser.execute_script(
            "const told = {key: arguments[0], bubbles: true};"
            "document.body.dispatchEvent(new KeyboardEvent('keydown', told))",
            key,
        )


@pytest.mark.parametrize("name", ["broken", "large"])
def test_no_request_leaves_the_page(opened: Open, name: str) -> None:
    """It is one file, and its policy forbids to try."""
    browser = opened(name)
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [each for each in loaded if not each.startswith("blob:")] == []


def test_the_policy_is_in_force(browser: Any, opened: Open) -> None:
    """A script that got in all the same could fetch nothing."""
    opened()
    refused = browser.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));"
        "fetch('data:,x').catch(() => {});"
    )
    assert refused == "connect-src"
    browser.get_log("browser")  # the refusal is what was asked for


@pytest.mark.parametrize("band", ["faults", "roles", "rate", "latency", "lanes"])
def test_every_band_is_drawn(opened: Open, band: str) -> None:
    """No band stays blank."""
    inked = opened().execute_script(
        "const c = document.getElementById(arguments[0]);"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)",
        f"band-{band}",
    )
    assert inked


def test_the_table_shows_few_rows_of_many(opened: Open) -> None:
    """A hundred thousand operations are listed, a screenful exists."""
    browser = opened("large")
    assert "101,949 of 101,949" in text(browser, "#matched")
    rows = browser.execute_script("return document.querySelectorAll('#ops-body tr').length")
    assert rows < 60


def test_a_link_to_an_operation_pins_it(opened: Open, broken_report: Report) -> None:
    """Send a colleague a link to one operation."""
    read = broken_report.cards[0].witnesses[-1]
    browser = opened(fragment=f"#op={read.index}")
    assert f"op {read.index:,} on {read.key}" in text(browser, "#pinned")
    assert f"{read.index:,}" in text(browser, "#ops-body tr.pinned")
    assert "write" in text(browser, "#pinned ul")


def test_a_link_to_a_stretch_selects_it_and_filters(opened: Open, broken_report: Report) -> None:
    """The counterexample's link shows its operations, and only those."""
    card = broken_report.cards[0]
    browser = opened(fragment=card.link)
    assert text(browser, "#matched").startswith("3 of 4,516 in ")
    shows(browser, "selected")
    marked = browser.execute_script("return document.querySelectorAll('#ops-body .wrong').length")
    assert marked == 3


def test_a_link_to_an_anomaly_shows_its_card(opened: Open) -> None:
    """As the terminal's last lines print it."""
    browser = opened(fragment="#anomaly=1")
    top = browser.execute_script(
        "return document.getElementById('anomaly-1').getBoundingClientRect().top"
    )
    assert 0 <= top < 200


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("type:info", lambda op: op.outcome == "info"),
        ("key:k42 !f:read", lambda op: op.key == "k42" and op.f != "read"),
        ("node:n4 refused", lambda op: op.node == "n4" and "refused" in (op.error or "")),
        ("p:12", lambda op: op.process == 12),
    ],
)
def test_filters_find_what_they_say(
    opened: Open, broken: SampleRun, words: str, expected: Callable[[Any], bool]
) -> None:
    """Each word narrows; ! turns one round."""
    browser = opened()
    browser.execute_script(
        "const f = document.getElementById('filter'); f.value = arguments[0];"
        "f.dispatchEvent(new Event('input'))",
        words,
    )
    number = sum(1 for operation in broken[1].operations if expected(operation))
    assert text(browser, "#matched") == f"{number:,} of 4,516"


def test_dragging_across_a_band_selects_time(opened: Open) -> None:
    """And the table follows."""
    from selenium.webdriver import ActionChains

    browser = opened()
    band = browser.find_element("id", "band-rate")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", band
    )
    ActionChains(browser, duration=20).move_to_element(band).click_and_hold().move_by_offset(
        120, 0
    ).release().perform()
    shows(browser, "selected")
    assert " in " in text(browser, "#matched")
    assert "t=" in browser.execute_script("return location.hash")


def test_keys_zoom_and_come_back(opened: Open) -> None:
    """The w key zooms in, 0 shows the whole run again, j pins, Escape unpins."""
    browser = opened()
    whole = text(browser, "#span")
    press(browser, "ww")
    shows(browser, "shown 20.7")
    press(browser, "0")
    shows(browser, whole)
    press(browser, "j")
    assert "op " in text(browser, "#pinned")
    press(browser, ["Escape"])  # type: ignore[arg-type]
    assert "Click an operation" in text(browser, "#pinned")


def test_the_theme_can_be_changed(opened: Open) -> None:
    """Canvas and text change together."""
    browser = opened(fragment="")
    ground = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(ground)
    browser.execute_script("document.getElementById('theme').click()")
    after = browser.execute_script(ground)
    assert {before, after} == {"rgb(255, 255, 255)", "rgb(18, 21, 26)"}
    browser.execute_script("document.getElementById('theme').click()")


@pytest.mark.parametrize("width", [380, 768, 1600])
def test_a_narrow_window_scrolls_in_one_direction(opened: Open, width: int) -> None:
    """Wide tables scroll inside themselves, the page never sideways."""
    browser = opened()
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_without_scripts_the_sections_still_stand(browser: Any, pages: dict[str, Path]) -> None:
    """Verdict to counterexample, numbers to reading: seen, not only present."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["broken"].as_uri())
        for section in ("verdict", "properties", "counterexamples", "numbers", "faults", "reading"):
            element = browser.find_element("id", section)
            assert element.is_displayed()
            assert len(element.text) > 100, section
        assert not browser.find_element("id", "stage").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.get_log("browser")
