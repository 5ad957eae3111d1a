"""What the history says, looked up in ways a proof asks about it.

Everything here is read off the operations by its definition, one question at a time, and nothing is
inferred. What is asked often is looked up in an index that is made when it is first needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from checkers.evidence import Evidence
from checkers.history import History, Operation, OpType
from checkers.registers import freeze, swapped


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
    def hasty(self) -> frozenset[int]:
        """Operations that were called in the instant in which their process was answered."""
        return frozenset(
            one.index
            for mine in self.by_process.values()
            for before, one in itertools.pairwise(mine)
            if before.completed_ns == one.invoked_ns
        )

    def of_key(self, key: str | None) -> list[Operation]:
        """The operations on a key."""
        return self.history.by_key.get(key, [])

    @cached_property
    def _writes(self) -> dict[tuple[str | None, Hashable], list[Operation]]:
        found: dict[tuple[str | None, Hashable], list[Operation]] = {}
        for one in self.history.operations:
            if one.f in {"write", "cas"} and one.input is not None:
                value = one.input if one.f == "write" else one.input[-1]
                found.setdefault((one.key, freeze(value)), []).append(one)
            elif one.f == "write":
                found.setdefault((one.key, None), []).append(one)
        return found

    def would_write(self, key: str | None, value: Any) -> list[Operation]:
        """Operations on a register that asked to put a value there, whatever became of them."""
        return self._writes.get((key, freeze(value)), [])

    def may_have_written(self, key: str | None, value: Any) -> list[Operation]:
        """Operations on a register that put a value there, or may have."""
        return [one for one in self.would_write(key, value) if puts(one) is not None]

    @cached_property
    def micro(self) -> dict[Hashable, list[Micro]]:
        """Micro-operations by key: all writes that were asked for, and the reads answered."""
        found: dict[Hashable, list[Micro]] = {}
        for one in self.history.operations:
            ok = one.outcome is OpType.OK
            mops = one.output if ok else one.input
            if one.f != "txn" or not isinstance(mops, list | tuple):
                continue
            for place, mop in enumerate(mops):
                if isinstance(mop, list | tuple) and len(mop) == 3 and (ok or mop[0] != "r"):
                    f, key, value = mop
                    found.setdefault(freeze(key), []).append(Micro(one, place, f, key, value))
        return found

    def reads_of(self, key: Hashable) -> Iterator[Micro]:
        """Answered reads of a key by transactions."""
        return (one for one in self.micro.get(freeze(key), ()) if one.f == "r")

    def writes_of(self, key: Hashable) -> Iterator[Micro]:
        """Writes and appends to a key that transactions asked for, failed ones included."""
        return (one for one in self.micro.get(freeze(key), ()) if one.f != "r")


def sees(one: Operation) -> tuple[Any] | None:
    """The value of a register that an operation reports: None if it reports none."""
    if one.outcome is not OpType.OK:
        return None
    if one.f == "cas":
        if swapped(one.output):
            return (one.input[0],)
        return (one.output["seen"],) if isinstance(one.output, dict) and "seen" in one.output else None
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
