"""Every checker rejects what it must, and says why in words a newcomer can follow."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from checkers.verdict import Validity
from tests.checkers.cases import RULE, headings, play, run_case

CHECKERS = Path(__file__).resolve().parents[2] / "checkers"
TESTDATA = Path(__file__).parent / "testdata"
CASES = sorted(TESTDATA.glob("*/*.txt"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_case_gets_its_verdict_and_its_explanation(path: Path) -> None:
    """The folder names the verdict, the file's lower half what is told."""
    verdict, told, expected = play(path)
    assert told == expected
    assert verdict.validity is Validity(path.parent.name)


@pytest.mark.parametrize(
    "path", [path for path in CASES if path.parent.name == "invalid"], ids=lambda path: path.stem
)
def test_the_lanes_of_a_counterexample_are_a_history_that_shows_it(path: Path) -> None:
    """Pasted into a test they are rejected again, for the same reason."""
    given = path.read_text().partition(RULE)[0]
    above = headings(given)
    for anomaly in run_case(given).anomalies:
        if anomaly.lanes:
            again = run_case("\n".join([*above, anomaly.lanes]))
            assert anomaly.kind in {one.kind for one in again.anomalies}


def kinds_in(text: str) -> set[str]:
    """Return the kinds of anomaly that a source names where it makes one."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            kind = node.args[0]
            if node.func.id in {"anomaly", "broken"} and isinstance(kind, ast.Constant):
                found.add(str(kind.value))
    return found


ELSEWHERE = {
    *("stale-read", "stale-cas", "node-assertion", "lost-add", "phantom-add", "no-recovery"),
    *("lost-element", "stale-set-read", "future-read", "duplicated-element"),
    *("set-reads-disagree", "set-out-of-order", "unexpected-element", "revision-contract"),
    *("phantom-revision", "shared-revision", "stale-revision", "wrong-answer", "unavailable"),
}
"""Kinds that a source chooses in other ways."""

TRANSACTIONAL = {
    *("G0", "G1a", "G1b", "G1c", "G-single", "G-nonadjacent", "G2-item", "lost-update"),
    *("internal", "dirty-update", "duplicate-elements", "answer-mismatch"),
    *("incompatible-order", "cyclic-versions", "unwritten-value", "torn-append"),
    *("G0-process", "G1c-process", "G-single-process", "G-nonadjacent-process", "G2-item-process"),
    *("G0-realtime", "G1c-realtime", "G-single-realtime", "G-nonadjacent-realtime"),
    "G2-item-realtime",
}

WATCHED = {
    *("ordered", "unique", "atomic", "reliable", "resumable", "no-past", "filtered"),
    *("bookmarkable", "prev-kv", "agreed"),
}

INVENTORY = sorted(
    set().union(*(kinds_in(path.read_text()) for path in CHECKERS.glob("*.py")))
    | TRANSACTIONAL
    | ELSEWHERE
    | {f"watch-{rule}" for rule in WATCHED}
)


@pytest.mark.parametrize("kind", INVENTORY)
def test_every_kind_of_anomaly_has_a_history_that_shows_it(kind: str) -> None:
    """A checker that never fired is not yet a checker."""
    assert any(
        line.startswith(f"{kind}: ")
        for path in CASES
        for line in path.read_text().partition(RULE)[2].splitlines()
    )


def test_the_inventory_is_whole() -> None:
    """What the sources name is found there; a new kind needs a case."""
    assert {"lost-commit", "stale-read", "set-out-of-order", "two-leaders"} <= set(INVENTORY)
    assert len(INVENTORY) > 70
