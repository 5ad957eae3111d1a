"""Silence: time in which clients were waiting and no operation succeeded.

One definition for the checkers, the report, the terminal and the summaries. A client is asking from
its invocation until it is answered or gives up; clients that pause for longer than `IDLE_NS` are
not asking, so the wait between the load and the final reads is no silence. A refusal is an answer,
but not a success: only an operation that succeeded ends a silence.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from squall.checkers.history import History, OpType

IDLE_NS: Final = 1_000_000_000
"""Pauses between operations that are shorter than this count as asking."""


class Service(NamedTuple):
    """When clients were asking (disjoint sorted intervals) and when served (sorted); in ns."""

    asking: tuple[tuple[int, int], ...]
    served: tuple[int, ...]


def service(history: History) -> Service:
    """Read from a history when clients asked and when they were served."""
    spans = []
    served = []
    for operation, ended_ns in zip(history.operations, ends_ns(history), strict=True):
        spans.append((operation.invoked_ns, ended_ns))
        if operation.outcome is OpType.OK:
            served.append(ended_ns)
    return Service(asking(spans), tuple(sorted(served)))


def ends_ns(history: History) -> list[int]:
    """Return when the client of each of `history.operations` was answered or gave up.

    An operation whose end was not recorded ends with the history.
    """
    completed = {op.index: op.time_ns for op in history if op.type is not OpType.INVOKE}
    last_ns = history.duration_ns
    return [
        last_ns
        if operation.completion_index is None
        else completed.get(operation.completion_index, last_ns)
        for operation in history.operations
    ]


def asking(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Merge (invoked, ended) of operations, in order of invocation, into disjoint intervals."""
    found: list[tuple[int, int]] = []
    for invoked_ns, ended_ns in spans:
        if found and invoked_ns <= found[-1][1] + IDLE_NS:
            found[-1] = (found[-1][0], max(found[-1][1], ended_ns))
        else:
            found.append((invoked_ns, ended_ns))
    return tuple(found)


def longest_silence(
    seen: Service, from_ns: int | None = None, until_ns: int | None = None
) -> tuple[int, int]:
    """Return the longest silence (begin, end) within [from_ns, until_ns]; (0, 0) if none asked."""
    gaps = []
    for begin, end in seen.asking:
        begin = begin if from_ns is None else max(begin, from_ns)
        end = end if until_ns is None else min(end, until_ns)
        if begin <= end:
            gaps.append(longest_gap(seen.served, begin, end))
    return max(gaps, key=lambda gap: gap[1] - gap[0], default=(0, 0))


def longest_gap(times: Sequence[int], from_ns: int, until_ns: int) -> tuple[int, int]:
    """Return the longest stretch of [from_ns, until_ns] without any of the sorted `times`."""
    inside = times[bisect_left(times, from_ns) : bisect_right(times, until_ns)]
    return max(pairwise([from_ns, *inside, until_ns]), key=lambda gap: gap[1] - gap[0])


def first_served_ns(seen: Service, after_ns: int) -> int | None:
    """Return when an operation first succeeded at or after a moment; None if none did."""
    at = bisect_left(seen.served, after_ns)
    return seen.served[at] if at < len(seen.served) else None
