"""Money is moved between accounts, never made or lost: every read of all accounts has one total.

What the total is, is what the first read shows, unless told. No account may be overdrawn, unless
that is allowed. A read that shows other accounts than the first did lost one or invented one.
"""

from __future__ import annotations

from typing import Any, Final

from checkers.evidence import Evidence
from checkers.explain import Cast, anomaly, who
from checkers.history import History, MalformedHistory, Operation, OpType
from checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict
from checkers.words import counted

CLAIM: Final = "Every read of the accounts has the same total, and none is overdrawn."

OVERDRAWN: Final = "overdrawn"

NEGATIVE_HINT: Final = "if accounts may be overdrawn, judge by --model bank:negative"
"""Told where nothing else is wrong."""

ANOMALIES_MAX: Final = 20
"""Anomalies told in full; the rest is counted."""


def bank(*, total: int | None = None, overdraft: bool = False) -> Checker:
    """Return the checker; `total` None takes the first read's; `overdraft` allows negatives."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_bank(history, total=total, overdraft=overdraft)

    return Checker(name="bank", check=check)


def check_bank(history: History, *, total: int | None = None, overdraft: bool = False) -> Verdict:
    """Judge every read of all accounts."""
    reads = [one for one in history.operations if one.f == "read" and one.outcome is OpType.OK]
    reads.sort(key=lambda one: one.completed_ns or 0)
    transfers = sum(one.f == "transfer" for one in history.operations)
    first: Operation | None = None
    anomalies: list[Anomaly] = []
    wrong = 0
    for one in reads:
        balances = one.output
        if not isinstance(balances, dict):
            raise MalformedHistory(f"op {one.index}: a read of accounts is a map of balances")
        if first is None:
            first = one
            if total is None:
                total = sum(balance or 0 for balance in balances.values())
        for found in _judge(one, first, balances, total or 0, overdraft):
            wrong += 1
            if len(anomalies) < ANOMALIES_MAX:
                anomalies.append(found)
    reason = None if reads else "vacuous: the accounts were never read"
    if anomalies and all(one.kind == OVERDRAWN for one in anomalies):
        reason = NEGATIVE_HINT
    return Verdict(
        checker="bank",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(len(reads), 'read')}, {counted(transfers, 'transfer')}, total {total}",
        reason=reason,
        method="sums",
        anomalies=tuple(anomalies),
        stats={"reads": len(reads), "transfers": transfers, "anomalies": wrong},
    )


def _judge(
    one: Operation, first: Operation, balances: dict[str, Any], total: int, overdraft: bool
) -> list[Anomaly]:
    found = []
    empty = sorted(account for account, balance in balances.items() if balance is None)
    missing = sorted(set(first.output) - set(balances))
    extra = sorted(set(balances) - set(first.output))
    cast = Cast([first, one])
    mine, its = cast.name(one), cast.name(first)
    if empty or missing or extra:
        what = (
            f"nothing in {', '.join(empty or missing)}"
            if not extra
            else (f"an account {', '.join(extra)}")
        )
        found.append(
            anomaly(
                "wrong-accounts",
                f"{who(one)} found {what}.",
                [
                    f"Then the accounts are those {its} shows: none is ever opened or closed.",
                    f"However, {mine} found {what}.",
                ],
                cast,
            )
        )
        return found
    summed = sum(balances.values())
    if summed != total:
        found.append(
            anomaly(
                "wrong-total",
                f"{who(one)} found {summed} in all accounts together, where {total} must be.",
                [
                    f"Then all accounts hold {total} together at any moment, because {its} found "
                    f"that, and a transfer takes from one what it gives to another."
                    if first is not one and sum(b or 0 for b in first.output.values()) == total
                    else f"Then all accounts hold {total} together at any moment, because that is "
                    f"what they were given.",
                    (
                        f"However, {mine} found {' + '.join(str(b) for b in balances.values())} = "
                        f"{summed}: it saw one half of some transfer."
                    ),
                ],
                cast,
                data={"total": summed, "expected": total},
            )
        )
    below = {account: balance for account, balance in balances.items() if balance < 0}
    if below and not overdraft:
        account, balance = next(iter(sorted(below.items())))
        alone = Cast([one])
        found.append(
            anomaly(
                OVERDRAWN,
                f"{who(one)} found account {account} at {balance}.",
                [
                    "Then no account is below 0: a transfer that would overdraw is refused.",
                    f"However, {alone.name(one)} found {balance} in account {account}.",
                ],
                alone,
            )
        )
    return found
