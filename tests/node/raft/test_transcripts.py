"""Raft told in transcripts: each file in testdata/ is a scenario that a reader can follow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.node.raft import datadriven
from tests.node.raft.transcript import Stage

PAGE = Path(__file__).resolve().parents[3] / "docs" / "raft-by-transcript.md"
FILES = sorted((Path(__file__).parent / "testdata").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_transcript_is_what_happens(path: Path) -> None:
    """Every directive gives what the file says."""
    datadriven.run(path, Stage().perform)


def test_the_reading_order_names_each_transcript_once() -> None:
    named = re.findall(r"testdata/(\w+)\.txt\)", PAGE.read_text())
    assert sorted(named) == [path.stem for path in FILES]
