"""The contract of revisions: distinct, in real-time order, each with its value.

Every answer of an etcd-like store carries the store's revision, and every key the revision of its
last change. The store thereby claims an order, and each claim can be checked in one sorted pass,
O(n log n):

    distinct    two acknowledged changes never share a revision (a fork, or a restored past, does)
    real-time   an operation called after another returned answers with no smaller revision; a
                change with a greater one
    value       a key's value at revision m is what the change acknowledged at m wrote
    current     a read at revision R returns the key's latest acknowledged change up to R

A violation breaks the contract, whatever else it breaks: values may still be explained by another
order. So it is an anomaly of its own kind, never a verdict on linearizability. Reads from a node's
own state promise only `value` and `current`, at their own revision.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator
from typing import Any, Final, NamedTuple

from squall.checkers.evidence import Evidence
from squall.checkers.gc_pause import uncollected
from squall.checkers.history import History, Operation, OpType
from squall.checkers.linearizability.registers import freeze, swapped
from squall.checkers.text.proof import Cast, anomaly, observed, phrase, value_phrase, who, written
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "Revisions order all changes, in real time, and each value stands at its own."

KIND: Final = "revision-contract"

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""


LEFT_OUT: Final = "the answer carried no revision"
"""Why an operation has no part in the verdict."""


class _Answer(NamedTuple):
    """An answered operation with the revisions it reported."""

    operation: Operation
    revision: int
    mod: int | None
    changed: bool
    local: bool


def revisions() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_revisions(history)

    return Checker(name="revisions", check=check)


@uncollected
def check_revisions(history: History) -> Verdict:
    """Check every answer that carries a revision."""
    answers = [answer for one in history.operations if (answer := _answer(one)) is not None]
    changes: dict[int, _Answer] = {}
    anomalies: list[Anomaly] = []
    total = 0
    for found in _violations(answers, changes):
        total += 1
        if len(anomalies) < ANOMALIES_MAX:
            anomalies.append(found)
    silent = sum(one.outcome is OpType.OK for one in history.operations) - len(answers)
    reason = None if answers else "no answer carried a revision"
    return Verdict(
        checker="revisions",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{len(answers):,} answers, {len(changes):,} revisions with their change",
        reason=reason,
        method="one pass in order of revisions, one in order of time",
        anomalies=tuple(anomalies),
        stats={
            "answers": len(answers),
            "changes": len(changes),
            "anomalies": total,
            **({"left_out": {LEFT_OUT: silent}} if silent else {}),
        },
    )


def _answer(one: Operation) -> _Answer | None:
    meta = one.meta or {}
    revision = meta.get("revision")
    if one.outcome is not OpType.OK or not isinstance(revision, int) or one.completed_ns is None:
        return None
    changed = one.f == "write" or (one.f == "cas" and swapped(one.output))
    mod = meta.get("mod")
    return _Answer(
        one, revision, mod if isinstance(mod, int) else None, changed, one.f == "serializable-read"
    )


def _violations(answers: list[_Answer], changes: dict[int, _Answer]) -> Iterator[Anomaly]:
    """Find all violations; fills `changes` by revision."""
    for answer in answers:
        if answer.changed:
            other = changes.setdefault(answer.revision, answer)
            if other is not answer:
                yield _shared(other, answer)
    yield from _real_time(answers)
    by_key: dict[str | None, list[int]] = {}
    for revision in sorted(changes):
        by_key.setdefault(changes[revision].operation.key, []).append(revision)
    by_value = {
        (change.operation.key, freeze(written(change.operation))): change
        for change in changes.values()
    }
    for answer in answers:
        if not answer.changed and answer.mod is not None:
            found = _value(answer, changes, by_value) or _current(answer, changes, by_key)
            if found:
                yield found


def _shared(one: _Answer, other: _Answer) -> Anomaly:
    cast = Cast([one.operation, other.operation])
    return _explain(
        "distinct",
        f"{phrase(one.operation)} and {phrase(other.operation)} were both acknowledged at revision "
        f"{one.revision}.",
        [
            f"Then each is the change that made the store's revision {one.revision}.",
            "However, a revision is one change: the store has two pasts, or has lost one of them.",
        ],
        cast,
    )


def _real_time(answers: list[_Answer]) -> Iterator[Anomaly]:
    """Pass over calls and returns in order of time, with the highest revision returned so far."""
    events: list[tuple[int, int, int]] = []
    for at, answer in enumerate(answers):
        if not answer.local:
            events.append((answer.operation.invoked_ns, 0, at))
            events.append((answer.operation.completed_ns or 0, 1, at))
    events.sort()
    highest: _Answer | None = None
    floor: dict[int, _Answer] = {}
    for _, returned, at in events:
        answer = answers[at]
        if not returned:
            if highest is not None:
                floor[at] = highest
            continue
        before = floor.pop(at, None)
        if before is not None and (
            answer.revision < before.revision
            or (answer.changed and answer.revision == before.revision and not before.changed)
        ):
            yield _backwards(before, answer)
        if highest is None or answer.revision > highest.revision:
            highest = answer


def _backwards(before: _Answer, answer: _Answer) -> Anomaly:
    cast = Cast([before.operation, answer.operation])
    first, second = cast.name(before.operation), cast.name(answer.operation)
    than = "no smaller than" if not answer.changed else "greater than"
    return _explain(
        "real-time",
        f"{phrase(answer.operation)} answered with revision {answer.revision}, after "
        f"{phrase(before.operation)} had returned with {before.revision}.",
        [
            (
                f"Then the revision of {second} is {than} that of {first}, because "
                f"{cast.order(before.operation, answer.operation)}."
            ),
            (
                f"However, {first} answered with revision {before.revision} and {second} with "
                f"{answer.revision}."
            ),
        ],
        cast,
    )


def _value(
    answer: _Answer,
    changes: dict[int, _Answer],
    by_value: dict[tuple[str | None, Hashable], _Answer],
) -> Anomaly | None:
    """Check that the value read is the one written at the revision it claims."""
    operation, mod = answer.operation, answer.mod
    if not mod:
        return None
    value = observed(operation)
    change = changes.get(mod)
    if change is None or change.operation.key != operation.key:
        # No request acknowledged this revision of the key. The value may be of an unanswered write;
        # but not of one that was acknowledged at another revision.
        change = by_value.get((operation.key, freeze(value)))
        if change is None or change.revision == mod:
            return None
    elif freeze(written(change.operation)) == freeze(value):
        return None
    cast = Cast([change.operation, operation])
    return _explain(
        "value",
        f"{who(operation)} read {value_phrase(value)} as of revision {mod} of {operation.key}, but "
        f"{phrase(change.operation)} was acknowledged at revision {change.revision}.",
        [
            (
                f"Then {operation.key} at revision {change.revision} is "
                f"{value_phrase(written(change.operation))}, by {cast.name(change.operation)}."
            ),
            f"However, {cast.name(operation)} found {value_phrase(value)} with revision {mod}.",
        ],
        cast,
    )


def _current(
    answer: _Answer, changes: dict[int, _Answer], by_key: dict[str | None, list[int]]
) -> Anomaly | None:
    """Check that nothing acknowledged lies between the value read and the moment of the read."""
    operation, mod = answer.operation, answer.mod or 0
    known = by_key.get(operation.key, [])
    at = bisect_right(known, answer.revision)
    if at == 0 or known[at - 1] <= mod:
        return None
    change = changes[known[at - 1]]
    cast = Cast([change.operation, operation])
    return _explain(
        "current",
        f"{who(operation)} read {value_phrase(observed(operation))} from {operation.key} at "
        f"revision {answer.revision}, which leaves out {phrase(change.operation)} at revision "
        f"{change.revision}.",
        [
            (
                f"Then at revision {answer.revision} the last change of {operation.key} is of "
                f"revision {change.revision} or later, by {cast.name(change.operation)}."
            ),
            (
                f"However, {cast.name(operation)} answered as of revision {answer.revision}, and "
                f"found the value of revision {mod}."
            ),
        ],
        cast,
    )


def _explain(rule: str, summary: str, sentences: list[str], cast: Cast) -> Anomaly:
    data: dict[str, Any] = {"rule": rule}
    return anomaly(KIND, summary, sentences, cast, data=data)
