"""Operations as their clients lived through them, and what the storm was doing meanwhile.

An `Operation` whose outcome is unknown has no end; its client still stopped waiting at some moment.
An `Attempt` adds that moment, and the phase of the run in which the operation was invoked:

    calm     no fault was in force, and another was still to come (or none ever came)
    during   at least one fault was in force
    after    every fault was healed for good

A fault whose healing is not known to have worked is in force until the end. Everything measured
about speed is measured on attempts; when nobody was served, `checkers.silence` says.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from checkers.faults import FaultWindow
from checkers.history import History, Operation
from checkers.silence import ends_ns


class Phase(enum.StrEnum):
    """What the storm was doing when an operation was invoked."""

    CALM = "calm"
    DURING = "during faults"
    AFTER = "after heal"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One operation, with `ended_ns`: when its client heard an answer or stopped waiting."""

    operation: Operation
    ended_ns: int
    phase: Phase

    @property
    def latency_ns(self) -> int:
        """How long the client waited."""
        return self.ended_ns - self.operation.invoked_ns


@dataclass(frozen=True, slots=True)
class Stretches:
    """The union of the fault windows: disjoint, sorted, all times in nanoseconds."""

    begins: tuple[int, ...]
    ends: tuple[int, ...]
    end_ns: int

    def phase_at(self, at_ns: int) -> Phase:
        """Tell which phase a moment belongs to."""
        place = bisect_right(self.begins, at_ns) - 1
        if place >= 0 and at_ns <= self.ends[place]:
            return Phase.DURING
        return Phase.AFTER if self.ends and at_ns > self.ends[-1] else Phase.CALM

    def length_ns(self, phase: Phase) -> int:
        """How long a phase lasted in all."""
        during = sum(end - begin for begin, end in zip(self.begins, self.ends, strict=True))
        after = max(0, self.end_ns - self.ends[-1]) if self.ends else 0
        if phase is Phase.DURING:
            return during
        return after if phase is Phase.AFTER else max(0, self.end_ns - during - after)


def stretches(windows: Sequence[FaultWindow], end_ns: int) -> Stretches:
    """Merge the windows of installed faults; one not known to be healed lasts to the end."""
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
    return Stretches(tuple(begins), tuple(ends), end_ns)


def attempts(history: History, storm: Stretches) -> list[Attempt]:
    """Every client operation, in order of invocation."""
    return [
        Attempt(operation, ended_ns, storm.phase_at(operation.invoked_ns))
        for operation, ended_ns in zip(history.operations, ends_ns(history), strict=True)
    ]
