"""Every checker rejects what it must, and says why in words a newcomer can follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkers.verdict import Validity
from tests.checkers.cases import play

TESTDATA = Path(__file__).parent / "testdata"
CASES = sorted(TESTDATA.glob("*/*.txt"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_case_gets_its_verdict_and_its_explanation(path: Path) -> None:
    """The folder names the verdict, the file's lower half what is told."""
    verdict, told, expected = play(path)
    assert told == expected
    assert verdict.validity is Validity(path.parent.name)


def test_every_kind_of_anomaly_has_a_history_that_shows_it() -> None:
    """A checker that never fired is not yet a checker."""
    told = {
        line.partition(": ")[0]
        for path in CASES
        for line in path.read_text().partition("----\n")[2].splitlines()
    }
    assert {
        *("stale-read", "stale-cas", "future-read", "unwritten-value", "aborted-read"),
        *("lost-update", "circular-cas", "refused-though-equal", "not-linearizable"),
        *("lost-commit", "replica-diverged", "revision-contract"),
        *("two-leaders", "log-mismatch", "committed-diverge", "committed-overwritten"),
        *("hard-state-regressed", "state-diverged", "node-assertion", "wal-damaged"),
        *("unavailable", "no-recovery"),
    } <= told
