"""What a sweep came to, in a few lines: counts, speed, and one line to repeat each failing seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from harness.sim.sweep import Result, Row, Sweep

FAILURES_SHOWN = 50
"""Failing seeds listed in full; the rest is counted."""

TEXT_MAX = 300
"""Characters of a failure's description."""


class Summary:
    """Rows in, sentences out; rows may come in any order."""

    def __init__(self, what: Sweep) -> None:
        self.what = what
        self.results: Counter[Result] = Counter()
        self.failures: list[Row] = []
        self.idle: Counter[str] = Counter()
        self.operations = self.ok = self.events = self.faults = self.triggered = 0
        self.simulated_s = self.elapsed_s = self.elections_max = 0.0

    @property
    def exit_code(self) -> int:
        """Return 1 after an alarm, 3 after trouble of our own, 2 if no run exercised anything."""
        if self.results[Result.ALARM]:
            return 1
        if self.results[Result.TROUBLE]:
            return 3
        return 0 if self.results[Result.OK] else 2

    def add(self, row: Row) -> None:
        """Count one seed."""
        self.results[row.result] += 1
        if row.result in (Result.ALARM, Result.TROUBLE):
            self.failures.append(row)
        elif row.result is Result.IDLE:
            self.idle[row.text] += 1
        self.operations += row.operations
        self.ok += row.ok
        self.events += row.events
        self.faults += row.faults
        self.triggered += row.triggered
        self.simulated_s += row.simulated_s
        self.elapsed_s += row.elapsed_s
        self.elections_max = max(self.elections_max, row.elections)

    def lines(self) -> Iterator[str]:
        """Yield the summary; failing seeds in order of their number."""
        for row in sorted(self.failures, key=lambda row: row.seed)[:FAILURES_SHOWN]:
            yield from failure_lines(row, self.what)
        if len(self.failures) > FAILURES_SHOWN:
            yield f"... and {len(self.failures) - FAILURES_SHOWN} more failing seeds"
        total = sum(self.results.values())
        counts = ", ".join(f"{self.results[result]:,} {result}" for result in Result)
        yield f"{total:,} seeds: {counts}"
        yield (
            f"{self.operations:,} operations ({self.ok:,} ok), {self.faults:,} timed and "
            f"{self.triggered:,} triggered faults, {self.events:,} events"
        )
        speed = self.simulated_s / self.elapsed_s if self.elapsed_s else 0.0
        yield (
            f"{self.simulated_s / 3600:,.2f} simulated hours in {self.elapsed_s / 3600:,.2f} of "
            f"one core: {speed:.0f} times real time"
        )
        yield (f"slowest to recover with a bare quorum: {self.elections_max:g} election timeouts")
        for reason, count in self.idle.most_common(5):
            yield f"{count:,} idle: {reason}"


def failure_lines(row: Row, what: Sweep) -> Iterator[str]:
    """Yield what is said of one failing seed, ending with the line that repeats it."""
    text = row.text if len(row.text) <= TEXT_MAX else "..." + row.text[-TEXT_MAX:]
    yield f"seed {row.seed}: {row.result}: {' '.join(text.split())}"
    if row.swarm:
        yield f"    drew: {row.swarm}"
    yield f"    repeat: {what.command(row.seed)}"
