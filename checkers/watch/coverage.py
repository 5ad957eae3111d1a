"""Coverage of watches: a watch that was sent nothing tests nothing.

Watches of the final phase do not count here: no fault is in force while they are read.
"""

from __future__ import annotations

from typing import Any, Final

from squall.checkers.evidence import Evidence
from squall.checkers.faults import fault_windows
from squall.checkers.history import History, Operation, OpType
from squall.checkers.text.words import counted
from squall.checkers.verdict import Budget, Checker, Validity, Verdict

CLAIM: Final = "Watches were told of changes, of the past too, while faults were at work."

CHANGES: Final = frozenset({"put", "delete", "txn"})


def watch_coverage() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_watch_coverage(history)

    return Checker(name="watch-coverage", check=check)


def check_watch_coverage(history: History) -> Verdict:
    """Count what watches were exposed to. Never invalid: missing coverage breaks no guarantee."""
    load = [one for one in history.operations if not (one.meta or {}).get("final")]
    watches = [one for one in load if one.f == "watch" and _answered(one)]
    changed = sum(one.f in CHANGES and _answered(one) for one in load)
    windows = [
        window
        for window in fault_windows(history)
        if window.outcome == "installed" and window.effective is not False
    ]
    told = [one for one in watches if _events(one)]
    shaken = [
        one
        for one in told
        if any(_overlap(one, window.from_ns, window.until_ns) for window in windows)
    ]
    counts = {
        "held": len(watches),
        "told": len(told),
        "under faults": len(shaken),
        "told of the past": sum(_of_the_past(one) for one in told),
        "promised progress": sum(_progress(one) for one in watches),
        "with the value before": sum(bool(one.input.get("prev")) for one in told),
        "filtered": sum(bool(one.input.get("filters")) for one in told),
        "broken": sum(str(one.output.get("ended", "")).startswith("broken") for one in watches),
        "overtaken by a compaction": sum(bool(one.output.get("compacted")) for one in watches),
    }
    reason = None
    if not watches:
        reason = "no watch was ever held"
    elif not told:
        reason = f"no watch was told anything, while {counted(changed, 'change')} happened"
    elif windows and not shaken:
        reason = "no watch that was told anything lasted into a fault"
    elif not counts["told of the past"]:
        reason = "no watch was told anything of the past"
    elif not counts["promised progress"]:
        reason = "no watch was promised progress"
    return Verdict(
        checker="watch-coverage",
        validity=Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=", ".join(f"{count:,} {what}" for what, count in counts.items() if count),
        reason=reason,
        stats=counts,
    )


def _answered(one: Operation) -> bool:
    return one.outcome is OpType.OK and isinstance(one.output, dict)


def _events(one: Operation) -> int:
    return sum(len(response.get("events", ())) for response in one.output["responses"])


def _progress(one: Operation) -> bool:
    return any(response.get("progress") for response in one.output["responses"])


def _of_the_past(one: Operation) -> bool:
    """Whether a watch was sent a change that was made before it was created."""
    created: Any = one.output.get("created") or 0
    return any(
        event[3] <= created
        for response in one.output["responses"]
        for event in response.get("events", ())
    )


def _overlap(one: Operation, since_ns: int, until_ns: int | None) -> bool:
    ended_ns = one.completed_ns if one.completed_ns is not None else one.invoked_ns
    return ended_ns >= since_ns and (until_ns is None or one.invoked_ns <= until_ns)
