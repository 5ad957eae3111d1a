"""The summary of a sweep: counts, speed, and one line to repeat each failing seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from squall.harness.sim.sweep.sweep import Result, Row, Sweep

FAILURES_SHOWN = 50
"""Failing seeds printed in full as they come; the rest is only listed."""

SEEDS_SHOWN = 20
"""Seeds listed in the end for each broken rule, and for each reason of having had no effect."""

IDLE_SHOWN = 5
"""Reasons listed why seeds had no effect."""

TEXT_MAX = 300
"""Characters of a failure's description."""


class Summary:
    """Rows in, sentences out; rows may come in any order."""

    def __init__(self, what: Sweep) -> None:
        self.what = what
        self.results: Counter[Result] = Counter()
        self.failures: list[Row] = []
        self.idle: dict[str, list[int]] = {}
        self.effects: Counter[str] = Counter()
        self.operations = self.ok = self.events = 0
        self.simulated_s = self.cpu_s = self.elections_max = 0.0

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
            self.idle.setdefault(row.text, []).append(row.seed)
        self.operations += row.operations
        self.ok += row.ok
        self.events += row.events
        self.effects.update(row.effects)
        self.simulated_s += row.simulated_s
        self.cpu_s += row.cpu_s
        self.elections_max = max(self.elections_max, row.elections)

    def lines(self) -> Iterator[str]:
        """Yield the summary: how the seeds ended, what they went through, what it cost."""
        total = sum(self.results.values())
        counts = ", ".join(f"{self.results[result]:,} {result}" for result in Result)
        yield f"{'seeds':<12} {total:,}: {counts}"
        yield f"{'operations':<12} {self.operations:,}, of which {self.ok:,} ok"
        for what, count in sorted(self.effects.items()):
            yield f"{'effects':<12} {count:,} {what}"
        speed = self.simulated_s / self.cpu_s if self.cpu_s else 0.0
        yield (
            f"{'simulated':<12} {self.simulated_s / 3600:,.2f} h and {self.events:,} events in "
            f"{self.cpu_s / 3600:,.2f} h of one core: {speed:.0f} times real time"
        )
        yield (
            f"{'recovery':<12} a bare quorum took {self.elections_max:g} election timeouts at most"
        )
        for reason, seeds in sorted(self.idle.items(), key=_most_first)[:IDLE_SHOWN]:
            yield f"{'idle':<12} {len(seeds):,} {reason}: {_some(seeds)}"
        yield from self._failing()

    def _failing(self) -> Iterator[str]:
        """Yield the failing seeds, by the rule that each broke."""
        by_rule: dict[str, list[int]] = {}
        for row in sorted(self.failures, key=lambda row: row.seed):
            by_rule.setdefault(f"{row.result} ({row.rule})", []).append(row.seed)
        for what, seeds in sorted(by_rule.items(), key=_most_first):
            yield f"{'failing':<12} {len(seeds):,} {what}: {_some(seeds)}"


def _most_first(named: tuple[str, list[int]]) -> tuple[int, str]:
    what, seeds = named
    return -len(seeds), what


def _some(seeds: list[int]) -> str:
    """Name the first seeds, and count the rest."""
    shown = " ".join(map(str, sorted(seeds)[:SEEDS_SHOWN]))
    more = f" and {len(seeds) - SEEDS_SHOWN:,} more" if len(seeds) > SEEDS_SHOWN else ""
    return shown + more


def failure_lines(row: Row, what: Sweep) -> Iterator[str]:
    """Yield what is said of one failing seed, ending with the line that repeats it."""
    text = row.text
    if len(text) > TEXT_MAX:
        # What happened to whom stands at the head, the point of a traceback at the tail.
        text = f"{text[: TEXT_MAX // 2]} ... {text[-TEXT_MAX // 2 :]}"
    yield f"seed {row.seed}: {row.result}: {' '.join(text.split())}"
    if row.swarm:
        yield f"    drew: {row.swarm}"
    yield f"    repeat: {what.command(row.seed)}"
