"""Answers of unanswered requests, inferred from what watches were sent.

Written values are unique, so an event with a value identifies the request that put it, and its
revision: the request happened, there. If watches of all keys were sent all changes, in contiguous
intervals of revisions, more is known:

* a value that no watch was sent, though all changes were sent since before its request was called,
  was not written, at least not up to the last revision that was sent;
* an event does not say which request deleted a key, but it was one that deletes it. Of several
  unanswered ones that were called in time, any may be chosen;
* a revision without an event was made outside of what is watched: by another program, or by the
  harness itself. A put of a key that no request uses stands in for it.

So most unanswered requests get an answer: they happened at a revision, or had no part in anything
that was observed. Such an answer returns at the end of the history: its interval is widened, never
narrowed, so that no violation of real time can result from it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from squall.checkers.etcd.model import FIRST_REVISION
from squall.checkers.etcd.requests import changed, covers, effects_of, ran
from squall.checkers.history import History, Op, Operation, OpType

CHANGES: Final = frozenset({"put", "delete", "txn"})

ELSEWHERE: Final = "\0"
"""A key that no request uses."""

NEVER: Final[dict[str, Any]] = {}
"""The answer of a request that had no part in what was observed."""


def witnessed(history: History) -> History:
    """Return the history without its watches, with unanswered requests answered as inferred."""
    operations = history.operations
    seen = _Seen(operations)
    floors = _floors(operations)
    taken = {one.output["revision"] for one in operations if _changed(one)}
    answers: dict[int, dict[str, Any]] = {}
    deleting: list[Operation] = []
    for one in operations:
        if one.outcome is not OpType.INFO or one.f not in CHANGES:
            continue
        if _is_silent(one.f, one.input):
            deleting.append(one)
        elif (found := seen.answer(one, floors(one.invoked_ns))) is not None:
            answers[one.index] = found
            taken |= {found["revision"]} if found else set()
    answers |= _deletions(deleting, floors, seen, taken)
    foreign = [at for at in seen.whole_revisions() if at not in seen.events and at not in taken]
    return History(list(_rewritten(history, answers, foreign)), header=history.header)


class _Seen:
    """Everything that watches were sent."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.events: dict[int, list[tuple[str, str]]] = {}  # revision -> changes by key
        self._puts: dict[tuple[str, Any], int] = {}
        # What reads show was written, whatever watches were sent.
        self._read = {
            (kv[0], kv[1])
            for one in operations
            if _answered(one)
            for kv in _rows(one.f, one.input, one.output)
        }
        watches = [one for one in operations if one.f == "watch" and _answered(one)]
        everything = next((one.input for one in watches if (one.meta or {}).get("final")), None)
        stretches = []
        for one in watches:
            upto = 0
            for response in one.output["responses"]:
                if response.get("progress"):
                    upto = max(upto, response["revision"])
                for kind, key, value, mod, *_ in response.get("events", ()):
                    upto = max(upto, mod)
                    told = self.events.setdefault(mod, [])
                    if (kind, key) not in told:
                        told.append((kind, key))
                    if kind == "put":
                        self._puts.setdefault((key, value), mod)
            if everything is not None and _covers(one.input, everything):
                stretches.append((int(one.input.get("start") or one.output["created"] + 1), upto))
        self._whole = _joined(stretches)

    def whole_revisions(self) -> Iterator[int]:
        """Every revision of which all changes were sent."""
        for since, upto in self._whole:
            yield from range(since, upto + 1)

    def is_whole(self, revision: int) -> bool:
        """Whether all changes of a revision were sent."""
        at = bisect_right(self._whole, revision, key=lambda stretch: stretch[0])
        return at > 0 and revision <= self._whole[at - 1][1]

    def is_whole_after(self, revision: int) -> bool:
        """Whether all changes after a revision were sent."""
        if not self._whole:
            return False
        since, upto = self._whole[-1]
        return since <= revision + 1 <= upto + 1

    def answer(self, one: Operation, floor: int) -> dict[str, Any] | None:
        """Infer a request's answer from what it put; None if that is not possible."""
        puts = effects_of(one.f, one.input).puts
        shown = next((self._puts[pair] for pair in puts.items() if pair in self._puts), None)
        if shown is None:
            told_nothing = (
                puts and self.is_whole_after(floor) and self._read.isdisjoint(puts.items())
            )
            return NEVER if told_nothing else None
        if one.f == "put":
            return {"revision": shown}
        then = one.input.get("then", ())
        held = any(
            self._puts.get(pair) == shown
            for f, request in then
            for pair in effects_of(f, request).puts.items()
        )
        ran = then if held else one.input.get("else", ())
        answers = [self._said(f, request, shown) for f, request in ran]
        return {"revision": shown, "succeeded": held, "answers": answers}

    def _said(self, f: str, request: dict[str, Any], revision: int) -> dict[str, Any]:
        if f != "delete" or "end" in request or not self.is_whole(revision):
            return {}
        return {"deleted": int(("delete", request["key"]) in self.events[revision])}


def _rows(f: str, request: Any, answer: Any) -> Iterator[Any]:
    """Every (key, value) that an answer shows."""
    if f == "range":
        yield from answer.get("kvs") or ()
    elif f == "txn":
        for one in ran(request, answer):
            yield from _rows(*one)


def _covers(asked: dict[str, Any], everything: dict[str, Any]) -> bool:
    """Whether a watch's request covers another's."""
    end, last = asked.get("end"), everything.get("end")
    if asked.get("filters"):
        return False
    if end is None or last is None:
        return last is None and covers(asked, everything["key"])
    return bool(asked["key"] <= everything["key"] and end >= last)


def _joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge intervals that touch or overlap."""
    joined: list[tuple[int, int]] = []
    for since, upto in sorted(stretches):
        if upto < since - 1:
            continue  # no progress was sent
        if joined and since <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], upto)
        else:
            joined.append((since, upto))
    return joined


def _answered(one: Operation) -> bool:
    return one.outcome is OpType.OK and isinstance(one.output, dict)


def _changed(one: Operation) -> bool:
    """Whether a request was acknowledged as the maker of a revision."""
    if one.f not in CHANGES or not _answered(one):
        return False
    return "revision" in one.output and changed(one.f, one.input, one.output)


def _is_silent(f: str, request: dict[str, Any]) -> bool:
    """Whether a request may change something without putting a value that identifies it."""
    if f == "put":
        return False
    branches = (request.get("then", ()), request.get("else", ())) if f == "txn" else ((),)
    return f == "delete" or any(
        any(inner != "range" for inner, _ in branch)
        and not any(effects_of(*each).puts for each in branch)
        for branch in branches
    )


def _floors(operations: Sequence[Operation]) -> Callable[[int], int]:
    """Return a function of a moment: the highest revision that had been returned by then."""
    returned = sorted(
        (one.completed_ns, one.output["revision"])
        for one in operations
        if one.completed_ns is not None
        and _answered(one)
        and isinstance(one.output.get("revision"), int)
    )
    times = [moment for moment, _ in returned]
    highest = list(accumulate((revision for _, revision in returned), max, initial=FIRST_REVISION))
    return lambda moment: highest[bisect_left(times, moment)]


def _deletions(
    deleting: list[Operation], floors: Callable[[int], int], seen: _Seen, taken: set[int]
) -> dict[int, dict[str, Any]]:
    """Assign a request to each unacknowledged deletion; the others had no effect."""
    answers: dict[int, dict[str, Any]] = {}
    if any(one.f != "delete" or "end" in one.input for one in deleting):
        return {}  # several keys at once, and no value: left to the order of the revisions
    free: dict[str, list[tuple[int, Operation]]] = {}
    for one in deleting:
        free.setdefault(one.input["key"], []).append((floors(one.invoked_ns), one))
    for revision in sorted(seen.events.keys() - taken):
        kinds = seen.events[revision]
        if len(kinds) != 1 or kinds[0][0] != "delete" or not seen.is_whole(revision):
            continue
        waiting = free.get(kinds[0][1], [])
        fitting = next((pair for pair in waiting if pair[0] < revision), None)
        if fitting is not None:
            waiting.remove(fitting)
            answers[fitting[1].index] = {"revision": revision, "deleted": 1}
            taken.add(revision)
    for waiting in free.values():
        for floor, one in waiting:
            if seen.is_whole_after(floor):
                answers[one.index] = NEVER
    return answers


def _rewritten(
    history: History, answers: dict[int, dict[str, Any]], foreign: list[int]
) -> Iterator[Op]:
    """Leave out watches and requests without effect; answer the inferred ones at the end."""
    last_ns = history.duration_ns
    late: list[Op] = []
    for at in foreign:
        value = {"key": ELSEWHERE, "value": at}
        begun = Op(index=-at, time_ns=0, process=-at, type=OpType.INVOKE, f="put", value=value)
        yield begun
        late.append(_ending(begun, {"revision": at}, last_ns))
    silent: set[int | str] = set()  # processes whose request is answered at the end, or left out
    for op in history:
        if not op.is_client:
            yield op
        elif op.f == "watch":
            continue
        elif op.type is OpType.INVOKE and op.index in answers:
            silent.add(op.process)
            if answers[op.index]:
                yield op
                late.append(_ending(op, answers[op.index], last_ns))
        elif op.process in silent:
            silent.discard(op.process)
        else:
            yield op
    yield from late


def _ending(begun: Op, answer: dict[str, Any], moment_ns: int) -> Op:
    return msgspec.structs.replace(begun, time_ns=moment_ns, type=OpType.OK, value=answer)
