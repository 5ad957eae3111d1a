"""Who led, when, in which term: read from what the observer saw, as stretches of time.

The observer asks every node now and then and records what it was answered; between two records a
role is taken to last, so a stretch is known to their distance only, which the page states. A node
that calls itself leader behind a partition is shown as it called itself: two rows may both say
"leader".
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from checkers.evidence import Evidence
from checkers.history import OBSERVER, History
from checkers.terms import leaders_by_term


@dataclass(frozen=True, slots=True)
class Stretch:
    """A node in one role and term from one reading until another, nanoseconds."""

    from_ns: int
    until_ns: int
    role: str  # leader | follower | candidate | ... | "" when it did not answer
    term: int


@dataclass(frozen=True, slots=True)
class Leadership:
    """The stretches of every node, and what follows from them."""

    nodes: dict[str, tuple[Stretch, ...]]
    leaderless: tuple[tuple[int, int], ...]
    readings: int
    resolution_ns: int
    last: dict[str, dict[str, Any]]
    last_ns: int
    terms: dict[int, tuple[str, ...]]
    clock_offsets_ms: dict[str, tuple[float, float]]

    @property
    def reigns(self) -> list[tuple[str, Stretch]]:
        """Every stretch as leader, in order of time."""
        found = [
            (node, stretch)
            for node, stretches in self.nodes.items()
            for stretch in stretches
            if stretch.role == "leader"
        ]
        return sorted(found, key=lambda each: (each[1].from_ns, each[0]))

    @property
    def elections(self) -> int:
        """How many terms had a leader: `checkers.terms` says who led which."""
        return len(self.terms)

    def leaderless_ns(self, from_ns: int, until_ns: int) -> int:
        """How much of a window passed while no reachable node said it led."""
        return sum(
            max(0, min(end, until_ns) - max(begin, from_ns)) for begin, end in self.leaderless
        )

    def leaders_between(self, from_ns: int, until_ns: int) -> list[tuple[str, Stretch]]:
        """Every stretch as leader that touches [from_ns, until_ns], the newest term first."""
        found = [
            (node, stretch)
            for node, stretch in self.reigns
            if stretch.from_ns <= until_ns and stretch.until_ns >= from_ns
        ]
        return sorted(found, key=lambda each: (-each[1].term, each[1].from_ns, each[0]))


def leadership(history: History, evidence: Evidence | None = None) -> Leadership:
    """Read the observer's events, and what the nodes' logs say of the terms they led."""
    readings = [
        (op.time_ns, op.value)
        for op in history
        if op.process == OBSERVER and op.f == "observe" and isinstance(op.value, dict)
    ]
    end_ns = history.duration_ns
    rows: dict[str, list[tuple[int, str, int]]] = {}
    offsets: dict[str, list[float]] = {}
    reigning: list[tuple[int, bool]] = []
    for at_ns, nodes in readings:
        anyone = False
        for node, seen in nodes.items():
            if not isinstance(seen, dict):
                continue
            reachable = bool(seen.get("reachable", True))
            role = str(seen.get("role", "")) if reachable else ""
            rows.setdefault(node, []).append((at_ns, role, _whole(seen.get("term"))))
            anyone = anyone or role == "leader"
            offset = seen.get("clock_offset_ms")
            if reachable and isinstance(offset, int | float):
                offsets.setdefault(node, []).append(float(offset))
        reigning.append((at_ns, anyone))
    gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(readings)]
    return Leadership(
        nodes={node: _stretches(rows[node], end_ns) for node in sorted(rows)},
        leaderless=_leaderless(reigning, end_ns),
        readings=len(readings),
        resolution_ns=sorted(gaps)[len(gaps) // 2] if gaps else 0,
        last=dict(readings[-1][1]) if readings else {},
        last_ns=readings[-1][0] if readings else 0,
        terms=leaders_by_term((evidence or Evidence()).nodes.values(), history),
        clock_offsets_ms={node: (min(seen), max(seen)) for node, seen in sorted(offsets.items())},
    )


def _whole(number: Any) -> int:
    return number if isinstance(number, int) else 0


def _stretches(rows: Sequence[tuple[int, str, int]], end_ns: int) -> tuple[Stretch, ...]:
    found: list[Stretch] = []
    from_ns, role, term = rows[0]
    for at_ns, next_role, next_term in rows[1:]:
        # A follower's term alone is no news: it would cut the row to pieces.
        if next_role != role or (next_term != term and role == "leader"):
            found.append(Stretch(from_ns, at_ns, role, term))
            from_ns, role = at_ns, next_role
        term = next_term
    found.append(Stretch(from_ns, end_ns, role, term))
    return tuple(found)


def _leaderless(reigning: Sequence[tuple[int, bool]], end_ns: int) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    began_ns: int | None = None
    for at_ns, anyone in reigning:
        if not anyone and began_ns is None:
            began_ns = at_ns
        elif anyone and began_ns is not None:
            found.append((began_ns, at_ns))
            began_ns = None
    if began_ns is not None:
        found.append((began_ns, end_ns))
    return tuple(found)
