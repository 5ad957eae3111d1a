"""Judges a corpus of histories with known verdicts, file by file.

    python -m bench.corpus FOLDER [--slowest N]

FOLDER holds `manifest.tsv` with the columns `file` and `expected` (valid, invalid, unstated).
Format and model of every file are detected. Prints file, model, verdict, the path that decided, and
seconds of processor time; a history in which nothing can be judged is called vacuous. The exit code
is 1 if a verdict differs from the expected one.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from squall.checkers.registry import check_file
from squall.checkers.verdict import Budget, Verdict

TIME_LIMIT_S = 20.0

DISPUTED = {
    "elle-cli/elle/rw-register.edn": "invalid",
    "elle-cli/elle/rw-register.json": "invalid",
}
"""Files whose stated verdict is that of a tool which does not judge values without a writer: 3 is
read after a write of 2 was acknowledged, and no transaction writes 3."""


class Row(NamedTuple):
    """One history with its verdict; `took_s` is processor time, reading included."""

    file: str
    expected: str
    verdict: Verdict
    took_s: float

    @property
    def word(self) -> str:
        """Return valid, invalid, unknown or vacuous."""
        if (self.verdict.reason or "").startswith("vacuous"):
            return "vacuous"
        return self.verdict.validity.value

    @property
    def wrong(self) -> bool:
        """Whether the verdict differs from the expected one."""
        return self.word not in {"vacuous", self.expected}

    def text(self) -> str:
        """Return one line of the table."""
        model, method = self.verdict.stats["model"] or "-", self.verdict.method
        mark = f"  expected {self.expected}" if self.wrong else ""
        return f"{self.file:64} {model:14} {self.word:8} {method:34} {self.took_s:7.3f}{mark}"


def judge_corpus(folder: Path) -> Iterator[Row]:
    """Judge every history of a manifest."""
    budget = Budget(time_s=TIME_LIMIT_S, now_s=time.monotonic)
    with (folder / "manifest.tsv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            began_s = time.process_time()
            verdict = check_file(row["file"], (folder / row["file"]).read_bytes(), None, budget)
            expected = DISPUTED.get(row["file"], row["expected"])
            yield Row(row["file"], expected, verdict, time.process_time() - began_s)


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slowest", type=int, help="print only this many, slowest first")
    asked = parser.parse_args()
    rows = list(judge_corpus(asked.folder))
    shown = sorted(rows, key=lambda row: -row.took_s)[: asked.slowest] if asked.slowest else rows
    print(f"{'file':64} {'model':14} {'verdict':8} {'decided by':34} seconds")
    print("\n".join(row.text() for row in shown))
    words = [row.word for row in rows]
    counts = ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words)))
    wrong = sum(row.wrong for row in rows)
    print(f"{len(rows)} histories: {counts}; {wrong} wrong; {sum(r.took_s for r in rows):.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
