"""Availability: how long no operation succeeded, and whether the topology allowed that.

For each fault: the longest time without a successful operation while it lasted, the time from its
start to the first success, and the same from its end. Measured on the history's own events, not in
buckets, so that a failover of 300 ms does not disappear in a ten-second average.

The expectation comes from the topology: a connected quorum must serve within a bound. Faults
overlap, and two that each leave a quorum may leave none together; so only intervals in which
exactly one fault is in force, one that leaves a quorum, can violate it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from squall.checkers.campaign.silence import Service, first_served_ns, longest_silence, service
from squall.checkers.evidence import Evidence
from squall.checkers.faults import FaultWindow, fault_windows, mending_ns
from squall.checkers.history import History
from squall.checkers.text.words import listed
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "Where a connected quorum is left, somebody is served within the bound."

BOUND_MS: Final = 20_000
"""A failover takes a few election timeouts (1 s each by default) and a client timeout or two. The
bound is above ten times that, for a loaded machine."""


def availability(bound_ms: int = BOUND_MS) -> Checker:
    """Return the checker; `bound_ms` is how long a connected quorum may serve no operation."""

    def check(history: History, evidence: Evidence, _budget: Budget) -> Verdict:
        return check_availability(history, bound_ms, evidence)

    return Checker(name="availability", check=check)


def check_availability(
    history: History, bound_ms: int = BOUND_MS, evidence: Evidence | None = None
) -> Verdict:
    """Measure every fault's effect on clients, and judge the intervals with a connected quorum.

    A node that stopped without the nemesis, or trouble of the harness, may have taken the quorum
    that the faults left: then a silence proves nothing, and the verdict is unknown.
    """
    evidence = evidence or Evidence()
    seen = service(history)
    windows = [window for window in fault_windows(history) if window.outcome != "skipped"]
    end = mending_ns(history)
    invoked = [operation.invoked_ns for operation in history.operations]
    anomalies = []
    judged = 0
    for window, since, until in with_quorum(windows, end):
        judged += 1
        gap = longest_silence(seen, since, until)
        # Only clients that ask can be served.
        tried = sum(gap[0] < at < gap[1] for at in invoked)
        if gap[1] - gap[0] > bound_ms * 1_000_000 and tried:
            anomalies.append(_anomaly(window, gap, tried, bound_ms))
    reason = None if seen.served else "no operation ever succeeded"
    if anomalies and (otherwise := _lost_otherwise(evidence)):
        gap = anomalies[0].window_ns or (0, 0)
        reason = f"nobody was served for {_seconds(gap)}, but {otherwise}"
        anomalies = []
    overall = longest_silence(seen)
    return Verdict(
        checker="availability",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"longest silence {_seconds(overall)}, {len(windows)} faults, "
        f"{judged} stretches with a quorum left",
        reason=reason,
        anomalies=tuple(anomalies),
        stats={
            "longest_gap_ms": (overall[1] - overall[0]) // 1_000_000,
            "longest_gap_at_ns": overall[0],
            "bound_ms": bound_ms,
            "faults": {window.id: _measure(window, seen, end) for window in windows},
        },
    )


def _lost_otherwise(evidence: Evidence) -> str:
    """Return what else may have taken the quorum; empty if nothing is known."""
    if evidence.trouble:
        return f"the harness had trouble ({evidence.trouble[0]})"
    stopped = [node.node for node in evidence.nodes.values() if node.assertions]
    if stopped:
        return f"{listed(stopped)} had stopped without a fault, and may have been needed"
    return ""


def _measure(window: FaultWindow, seen: Service, end: int) -> dict[str, Any]:
    """Return one fault's figures in milliseconds; None where no operation succeeded again."""
    until = window.until_ns if window.until_ns is not None else max(end, window.from_ns)
    gap = longest_silence(seen, window.from_ns, until)
    return {
        "kind": window.kind,
        "expect": window.expect,
        "longest_gap_ms": (gap[1] - gap[0]) // 1_000_000,
        "first_ok_after_start_ms": _first_after(seen, window.from_ns),
        "first_ok_after_heal_ms": _first_after(seen, window.until_ns),
        "ok_during": sum(window.from_ns <= at <= until for at in seen.served),
    }


def _first_after(seen: Service, moment: int | None) -> float | None:
    found = first_served_ns(seen, moment) if moment is not None else None
    return None if found is None or moment is None else round((found - moment) / 1e6, 3)


def with_quorum(windows: Sequence[FaultWindow], end: int) -> list[tuple[FaultWindow, int, int]]:
    """Return the intervals in which exactly one fault is in force and leaves a connected quorum.

    A fault's `expect` holds for the moment of its start: a fault that began later, or was in force
    already, may have taken away what it left. `end` is when faults that were never stopped were
    healed. Gives (fault, begin, end) in nanoseconds.
    """
    moments = sorted(
        {window.from_ns for window in windows}
        | {window.until_ns if window.until_ns is not None else end for window in windows}
    )
    found: list[tuple[FaultWindow, int, int]] = []
    for since, until in pairwise(moments):
        active = [
            window
            for window in windows
            if window.from_ns <= since and (window.until_ns is None or window.until_ns >= until)
        ]
        if len(active) == 1 and active[0].expect == "available" and since < end:
            found.append((active[0], since, min(until, end)))
    return found


def _anomaly(window: FaultWindow, gap: tuple[int, int], tried: int, bound_ms: int) -> Anomaly:
    return Anomaly(
        kind="unavailable",
        summary=f"Nobody was served for {_seconds(gap)} under {window.id}, "
        f"which leaves a connected quorum.",
        explanation=f"Let F be {window.id} ({window.kind}: {window.detail}), the only fault at "
        f"work from {gap[0] / 1e9:.3f} s to {gap[1] / 1e9:.3f} s.\nThen a majority of the nodes "
        f"can reach each other, so within {bound_ms / 1000:g} s one of them leads and "
        f"serves.\nHowever, {tried:,} operations were tried in that time, and none succeeded.",
        window_ns=gap,
        data={"fault": window.id},
    )


def _seconds(gap: tuple[int, int]) -> str:
    return f"{(gap[1] - gap[0]) / 1e9:.3f} s"
