"""How long nobody was served, and whether that was to be expected.

For each fault: the longest time without a successful operation while it lasted, how soon the first
one came after its start, and after its end. Measured on the history's own events, not in buckets: a
failover of 300 ms does not hide in a ten-second average.

What may be expected comes from the topology: where a connected quorum is left, it must serve within
a bound. Faults overlap, and two that each leave a quorum may leave none together; so only a stretch
in which exactly one fault is at work, one that leaves a quorum, can break the promise.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from squall.checkers.evidence import Evidence
from squall.checkers.faults import FaultWindow, fault_windows
from squall.checkers.history import History, OpType
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "Where a connected quorum is left, somebody is served within the bound."

BOUND_MS: Final = 20_000
"""A failover takes a few election timeouts (1 s each by default) and a client timeout or two. Ten
times that on a loaded machine is still less than this."""


def availability(bound_ms: int = BOUND_MS) -> Checker:
    """Return the checker; `bound_ms` is how long a connected quorum may serve nobody."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_availability(history, bound_ms)

    return Checker(name="availability", check=check)


def check_availability(history: History, bound_ms: int = BOUND_MS) -> Verdict:
    """Measure every fault's effect on clients, and judge what the topology promises."""
    load = [op for op in history.operations if not (op.meta or {}).get("final")]
    served = sorted(
        op.completed_ns for op in load if op.outcome is OpType.OK and op.completed_ns is not None
    )
    asked = sorted(op.invoked_ns for op in load)
    begin = asked[0] if asked else 0
    end = max((op.completed_ns or op.invoked_ns for op in load), default=0)
    windows = [window for window in fault_windows(history) if window.outcome != "skipped"]
    faults = {window.id: _measure(window, served, end) for window in windows}
    overall = _longest_gap(served, begin, end)
    anomalies = []
    judged = 0
    for window, since, until in _alone(windows, end):
        judged += 1
        gap = _longest_gap(served, since, until)
        # Nobody can be served who does not ask.
        tried = bisect_left(asked, gap[1]) - bisect_right(asked, gap[0])
        if gap[1] - gap[0] > bound_ms * 1_000_000 and tried:
            anomalies.append(_anomaly(window, gap, tried, bound_ms))
    reason = None if served else "no operation ever succeeded"
    return Verdict(
        checker="availability",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"longest time without success {_seconds(overall)}, {len(windows)} faults, "
        f"{judged} stretches with a quorum left",
        reason=reason,
        anomalies=tuple(anomalies),
        stats={
            "longest_gap_ms": (overall[1] - overall[0]) // 1_000_000,
            "longest_gap_at_ns": overall[0],
            "bound_ms": bound_ms,
            "faults": faults,
        },
    )


def _measure(window: FaultWindow, served: Sequence[int], end: int) -> dict[str, Any]:
    """Return one fault's figures in milliseconds; None where nobody was served any more."""
    until = window.until_ns if window.until_ns is not None else end
    gap = _longest_gap(served, window.from_ns, max(until, window.from_ns))
    return {
        "kind": window.kind,
        "expect": window.expect,
        "longest_gap_ms": (gap[1] - gap[0]) // 1_000_000,
        "first_ok_after_start_ms": _first_after(served, window.from_ns),
        "first_ok_after_heal_ms": _first_after(served, window.until_ns),
        "ok_during": bisect_right(served, until) - bisect_left(served, window.from_ns),
    }


def _first_after(served: Sequence[int], moment: int | None) -> float | None:
    if moment is None:
        return None
    at = bisect_left(served, moment)
    return round((served[at] - moment) / 1e6, 3) if at < len(served) else None


def _longest_gap(served: Sequence[int], since: int, until: int) -> tuple[int, int]:
    """Return the longest stretch within [since, until] in which no operation succeeded."""
    edges = [since, *served[bisect_left(served, since) : bisect_right(served, until)], until]
    return max(pairwise(edges), key=lambda edge: edge[1] - edge[0], default=(0, 0))


def _alone(windows: Sequence[FaultWindow], end: int) -> list[tuple[FaultWindow, int, int]]:
    """Return the stretches in which one fault alone is at work and leaves a connected quorum."""
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
        if len(active) == 1 and active[0].expect == "available":
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
