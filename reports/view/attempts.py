"""Client operations as attempts: when each client stopped waiting, and in which phase it began.

An `Operation` whose outcome is unknown has no end, but its client stopped waiting at some time. An
`Attempt` adds that time, and the phase of the run in which the operation was invoked:

    calm     no fault was in force, and a later one was to come, or there was none in the whole run
    during   at least one fault was in force
    after    every fault was healed, and none came later

A fault whose healing is not confirmed counts as in force until the end. Latencies and rates are
measured on attempts; when no operation succeeded is what `squall.checkers.campaign.silence` says.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from squall.checkers.campaign.silence import ends_ns
from squall.checkers.faults import FaultWindow
from squall.checkers.history import History, Operation


class Phase(enum.StrEnum):
    """The phase of the run, in regard to its faults."""

    CALM = "calm"
    DURING = "during faults"
    AFTER = "after heal"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One operation, with `ended_ns`: when its client got the answer or stopped waiting."""

    operation: Operation
    ended_ns: int
    phase: Phase

    @property
    def latency_ns(self) -> int:
        """How long the client waited, in nanoseconds."""
        return self.ended_ns - self.operation.invoked_ns


@dataclass(frozen=True, slots=True)
class FaultPeriods:
    """The union of the fault windows, disjoint and sorted; `end_ns` is the end of the run."""

    begins: tuple[int, ...]
    ends: tuple[int, ...]
    end_ns: int

    def phase_at(self, at_ns: int) -> Phase:
        """Return the phase at a time."""
        place = bisect_right(self.begins, at_ns) - 1
        if place >= 0 and at_ns <= self.ends[place]:
            return Phase.DURING
        return Phase.AFTER if self.ends and at_ns > self.ends[-1] else Phase.CALM

    def length_ns(self, phase: Phase) -> int:
        """Return the total length of a phase."""
        during = sum(end - begin for begin, end in zip(self.begins, self.ends, strict=True))
        after = max(0, self.end_ns - self.ends[-1]) if self.ends else 0
        if phase is Phase.DURING:
            return during
        return after if phase is Phase.AFTER else max(0, self.end_ns - during - after)


def fault_periods(windows: Sequence[FaultWindow], end_ns: int) -> FaultPeriods:
    """Merge the windows of installed faults; without confirmed healing one lasts to the end."""
    begins: list[int] = []
    ends: list[int] = []
    for window in sorted(windows, key=lambda each: each.from_ns):
        if window.outcome == "skipped":
            continue
        until_ns = window.until_ns if window.healed and window.until_ns is not None else end_ns
        if ends and window.from_ns <= ends[-1]:
            ends[-1] = max(ends[-1], until_ns)
        else:
            begins.append(window.from_ns)
            ends.append(until_ns)
    return FaultPeriods(tuple(begins), tuple(ends), end_ns)


def attempts_of(history: History, periods: FaultPeriods) -> list[Attempt]:
    """Return every client operation, in order of invocation."""
    return [
        Attempt(operation, ended_ns, periods.phase_at(operation.invoked_ns))
        for operation, ended_ns in zip(history.operations, ends_ns(history), strict=True)
    ]
