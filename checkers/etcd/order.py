"""Strict serializability of an etcd-like store, by replay in the order of its revisions.

Every answer carries a revision: of the change it made, or of the state it read. Sorted by revision,
changes before the reads of the same revision, the operations are replayed one by one on a model of
the store (`model.Store`): ranges, transactions, deletes and compactions included, over all keys at
once. If every answer is as given, and no operation is placed before one that had returned when it
was called, then this order *is* a proof that the history is strictly serializable, whatever the
store meant by its revisions. One sort and one pass, O(n log n).

Unanswered operations have no revision. One took effect if a revision is missing between those that
were acknowledged; which of them made which gap is inferred from what is seen of the keys later
(`gap_windows`, `gaps`), and the replay confirms or refutes it.

    valid    the order is an accepting path: proof
    invalid  two acknowledged changes share a revision, an answer differs from what the
             acknowledged changes leave, or real time is turned back
    unknown  what differs may be due to an unanswered request placed wrongly, or to one that is
             not in the history

`invalid` means that the store broke the contract of its revisions. Whether another order explains
the values is another question: `linearizability` answers it key by key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

import msgspec

from squall.checkers.answers import mismatches, tell_mismatch
from squall.checkers.etcd.gap_matching import unanswered
from squall.checkers.etcd.gap_search import some_choice_explains
from squall.checkers.etcd.gap_windows import END, Windows
from squall.checkers.etcd.gaps import Gaps
from squall.checkers.etcd.model import (
    FIRST_REVISION,
    FUNCTIONS,
    KeyValue,
    misshapen,
    misshapen_answer,
)
from squall.checkers.etcd.replay import (
    Answers,
    Difference,
    Early,
    Gap,
    Replay,
    changed_keys,
    leaves,
)
from squall.checkers.etcd.requests import changed, keys_of, unrelated
from squall.checkers.evidence import Evidence
from squall.checkers.gc_pause import uncollected
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.text.lanes import value_text
from squall.checkers.text.proof import Cast, anomaly
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict
from squall.checkers.watch.witness import witnessed

CLAIM: Final = "The order of the revisions explains every answer, and respects real time."

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""

GAPS_MAX: Final = 10_000
"""Gaps considered beyond the number of requests that could fill one."""


class _Break(NamedTuple):
    """Where the order fails. `certain`: no unanswered request can be the reason."""

    kind: str
    ops: tuple[Operation, ...]
    sentences: list[str]
    summary: str
    certain: bool = True


def etcd_order() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_etcd_order(history)

    return Checker(name="etcd-order", check=check)


def watched_etcd_order() -> Checker:
    """Return the checker of a store that was watched."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_watched_order(history)

    return Checker(name="etcd-order", check=check)


def check_watched_order(history: History) -> Verdict:
    """Judge a store by its answers, and by what its watches tell of requests nobody answered.

    That explains answers and accuses nobody: a watch may be what is wrong, which the rules for
    watches say. So the store is invalid only if what its clients were answered shows it alone.
    """
    told = check_etcd_order(witnessed(history))
    if told.validity is not Validity.INVALID:
        return told
    ops = [op for op in history if not (op.is_client and op.f == "watch")]
    alone = check_etcd_order(History(ops, header=history.header))
    if alone.validity is Validity.INVALID:
        return alone
    reason = f"{told.anomalies[0].summary} What watches tell of unanswered requests may be wrong."
    return msgspec.structs.replace(
        told, validity=Validity.UNKNOWN, reason=reason, anomalies=(), stats=alone.stats
    )


@uncollected
def check_etcd_order(history: History, *, first_revision: int = FIRST_REVISION) -> Verdict:
    """Judge a whole store's history; the store was empty at `first_revision`."""
    try:
        return _judge(history, first_revision)
    except (TypeError, ValueError, LookupError, AttributeError):
        _validate(history)  # answers are looked at closely only when something is wrong
        raise


def _judge(history: History, first_revision: int) -> Verdict:
    answers, open_ops, unplaced, other = _answers(history)
    if other:
        return _mismatched(history, other)
    moments = _Moments(answers)
    breaks: list[_Break] = []
    if answers.shared():
        breaks += _shared(answers)
    if moments.turned_back():
        breaks += _real_time(answers)
    gaps, too_many = _gaps(answers, open_ops, moments, first_revision)
    replay = Replay(answers, gaps, first_revision)
    found = list(replay.run())
    told = list(_differences(found, gaps, first_revision))
    doubtful = told and not breaks and not any(one.certain for one in told)
    if not (doubtful and gaps and some_choice_explains(answers, gaps, first_revision)):
        breaks += told
    if too_many:
        breaks.append(_unmade(too_many))
    certain = [one for one in breaks if one.certain]
    reason = None
    if not answers.operations:
        reason = "vacuous: no answer carried a revision"
    elif unplaced and not certain:
        reason = f"{counted(unplaced, 'answer')} carried no revision"
    elif breaks and not certain:
        reason = f"{breaks[0].summary} Requests that are not in the history may be the reason."
    if certain or reason is not None:
        _validate(history)
    return Verdict(
        checker="etcd-order",
        validity=Validity.INVALID if certain else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(len(answers.operations), 'answer')}, revisions {first_revision} to "
        f"{answers.highest(first_revision):,}, "
        f"{counted(len(open_ops), 'unanswered request')}, {replay.resolved:,} of them placed",
        reason=None if certain else reason,
        method="one pass in order of revisions",
        anomalies=tuple(_explain(one) for one in certain[:ANOMALIES_MAX]),
        stats={
            "answers": len(answers.operations),
            "anomalies": len(certain),
            "resolved": replay.resolved,
        },
    )


def _mismatched(history: History, other: dict[int, str]) -> Verdict:
    """Report answers to other questions; what they imply for the other answers is not known."""
    _validate(history)
    wrong = [one for one in history.operations if one.index in other]
    return Verdict(
        checker="etcd-order",
        validity=Validity.INVALID,
        claim=CLAIM,
        evidence=f"{counted(len(history.operations), 'request')}",
        method="answers compared with requests",
        anomalies=tuple(tell_mismatch(one, other[one.index]) for one in wrong[:ANOMALIES_MAX]),
        stats={"answers": len(history.operations), "anomalies": len(wrong), "resolved": 0},
    )


def _answers(history: History) -> tuple[Answers, list[Operation], int, dict[int, str]]:
    """Sort the operations: answers with a revision, changes without an answer, counts of the rest.

    The last result is what is wrong with answers to other questions, by index of the operation.
    """
    answers = Answers([], [], [], [], [])
    operations, claims, timed, ret = answers.operations, answers.claim, answers.timed, answers.ret
    open_ops: list[Operation] = []
    other = mismatches(history, {})
    unplaced = 0
    ok, info = OpType.OK, OpType.INFO
    for one in history.operations:
        f, request, outcome = one.f, one.input, one.outcome
        plain = type(request) is dict and type(request.get("key")) is str
        # A plain put changes something, a plain range does not; else it depends on the answer.
        if plain and f == "put" and len(request) == 2 and "value" in request:
            unchanged = 0
        elif plain and f == "range" and len(request) == 1:
            unchanged = 1
        else:
            _validate_request(one)
            plain = False
        if outcome is not ok:
            if outcome is info and f in {"put", "delete", "txn"}:
                open_ops.append(one)
            continue
        output = one.output
        revision = output.get("revision")
        # Fast path: most answers can belong to nothing else.
        simple = plain and (_is_of_one_key(request, output) if unchanged else len(output) == 1)
        if not simple and (wrong := unrelated(f, request, output)):
            other.setdefault(one.index, wrong)
        if type(revision) is not int:
            unplaced += 1
            continue
        if plain:
            timed.append(len(claims))
        else:
            unchanged = 0 if changed(f, request, one.output) else 1
            if not (request.get("revision") or request.get("serializable")):
                timed.append(len(claims))
            elif f == "range" and request.get("revision"):
                revision = int(request["revision"])  # a read of a past revision, which it names
        operations.append(one)
        claims.append(revision << 1 | unchanged)
        ret.append(one.completed_ns or 0)
    answers.order.extend(sorted(range(len(claims)), key=claims.__getitem__))
    return answers, open_ops, unplaced, other


def _is_of_one_key(request: Any, answer: Any) -> bool:
    """Whether a range of one key is answered with nothing, or with this key, and no more."""
    if len(answer) != 3 or "kvs" not in answer:
        return False
    kvs, count = answer["kvs"], answer.get("count")
    if count == 1:
        return len(kvs) == 1 and bool(kvs[0][0] == request["key"])
    return count == 0 and not kvs


def _validate_request(one: Operation) -> None:
    if one.f not in FUNCTIONS:
        raise MalformedHistory(f"op {one.index}: an etcd store has no operation {one.f!r}")
    if wrong := misshapen(one.f, one.input):
        raise MalformedHistory(f"op {one.index}: {wrong}")


def _validate(history: History) -> None:
    """Raise MalformedHistory if an operation's shape is wrong."""
    for one in history.operations:
        _validate_request(one)
        if one.outcome is OpType.OK and (wrong := misshapen_answer(one.output)):
            raise MalformedHistory(f"op {one.index}: {wrong}")


class _Moments:
    """When which revision was returned: answers in order of their return."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        ret, claims = answers.ret, answers.claim
        returned = sorted(answers.timed, key=ret.__getitem__)
        self.times = [ret[row] for row in returned]
        self.highest = list(accumulate([claims[row] >> 1 for row in returned], max))

    def turned_back(self) -> bool:
        """Whether some answer may be of an older revision than one returned before its call."""
        operations, claims = self._answers.operations, self._answers.claim
        highest = self.highest
        times = [*self.times, END]
        calls = [(operations[row].invoked_ns, row) for row in self._answers.timed]
        calls.sort()
        at, bound = 0, -1
        for since, row in calls:
            if times[at] < since:
                while times[at] < since:
                    at += 1
                bound = 2 * highest[at - 1]
            if claims[row] <= bound:
                return True
        return False


def _gaps(
    answers: Answers, open_ops: list[Operation], moments: _Moments, first_revision: int
) -> tuple[Gaps | None, int]:
    """Determine the requests that made the unacknowledged revisions; None if there are no gaps.

    Also returns how many gaps certainly no request of the history made: those in excess of
    requests.
    """
    acknowledged = {claim >> 1 for claim in answers.claim if not claim & 1}
    revisions: list[int] = []
    last = answers.highest(first_revision)
    missing = last - first_revision - sum(first_revision < one for one in acknowledged)
    if missing <= 0:
        return None, 0
    wanted = min(missing, len(open_ops) + GAPS_MAX)
    at = first_revision
    for one in sorted(acknowledged | {last + 1}):
        if one <= first_revision:
            continue
        revisions += range(at + 1, min(one, at + 1 + wanted - len(revisions)))
        at = one
        if len(revisions) == wanted:
            break
    requests = unanswered(open_ops, moments.times, moments.highest)
    keys = {key for one in requests for key in (*one.effects.puts, *one.effects.deletes)}
    keys.update(_within_ranges(answers, [pair for one in requests for pair in one.effects.ranges]))
    windows = Windows(keys, revisions, first_revision)
    windows.read(answers.operations, answers.claim, answers.order)
    return Gaps(windows, requests), missing - wanted


def _within_ranges(answers: Answers, ranges: list[tuple[str, str]]) -> Iterator[str]:
    """Keys that were put and lie in one of some ranges."""
    if not ranges:
        return
    for one in answers.operations:
        for key in keys_of(one.f, one.input):
            if any(first <= key < end for first, end in ranges):
                yield key


def _shared(answers: Answers) -> Iterator[_Break]:
    last: int | None = None
    for row in answers.order:
        claim = answers.claim[row]
        if claim & 1:
            continue
        if last is not None and answers.claim[last] == claim:
            pair = answers.operations[last], answers.operations[row]
            yield _Break(
                "shared-revision",
                pair,
                [
                    f"Then each is the change that made revision {claim >> 1}.",
                    (
                        "However, a revision is one request's change: the store has two "
                        "pasts, or has "
                        "lost one of them."
                    ),
                ],
                f"Two requests were both acknowledged as revision {claim >> 1}.",
            )
        last = row


def _real_time(answers: Answers) -> Iterator[_Break]:
    """Pass over calls and returns in time, with the highest revision returned so far."""
    operations, claims = answers.operations, answers.claim
    events: list[tuple[int, int, int]] = []
    for row in answers.order:
        one = operations[row]
        if not (one.input.get("revision") or one.input.get("serializable")):
            events.append((one.invoked_ns, 0, row))
            events.append((one.completed_ns or 0, 1, row))
    events.sort(key=lambda event: event[:2])
    highest: int | None = None
    floor: dict[int, int | None] = {}
    for _, returned, row in events:
        if not returned:
            floor[row] = highest
            continue
        before = floor[row]
        if before is not None:
            earlier, claim = claims[before], claims[row]
            # Smaller; or a change at a revision that had been read before.
            if claim >> 1 < earlier >> 1 or (claim < earlier and earlier & 1):
                yield _turned(operations[before], operations[row], earlier >> 1, claim)
        if highest is None or claims[row] >> 1 > claims[highest] >> 1:
            highest = row


def _turned(before: Operation, one: Operation, earlier: int, claim: int) -> _Break:
    cast = Cast([before, one])
    _first, second = cast.name(before), cast.name(one)
    return _Break(
        "stale-revision",
        (before, one),
        [
            (
                f"Then {second} answers with a revision {'not before' if claim & 1 else 'after'} "
                f"{earlier}, because {cast.order(before, one)}."
            ),
            f"However, {second} answered with revision {claim >> 1}.",
        ],
        f"An answer of revision {claim >> 1} came after one of revision {earlier} had "
        f"been returned.",
    )


def _differences(
    found: Sequence[Difference | Early | Gap], gaps: Gaps | None, first_revision: int
) -> Iterator[_Break]:
    """Report what the replay found; whether other writers made a gap is known only at its end."""
    told = 0
    for one in found:
        if isinstance(one, Early):
            yield _too_early(one, first_revision)
        elif isinstance(one, Gap):
            if one.shown and gaps is not None:
                yield _phantom(one, gaps.windows.showing[one.revision])
            else:
                yield _unmade(one.revision)
        else:
            certain = one.certain and not (
                gaps is not None and any(gaps.strange(*window) for window in one.windows)
            )
            told += certain
            yield _differs(one, certain=certain, full=certain and told <= ANOMALIES_MAX)


def _unmade(revision: int) -> _Break:
    return _Break(
        "unmade-revision",
        (),
        [],
        f"No request of the history can have made revision {revision}.",
        certain=False,
    )


def _phantom(gap: Gap, operation: Operation) -> _Break:
    key, value = next(iter(gap.shown.items()))
    name = Cast([operation]).name(operation)
    return _Break(
        "phantom-revision",
        (operation,),
        [
            (
                f"Then some request put {value_text(value)} to {key} at revision {gap.revision}, "
                f"because {name} shows it."
            ),
            (
                "However, no request of the history, answered at that revision or never "
                "answered and called in time, does that."
            ),
        ],
        f"{key} held {value_text(value)} of revision {gap.revision}, which nobody wrote.",
    )


def _too_early(early: Early, first_revision: int) -> _Break:
    name = Cast([early.operation]).name(early.operation)
    changed_it = early.revision == first_revision
    return _Break(
        "wrong-answer",
        (early.operation,),
        [
            (
                f"Then {name} answers with at least revision "
                f"{first_revision + changed_it}, because "
                f"the store began at {first_revision}, and a change comes after that."
            ),
            f"However, {name} answered with revision {early.revision}.",
        ],
        f"The store answered with revision {early.revision}, from before its beginning.",
    )


def _differs(found: Difference, *, certain: bool, full: bool) -> _Break:
    operation = found.operation
    revision = operation.output["revision"]
    who_said = operation.node or "the store"
    said = {name: operation.output.get(name) for name in found.expected}
    told, there, about = value_text(said), value_text(found.expected), ""
    if found.key is not None:
        told, there, about = _held(found.shown), _held(found.there), f" for {found.key}"
    summary = (
        f"At revision {revision} {who_said} answered {told}{about}, where its own changes leave "
        f"{there}."
    )
    if not full:
        return _Break("wrong-answer", (operation,), [], summary, certain=certain)
    witness = found.witness
    named = [witness] if witness is not None else []
    cast = Cast([*named, operation])
    name = cast.name(operation)
    if found.key is not None and _is_established(found):
        sentences = _about_key(found, cast)
    else:
        told, there = value_text(said), value_text(found.expected)
        last = f", the last to say of it being {cast.name(named[0])}" if named else ""
        then = (
            f"Then, all changes before it replayed, {name} is answered with {there}{last}; no "
            f"unanswered request can have changed that."
        )
        sentences = [then, f"However, {name} was answered with {told}."]
    return _Break("wrong-answer", (*named, operation), sentences, summary, certain=certain)


def _is_established(found: Difference) -> bool:
    """Whether some answer says what is at the key, rather than the replay as a whole."""
    asked, mod = _looked_at(found.operation), found.shown[3] if found.shown is not None else None
    if mod is not None and mod > asked:
        return True  # it is from the future, whatever was there
    witness = found.witness
    overwritten = mod is not None and witness is not None and mod < _looked_at(witness)
    return leaves(witness, found.key or "", found.there) or (
        overwritten and witness is not None and witness.f != "range"
    )


def _held(kv: KeyValue | None) -> str:
    """A key's state as a proof shows it: [value, create, mod, version]."""
    return "nothing" if kv is None else value_text(list(kv[1:]))


def _about_key(found: Difference, cast: Cast) -> list[str]:
    """State why a key cannot hold what a range showed."""
    operation, witness, key = found.operation, found.witness, found.key
    name = cast.name(operation)
    asked = _looked_at(operation)
    mod = found.shown[3] if found.shown is not None else None
    if mod is not None and mod > asked:
        then = f"Then what {name} shows is of revision {asked} or before, as of which it looked."
        return [then, f"However, {name} shows {key} of revision {mod}."]
    shown = f"However, {name} shows {_held(found.shown)} at {key}."
    if witness is None:
        then = (
            f"Then nothing is at {key} at revision {asked}, because the store was empty at the "
            f"start, and no request of the history can have changed it since."
        )
        return [then, shown]
    at = _looked_at(witness)
    there = found.there
    changed_it = changed_keys(witness.f, witness.input, witness.output)
    shows = witness.f == "range" or (there is not None and key not in changed_it)
    if shows and there is not None and at > asked:
        then = (
            f"Then {_held(there)} is at {key} at revision {asked}, because {cast.name(witness)} "
            f"showed it at revision {at}, and it is of revision {there[3]}."
        )
        return [then, shown]
    if mod is not None and not shows and mod < at:
        then = (
            f"Then {key} at revision {asked} is of revision {at} or after, because "
            f"{cast.name(witness)} changed it at revision {at}."
        )
        return [then, f"However, {name} shows it of revision {mod}."]
    verb = "showed" if shows else "changed"
    then = (
        f"Then {_held(found.there)} is at {key} at revision {asked}, because {cast.name(witness)} "
        f"{verb} it at revision {at}, and no request of the history can have changed it between."
    )
    return [then, shown]


def _looked_at(one: Operation) -> int:
    """The revision that an answer is about."""
    return int(one.input.get("revision") or one.output["revision"])


def _explain(found: _Break) -> Anomaly:
    return anomaly(found.kind, found.summary, found.sentences, Cast(found.ops))
