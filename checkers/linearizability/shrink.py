"""A small part of an invalid history that is still invalid, by sound removals only.

Removing operations at random can *create* a violation: without a write its readers read a value
that nobody wrote. The removals here cannot: if the smaller history is invalid, so was the larger.

* A read, or a refused compare-and-set: no other operation depends on it.
* What was called only after an answer that nothing explains, and all answers that came after it,
  whose operations are then as if never answered. A prefix of any order is still an order.
* A value: every operation that wrote it together with every operation that observed it, and with
  the values those wrote in turn. In any linearization of the larger history the interval of that
  value becomes part of the interval of the value before it, and no remaining operation observes the
  difference. (A compare-and-set refused without reporting the value it saw would observe it, so
  those are removed first.)

The initial value is never removed; its reads are. The result is small, not minimal: single removals
are tried in halving runs, at most `TRIES_MAX` of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from squall.checkers.history import Operation, OpType
from squall.checkers.linearizability.models import UNKNOWN, Model
from squall.checkers.linearizability.registers import (
    FOREVER,
    NOTHING,
    RegisterHistory,
    register_history,
)

TRIES_MAX: Final = 400
"""Smaller histories that are judged before shrinking stops."""

Judge = Callable[[list[Operation]], bool]
"""Whether these operations are certainly invalid."""


class _Graph:
    """Which operations wrote and observed which value."""

    def __init__(
        self, operations: Iterable[Operation], register: RegisterHistory | None = None
    ) -> None:
        found = register or register_history(operations)
        self.rows = found.rows
        self.seen, self.wrote = found.columns.seen, found.columns.wrote
        self.columns = found.columns

    def values(self) -> list[Hashable]:
        """Every value that was written, in order of the first attempt."""
        return list(dict.fromkeys(value for value in self.wrote if value is not NOTHING))

    def without(self, values: Iterable[Hashable]) -> list[Operation]:
        """Remove values with their writers and observers, and the values those wrote in turn."""
        gone = set(values)
        children: dict[Hashable, list[Hashable]] = {}
        for saw, wrote in zip(self.seen, self.wrote, strict=True):
            if saw is not NOTHING and wrote is not NOTHING:
                children.setdefault(saw, []).append(wrote)
        todo = list(gone)
        while todo:
            for value in children.get(todo.pop(), ()):
                if value not in gone:
                    gone.add(value)
                    todo.append(value)
        return [
            row
            for row, saw, wrote in zip(self.rows, self.seen, self.wrote, strict=True)
            if saw not in gone and wrote not in gone
        ]


class Excerpt(NamedTuple):
    """A part of a history around some witnesses.

    `proofs` are pairs: an unanswered operation, and one that shows that it happened, because it
    observed its value.
    """

    operations: list[Operation]
    proofs: list[tuple[Operation, Operation]]


def around(
    operations: Sequence[Operation],
    witnesses: Iterable[Operation],
    register: RegisterHistory | None = None,
) -> Excerpt:
    """Return a small sound part of one key's history which contains these witnesses.

    `register`: the same operations as columns, if the caller has them already.

    It holds every value they observed with its writer; and if the writer was never answered, an
    operation that observed its value, since otherwise the write need not have happened.
    """
    graph = _Graph(operations, register)
    wanted = {one.index for one in witnesses}
    writers: dict[Hashable, list[int]] = {}
    for row, value in enumerate(graph.wrote):
        if value is not NOTHING:
            writers.setdefault(value, []).append(row)
    shows: dict[int, int] = {}  # an unanswered row -> one that shows it happened
    _show(graph, writers, shows)
    kept: set[int] = set()
    todo = [row for row, one in enumerate(graph.rows) if one.index in wanted]
    while todo:
        row = todo.pop()
        if row not in kept:
            kept.add(row)
            if graph.seen[row] is not NOTHING:
                todo += writers.get(graph.seen[row], ())
            if graph.wrote[row] is not NOTHING:
                todo += writers[graph.wrote[row]]
            if row in shows:
                todo.append(shows[row])
    rows = graph.rows
    return Excerpt(
        [rows[row] for row in sorted(kept)],
        [(rows[row], rows[shows[row]]) for row in sorted(kept) if row in shows],
    )


def _show(graph: _Graph, writers: dict[Hashable, list[int]], shows: dict[int, int]) -> None:
    """Find for each unanswered operation the first one that shows it happened."""
    ret = graph.columns.ret
    answered = [row for row in range(len(ret)) if ret[row] != FOREVER]
    todo = deque(sorted(answered, key=graph.columns.call.__getitem__))
    while todo:
        row = todo.popleft()
        if graph.seen[row] is NOTHING:
            continue
        for writer in writers.get(graph.seen[row], ()):
            if ret[writer] == FOREVER and writer not in shows:
                shows[writer] = row
                todo.append(writer)  # it happened, so what it observed happened too


def shrink(
    operations: Sequence[Operation], invalid: Judge, *, tries_max: int = TRIES_MAX
) -> list[Operation]:
    """Remove what can be removed from one key's invalid history while `invalid` still holds."""
    best = list(operations)
    tries = 0

    def attempt(candidate: list[Operation]) -> bool:
        nonlocal best, tries
        tries += 1
        if len(candidate) < len(best) and invalid(candidate):
            best = candidate
            return True
        return False

    attempt(_Graph(best).rows)  # without the opaque refusals; if they are the proof, stop here
    if len(_Graph(best).rows) == len(best):
        _halving(
            lambda: _Graph(best).values(),
            lambda values: attempt(_Graph(best).without(values)),
            lambda: tries < tries_max,
        )
    _halving(
        lambda: [one for one in best if _is_read(one)],
        lambda reads: attempt([one for one in best if one not in reads]),
        lambda: tries < tries_max,
    )
    return best


def cut_behind(operations: Iterable[Operation], stuck: Operation) -> list[Operation]:
    """Return a history as it was when one answer came: what came later is not known of it.

    That is sound where an unanswered call leaves one state, which the model knows: of an unordered
    queue it is not, where a dequeue that is answered later may have taken any element.
    """
    at = stuck.completed_ns or 0
    return [
        one
        if one is stuck or one.completed_ns is None or one.completed_ns <= at
        else msgspec.structs.replace(one, outcome=OpType.INFO, completed_ns=None, output=None)
        for one in operations
        if one.invoked_ns <= at
    ]


def without_reads(
    operations: Sequence[Operation], model: Model, invalid: Judge, *, tries_max: int = TRIES_MAX
) -> list[Operation]:
    """Remove what changes no state of any model while `invalid` still holds."""
    best = list(operations)
    tries = 0

    def reads() -> list[Operation]:
        return [one for one in best if _changes_nothing(one, model)]

    def drop(some: list[Operation]) -> bool:
        nonlocal best, tries
        tries += 1
        gone = {one.index for one in some}
        candidate = [one for one in best if one.index not in gone]
        if invalid(candidate):
            best = candidate
            return True
        return False

    _halving(reads, drop, lambda: tries < tries_max)
    return best


def _changes_nothing(one: Operation, model: Model) -> bool:
    answer = one.output if one.outcome is OpType.OK else UNKNOWN
    return model.read_only((one.f, one.input), answer)


def _halving(
    parts: Callable[[], list[Hashable]] | Callable[[], list[Operation]],
    drop: Callable[[list[Hashable]], bool] | Callable[[list[Operation]], bool],
    more: Callable[[], bool],
) -> None:
    """Drop runs of parts, halving their length until single parts were tried."""
    size = max(1, len(parts()) // 2)
    while more():
        at = 0
        while at < len(parts()) and more():
            if not drop(parts()[at : at + size]):  # type: ignore[arg-type]
                at += size
        if size == 1:
            return
        size //= 2


def _is_read(operation: Operation) -> bool:
    graph = _Graph([operation])
    return not graph.rows or graph.wrote[0] is NOTHING
