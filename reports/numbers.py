"""How fast and how available: counts, rates and latencies per kind of operation and outcome.

Quantiles are exact (nearest rank over all attempts of a cell), never averaged from buckets. A rate
is the count divided by the length of its phase.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from checkers.history import OpType
from checkers.statistics import quantile
from reports.attempts import Attempt, Phase, Stretches

BUCKETS_MAX = 1200
"""Most buckets of the rate band: a bucket a pixel is as fine as the page can show."""

OUTCOMES = (OpType.OK, OpType.INFO, OpType.FAIL)


@dataclass(frozen=True, slots=True)
class Cell:
    """What one kind of operation with one outcome did in one phase. Latencies in nanoseconds."""

    n: int
    rate: float
    p50_ns: int
    p95_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True)
class NumbersRow:
    """One f with one outcome, in every phase (None where nothing happened)."""

    f: str
    outcome: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Rates:
    """Completions per bucket of `bucket_ns`, by outcome."""

    bucket_ns: int
    ok: tuple[int, ...]
    info: tuple[int, ...]
    fail: tuple[int, ...]


def numbers(tried: Sequence[Attempt], storm: Stretches) -> list[NumbersRow]:
    """Build the table, kinds in order of name, outcomes ok, info, fail."""
    latencies: dict[tuple[str, OpType, Phase], list[int]] = {}
    for each in tried:
        cell = (each.operation.f, each.operation.outcome, each.phase)
        latencies.setdefault(cell, []).append(each.latency_ns)
    rows = []
    for f in sorted({f for f, _, _ in latencies}):
        for outcome in OUTCOMES:
            cells = tuple(
                _cell(latencies.get((f, outcome, phase), []), storm.length_ns(phase))
                for phase in Phase
            )
            if any(cells):
                rows.append(NumbersRow(f, outcome.value, cells))
    return rows


def _cell(latencies_ns: list[int], length_ns: int) -> Cell | None:
    if not latencies_ns:
        return None
    ranked = sorted(latencies_ns)
    return Cell(
        n=len(ranked),
        rate=len(ranked) / (length_ns / 1e9) if length_ns else 0.0,
        p50_ns=quantile(ranked, 0.50),
        p95_ns=quantile(ranked, 0.95),
        p99_ns=quantile(ranked, 0.99),
        max_ns=ranked[-1],
    )


def rates(tried: Sequence[Attempt], duration_ns: int) -> Rates:
    """Count completions in equal buckets of 0.1, 0.2, 0.5, 1, 2, 5 ... seconds."""
    bucket_ns = next(
        step * 10**power
        for power in range(8, 18)
        for step in (1, 2, 5)
        if duration_ns <= step * 10**power * BUCKETS_MAX
    )
    size = duration_ns // bucket_ns + 1
    counted = Counter((each.operation.outcome, each.ended_ns // bucket_ns) for each in tried)
    ok, info, fail = (tuple(counted[outcome, at] for at in range(size)) for outcome in OUTCOMES)
    return Rates(bucket_ns, ok, info, fail)


def outcome_counts(tried: Sequence[Attempt]) -> dict[str, int]:
    """How many ended ok, info and fail."""
    counted = Counter(each.operation.outcome for each in tried)
    return {outcome.value: counted[outcome] for outcome in OUTCOMES}
