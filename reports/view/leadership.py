"""Which node led, when and in which term, as periods from the observer's readings.

The observer asks every node at intervals and records the answers. Between two readings a role is
assumed to last, so a period is known only to their distance, which the page states. A node that
reports to lead behind a partition is shown as it reported: two rows may both say "leader".
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from squall.checkers.evidence import Evidence
from squall.checkers.history import OBSERVER, History
from squall.checkers.raft.terms import leaders_by_term


@dataclass(frozen=True, slots=True)
class RolePeriod:
    """A node in one role and term, from one reading until another; nanoseconds."""

    from_ns: int
    until_ns: int
    role: str  # leader | follower | candidate | ... | "" when it did not answer
    term: int


@dataclass(frozen=True, slots=True)
class Leadership:
    """The periods of every node, and what follows from them.

    `leaderless` are the times in which no node that answered reported to lead; `resolution_ns` is
    the median distance of two readings; `last` is the last reading, at `last_ns`. All in ns.
    """

    nodes: dict[str, tuple[RolePeriod, ...]]
    leaderless: tuple[tuple[int, int], ...]
    readings: int
    resolution_ns: int
    last: dict[str, dict[str, Any]]
    last_ns: int
    terms: dict[int, tuple[str, ...]]
    clock_offsets_ms: dict[str, tuple[float, float]]

    @property
    def leader_periods(self) -> list[tuple[str, RolePeriod]]:
        """Return every period of a leader, in order of time."""
        found = [
            (node, period)
            for node, periods in self.nodes.items()
            for period in periods
            if period.role == "leader"
        ]
        return sorted(found, key=lambda each: (each[1].from_ns, each[0]))

    @property
    def elections(self) -> int:
        """Return how many terms had a leader (see `squall.checkers.raft.terms`)."""
        return len(self.terms)

    def leaderless_ns(self, from_ns: int, until_ns: int) -> int:
        """Return for how long, within a window, no node that answered reported to lead."""
        return sum(
            max(0, min(end, until_ns) - max(begin, from_ns)) for begin, end in self.leaderless
        )

    def leaders_between(self, from_ns: int, until_ns: int) -> list[tuple[str, RolePeriod]]:
        """Return every period of a leader that meets [from_ns, until_ns], the newest term first."""
        found = [
            (node, period)
            for node, period in self.leader_periods
            if period.from_ns <= until_ns and period.until_ns >= from_ns
        ]
        return sorted(found, key=lambda each: (-each[1].term, each[1].from_ns, each[0]))


def leadership_of(history: History, evidence: Evidence | None = None) -> Leadership:
    """Read the observer's events, and from the nodes' logs the leaders of terms."""
    readings = [
        (op.time_ns, op.value)
        for op in history
        if op.process == OBSERVER and op.f == "observe" and isinstance(op.value, dict)
    ]
    end_ns = history.duration_ns
    rows: dict[str, list[tuple[int, str, int]]] = {}
    offsets: dict[str, list[float]] = {}
    led: list[tuple[int, bool]] = []
    for at_ns, nodes in readings:
        has_leader = False
        for node, seen in nodes.items():
            if not isinstance(seen, dict):
                continue
            reachable = bool(seen.get("reachable", True))
            role = str(seen.get("role", "")) if reachable else ""
            rows.setdefault(node, []).append((at_ns, role, _whole(seen.get("term"))))
            has_leader = has_leader or role == "leader"
            offset = seen.get("clock_offset_ms")
            if reachable and isinstance(offset, int | float):
                offsets.setdefault(node, []).append(float(offset))
        led.append((at_ns, has_leader))
    gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(readings)]
    return Leadership(
        nodes={node: _periods(rows[node], end_ns) for node in sorted(rows)},
        leaderless=_leaderless(led, end_ns),
        readings=len(readings),
        resolution_ns=sorted(gaps)[len(gaps) // 2] if gaps else 0,
        last=dict(readings[-1][1]) if readings else {},
        last_ns=readings[-1][0] if readings else 0,
        terms=leaders_by_term((evidence or Evidence()).nodes.values(), history),
        clock_offsets_ms={node: (min(seen), max(seen)) for node, seen in sorted(offsets.items())},
    )


def _whole(number: Any) -> int:
    return number if isinstance(number, int) else 0


def _periods(rows: Sequence[tuple[int, str, int]], end_ns: int) -> tuple[RolePeriod, ...]:
    found: list[RolePeriod] = []
    from_ns, role, term = rows[0]
    for at_ns, next_role, next_term in rows[1:]:
        # A new term of a follower begins no period: rows would be split at every election.
        if next_role != role or (next_term != term and role == "leader"):
            found.append(RolePeriod(from_ns, at_ns, role, term))
            from_ns, role = at_ns, next_role
        term = next_term
    found.append(RolePeriod(from_ns, end_ns, role, term))
    return tuple(found)


def _leaderless(led: Sequence[tuple[int, bool]], end_ns: int) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    began_ns: int | None = None
    for at_ns, has_leader in led:
        if not has_leader and began_ns is None:
            began_ns = at_ns
        elif has_leader and began_ns is not None:
            found.append((began_ns, at_ns))
            began_ns = None
    if began_ns is not None:
        found.append((began_ns, end_ns))
    return tuple(found)
