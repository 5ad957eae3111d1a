"""Errors of clients and nodes, grouped by message, so that rare ones are seen beside frequent ones.

Two messages that differ only in digits are one kind of error. Kinds beyond the table's length are
counted below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from squall.reports import formatting
from squall.reports.view.attempts import Attempt
from squall.reports.view.logs import LogLine

ROWS_MAX = 60
SPARK_BUCKETS = 30
_BLOCKS = "▁▂▃▄▅▆▇█"
_ERROR_LEVELS = {"warn", "warning", "error", "fatal", "critical", "panic"}


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One kind of error. Times in nanoseconds of the history's clock, None if unknown."""

    source: str  # "client" or "node log"
    message: str
    n: int
    nodes: tuple[str, ...]
    first_ns: int | None
    last_ns: int | None
    spark: str


def error_rows(
    attempts: Sequence[Attempt], logs: Mapping[str, Sequence[LogLine]], end_ns: int
) -> tuple[list[ErrorRow], int]:
    """Group all errors, most frequent first; returns the rows and how many kinds are omitted."""
    kinds: dict[tuple[str, str], list[tuple[int | None, str]]] = {}
    for source, message, at_ns, node in _all_errors(attempts, logs):
        folded = formatting.shortened(re.sub(r"\d+", "#", message), 300)
        kinds.setdefault((source, folded), []).append((at_ns, node))
    rows = []
    for (source, message), found in kinds.items():
        times = [at_ns for at_ns, _ in found if at_ns is not None]
        rows.append(
            ErrorRow(
                source=source,
                message=message,
                n=len(found),
                nodes=tuple(sorted({node for _, node in found if node})),
                first_ns=min(times, default=None),
                last_ns=max(times, default=None),
                spark=spark(times, end_ns),
            )
        )
    rows.sort(key=lambda row: (-row.n, row.source, row.message))
    return rows[:ROWS_MAX], max(0, len(rows) - ROWS_MAX)


def _all_errors(
    attempts: Sequence[Attempt], logs: Mapping[str, Sequence[LogLine]]
) -> Iterable[tuple[str, str, int | None, str]]:
    for each in attempts:
        if each.operation.error:
            yield "client", each.operation.error, each.ended_ns, each.operation.node or ""
    for lines in logs.values():
        for line in lines:
            if line.level.lower() in _ERROR_LEVELS or line.event == "fatal":
                yield "node log", line.message, line.at_ns, line.node


def spark(times_ns: Sequence[int], end_ns: int, buckets: int = SPARK_BUCKETS) -> str:
    """Draw counts over the run as a strip of blocks; an empty bucket is a space."""
    counts = [0] * buckets
    for at_ns in times_ns:
        counts[min(buckets - 1, max(0, at_ns * buckets // max(1, end_ns + 1)))] += 1
    return strip(counts).replace("·", " ")


def strip(counts: Sequence[float]) -> str:
    """Draw numbers as blocks of eight heights; zero is a dot, distinct from the lowest block."""
    highest = max(counts, default=0)
    return "".join(
        "·" if not number else _BLOCKS[min(7, int(number * 8 / highest))] for number in counts
    )
