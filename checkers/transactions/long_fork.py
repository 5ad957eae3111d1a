"""Two reads that disagree about which of two writes came first: a long fork.

Keys are written once. A read of several keys sees some of them written and others not yet. Of two
reads each of which saw a key that the other lacked, neither can have come first; under snapshot
isolation and above that cannot happen, under its parallel variant it can.

What was read must have been written: a value that only failed transactions wrote is an aborted
read, one that no transaction wrote came out of thin air, unless it may have been there before the
history begins: nobody states what was, and no read found the key without a value, or with another
one that no transaction wrote. In a file without writes, and in an excerpt, the writes are missing,
and nothing is concluded. A key that two transactions write is the workload's fault: its writes have
no one order, so it is left out, and the verdict is unknown if nothing else is wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import Any, Final, NamedTuple

from squall.checkers.evidence import Evidence
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.registers import IGNORED, freeze, thaw
from squall.checkers.text.lanes import value_text
from squall.checkers.text.proof import Cast, anomaly, who
from squall.checkers.text.words import counted
from squall.checkers.transactions.operations import (
    READ,
    TXN,
    UNSTATED,
    WRITE,
    checked_answer,
    checked_request,
    mismatch,
)
from squall.checkers.transactions.proofs import explain_mismatch
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "All reads agree on the order of the writes."

ANOMALIES_MAX: Final = 20
"""Anomalies told in full; the rest is counted."""

FAULTS_MAX: Final = 3
"""Faults of the workload that the reason names; the rest is counted."""


def long_fork() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_long_fork(history)

    return Checker(name="long-fork", check=check)


class _Seen(NamedTuple):
    """What one transaction read: key -> value."""

    operation: Operation
    values: dict[Hashable, Any]


class _Found:
    """Reads and writes of a history, and the anomalies that one transaction shows."""

    def __init__(self) -> None:
        self.reads: list[_Seen] = []
        self.writes: dict[Hashable, list[tuple[Any, Operation]]] = {}  # by those that may have been
        self.failed: dict[Hashable, list[tuple[Any, Operation]]] = {}
        self.anomalies: list[Anomaly] = []
        self.total = 0
        self.left_out: dict[str, int] = {}

    def tell(self, kind: str, one: Operation, rest: list[Operation], *words: str) -> None:
        """Note an anomaly: its summary and sentences."""
        self.total += 1
        if len(self.anomalies) < ANOMALIES_MAX:
            summary, *sentences = words
            self.anomalies.append(anomaly(kind, summary, sentences, Cast([one, *rest])))

    def leave_out(self, reason: str) -> None:
        """Count an operation that is, in part, left out."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


def check_long_fork(history: History, *, closed: bool = True, initial: Any = UNSTATED) -> Verdict:
    """Compare the reads of each group of keys. Raises MalformedHistory.

    `closed`: every write there ever was is in the history, and keys begin as nil unless `initial`
    says otherwise.

    By how many keys a read saw, the reads of a group that agree form a chain: each sees all that
    those before it saw. So neighbours in that order are all that need comparing.
    """
    found = _Found()
    _collect(history, found)
    if initial is UNSTATED and closed:
        initial = None
    complete = closed or not (history.header.get("excerpt") or not (found.writes or found.failed))
    start = None if initial is UNSTATED else initial
    at_first = _judge_values(found, initial, complete=complete)
    twice = {key: wrote for key, wrote in found.writes.items() if len(wrote) > 1}
    groups: dict[frozenset[Hashable], list[tuple[frozenset[Hashable], Operation]]] = {}
    for one, values in found.reads:
        # Nil is what a key holds that was not written; where another value was, it is neither.
        values = {
            key: value
            for key, value in values.items()
            if key not in twice and (value is not None or start is None)
        }
        if len(values) >= 2:
            seen = frozenset(k for k, value in values.items() if value != at_first.get(k, start))
            groups.setdefault(frozenset(values), []).append((seen, one))
    for group in groups.values():
        group.sort(key=lambda read: (len(read[0]), read[1].index))
        for (less, one), (more, other) in itertools.pairwise(group):
            if not less <= more:
                found.total += 1
                if len(found.anomalies) < ANOMALIES_MAX:
                    first, second = min(less - more, key=str), min(more - less, key=str)
                    writers = [
                        writer
                        for key in (first, second)
                        for _, writer in found.writes.get(key, ())[:1]
                    ]
                    found.anomalies.append(_tell(one, first, other, second, writers))
    reason = None
    if not any(len(group) > 1 for group in groups.values()):
        reason = "vacuous: no two reads of the same keys"
    if twice:
        faults = [
            f"{who(wrote[0][1])} (op {wrote[0][1].index}) and {who(wrote[1][1])} "
            f"(op {wrote[1][1].index}) both write {key}"
            for key, wrote in itertools.islice(twice.items(), FAULTS_MAX)
        ]
        faults += [f"{len(twice) - FAULTS_MAX:,} more"] if len(twice) > FAULTS_MAX else []
        reason = f"workload: {'; '.join(faults)}; each key may be written once"
    invalid = bool(found.anomalies)
    reads = sum(map(len, groups.values()))
    stats: dict[str, Any] = {"reads": reads, "groups": len(groups), "anomalies": found.total}
    if found.left_out:
        stats["left_out"] = found.left_out
    return Verdict(
        checker="long-fork",
        validity=Validity.INVALID if invalid else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(reads, 'read')} of {counted(len(groups), 'group')} of keys",
        reason=None if invalid else reason,
        method="chains of reads",
        anomalies=tuple(found.anomalies),
        stats=stats,
    )


def _collect(history: History, found: _Found) -> None:
    """Sort what transactions wrote and read; answers to something else are told."""
    for one in history.operations:
        if one.f in IGNORED:
            continue
        if one.f != TXN:
            raise MalformedHistory(f"op {one.index}: {one.f!r} where every operation is a {TXN!r}")
        asked = checked_request(one, (READ, WRITE))
        writes = found.failed if one.outcome is OpType.FAIL else found.writes
        for f, key, value in asked:
            if f == WRITE:
                writes.setdefault(freeze(key), []).append((freeze(value), one))
        if one.outcome is not OpType.OK:
            continue
        answered = checked_answer(one)
        wrong = mismatch(asked, answered)
        if wrong is not None:
            found.total += 1
            found.leave_out("it was answered something else than it asked")
            if len(found.anomalies) < ANOMALIES_MAX:
                found.anomalies.append(explain_mismatch(one, wrong))
            continue
        values: dict[Hashable, Any] = {}
        for f, key, value in answered:
            if f == READ:
                values[freeze(key)] = freeze(value)
        if values:
            found.reads.append(_Seen(one, values))


def _judge_values(found: _Found, initial: Any, *, complete: bool) -> dict[Hashable, Any]:
    """Find values that came from nowhere; return what keys held at first, where not `initial`."""
    at_first: dict[Hashable, Any] = {}
    unknown: dict[Hashable, dict[Any, Operation]] = {}
    nil: dict[Hashable, Operation] = {}
    for one, values in found.reads:
        for key, value in values.items():
            if value is None:
                nil.setdefault(key, one)
            if value == initial or (value is None and initial is UNSTATED):
                continue
            wrote = [writer for given, writer in found.writes.get(key, ()) if given == value]
            failed = [writer for given, writer in found.failed.get(key, ()) if given == value]
            if wrote:
                continue
            if failed:
                _tell_aborted(found, one, failed[0], key, value)
            elif initial is UNSTATED:
                unknown.setdefault(key, {}).setdefault(value, one)
            elif complete:
                _tell_unwritten(found, one, [], key, value, "")
    for key, by_value in unknown.items():
        value, one = next(iter(by_value.items()))
        other = nil.get(key) or next(itertools.islice(by_value.values(), 1, None), None)
        if complete and other is not None:
            why = "because T2 found nothing there"
            if key not in nil:
                why = "if what T2 found was, which nobody wrote either"
            _tell_unwritten(
                found, one, [other], key, value, f", and it was not there at first, {why}"
            )
            continue
        found.leave_out("it reads a value of unknown origin that may be initial")
        if key not in nil:
            at_first[key] = value
    return at_first


def _text(frozen: Hashable) -> str:
    """A key or a value in few characters."""
    return value_text(thaw(frozen))


def _tell_aborted(
    found: _Found, one: Operation, writer: Operation, key: Hashable, value: Any
) -> None:
    found.tell(
        "G1a",
        one,
        [writer],
        f"{who(one)} read {_text(value)} in {_text(key)}, which only {who(writer)}'s aborted "
        f"transaction wrote.",
        f"Then T2 had an effect, because T1 found its {_text(value)} in {_text(key)}.",
        "However, its client was told that T2 did not happen and never will.",
    )


def _tell_unwritten(
    found: _Found, one: Operation, rest: list[Operation], key: Hashable, value: Any, why: str
) -> None:
    what, where = _text(value), _text(key)
    found.tell(
        "unwritten-value",
        one,
        rest,
        f"{who(one)} found {what} in {where}, which nobody ever wrote there.",
        f"Then somebody wrote {what} to {where}: T1 found it.",
        f"However, no transaction of the whole history writes {what} to {where}{why}.",
    )


def _tell(
    one: Operation,
    first: Hashable,
    other: Operation,
    second: Hashable,
    writers: Sequence[Operation],
) -> Anomaly:
    cast = Cast([one, other, *writers])
    mine, its = cast.name(one), cast.name(other)
    first, second = _text(first), _text(second)
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
