"""Two reads that disagree about which of two writes came first: a long fork.

Keys are written once. A read of several keys sees some of them written and others not yet. Of two
reads each of which saw a key that the other lacked, neither can have come first; under snapshot
isolation and above that cannot happen, under its parallel variant it can.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Any, Final

from squall.checkers.evidence import Evidence
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.registers import freeze
from squall.checkers.text.proof import Cast, anomaly, who
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "All reads agree on the order of the writes."

ANOMALIES_MAX: Final = 20
"""Anomalies told in full; the rest is counted."""


def long_fork() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_long_fork(history)

    return Checker(name="long-fork", check=check)


def check_long_fork(history: History) -> Verdict:
    """Compare the reads of each group of keys.

    By how many keys a read saw, the reads of a group that agree form a chain: each sees all that
    those before it saw. So neighbours in that order are all that need comparing.
    """
    groups: dict[frozenset[Hashable], list[tuple[frozenset[Hashable], Operation]]] = {}
    reads = 0
    for one in history.operations:
        if one.outcome is not OpType.OK or not isinstance(one.output, list):
            continue
        values: dict[Hashable, Any] = {}
        for mop in one.output:
            if not isinstance(mop, list) or len(mop) != 3:
                raise MalformedHistory(f"op {one.index}: {mop!r} is no read of a key")
            if mop[0] == "r":
                values[freeze(mop[1])] = mop[2]
        if len(values) < 2:
            continue
        reads += 1
        seen = frozenset(key for key, value in values.items() if value is not None)
        groups.setdefault(frozenset(values), []).append((seen, one))
    anomalies: list[Anomaly] = []
    total = 0
    for group in groups.values():
        group.sort(key=lambda read: (len(read[0]), read[1].index))
        for (less, one), (more, other) in itertools.pairwise(group):
            if not less <= more:
                total += 1
                if len(anomalies) < ANOMALIES_MAX:
                    anomalies.append(
                        _tell(one, min(less - more, key=str), other, min(more - less, key=str))
                    )
    reason = None if any(len(g) > 1 for g in groups.values()) else "no two reads of the same keys"
    return Verdict(
        checker="long-fork",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(reads, 'read')} of {counted(len(groups), 'group')} of keys",
        reason=reason,
        method="chains of reads",
        anomalies=tuple(anomalies),
        stats={"reads": reads, "groups": len(groups), "anomalies": total},
    )


def _tell(one: Operation, first: Hashable, other: Operation, second: Hashable) -> Anomaly:
    cast = Cast([one, other])
    mine, its = cast.name(one), cast.name(other)
    return anomaly(
        "long-fork",
        f"{who(one)} saw key {first} written and key {second} not yet; {who(other)} saw it the "
        f"other way round.",
        [
            (
                f"Then the write of key {first} came before that of key {second}, because {mine} "
                f"saw the one and lacked the other."
            ),
            (
                f"However, {its} saw key {second} and lacked key {first}, so that one came first: "
                f"the two saw different pasts."
            ),
        ],
        cast,
    )
