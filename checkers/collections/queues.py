"""Queues: every element comes out once, and in order if the queue promises one.

Three disciplines, from strictest to weakest:

    fifo-queue       linearizable, first in first out
    unordered-queue  linearizable, each element out at most once, in any order
    total-queue      no order and no real time (Jepsen's): nothing is lost once the queue was
                     drained, nothing comes out that did not go in; duplicates are allowed

If every element is enqueued once, the first two are decided exactly in O(n log n), by the four
violations of Henzinger, Sezgin & Vafeiadis ("Aspect-oriented linearizability proofs", CONCUR 2013).
An element is *surely in the queue* between the answer to its enqueue and the call of its dequeue. A
history is linearizable iff every dequeue returned an element that some enqueue, called before the
dequeue answered, had put in; none was returned twice; no dequeue found the queue empty while,
throughout its interval, some element or other was surely in it; and, first in first out, no element
came out surely before one that had surely gone in before it. An unanswered enqueue counts only if
its element came out. An unanswered dequeue, if called in time, may have taken any one element that
did not come out, and so excuses one element from coming out in order.

Outside of these conditions (repeated elements; unanswered dequeues beside answers of "empty") a
search decides, or the verdict is unknown.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter as Multiset
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from squall.checkers.budget import Meter, OutOfBudget
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.linearizability.models import FifoQueue, UnorderedQueue
from squall.checkers.linearizability.registers import (
    FOREVER,
    freeze,
    thaw,
)
from squall.checkers.text.proof import Cast, anomaly, value_phrase, who
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly, Budget, Validity, Verdict, worst

FIFO: Final = FifoQueue.name
UNORDERED: Final = UnorderedQueue.name
TOTAL: Final = "total-queue"
UNNAMED: Final = "queue"

CLAIMS: Final = {
    FIFO: "What is enqueued comes out once, in the order in which it went in.",
    UNORDERED: "What is enqueued comes out at most once, and nothing else does.",
    TOTAL: "What was acknowledged comes out before the queue is empty, and nothing else does.",
}

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""

ASSIGNMENTS_MAX: Final = 2_000
"""Assignments tried of unanswered dequeues to elements that never came out."""


class _Element(NamedTuple):
    """When an element surely was in, and which operations put and took it.

    Initial elements have no `put`.
    """

    value: Hashable
    called: int
    acked: int
    put: Operation | None
    taken: Operation | None

    @property
    def leaves(self) -> int:
        """When the dequeue that took it was called; FOREVER if none did."""
        return FOREVER if self.taken is None else self.taken.invoked_ns


class _Queue(NamedTuple):
    """One key's operations by kind and outcome."""

    elements: list[_Element]
    empty: list[Operation]  # dequeues that found the queue empty
    unanswered: list[Operation]  # dequeues, by time of call
    found: list[Anomaly]
    why_not: str  # why the conditions do not hold; "" if they do


def check_queues(
    history: History, budget: Budget, discipline: str, initial: Sequence[Any] = ()
) -> Verdict:
    """Judge every queue of a history, one a key, as first in first out or as unordered.

    `initial` are the elements in it at first, oldest first. Raises MalformedHistory.
    """
    strangers = {one.f for one in history.operations} - {"enqueue", "dequeue"}
    if strangers:
        what = f"a {discipline} has no operation {', '.join(sorted(strangers))}"
        return Verdict(checker=discipline, validity=Validity.UNKNOWN, reason=what, method="none")
    meter = Meter(budget)
    anomalies: list[Anomaly] = []
    open_keys: list[str] = []
    methods: Multiset[str] = Multiset()
    for key, operations in history.by_key.items():
        try:
            meter.look()
        except OutOfBudget as spent:
            open_keys.append(f"key {key}: {spent}")
            continue
        if not any(one.f == "dequeue" and one.outcome is OpType.OK for one in operations):
            continue  # nothing came out that could be wrong
        queue = _sorted_out(operations, initial)
        found, why = queue.found, queue.why_not
        if not found and not why:
            found, why = _without_place(queue, discipline)
        if found or not why:
            methods["pairs"] += 1
            anomalies += found
            continue
        left = msgspec.structs.replace(budget, time_s=meter.remaining_s)
        part = History([op for op in history if op.is_client and op.key == key])
        make = FifoQueue if discipline == FIFO else UnorderedQueue
        verdict = check_linearizability(part, left, partial(make, initial))
        methods["search"] += 1
        anomalies += verdict.anomalies
        if verdict.validity is Validity.UNKNOWN:
            open_keys.append(f"key {key}: {why}; {verdict.reason}")
    operations_of = [one for one in history.operations if one.outcome is not OpType.FAIL]
    dequeues = [one for one in operations_of if one.f == "dequeue" and one.outcome is OpType.OK]
    if initial:
        begun = {"begun": list(initial)}
        anomalies = [msgspec.structs.replace(one, data={**one.data, **begun}) for one in anomalies]
    nothing = None if dequeues else "vacuous: nothing was ever dequeued"
    reason: str | None = open_keys[0] if open_keys else nothing
    return Verdict(
        checker=discipline,
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIMS[discipline],
        evidence=(
            f"{counted(len(history.by_key), 'key')}, {counted(len(operations_of), 'operation')}"
        ),
        reason=None if anomalies else reason,
        method=", ".join(f"{name}: {counted(n, 'key')}" for name, n in sorted(methods.items())),
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats={"dequeues": len(dequeues), "anomalies": len(anomalies)},
    )


def check_unnamed_queue(
    history: History, budget: Budget, initial: Sequence[Any] = (), name: str = "FILE"
) -> Verdict:
    """Judge a queue whose discipline is not stated: only what all disciplines agree on.

    First in first out is the strictest, so a history that satisfies it is valid; one that is not
    even an unordered queue's is invalid; between the two the user has to state the discipline.
    """
    unordered = check_queues(history, budget, UNORDERED, initial)
    if unordered.validity is not Validity.VALID:
        return unordered
    fifo = check_queues(history, budget, FIFO, initial)
    if fifo.validity is not Validity.INVALID:
        return fifo
    first = fifo.anomalies[0].summary
    return Verdict(
        checker=UNNAMED,
        validity=Validity.UNKNOWN,
        claim=CLAIMS[UNORDERED],
        evidence=fifo.evidence,
        reason=(
            f"the queue's discipline is not named: it is valid as {UNORDERED}, but as {FIFO} "
            f"{first[:-1]}; say which: squall check {name} --model {UNORDERED}, or "
            f"squall check {name} --model {FIFO}"
        ),
        method=fifo.method,
        stats=fifo.stats,
    )


def _sorted_out(operations: Sequence[Operation], initial: Sequence[Any]) -> _Queue:
    """Pair enqueues with dequeues; report elements that are wrong by themselves."""
    puts: dict[Hashable, list[Operation]] = {}
    failed: dict[Hashable, Operation] = {}
    taken: dict[Hashable, list[Operation]] = {}
    empty, unanswered = [], []
    for one in operations:
        if one.f == "enqueue":
            value = freeze(one.input)
            if one.outcome is OpType.FAIL:
                failed.setdefault(value, one)
            else:
                puts.setdefault(value, []).append(one)
        elif one.outcome is OpType.INFO:
            unanswered.append(one)
        elif one.outcome is OpType.OK and one.output is None:
            empty.append(one)
        elif one.outcome is OpType.OK:
            taken.setdefault(freeze(one.output), []).append(one)
    begun = list(map(freeze, initial))
    times = Multiset(begun)
    found: list[Anomaly] = []
    for value, outs in taken.items():
        ins = puts.get(value, [])
        if len(outs) > len(ins) + times[value]:
            found.append(_too_often(outs, ins, failed.get(value), times[value]))
        elif not times[value] and min(one.invoked_ns for one in ins) > min(map(_ret, outs)):
            found.append(_too_early(min(outs, key=_ret), ins))
    repeated = [value for value, ins in puts.items() if len(ins) + times[value] > 1]
    repeated += [value for value, n in times.items() if n > 1]
    if None in puts:
        return _Queue([], empty, unanswered, found, "nil was enqueued")
    if repeated:
        what = value_phrase(thaw(repeated[0]))
        return _Queue([], empty, unanswered, found, f"{what} was enqueued twice")
    elements = [
        _Element(
            value, at - len(begun), at - len(begun), None, next(iter(taken.get(value, ())), None)
        )
        for at, value in enumerate(begun)
    ]
    for value, (put,) in puts.items():
        out = next(iter(taken.get(value, ())), None)
        if put.outcome is OpType.OK or out is not None:
            elements.append(_Element(value, put.invoked_ns, _ret(put), put, out))
    unanswered.sort(key=lambda one: one.invoked_ns)
    return _Queue(elements, empty, unanswered, found, "")


def _ret(one: Operation) -> int:
    return one.completed_ns if one.completed_ns is not None else FOREVER


def _without_place(queue: _Queue, discipline: str) -> tuple[list[Anomaly], str]:
    """Judge elements that are right by themselves: (anomalies, why the queue is left undecided)."""
    if queue.empty and queue.unanswered:
        if discipline == FIFO:
            return [], "unanswered dequeues beside answers that the queue was empty"
        return _some_taken(queue)
    found = _not_empty(queue.elements, queue.empty)
    if not found and discipline == FIFO:
        found = _out_of_order(queue)
    return found, ""


def _not_empty(elements: Sequence[_Element], empty: Sequence[Operation]) -> list[Anomaly]:
    """Find dequeues that found the queue empty while throughout some element was surely in it."""
    if not empty:
        return []
    inside = sorted((one for one in elements if one.acked < one.leaves), key=lambda one: one.acked)
    blocks: list[tuple[int, int, list[_Element]]] = []  # open intervals, merged
    for one in inside:
        if blocks and one.acked < blocks[-1][1]:
            start, end, chain = blocks[-1]
            if one.leaves > end:
                chain.append(one)
            blocks[-1] = (start, max(end, one.leaves), chain)
        else:
            blocks.append((one.acked, one.leaves, [one]))
    starts = [block[0] for block in blocks]
    found = []
    for answer in empty:
        at = bisect_left(starts, answer.invoked_ns) - 1
        if at >= 0 and blocks[at][1] > _ret(answer):
            found.append(_was_not_empty(answer, blocks[at][2]))
    return found


def _out_of_order(queue: _Queue) -> list[Anomaly]:
    """Find an element that came out surely before one which had surely gone in before it."""
    by_ack = sorted(queue.elements, key=lambda one: one.acked)
    taken = sorted(
        (one for one in queue.elements if one.taken is not None), key=lambda one: one.called
    )
    at = 0
    latest: _Element | None = None  # of those that surely went in before: the last to leave
    stayed: list[_Element] = []
    for one in taken:
        while at < len(by_ack) and by_ack[at].acked < one.called:
            earlier = by_ack[at]
            at += 1
            if earlier.taken is None and queue.unanswered:
                stayed.append(earlier)
            elif latest is None or earlier.leaves > latest.leaves:
                latest = earlier
        assert one.taken is not None
        if latest is not None and _ret(one.taken) < latest.leaves:
            return [_overtaken(latest, one)]
    # The rest was taken by unanswered dequeues: by when, and were enough of them called?
    skipped: list[tuple[int, _Element, _Element]] = []
    first: _Element | None = None  # of those that surely went in later: the first to come out
    for earlier in reversed(stayed):
        while taken and earlier.acked < taken[-1].called:
            over = taken.pop()
            if first is None or _leaves_by(over) < _leaves_by(first):
                first = over
        if first is not None:
            skipped.append((_leaves_by(first), earlier, first))
    skipped.sort(key=lambda entry: entry[0])
    called = [one.invoked_ns for one in queue.unanswered]
    for count, (time, _, _) in enumerate(skipped, 1):
        in_time = bisect_right(called, time)
        if in_time < count:
            return [_too_many_skipped(skipped[:count], queue.unanswered[:in_time])]
    return []


def _leaves_by(element: _Element) -> int:
    """By when an element had certainly been taken."""
    return FOREVER if element.taken is None else _ret(element.taken)


def _some_taken(queue: _Queue) -> tuple[list[Anomaly], str]:
    """Try the assignments of unanswered dequeues to the elements that never came out."""
    left = [one for one in queue.elements if one.taken is None]
    choices: list[list[_Element | None]] = [[None, *left] for _ in queue.unanswered]
    first: list[Anomaly] | None = None
    for number, chosen in enumerate(itertools.product(*choices)):
        if number >= ASSIGNMENTS_MAX:
            return [], "which elements the unanswered dequeues took is open"
        took = {
            one.value: by
            for one, by in zip(chosen, queue.unanswered, strict=True)
            if one is not None
        }
        if len(took) < sum(one is not None for one in chosen):
            continue  # one element taken twice
        elements = [
            one._replace(taken=took[one.value]) if one.value in took else one
            for one in queue.elements
        ]
        found = _not_empty(elements, queue.empty)
        if not found:
            return [], ""
        first = first if first is not None else found
    return _all_ways(queue, first or []), ""


def _all_ways(queue: _Queue, found: list[Anomaly]) -> list[Anomaly]:
    """Prove that no assignment explains an empty queue: more was in it than they can take."""
    sure = [one for one in queue.elements if one.taken is not None]
    alone = _not_empty(sure, queue.empty)
    if alone:
        return alone
    one = queue.empty[0] if not found else next(e for e in queue.empty if e.index in found[0].ops)
    left = [element for element in queue.elements if element.taken is None]
    cast = Cast([one, *queue.unanswered, *(e.put for e in left if e.put is not None)])
    return [
        anomaly(
            "not-empty",
            f"{who(one)} found {one.key} empty, though more was in it than unanswered dequeues "
            f"could have taken.",
            [
                (
                    f"Then an unanswered dequeue took at most one element each, and there are "
                    f"{len(queue.unanswered)} of them."
                ),
                (
                    f"However, whichever elements they took, some dequeue of {one.key} found it "
                    f"empty while another element was in it."
                ),
            ],
            cast,
            shown=_shown(queue),
        )
    ]


def _shown(queue: _Queue) -> list[Operation]:
    ops = [*queue.empty, *queue.unanswered]
    for element in queue.elements:
        ops += [one for one in (element.put, element.taken) if one is not None]
    return sorted({one.index: one for one in ops}.values(), key=lambda one: one.index)


def _too_often(
    outs: Sequence[Operation], ins: Sequence[Operation], failed: Operation | None, begun: int
) -> Anomaly:
    last = max(outs, key=_ret)
    value = value_phrase(last.output)
    had = len(ins) + begun
    if not had:
        cast = Cast([last] if failed is None else [failed, last])
        name = cast.name(last)
        return anomaly(
            "unexpected-element",
            f"{who(last)} dequeued {value} from {last.key}, which "
            + ("nobody enqueued." if failed is None else "was refused when it was enqueued."),
            [
                f"Then {value} had been enqueued in {last.key}, because {name} took it out.",
                f"However, no operation enqueues {value}, and it was not there at first."
                if failed is None
                else f"However, {cast.name(failed)} is its only enqueue, and failed for certain.",
            ],
            cast,
        )
    cast = Cast([*ins, *outs])
    times = f"{len(outs)} times" if len(outs) != 2 else "twice"
    was = f"{had} times" if had != 1 else "once"
    names = ", ".join(cast.name(one) for one in outs)
    return anomaly(
        "duplicated-element",
        f"{value} came out of {last.key} {times}, and was in it {was}.",
        [
            f"Then {value} came out {times}, because {names} each took it.",
            f"However, it was put into {last.key} {was}, and each dequeue takes one element out.",
        ],
        cast,
    )


def _too_early(out: Operation, ins: Sequence[Operation]) -> Anomaly:
    put = min(ins, key=lambda one: one.invoked_ns)
    cast = Cast([put, out])
    value = value_phrase(out.output)
    return anomaly(
        "future-read",
        f"{who(out)} dequeued {value} from {out.key} before it was enqueued.",
        [
            (
                f"Then {value} was not in {out.key} before {cast.name(put)} was called, because no "
                f"other that enqueued it was called earlier."
            ),
            f"However, {cast.name(out)} took {value} out: {cast.order(out, put)}.",
        ],
        cast,
    )


def _in(element: _Element, cast: Cast) -> str:
    """State since when an element was in a queue."""
    if element.put is None:
        return "it was there at first"
    return f"{cast.name(element.put)} had returned at {cast.at(element.acked)}"


def _was_not_empty(empty: Operation, chain: Sequence[_Element]) -> Anomaly:
    # Only those that matter: each begins before the previous one leaves.
    needed = [one for one in chain if one.leaves > empty.invoked_ns and one.acked < _ret(empty)]
    ops = [op for one in needed for op in (one.put, one.taken) if op is not None]
    cast = Cast([*ops, empty])
    key, name = empty.key, cast.name(empty)
    sentences = []
    for at, one in enumerate(needed):
        value = value_phrase(thaw(one.value))
        word = "Then" if not at else "And"
        until = (
            f"until {cast.name(one.taken)} was called at {cast.at(one.leaves)}"
            if one.taken is not None
            else "and no dequeue took it out"
        )
        sentences.append(f"{word} {value} was in {key}, because {_in(one, cast)}, {until}.")
    sentences.append(
        f"However, {name} found {key} empty, at some moment from {cast.at(empty.invoked_ns)} to "
        f"{cast.at(_ret(empty))}."
    )
    return anomaly(
        "not-empty", f"{who(empty)} found {key} empty, though it was not.", sentences, cast
    )


def _went_in_first(stayed: _Element, over: _Element, cast: Cast) -> str:
    """State why an element was in a queue before another."""
    if over.put is None:
        return "that was so at first"
    if stayed.put is None:
        return f"it was there at first, and {cast.name(over.put)} enqueued the other"
    return cast.order(stayed.put, over.put)


def _overtaken(stayed: _Element, over: _Element) -> Anomaly:
    assert over.taken is not None
    cast = Cast(one for one in (stayed.put, stayed.taken, over.put, over.taken) if one is not None)
    mine, its = (value_phrase(thaw(one.value)) for one in (stayed, over))
    key, first = over.taken.key, _went_in_first(stayed, over, cast)
    end = (
        f"However, {cast.name(over.taken)} took {its} out, and no dequeue took {mine} out."
        if stayed.taken is None
        else f"However, {its} came out first: {cast.order(over.taken, stayed.taken)}."
    )
    return anomaly(
        "queue-out-of-order",
        f"{its} came out of {key} before {mine}, which had gone in before it.",
        [
            f"Then {mine} went into {key} before {its}, because {first}.",
            f"And what goes in first comes out first, so {mine} came out before {its}.",
            end,
        ],
        cast,
    )


def _too_many_skipped(
    skipped: Sequence[tuple[int, _Element, _Element]], in_time: Sequence[Operation]
) -> Anomaly:
    ops: dict[int, Operation] = {}
    for _, stayed, over in skipped:
        for op in (stayed.put, over.put, over.taken):
            if op is not None:
                ops[op.index] = op
    cast = Cast([*ops.values(), *in_time])
    last = skipped[-1]
    assert last[2].taken is not None
    key = last[2].taken.key
    stay = ", ".join(value_phrase(thaw(one.value)) for _, one, _ in skipped)
    return anomaly(
        "queue-out-of-order",
        f"{stay} never came out of {key}, while what had gone in later did.",
        [
            *(
                f"{'And' if at else 'Then'} {value_phrase(thaw(stayed.value))} went in before "
                f"{value_phrase(thaw(over.value))}, because "
                + _went_in_first(stayed, over, cast)
                + f", so it had left when {cast.name(over.taken)} answered."
                for at, (_, stayed, over) in enumerate(skipped)
                if over.taken is not None
            ),
            (
                f"However, no dequeue was answered with {stay}, and of dequeues without an answer "
                f"{len(in_time)} had been called by {cast.at(last[0])}."
            ),
        ],
        cast,
    )


def check_total_queue(history: History) -> Verdict:
    """Judge by counts: what was acknowledged, what came out, what must have come out.

    A drain takes out all that is left, a read shows all that is left; an element that was
    acknowledged before one of them was called, and came out nowhere, is lost. Duplicates are
    counted, not reported. Raises MalformedHistory.
    """
    anomalies: list[Anomaly] = []
    reasons: list[str] = []
    counts: Multiset[str] = Multiset()
    for key, operations in history.by_key.items():
        _account(key, operations, anomalies, reasons, counts)
    strangers = {one.f for one in history.operations} - {"enqueue", "dequeue", "drain", "read"}
    if strangers:
        reasons.insert(0, f"a {TOTAL} has no operation {', '.join(sorted(strangers))}")
    if not counts["enqueued"]:
        reasons.insert(0, "vacuous: nothing was ever enqueued")
    elif not counts["came out"] and not counts["emptied"]:
        reasons.insert(0, "vacuous: nothing was ever dequeued, drained or read")
    validity = worst(
        [Validity.INVALID] if anomalies else [Validity.UNKNOWN] if reasons else [Validity.VALID]
    )
    return Verdict(
        checker=TOTAL,
        validity=validity,
        claim=CLAIMS[TOTAL],
        evidence=(
            f"{counts['enqueued']:,} enqueued, {counts['acknowledged']:,} acknowledged, "
            f"{counts['came out']:,} came out, {counts['duplicated']:,} more than once (allowed)"
        ),
        reason=None if anomalies else next(iter(reasons), None),
        method="accounts",
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats={**counts, "anomalies": len(anomalies)},
    )


def _account(
    key: str | None,
    operations: Sequence[Operation],
    anomalies: list[Anomaly],
    reasons: list[str],
    counts: Multiset[str],
) -> None:
    """Count the elements of one queue."""
    puts: dict[Hashable, list[Operation]] = {}
    failed: dict[Hashable, Operation] = {}
    out: dict[Hashable, list[Operation]] = {}
    seen: dict[Hashable, list[Operation]] = {}
    emptied: list[Operation] = []
    reads: list[Operation] = []
    doubt = 0
    drain_open = False
    for one in operations:
        if one.f == "enqueue":
            if one.outcome is OpType.FAIL:
                failed.setdefault(freeze(one.input), one)
            else:
                puts.setdefault(freeze(one.input), []).append(one)
        elif one.f == "dequeue" and one.outcome is not OpType.FAIL:
            if one.outcome is OpType.INFO:
                doubt += 1
            elif one.output is not None:
                out.setdefault(freeze(one.output), []).append(one)
        elif one.f in {"drain", "read"} and one.outcome is OpType.OK:
            if not isinstance(one.output, list | tuple):
                raise MalformedHistory(f"op {one.index}: a {one.f} of a queue is a list")
            for value in map(freeze, one.output):
                (out if one.f == "drain" else seen).setdefault(value, []).append(one)
            (emptied if one.f == "drain" else reads).append(one)
        elif one.f == "drain" and one.outcome is OpType.INFO:
            drain_open = True
    for value, shown in itertools.chain(out.items(), seen.items()):
        if value not in puts:
            anomalies.append(_phantom(key, value, shown[0], failed.get(value)))
    lost = []
    unsure = 0
    for value, ins in puts.items():
        acked = [one for one in ins if one.outcome is OpType.OK]
        takers = out.get(value, [])
        counts["duplicated"] += len(takers) > len(ins)
        if len(acked) <= len(takers):
            continue
        for one in sorted(acked, key=_ret)[: len(acked) - len(takers)]:
            by = _must_have_it(one, value, emptied, reads, seen)
            if by is not None:
                lost.append((one, value, by))
            elif value not in seen:
                unsure += 1
    counts["enqueued"] += sum(map(len, puts.values()))
    counts["acknowledged"] += sum(one.outcome is OpType.OK for p in puts.values() for one in p)
    counts["came out"] += len({*out, *seen})
    counts["emptied"] += len(emptied) + len(reads)
    if lost and drain_open:
        reasons.append(f"a drain of {key} was never answered; it may have taken what is missing")
    elif 0 < len(lost) <= doubt:
        reasons.append(
            f"{counted(len(lost), 'element')} never came out of {key}; dequeues without an answer "
            f"({doubt}) may have taken them"
        )
    else:
        anomalies += [_lost(*one, doubt) for one in lost]
        counts["lost"] += len(lost)
    if unsure:
        reasons.append(
            f"{counted(unsure, 'element')} never came out of {key}, which was not drained or read "
            f"after they were acknowledged: they may still be in it"
        )


def _must_have_it(
    put: Operation,
    value: Hashable,
    emptied: Sequence[Operation],
    reads: Sequence[Operation],
    seen: dict[Hashable, list[Operation]],
) -> Operation | None:
    """Return the drain or read, called after an acknowledgement, that lacks the element."""
    for one in emptied:
        if one.invoked_ns > _ret(put):
            return one
    after = [one for one in reads if one.invoked_ns > _ret(put)]
    if not after:
        return None
    last = max(after, key=lambda one: one.invoked_ns)
    shows = seen.get(value, [])
    if any(_ret(one) >= last.invoked_ns for one in shows):
        return None
    return last


def _phantom(
    key: str | None, value: Hashable, shown: Operation, failed: Operation | None
) -> Anomaly:
    cast = Cast([shown] if failed is None else [failed, shown])
    text = value_phrase(thaw(value))
    return anomaly(
        "unexpected-element",
        f"{who(shown)} got {text} from {key}, which "
        + ("nobody enqueued." if failed is None else "was refused when it was enqueued."),
        [
            f"Then {text} had been enqueued in {key}, because {cast.name(shown)} shows it.",
            f"However, no operation enqueues {text}."
            if failed is None
            else f"However, {cast.name(failed)} is its only enqueue, and failed for certain.",
        ],
        cast,
    )


def _lost(put: Operation, value: Hashable, by: Operation, doubt: int) -> Anomaly:
    cast = Cast([put, by])
    text = value_phrase(thaw(value))
    verb = "took all that was left" if by.f == "drain" else "read all that was left"
    sentences = [
        f"Then {text} was in {put.key}, because {cast.order(put, by)}, unless it had come out.",
        f"However, {cast.name(by)} {verb} without {text}, and no other operation got it.",
    ]
    if doubt:
        sentences.insert(
            1,
            f"And {counted(doubt, 'dequeue')} without an answer took at most one element each, "
            f"fewer than are missing.",
        )
    return anomaly(
        "lost-element",
        f"{text} was acknowledged by {put.key} and never came out of it.",
        sentences,
        cast,
        data={"element": text},
    )
