"""Throughput and latency: counts, rates and quantiles by kind of operation, outcome and phase.

Quantiles are exact (nearest rank over all attempts of a cell), never averaged from buckets. A rate
is the count divided by the length of its phase.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from squall.checkers.campaign.statistics import quantile
from squall.checkers.history import OpType
from squall.reports.view.attempts import Attempt, FaultPeriods, Phase

BUCKETS_MAX = 1200
"""Most buckets of the rate band: about one a pixel."""

OUTCOMES = (OpType.OK, OpType.INFO, OpType.FAIL)


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of operation with one outcome in one phase. `rate` is per second, the rest in ns."""

    n: int
    rate: float
    p50_ns: int
    p95_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True)
class NumbersRow:
    """One f with one outcome, a cell a phase (None where there was no attempt)."""

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


def numbers(attempts: Sequence[Attempt], periods: FaultPeriods) -> list[NumbersRow]:
    """Return the table: kinds in order of name, outcomes ok, info, fail."""
    latencies: dict[tuple[str, OpType, Phase], list[int]] = {}
    for each in attempts:
        cell = (each.operation.f, each.operation.outcome, each.phase)
        latencies.setdefault(cell, []).append(each.latency_ns)
    rows = []
    for f in sorted({f for f, _, _ in latencies}):
        for outcome in OUTCOMES:
            cells = tuple(
                _cell(latencies.get((f, outcome, phase), []), periods.length_ns(phase))
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


def rates(attempts: Sequence[Attempt], duration_ns: int) -> Rates:
    """Count completions in equal buckets of 0.1, 0.2, 0.5, 1, 2, 5 ... seconds."""
    bucket_ns = next(
        step * 10**power
        for power in range(8, 18)
        for step in (1, 2, 5)
        if duration_ns <= step * 10**power * BUCKETS_MAX
    )
    size = duration_ns // bucket_ns + 1
    counted = Counter((each.operation.outcome, each.ended_ns // bucket_ns) for each in attempts)
    ok, info, fail = (tuple(counted[outcome, at] for at in range(size)) for outcome in OUTCOMES)
    return Rates(bucket_ns, ok, info, fail)


def outcome_counts(attempts: Sequence[Attempt]) -> dict[str, int]:
    """Return how many attempts ended ok, info and fail."""
    counted = Counter(each.operation.outcome for each in attempts)
    return {outcome.value: counted[outcome] for outcome in OUTCOMES}
