"""All checkers, one verdict.

Each judge is heard, and none can silence another: one that raises is unknown, with its traceback as
the reason, for a broken judge says nothing about the accused. Proofs are read again before they
are believed (`self_check`). Trouble of the harness makes a valid
verdict unknown and leaves a proved violation proved.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from squall.checkers.budget import Meter
from squall.checkers.campaign.availability import BOUND_MS, availability
from squall.checkers.campaign.coverage import coverage
from squall.checkers.campaign.lost_commits import lost_commits
from squall.checkers.campaign.recovery import recovery
from squall.checkers.campaign.statistics import statistics
from squall.checkers.etcd.revisions import revisions
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, MalformedHistory
from squall.checkers.linearizability.checker import linearizability
from squall.checkers.linearizability.models import CasRegister, Model
from squall.checkers.proof_check.self_check import self_checked
from squall.checkers.raft.safety import raft_safety
from squall.checkers.verdict import Budget, Checker, Validity, Verdict, worst

ALL: Final = "all"
"""The name of the verdict of several checkers."""

CLAIM: Final = "The store kept its promises."


def judge(
    checkers: Sequence[Checker], history: History, evidence: Evidence, budget: Budget
) -> Verdict:
    """Hear every checker and combine what they say.

    The budget's time is shared: each checker gets what those before it left. Never raises.
    """
    meter = Meter(budget)
    children = tuple(_hear(checker, history, evidence, budget, meter) for checker in checkers)
    validity = worst([child.validity for child in children])
    reasons = [f"{child.checker}: {child.reason}" for child in children if child.reason]
    if evidence.trouble:
        reasons.insert(0, f"trouble of the harness: {evidence.trouble[0]}")
        if validity is Validity.VALID:
            validity = Validity.UNKNOWN
    decided = sum(child.validity is not Validity.UNKNOWN for child in children)
    return Verdict(
        checker=ALL,
        validity=validity,
        claim=CLAIM,
        evidence=f"{decided} of {len(children)} checkers decided",
        reason="; ".join(reasons) or None,
        elapsed_s=meter.now_s() + budget.time_s - meter.until_s,
        stats={"trouble": list(evidence.trouble)} if evidence.trouble else {},
        children=children,
    )


def _hear(
    checker: Checker, history: History, evidence: Evidence, budget: Budget, meter: Meter
) -> Verdict:
    started_s = meter.now_s()
    share = msgspec.structs.replace(budget, time_s=meter.remaining_s)
    try:
        verdict = checker.check(history, evidence, share)
    except MalformedHistory as error:
        verdict = _unheard(checker, f"the history is malformed: {error}")
    except Exception:  # noqa: BLE001 - whatever it is, it is no verdict
        verdict = _unheard(checker, f"the checker failed:\n{traceback.format_exc()}")
    took_s = meter.now_s() - started_s
    verdict = self_checked(verdict, history, evidence, budget, took_s)
    return msgspec.structs.replace(verdict, elapsed_s=meter.now_s() - started_s)


def _unheard(checker: Checker, reason: str) -> Verdict:
    return Verdict(checker=checker.name, validity=Validity.UNKNOWN, reason=reason)


def common_checkers(
    requested_faults: tuple[str, ...] = (), availability_bound_ms: int = BOUND_MS
) -> tuple[Checker, ...]:
    """Return the checkers of any run, whatever its clients did.

    `requested_faults` are the kinds of fault the run was asked to inject.
    """
    return (
        statistics(),
        coverage(requested_faults),
        recovery(),
        raft_safety(),
        availability(availability_bound_ms),
    )


def standard_checkers(
    *,
    make: Callable[[], Model] = CasRegister,
    requested_faults: tuple[str, ...] = (),
    availability_bound_ms: int = BOUND_MS,
) -> tuple[Checker, ...]:
    """Return the checkers of a run of the register workload, cheapest first, the search last."""
    return (
        *common_checkers(requested_faults, availability_bound_ms),
        revisions(),
        lost_commits(),
        linearizability(make),
    )
