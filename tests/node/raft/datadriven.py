"""Tests as text: directive, dashes, what came of it. SQUALL_REWRITE=1 writes the latter anew.

    # A comment explains what follows.
    propose 1 x
    ----
    1 appended 3/2 "x"

Commit a rewritten file only if you understand what changed in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

REWRITE = bool(os.environ.get("SQUALL_REWRITE"))


def run(path: Path, perform: Callable[[str], list[str]]) -> None:
    """Perform every directive of a file and compare what comes of it with what is written there."""
    lines = path.read_text().splitlines()
    written: list[str] = []
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        written.append(line)
        if not line.strip() or line.startswith("#"):
            continue
        expected = []
        if position < len(lines) and lines[position] == "----":
            position += 1
            while position < len(lines) and lines[position].strip():
                expected.append(lines[position])
                position += 1
        found = perform(line) or ["ok"]
        written += ["----", *found]
        if not REWRITE:
            where = f"{path.name}: {line}"
            assert found == expected, (
                f"{where}\n--- found\n"
                + "\n".join(found)
                + "\n--- expected\n"
                + "\n".join(expected)
            )
        elif not expected and position < len(lines) and lines[position].strip():
            written.append("")
    if REWRITE:
        path.write_text("\n".join(written) + "\n")
