"""Operations as their clients lived through them, and what the storm was doing meanwhile.

An `Operation` whose outcome is unknown has no end; its client still stopped waiting at some moment.
An `Attempt` adds that moment, and the phase of the run in which the operation was invoked:

    calm     no fault was in force, and another was still to come (or none ever came)
    during   at least one fault was in force
    after    every fault was healed for good

Everything measured about speed and availability is measured on attempts.
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from squall.checkers.faults import FaultWindow
from squall.checkers.history import History, Operation, OpType

IDLE_NS = 1_000_000_000
"""Clients that ask nothing for longer than this are resting, not waiting."""


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
    """Merge the windows of installed faults; one that was never stopped lasts to the end."""
    begins: list[int] = []
    ends: list[int] = []
    for window in sorted(windows, key=lambda each: each.from_ns):
        if window.outcome == "skipped":
            continue
        until_ns = end_ns if window.until_ns is None else window.until_ns
        if ends and window.from_ns <= ends[-1]:
            ends[-1] = max(ends[-1], until_ns)
        else:
            begins.append(window.from_ns)
            ends.append(until_ns)
    return Stretches(tuple(begins), tuple(ends), end_ns)


def attempts(history: History, storm: Stretches) -> list[Attempt]:
    """Every client operation, in order of invocation."""
    ended_at = {op.index: op.time_ns for op in history if op.is_client and op.type != OpType.INVOKE}
    last_ns = history.duration_ns
    return [
        Attempt(
            operation,
            ended_at.get(operation.completion_index, last_ns)
            if operation.completion_index is not None
            else last_ns,
            storm.phase_at(operation.invoked_ns),
        )
        for operation in history.operations
    ]


def ok_times(tried: Sequence[Attempt]) -> list[int]:
    """The moments at which some client got an answer, sorted."""
    return sorted(each.ended_ns for each in tried if each.operation.outcome is OpType.OK)


def longest_gap(times: Sequence[int], from_ns: int, until_ns: int) -> tuple[int, int]:
    """Find the longest stretch of [from, until] without any of the sorted `times`.

    The stretch reaches as far as the silence did, but counts only inside the window.
    """
    inside = times[bisect_left(times, from_ns) : bisect_right(times, until_ns)]
    marks = [from_ns, *inside, until_ns]
    widest = max(range(len(marks) - 1), key=lambda at: marks[at + 1] - marks[at])
    return marks[widest], marks[widest + 1]


def silence(tried: Sequence[Attempt], answered: Sequence[int]) -> tuple[int, int]:
    """Find the longest stretch in which clients were asking and nobody got an answer.

    The pause between the load and the final reads is no silence: nobody asked.
    """
    gaps = [longest_gap(answered, begin, end) for begin, end in _busy(tried)]
    return max(gaps, key=lambda gap: gap[1] - gap[0], default=(0, 0))


def _busy(tried: Sequence[Attempt]) -> list[tuple[int, int]]:
    """Merge the attempts into stretches of asking, apart by more than IDLE_NS."""
    found: list[tuple[int, int]] = []
    for each in tried:
        if found and each.operation.invoked_ns <= found[-1][1] + IDLE_NS:
            found[-1] = (found[-1][0], max(found[-1][1], each.ended_ns))
        else:
            found.append((each.operation.invoked_ns, each.ended_ns))
    return found
