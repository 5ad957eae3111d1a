"""The HTML page without a browser: its content without a script, its policy, its escaping."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest

from squall.checkers.evidence import Evidence, NodeEvidence
from squall.checkers.verdict import Anomaly, Validity
from squall.reports.output import html
from squall.reports.report import Report
from tests.reports.histories import history, run, verdict
from tests.reports.sample_runs import SampleRun

PAGE_BYTES_MAX = 1_500_000
CODE_BYTES_MAX = 60_000

SECTIONS = (
    *("verdict", "properties", "counterexamples", "run", "operations", "numbers"),
    *("faults", "errors", "nodes", "repeat", "reading"),
)


class Outline(HTMLParser):
    """What a page is made of: tags with attributes, headings, and the text outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"script", "style", "h1", "h2", "h3", "h4"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in {"script", "style"}:
            self.text.append(data)

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def page(broken_report: Report) -> str:
    return html.render(broken_report).decode()


def test_everything_but_the_time_axis_is_there_without_a_script(
    page: str, broken_report: Report
) -> None:
    """Verdict, properties, proof, numbers, faults, errors, nodes, repeat: plain HTML."""
    outline = Outline(page)
    assert set(SECTIONS) <= set(outline.ids)
    for needed in (
        broken_report.sentence,
        "every operation appears to take effect at one instant",
        "However R returned",
        "during faults",
        "3,852 packets dropped",
        "connect to n#:# refused",
        "The state hashes differ at applied index 2,101",
        "squall run register --faults clock,kill,partition,pause --time 60s --seed 8412",
        "Nobody knows whether it happened",
    ):
        assert needed in outline.words, needed
    assert any(tag == "svg" for tag, _ in outline.tags)


def test_the_page_loads_nothing(page: str) -> None:
    """No address to load from, no inline handler or style, and a policy that forbids the rest."""
    outline = Outline(page)
    policies = [
        attrs["content"]
        for tag, attrs in outline.tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert str(policies[0]).startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in str(policies[0])
    for tag, attrs in outline.tags:
        assert "style" not in attrs, tag
        assert not any(name.startswith("on") for name in attrs), tag
        for name in ("src", "srcset", "data", "action", "poster"):
            assert name not in attrs, tag
        if tag == "a":
            target = attrs.get("href") or ""
            assert target.startswith("#") or target in {"history.jsonl", "verdict.json"}
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
    assert "http://" not in page
    assert "https://" not in page


def test_ids_are_unique_and_inner_links_lead_somewhere(page: str) -> None:
    """A link to a section works without a script."""
    outline = Outline(page)
    assert len(outline.ids) == len(set(outline.ids))
    for tag, attrs in outline.tags:
        target = attrs.get("href") or ""
        if tag == "a" and target.startswith("#") and "=" not in target:
            assert target[1:] in outline.ids, target
        for name in ("aria-labelledby", "data-copy"):
            assert attrs.get(name) is None or attrs[name] in outline.ids


def test_the_page_can_be_read_aloud(page: str) -> None:
    """One h1, headings that skip no level, named drawings, header cells in every table."""
    outline = Outline(page)
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    tags = [tag for tag, _ in outline.tags]
    assert {"main", "nav", "header", "footer"} <= set(tags)
    for tag, attrs in outline.tags:
        if tag == "canvas" or (tag == "svg" and "offstage" not in (attrs.get("class") or "")):
            assert attrs.get("role") == "img"
            assert attrs.get("aria-label") or attrs.get("aria-labelledby")
        if tag in {"input", "nav", "aside"}:
            assert attrs.get("aria-label"), tag
    assert page.count("<table") <= page.count("<thead")


def test_a_green_page_says_what_was_tried(sound_report: Report) -> None:
    """Faults by kind with their measured effect, elections, outages, what survived."""
    words = Outline(html.render(sound_report).decode()).words
    assert "What was tried" in words
    assert "3 of 3" in words
    assert "8 terms with a leader" in words
    assert "Counterexample" not in words


def test_hostile_values_stay_values() -> None:
    """What database, logs or users wrote is shown as text, never run."""
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x00\u2028'\""
    seen = history((0, "write", 0, 10, "ok", {"key": nasty, "input": nasty, "error": nasty}))
    anomaly = Anomaly(
        kind=nasty,
        summary=nasty,
        explanation=nasty,
        key=nasty,
        lanes=nasty,
        ops=(0,),
        data={nasty: nasty},
    )
    judged = verdict(
        Validity.INVALID,
        checker=nasty,
        claim=nasty,
        evidence=nasty,
        method=nasty,
        stats={nasty: [nasty, {nasty: nasty}]},
        anomalies=(anomaly,),
    )
    node = NodeEvidence(node=nasty, assertions=(nasty,), final={"role": nasty, "digest": nasty})
    evidence = Evidence(nodes={nasty: node}, trouble=(nasty,), recovery={nasty: nasty})
    told = run(workload=nasty, argv=(nasty,), parameters={nasty: nasty}, commit=nasty)
    page = html.render(Report.of(told, seen, judged, evidence, {nasty: [nasty]})).decode()
    calm = html.render(Report.of(run(), history(), verdict(), Evidence(), {})).decode()
    scripts = [attrs for tag, attrs in Outline(page).tags if tag == "script"]
    assert len(scripts) == len([1 for tag, _ in Outline(calm).tags if tag == "script"])
    assert not any(tag == "img" for tag, _ in Outline(page).tags)


def test_any_figure_a_checker_reports_is_shown() -> None:
    """No key is expected to be there, none is hidden."""
    stats = {
        "plain": 12_345,
        "share": 0.25,
        "yes": True,
        "nothing": None,
        "deep": {"a": {"b": {"c": {"d": {"e": 1}}}}},
        "rows": [{"key": "k1", "states": 7}, {"key": "k2", "states": 9}],
        "flat": [1, 2, 3],
        "empty": {},
        "long": list(range(1000)),
    }
    page = html.render(Report.of(run(), history(), verdict(stats=stats), Evidence(), {})).decode()
    words = Outline(page).words
    for needed in ("12,345", "0.25", "k2", "1, 2, 3", "1,000 in all"):
        assert needed in words, needed


def test_a_page_of_100_000_operations_is_small(large: SampleRun) -> None:
    """It travels by mail and as an artifact."""
    page = html.render(Report.of(*large))
    assert len(large[1].operations) >= 100_000
    assert len(page) < PAGE_BYTES_MAX


def test_the_pages_own_code_is_small() -> None:
    """One file of script and one of style, read by whoever maintains them."""
    code = html.asset("report.js") + html.asset("report.css")
    assert len(code.encode()) < CODE_BYTES_MAX


THEMES = {"light": 0, "dark": 1}
TEXT = ("ink", "soft", "faint", "link", "anomaly", "valid", "unknown", "error")
BANDS = ("ok", "info", "fail", "lead", "partition", "kill", "clock", "pause", "other")


@pytest.mark.parametrize("theme", THEMES)
def test_every_colour_can_be_told_from_its_page(theme: str) -> None:
    """Text at 4.5:1 or more, bands and points at 3:1 or more (WCAG 2.1, 1.4.3 and 1.4.11)."""
    palette = palettes()[THEMES[theme]]
    page, panel = palette["page"], palette["panel"]
    for name in TEXT:
        assert contrast(palette[name], page) >= 4.5, name
    for name in ("ink", "soft"):
        assert contrast(palette[name], panel) >= 4.5, name
    for name in BANDS:
        assert contrast(palette[name], page) >= 3.0, name
    assert contrast(palette["lead-text"], palette["lead"]) >= 4.5


def test_the_two_ways_into_the_dark_are_one() -> None:
    """The reader's button and the system's setting give the same colours."""
    _, by_system, by_button = palettes()
    assert by_system == by_button


def palettes() -> list[dict[str, str]]:
    """Read the palettes of the style sheet: light, dark by preference, dark by choice."""
    style = html.asset("report.css")
    blocks = re.findall(r"\{([^{}]*--page:[^{}]*)\}", style)
    return [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in blocks]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.1)."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.1)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
