"""Each fault: its intent and targets, its measured effect, and what clients saw of it.

The nemesis measures its own effect. The clients' side is measured here: how many operations were in
flight, the longest time in which none succeeded, how long after the healing the first one did. A
fault without a measured effect, or whose healing is not confirmed, is flagged: a valid verdict must
not rest on it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from squall.checkers.campaign.availability import with_quorum
from squall.checkers.campaign.silence import Service, first_served_ns, longest_silence
from squall.checkers.faults import FaultWindow
from squall.reports import formatting
from squall.reports.view.attempts import Attempt
from squall.reports.view.leadership import Leadership

SILENCE_EXPECTED_NS_MAX = 5_000_000_000
"""Longest time without success that is not flagged while a connected majority exists. The bound of
an anomaly is that of `squall.checkers.campaign.availability`."""


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One fault as it is shown. Times in nanoseconds of the history's clock."""

    window: FaultWindow
    from_ns: int
    until_ns: int
    targets: tuple[tuple[str, str], ...]  # node, its role when the fault began
    ok: int
    info: int
    fail: int
    gap_ns: int
    leaderless_ns: int
    recovered_ns: int | None
    flags: tuple[str, ...]

    @property
    def overlapped(self) -> int:
        """Return how many operations were in flight while it was in force."""
        return self.ok + self.info + self.fail


@dataclass(frozen=True, slots=True)
class KindRow:
    """All faults of one kind together. Lengths in nanoseconds."""

    kind: str
    n: int
    total_ns: int
    on_leader: int
    measured: int
    overlapped: int
    gap_ns: int


def fault_rows(
    windows: Sequence[FaultWindow],
    attempts: Sequence[Attempt],
    service: Service,
    leadership: Leadership,
    end_ns: int,
    healing_ns: int,
) -> list[FaultRow]:
    """Measure every fault from the clients' side.

    `healing_ns` is when the final phase began to heal what was still in force.
    """
    rows = []
    invoked = [each.operation.invoked_ns for each in attempts]
    longest_ns = max((each.latency_ns for each in attempts), default=0)
    installed = [window for window in windows if window.outcome != "skipped"]
    with_majority: dict[str, list[tuple[int, int]]] = {}
    for window, begin, end in with_quorum(installed, healing_ns):
        with_majority.setdefault(window.id, []).append((begin, end))
    for window in windows:
        until_ns = end_ns if window.until_ns is None else window.until_ns
        first = bisect_left(invoked, window.from_ns - longest_ns)
        in_flight = Counter(
            each.operation.outcome.value
            for each in attempts[first : bisect_right(invoked, until_ns)]
            if each.ended_ns >= window.from_ns
        )
        gap = longest_silence(service, window.from_ns, until_ns)
        served_ns = first_served_ns(service, until_ns)
        silences = [
            longest_silence(service, *period) for period in with_majority.get(window.id, ())
        ]
        rows.append(
            FaultRow(
                window=window,
                from_ns=window.from_ns,
                until_ns=until_ns,
                targets=tuple((node, window.roles.get(node, "")) for node in window.targets),
                ok=in_flight["ok"],
                info=in_flight["info"],
                fail=in_flight["fail"],
                gap_ns=gap[1] - gap[0],
                leaderless_ns=leadership.leaderless_ns(window.from_ns, until_ns),
                recovered_ns=None if served_ns is None else served_ns - until_ns,
                flags=_flags(window, max((end - begin for begin, end in silences), default=0)),
            )
        )
    return rows


def _flags(window: FaultWindow, silent_ns: int) -> tuple[str, ...]:
    """Return what is wrong with a fault; `silent_ns` is measured while it alone was in force."""
    if window.outcome == "skipped":
        return ("skipped",)
    flags = []
    if window.outcome == "indeterminate":
        flags.append("unknown whether it was installed")
    if window.until_ns is None:
        flags.append("never ended by the nemesis")
    elif not window.healed:
        flags.append("unknown whether it was healed")
    if window.effective is False:
        flags.append("no effect measured")
    elif window.effective is None:
        flags.append("effect not measured")
    if silent_ns > SILENCE_EXPECTED_NS_MAX:
        flags.append(
            f"silent for {formatting.duration(silent_ns)} while no other fault was at work, though "
            f"this one leaves a connected majority"
        )
    return tuple(flags)


def by_kind(rows: Sequence[FaultRow]) -> list[KindRow]:
    """Sum the installed faults by kind, in order of name."""
    kinds: dict[str, list[FaultRow]] = {}
    for row in rows:
        if row.window.outcome != "skipped":
            kinds.setdefault(row.window.kind, []).append(row)
    return [
        KindRow(
            kind=kind,
            n=len(found),
            total_ns=sum(row.until_ns - row.from_ns for row in found),
            on_leader=sum(any(role == "leader" for _, role in row.targets) for row in found),
            measured=sum(row.window.effective is True for row in found),
            overlapped=sum(row.overlapped for row in found),
            gap_ns=max(row.gap_ns for row in found),
        )
        for kind, found in sorted(kinds.items())
    ]
