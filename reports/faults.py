"""The storm, fault by fault: what was meant, what was done, and what clients noticed of it.

The nemesis says what it measured of its own effect; the other half is measured here, from the
clients' side: how many operations were in flight, how long nobody was served, how long after the
healing the first operation succeeded. A fault that had no measured effect, or is not known to be
healed, is flagged: a green page must not rest on it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from checkers.availability import with_quorum
from checkers.faults import FaultWindow
from checkers.silence import Service, first_served_ns, longest_silence
from reports import words
from reports.attempts import Attempt
from reports.leadership import Leadership

SILENCE_EXPECTED_NS_MAX = 5_000_000_000
"""A connected majority that serves nobody for longer than this is worth a flag; what is an anomaly
is said by `checkers.availability`."""


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One fault, ready to be shown. Times in nanoseconds since the start."""

    window: FaultWindow
    from_ns: int
    until_ns: int
    targets: tuple[tuple[str, str], ...]  # node, its role when it was hit
    ok: int
    info: int
    fail: int
    gap_ns: int
    leaderless_ns: int
    recovered_ns: int | None
    flags: tuple[str, ...]

    @property
    def overlapped(self) -> int:
        """How many operations were in flight while it was in force."""
        return self.ok + self.info + self.fail


@dataclass(frozen=True, slots=True)
class KindRow:
    """All faults of one kind together."""

    kind: str
    n: int
    total_ns: int
    on_leader: int
    measured: int
    overlapped: int
    gap_ns: int


def fault_rows(
    windows: Sequence[FaultWindow],
    tried: Sequence[Attempt],
    seen: Service,
    led: Leadership,
    end_ns: int,
    mended_ns: int,
) -> list[FaultRow]:
    """Measure every fault from the clients' side.

    `mended_ns` is when the final phase began to mend what was still broken.
    """
    rows = []
    invoked = [each.operation.invoked_ns for each in tried]
    longest_ns = max((each.latency_ns for each in tried), default=0)
    installed = [window for window in windows if window.outcome != "skipped"]
    promised: dict[str, list[tuple[int, int]]] = {}
    for window, begin, end in with_quorum(installed, mended_ns):
        promised.setdefault(window.id, []).append((begin, end))
    for window in windows:
        until_ns = end_ns if window.until_ns is None else window.until_ns
        first = bisect_left(invoked, window.from_ns - longest_ns)
        hit = Counter(
            each.operation.outcome.value
            for each in tried[first : bisect_right(invoked, until_ns)]
            if each.ended_ns >= window.from_ns
        )
        gap = longest_silence(seen, window.from_ns, until_ns)
        served_ns = first_served_ns(seen, until_ns)
        broken = [longest_silence(seen, *stretch) for stretch in promised.get(window.id, ())]
        rows.append(
            FaultRow(
                window=window,
                from_ns=window.from_ns,
                until_ns=until_ns,
                targets=tuple((node, window.roles.get(node, "")) for node in window.targets),
                ok=hit["ok"],
                info=hit["info"],
                fail=hit["fail"],
                gap_ns=gap[1] - gap[0],
                leaderless_ns=led.leaderless_ns(window.from_ns, until_ns),
                recovered_ns=None if served_ns is None else served_ns - until_ns,
                flags=_flags(window, max((end - begin for begin, end in broken), default=0)),
            )
        )
    return rows


def _flags(window: FaultWindow, silent_ns: int) -> tuple[str, ...]:
    """Say what is wrong with a fault; `silent_ns` is of the time it alone was at work."""
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
            f"silent for {words.duration(silent_ns)} while no other fault was at work, though this "
            f"one leaves a connected majority"
        )
    return tuple(flags)


def by_kind(rows: Sequence[FaultRow]) -> list[KindRow]:
    """Sum the installed faults up by kind, in order of name."""
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
