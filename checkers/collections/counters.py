"""Counters: each read lies between the sum that must and the sum that may have been added by then.

A read called at c and answered at r returns at least what was acknowledged before c (and never
undone), and at most what was called before r. With amounts of both signs the same holds for the
sums of each sign. As Jepsen's `checker/counter`; O(n log n). The bounds are necessary, not
sufficient: where they hold, a search decides whether all reads together have an order; the verdict
is unknown if it exhausts its budget.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from squall.checkers.answers import mismatches, tell_mismatch
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.registers import IGNORED
from squall.checkers.linearizability.thin_air import hint_of
from squall.checkers.text.proof import Cast, anomaly, who
from squall.checkers.text.words import counted, listed
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "A read shows what was added before it, and nothing that was added after it."

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""


LEFT_OUT: Final = "a serializable read promises less than a read"
"""Why operations of `registers.IGNORED` have no part in the verdict."""


def counters() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_counters(history)

    return Checker(name="counter", check=check)


class _Sums:
    """Prefix sums of amounts by time."""

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


def check_counters(history: History, *, initial: int = 0) -> Verdict:
    """Judge every counter of a history, one a key; `initial` is the total of each at the start."""
    anomalies: list[Anomaly] = []
    adds = reads = total = 0
    wrong = mismatches(history)
    left_out: dict[str, int] = {}
    strangers: set[str] = set()
    for operations in history.by_key.values():
        strange = {one.f for one in operations} - {"add", "read"} - IGNORED
        strangers |= strange
        other = next((one for one in operations if one.index in wrong), None)
        if other is not None:
            total += 1
            anomalies.append(tell_mismatch(other, wrong[other.index]))
            continue
        if strange:
            why = f"a counter has no operation {listed(sorted(strange))}"
            left_out[why] = left_out.get(why, 0) + len(operations)
            continue
        if ignored := sum(one.f in IGNORED for one in operations):
            left_out[LEFT_OUT] = left_out.get(LEFT_OUT, 0) + ignored
        additions = [one for one in operations if one.f == "add" and one.outcome is not OpType.FAIL]
        answers = [one for one in operations if one.f == "read" and one.outcome is OpType.OK]
        adds += len(additions)
        reads += len(answers)
        failed = any(one.f == "add" and one.outcome is OpType.FAIL for one in operations)
        for read, low, high in _out_of_bounds(additions, answers, initial):
            total += 1
            if len(anomalies) < ANOMALIES_MAX:
                told = _explain(read, low, high, additions, initial)
                # Read before anything was added: it may have been the initial value.
                if not failed and low == high == initial:
                    data = told.data | {"initial": read.output}
                    told = msgspec.structs.replace(told, data=data)
                anomalies.append(told)
    reason = None
    if strangers:
        reason = f"a counter has no operation {listed(sorted(strangers))}"
    elif not reads:
        reason = "vacuous: it was never read"
    elif not adds:
        reason = "vacuous: nothing was ever added"
    if anomalies:
        reason = hint_of(anomalies)
    return Verdict(
        checker="counter",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(adds, 'add')}, {counted(reads, 'read')}",
        reason=reason,
        method="bounds",
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats={
            "adds": adds,
            "reads": reads,
            "anomalies": total,
            **({"left_out": left_out} if left_out else {}),
        },
    )


def _out_of_bounds(
    additions: Sequence[Operation], answers: Sequence[Operation], initial: int
) -> Iterator[tuple[Operation, int, int]]:
    """Yield the reads of one counter that are out of bounds, with their bounds."""
    for one in additions:
        if not _is_number(one.input):
            raise MalformedHistory(f"op {one.index}: an amount is a number, not {one.input!r}")
    must = [(one.completed_ns, one.input) for one in additions if one.completed_ns is not None]
    may = [(one.invoked_ns, one.input) for one in additions]
    up_must, down_must = _Sums(_signed(must, 1)), _Sums(_signed(must, -1))
    up_may, down_may = _Sums(_signed(may, 1)), _Sums(_signed(may, -1))
    for one in answers:
        if not _is_number(one.output):
            raise MalformedHistory(f"op {one.index}: a counter's value is a number")
        called, answered = one.invoked_ns, one.completed_ns or 0
        low = initial + up_must.before(called) + down_may.until(answered)
        high = initial + up_may.until(answered) + down_must.before(called)
        if not low <= one.output <= high:
            yield one, low, high


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _signed(amounts: Sequence[tuple[Any, int]], sign: int) -> list[tuple[int, int]]:
    return [(time, amount) for time, amount in amounts if amount * sign > 0]


def _explain(
    read: Operation, low: int, high: int, additions: Sequence[Operation], initial: int
) -> Anomaly:
    cast = Cast([read])
    name = cast.name(read)
    less = read.output < low
    bound = low if less else high
    where = read.key if read.key is not None else "the counter"
    called = [one for one in additions if one.invoked_ns <= (read.completed_ns or 0)]
    began = f"{initial} at the start and " if initial else ""
    return anomaly(
        "lost-add" if less else "phantom-add",
        f"{who(read)} read {read.output} from {where}, which must have been at "
        f"{'least' if less else 'most'} {bound}.",
        [
            (
                f"Then {name} shows at least {low}, {began}the sum of what had been acknowledged "
                f"when it was called at {cast.at(read.invoked_ns)}, and at most {high}, {began}the "
                f"sum of all that had been called when it answered at "
                f"{cast.at(read.completed_ns or 0)}."
            )
            if all(one.input >= 0 for one in called)
            else (
                f"Then {name} shows at least {low}, {began}what had been acknowledged when it was "
                f"called at {cast.at(read.invoked_ns)} with all that was subtracted until it "
                f"answered at {cast.at(read.completed_ns or 0)}, and at most {high}, {began}all "
                f"that had been added by then without what was subtracted for certain."
            ),
            f"However, {name} answered {read.output}.",
        ],
        cast,
        # What was added only after the read answered does not count.
        shown=[*called, read],
        data={"least": low, "most": high} | ({"begun": initial} if initial else {}),
    )
