"""Raft told in transcripts: each file in testdata/ is a scenario that a reader can follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.raft import datadriven
from tests.node.raft.transcript import Stage

FILES = sorted((Path(__file__).parent / "testdata").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_transcript_is_what_happens(path: Path) -> None:
    """Every directive gives what the file says."""
    datadriven.run(path, Stage().perform)
