"""Checks that the cluster recovered after all faults were healed.

The final phase thaws, restarts, heals and resets, then waits until every node has applied what its
leader had committed. A cluster that does not reach that in time is a finding about the database,
unless the harness itself had trouble. Without a final phase the verdict is unknown.
"""

from __future__ import annotations

from typing import Final

from squall.checkers.evidence import Evidence
from squall.checkers.faults import mending_ns
from squall.checkers.history import History
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "Once every fault is healed, all nodes follow one leader and catch up."


def recovery() -> Checker:
    """Return the checker of the final phase."""

    def check(history: History, evidence: Evidence, _budget: Budget) -> Verdict:
        return check_recovery(history, evidence)

    return Checker(name="recovery", check=check)


def recovered(evidence: Evidence) -> bool:
    """Whether the final phase observed the whole cluster caught up."""
    return bool(evidence.recovery.get("recovered"))


def _healed_ns(history: History) -> int | None:
    """When the final phase had healed everything; None if the history does not say."""
    return next(
        (each.completed_ns for each in history.nemesis_operations if each.f == "recover"), None
    )


def check_recovery(history: History, evidence: Evidence) -> Verdict:
    """Judge what the final phase observed."""
    seen = evidence.recovery
    reason = str(seen.get("reason") or "no reason given")
    elapsed_s = seen.get("elapsed_s")
    anomalies: tuple[Anomaly, ...] = ()
    why: str | None = None
    if "recovered" not in seen:
        validity, why = Validity.UNKNOWN, "nobody looked whether the cluster came back"
    elif recovered(evidence):
        validity = Validity.VALID
    elif evidence.trouble:
        validity = Validity.UNKNOWN
        trouble = evidence.trouble[0]
        why = f"the cluster did not come back ({reason}), but there was trouble: {trouble}"
    else:
        validity = Validity.INVALID
        healed_ns = _healed_ns(history)
        at = "" if healed_ns is None else f" at {healed_ns / 1e9:.3f} s"
        healed_ns = mending_ns(history) if healed_ns is None else healed_ns
        waited = f" within {elapsed_s:g} s" if isinstance(elapsed_s, int | float) else ""
        anomalies = (
            Anomaly(
                kind="no-recovery",
                summary=f"The cluster did not recover{waited} after all was healed: {reason}.",
                explanation=f"Let H be the end of the healing{at}, after which nothing of the "
                "harness kept any node from running, from reaching the others or from telling the "
                "time.\nThen a leader is elected, and every node catches up with it."
                f"\nHowever, {reason}{waited}.",
                window_ns=(healed_ns, history.duration_ns),
                data={"nodes": seen.get("nodes", {})},
            ),
        )
    took = f"recovered in {elapsed_s:g} s" if isinstance(elapsed_s, int | float) else "not timed"
    return Verdict(
        checker="recovery",
        validity=validity,
        claim=CLAIM,
        evidence=took if validity is Validity.VALID else reason,
        reason=why,
        anomalies=anomalies,
        stats={
            name: seen[name]
            for name in ("elapsed_s", "leader", "term")
            if seen.get(name) not in (None, "", 0)
        },
    )
