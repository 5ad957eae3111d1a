"""Runs to report on, made once, and the golden files to compare with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from squall.reports.report import Report
from tests.reports.sample_runs import SampleRun, sample_run

GOLDEN = Path(__file__).with_name("golden")
REWRITE = "SQUALL_REWRITE"


@pytest.fixture(scope="session")
def broken() -> SampleRun:
    """A run with one stale read."""
    return sample_run(stale=True)


@pytest.fixture(scope="session")
def sound() -> SampleRun:
    """A valid run."""
    return sample_run(seed=7)


@pytest.fixture(scope="session")
def large() -> SampleRun:
    """A run of 100,000 operations with one stale read."""
    return sample_run(ops=116_000, stale=True)


@pytest.fixture(scope="session")
def broken_report(broken: SampleRun) -> Report:
    """The report of the broken run."""
    return Report.of(*broken)


@pytest.fixture(scope="session")
def sound_report(sound: SampleRun) -> Report:
    """The report of the sound run."""
    return Report.of(*sound)


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with its golden file, or rewrite it when SQUALL_REWRITE is set.

    Look at the difference before keeping it: the file is what a user sees.
    """

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get(REWRITE):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{REWRITE}=1 rewrites {path.name}"

    return compare
