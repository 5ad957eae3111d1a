"""What the history says, looked up in ways a proof asks about it.

Everything here is read off the operations by its definition, one question at a time, and nothing is
inferred. What is asked often is looked up in an index that is made when it is first needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Operation, OpType, process_name
from squall.checkers.linearizability.registers import freeze, swapped


class Micro(NamedTuple):
    """A micro-operation of a transaction: what it did, to which key, with which value."""

    operation: Operation
    place: int
    f: str
    key: Hashable
    value: Any


class Facts:
    """A history, and the nodes' own evidence beside it, where there is any."""

    def __init__(self, history: History, evidence: Evidence | None = None) -> None:
        self.history = history
        self.evidence = evidence
        self._writes: dict[str | None, dict[Hashable, list[Operation]]] = {}
        self._hasty: dict[int | str, frozenset[int]] = {}
        self._micro: dict[Hashable, list[Micro]] = {}
        self._wanted: set[Hashable] = set()

    @cached_property
    def by_index(self) -> dict[int, Operation]:
        """Client operations by the index of their invocation."""
        return {one.index: one for one in self.history.operations}

    @cached_property
    def by_process(self) -> dict[int | str, list[Operation]]:
        """Client operations by process, in the order of their calls."""
        found: dict[int | str, list[Operation]] = {}
        for one in self.history.operations:
            found.setdefault(one.process, []).append(one)
        return found

    @cached_property
    def clients(self) -> frozenset[str]:
        """What clients are called."""
        return frozenset(map(process_name, self.by_process))

    def hasty(self, process: int | str) -> frozenset[int]:
        """A process's operations that were called in the instant in which it was answered."""
        if process not in self._hasty:
            self._hasty[process] = frozenset(
                one.index
                for before, one in itertools.pairwise(self.by_process[process])
                if before.completed_ns == one.invoked_ns
            )
        return self._hasty[process]

    def of_key(self, key: str | None) -> list[Operation]:
        """The operations on a key."""
        return self.history.by_key.get(key, [])

    def would_write(self, key: str | None, value: Any) -> list[Operation]:
        """Operations on a register that asked to put a value there, whatever became of them."""
        if key not in self._writes:
            mine = self._writes[key] = {}
            for one in self.of_key(key):
                if one.f in {"write", "cas"}:
                    asked = one.input if one.f == "write" else one.input[-1]
                    mine.setdefault(freeze(asked), []).append(one)
        return self._writes[key].get(freeze(value), [])

    def may_have_written(self, key: str | None, value: Any) -> list[Operation]:
        """Operations on a register that put a value there, or may have."""
        return [one for one in self.would_write(key, value) if puts(one) is not None]

    def look_for(self, indexes: Iterable[int]) -> None:
        """Note the keys of transactions that will be asked about, so that one pass finds all."""
        for index in indexes:
            one = self.by_index.get(index)
            if one is not None and one.f == "txn" and isinstance(one.input, list | tuple):
                self._wanted |= {freeze(mop[1]) for mop in one.input if len(mop) >= 2}

    def micro(self, key: Hashable) -> list[Micro]:
        """A key's micro-operations: all writes that were asked for, and the reads answered."""
        key = freeze(key)
        if key not in self._micro:
            self._wanted.add(key)
            self._micro = {wanted: [] for wanted in self._wanted}
            self._collect()
        return self._micro[key]

    def _collect(self) -> None:
        found = self._micro
        for one in self.history.operations:
            if one.f != "txn" or not isinstance(one.input, list | tuple):
                continue
            answered: Any = None
            for place, mop in enumerate(one.input):
                if not isinstance(mop, list | tuple) or not 2 <= len(mop) <= 3:
                    continue
                mine = found.get(freeze(mop[1]))
                if mine is None:
                    continue
                if answered is None:
                    answered = one.output if believed(one) else ()
                if answered:
                    mine.append(Micro(one, place, *answered[place]))
                elif mop[0] != "r":
                    mine.append(Micro(one, place, *mop))

    @cached_property
    def claimed(self) -> frozenset[tuple[Hashable, Hashable]]:
        """(key, value) of every write that an answer names which is no answer to what was asked."""
        return frozenset(
            (freeze(mop[1]), freeze(mop[2]))
            for one in self.history.operations
            if one.f == "txn" and one.outcome is OpType.OK and not believed(one)
            for mop in one.output or ()
            if isinstance(mop, list | tuple) and len(mop) == 3 and mop[0] != "r"
        )

    def reads_of(self, key: Hashable) -> Iterator[Micro]:
        """Answered reads of a key by transactions."""
        return (one for one in self.micro(key) if one.f == "r")

    def writes_of(self, key: Hashable) -> Iterator[Micro]:
        """Writes and appends to a key that transactions asked for, failed ones included."""
        return (one for one in self.micro(key) if one.f != "r")


def believed(one: Operation) -> bool:
    """Whether a transaction was answered, and about what it asked: place by place, the same.

    An answer to something else shows nothing but that it is one.
    """
    asked, answered = one.input, one.output
    if one.outcome is not OpType.OK or not isinstance(answered, list | tuple):
        return False
    if len(asked) != len(answered):
        return False
    for mop, its in zip(asked, answered, strict=True):
        if not isinstance(its, list | tuple) or len(its) != 3 or list(mop[:2]) != list(its[:2]):
            return False
        if mop[0] != "r":
            booleans = isinstance(mop[2], bool) is not isinstance(its[2], bool)
            if mop[2] != its[2] or booleans:
                return False
    return True


def sees(one: Operation) -> tuple[Any] | None:
    """The value of a register that an operation reports: None if it reports none."""
    if one.outcome is not OpType.OK:
        return None
    if one.f == "cas":
        if swapped(one.output):
            return (one.input[0],)
        return (
            (one.output["seen"],) if isinstance(one.output, dict) and "seen" in one.output else None
        )
    return (one.output,) if one.f.endswith("read") else None


def expects(one: Operation) -> tuple[Any] | None:
    """The value of a register that an operation found if it took effect, answered or not."""
    if one.f == "cas" and one.outcome is OpType.INFO:
        return (one.input[0],)
    return sees(one)


def puts(one: Operation) -> tuple[Any] | None:
    """The value that an operation installed in a register, or may have; None if it did not."""
    if one.outcome is OpType.FAIL:
        return None
    if one.f == "write":
        return (one.input,)
    if one.f == "cas" and (one.outcome is OpType.INFO or swapped(one.output)):
        return (one.input[1],)
    return None


def held_values(one: Operation) -> list[Hashable]:
    """Values a register held around the moment at which an operation took effect."""
    return [freeze(found[0]) for found in (expects(one), puts(one)) if found is not None]
