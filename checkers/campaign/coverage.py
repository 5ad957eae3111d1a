"""Checks that the requested faults took effect: a fault without effect tests nothing.

Every requested fault must have been injected, been measured to have an effect, and been healed.
Faults that this machine does not support are left out of the draw beforehand and named as such. A
run without requested faults is vacuously covered.
"""

from __future__ import annotations

from typing import Any, Final

from squall.checkers.evidence import Evidence
from squall.checkers.faults import FaultWindow, fault_windows
from squall.checkers.history import History
from squall.checkers.verdict import Budget, Checker, Validity, Verdict

CLAIM: Final = "Every fault that was asked for happened, had a measured effect, and was healed."

REASONS_MAX: Final = 3
"""Complaints listed in the reason; the rest is counted."""


def coverage(requested: tuple[str, ...] = ()) -> Checker:
    """Return the checker; `requested` are the kinds of fault this run was asked to inject."""

    def check(history: History, evidence: Evidence, _budget: Budget) -> Verdict:
        return check_coverage(history, evidence, requested)

    return Checker(name="coverage", check=check)


def check_coverage(
    history: History, evidence: Evidence, requested: tuple[str, ...] = ()
) -> Verdict:
    """Judge the faults of a run. Never invalid: missing effects are no fault of the database."""
    windows = fault_windows(history)
    kinds: dict[str, dict[str, int]] = {}
    complaints: list[str] = []
    for window in windows:
        counts = kinds.setdefault(window.kind, {"injected": 0, "effective": 0, "skipped": 0})
        if window.outcome == "skipped":
            counts["skipped"] += 1
            continue
        counts["injected"] += 1
        counts["effective"] += window.effective is True
        complaints += _complaints(window)
    for kind in dict.fromkeys((*requested, *kinds)):
        if kind in evidence.unsupported_faults:
            continue
        if not kinds.get(kind, {}).get("injected"):
            skipped = kinds.get(kind, {}).get("skipped", 0)
            how = f"was skipped {skipped} times and never" if skipped else "was never"
            complaints.append(f"{kind} {how} injected")
    injected = sum(counts["injected"] for counts in kinds.values())
    effective = sum(counts["effective"] for counts in kinds.values())
    unsupported = sorted(set(requested) & evidence.unsupported_faults.keys())
    reason = None
    if complaints:
        more = len(complaints) - REASONS_MAX
        reason = "; ".join(complaints[:REASONS_MAX]) + (f"; and {more} more" if more > 0 else "")
    elif unsupported and not injected:
        reason = f"this machine supports none of the faults asked for ({', '.join(unsupported)})"
    return Verdict(
        checker="coverage",
        validity=Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{effective} of {injected} faults of {len(kinds)} kinds had a measured effect"
        if injected or requested
        else "no faults were asked for",
        reason=reason,
        stats=_stats(kinds, unsupported),
    )


def _complaints(window: FaultWindow) -> list[str]:
    found = []
    if window.outcome == "indeterminate":
        found.append(
            f"nobody knows whether {window.id} was injected ({window.detail or 'no detail'})"
        )
    elif window.effective is False:
        found.append(f"fault without effect: {window.id} ({window.effect or 'nothing measured'})")
    elif window.effective is None and window.until_ns is not None:
        found.append(f"the effect of {window.id} could not be measured")
    if window.until_ns is None:
        found.append(f"{window.id} was never ended")
    elif not window.healed:
        found.append(f"nobody knows whether {window.id} was healed")
    return found


def _stats(kinds: dict[str, dict[str, int]], unsupported: list[str]) -> dict[str, Any]:
    return {"kinds": kinds} | ({"unsupported": unsupported} if unsupported else {})
