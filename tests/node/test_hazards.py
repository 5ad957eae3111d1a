"""The page of hazards names every class once, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "raft-hazards.md").read_text()


def test_every_class_has_its_line_and_every_named_test_exists() -> None:
    rows = re.findall(r"^\| (B\d\d) \|", PAGE, re.MULTILINE)
    assert rows == [f"B{number:02}" for number in range(1, 73)]
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", PAGE):
        assert re.search(rf"\bdef {name}\(", written), name
    transcripts = {path.stem for path in (ROOT / "tests/node/raft/testdata").glob("*.txt")}
    for row in re.findall(r"^\| B\d\d .*$", PAGE, re.MULTILINE):
        named = re.findall(r"(?<!\*)\*(\w+)\*(?!\*)", row)
        assert set(named) <= transcripts, row
        assert named or "`test_" in row, row
