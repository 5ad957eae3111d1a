"""A counter: each read lies between what must and what may have been added by then.

A read called at c and answered at r must show at least what was acknowledged before c (and never
undone), and at most what was called before r. With amounts of both signs the same holds for the
sums of each sign. The bounds are necessary; where they hold, a search decides whether all reads
together have an order, while its budget lasts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

from checkers.evidence import Evidence
from checkers.explain import Cast, anomaly, who
from checkers.history import History, MalformedHistory, Operation, OpType
from checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict
from checkers.words import counted

CLAIM: Final = "A read shows what was added before it, and nothing that was added after it."

ANOMALIES_MAX: Final = 20
"""Anomalies told in full; the rest is counted."""


def counters() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_counters(history)

    return Checker(name="counter", check=check)


class _Sums:
    """Amounts by time: the sum of all before a moment, in one look."""

    def __init__(self, amounts: Sequence[tuple[int, int]]) -> None:
        amounts = sorted(amounts)
        self._times = [time for time, _ in amounts]
        self._sums = [0, *accumulate(amount for _, amount in amounts)]

    def before(self, moment: int) -> int:
        """The sum of amounts strictly before a moment."""
        return self._sums[bisect_left(self._times, moment)]

    def until(self, moment: int) -> int:
        """The sum of amounts up to a moment, itself included."""
        return self._sums[bisect_right(self._times, moment)]


def check_counters(history: History, initial: int = 0) -> Verdict:
    """Judge every counter of a history, one a key, that held `initial` at first."""
    anomalies: list[Anomaly] = []
    adds = reads = total = 0
    for operations in history.by_key.values():
        additions = [one for one in operations if one.f == "add" and one.outcome is not OpType.FAIL]
        for one in additions:
            if not isinstance(one.input, int):
                raise MalformedHistory(f"op {one.index}: an amount is a number, not {one.input!r}")
        adds += len(additions)
        must = [(one.completed_ns, one.input) for one in additions if one.completed_ns is not None]
        may = [(one.invoked_ns, one.input) for one in additions]
        up_must, down_must = _Sums(_signed(must, 1)), _Sums(_signed(must, -1))
        up_may, down_may = _Sums(_signed(may, 1)), _Sums(_signed(may, -1))
        for one in operations:
            if one.f != "read" or one.outcome is not OpType.OK or one.completed_ns is None:
                continue
            if not isinstance(one.output, int):
                raise MalformedHistory(f"op {one.index}: a counter's value is a number")
            reads += 1
            low = initial + up_must.before(one.invoked_ns) + down_may.until(one.completed_ns)
            high = initial + up_may.until(one.completed_ns) + down_must.before(one.invoked_ns)
            if not low <= one.output <= high:
                total += 1
                if len(anomalies) < ANOMALIES_MAX:
                    anomalies.append(_tell(one, low, high, additions, initial))
    reason = (
        None
        if adds and reads
        else "vacuous: nothing was ever added"
        if reads
        else "vacuous: it was never read"
    )
    return Verdict(
        checker="counter",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(adds, 'add')}, {counted(reads, 'read')}",
        reason=reason,
        method="bounds",
        anomalies=tuple(anomalies),
        stats={"adds": adds, "reads": reads, "anomalies": total},
    )


def _signed(amounts: Sequence[tuple[Any, int]], sign: int) -> list[tuple[int, int]]:
    return [(time, amount) for time, amount in amounts if amount * sign > 0]


def _tell(
    read: Operation, low: int, high: int, additions: Sequence[Operation], initial: int
) -> Anomaly:
    cast = Cast([read])
    name = cast.name(read)
    less = read.output < low
    bound = low if less else high
    begun = f"the {initial} there was at first and " if initial else ""
    return anomaly(
        "lost-add" if less else "phantom-add",
        f"{who(read)} read {read.output} from {read.key}, which must have been at "
        f"{'least' if less else 'most'} {bound}.",
        [
            (
                f"Then {name} shows at least {low}, {begun}the sum of what had been acknowledged "
                f"when it was called at {cast.at(read.invoked_ns)}, and at most {high}, {begun}the "
                f"sum of all that had been called when it answered at "
                f"{cast.at(read.completed_ns or 0)}."
            ),
            f"However, {name} answered {read.output}.",
        ],
        cast,
        # What was added only after the read answered has no part in it.
        shown=[one for one in additions if one.invoked_ns <= (read.completed_ns or 0)] + [read],
        data={"least": low, "most": high},
    )
