"""Transactions as their judges want them: numbered, with their micro-operations and intervals.

An operation `txn` asks for a list of micro-operations [function, key, argument] and is answered
with the same list, its reads filled in:

    append  key  element     put an element at the end of the key's list
    w       key  value       set the key's value
    r       key  None        -> the list (list-append) or the value (rw-register; None: never set)

Transaction i is `Transactions.operations[i]`. One that failed did nothing, ever; of one that was
never answered (`info`) only the writes are known, and whether they took effect is for others to
show. An answer to something else than was asked (`mismatch`) is believed in nothing: what was asked
may have been written, and that is all.

This module decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from checkers.history import MalformedHistory, Operation, OpType
from checkers.registers import FOREVER, IGNORED

TXN: Final = "txn"
"""The function of an operation that is a transaction."""

READ, WRITE, APPEND = "r", "w", "append"

MicroOp = Sequence[Any]
"""(function, key, value): the value written, or the value a read was answered with."""


class _Unstated:
    """The type of UNSTATED."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSTATED"


UNSTATED: Final = _Unstated()
"""The initial value of keys where neither the format nor the user states one."""


class Past(NamedTuple):
    """What keys hold before the history begins, and whether the history has every write.

    `initial` is the value of every key at first, UNSTATED where it is not known. `complete` is
    false for an excerpt: a value without a writer may then have been written outside of it.
    """

    initial: Any = None
    complete: bool = True

    @property
    def stated(self) -> bool:
        """Whether the initial value is known."""
        return self.initial is not UNSTATED


class Mismatch(NamedTuple):
    """Where an answer is to something else than was asked.

    `at` is the place of the first micro-operation that differs, counted from 0; `asked` and
    `answered` are that micro-operation in either list, None where the list has ended.
    """

    at: int
    asked: Any
    answered: Any


class Transactions(NamedTuple):
    """Parallel columns, in order of invocation. `ret` is FOREVER where no answer is believed.

    `mops` are the micro-operations that were answered, else those that were asked; of a transaction
    in `mismatched` (by its number) they are the writes that were asked.
    """

    operations: list[Operation]
    mops: list[Sequence[MicroOp]]
    ok: list[bool]
    failed: list[bool]
    call: list[int]
    ret: list[int]
    mismatched: dict[int, Mismatch]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.operations)


def transactions(operations: Iterable[Operation], writes: str) -> Transactions:
    """Collect the transactions; `writes` is the micro-operation which writes (`append` or `w`).

    Reads from a node's own state promise no isolation and are left out. A read may be asked for in
    two places, [r, key]. Raises MalformedHistory on what is no list of micro-operations, and on a
    success whose answer was not kept (None).
    """
    found = Transactions([], [], [], [], [], [], {})
    allowed = {READ, writes}
    # Bound once: this loop sees every micro-operation of the history.
    for operation in operations:
        if operation.f != TXN:
            if operation.f in IGNORED:
                continue
            raise MalformedHistory(
                f"op {operation.index}: {operation.f!r} where every operation is a {TXN!r}"
            )
        outcome = operation.outcome
        ok = outcome is OpType.OK
        if ok and _plainly_answered(operation, writes):
            mops = operation.output
        else:
            mops = asked = checked_request(operation, allowed)
            if ok:
                answered = checked_answer(operation)
                wrong = mismatch(asked, answered)
                if wrong is None:
                    mops = answered
                    for mop in mops:
                        if mop[0] == READ:
                            _check_read(operation, mop, writes)
                else:
                    found.mismatched[len(found.operations)] = wrong
                    mops = [mop for mop in asked if mop[0] != READ]
                    ok = False
        found.operations.append(operation)
        found.mops.append(mops)
        found.ok.append(ok)
        found.failed.append(outcome is OpType.FAIL)
        found.call.append(operation.invoked_ns)
        until = operation.completed_ns
        found.ret.append(FOREVER if until is None or not ok else until)
    return found


def _plainly_answered(operation: Operation, writes: str) -> bool:
    """Whether an answer fits what was asked and both are well shaped; if not, look closer."""
    asked, answered = operation.input, operation.output
    lists = writes == APPEND
    try:
        if len(asked) != len(answered):
            return False
        for (f, key, value), (its_f, its_key, its_value) in zip(asked, answered, strict=True):
            if f != its_f or key != its_key:
                return False
            hash(key)
            if f == READ:
                if its_value is None:
                    continue
                if not lists:
                    hash(its_value)
                elif its_value.__class__ is list:
                    hash(tuple(its_value))
                else:
                    return False
            elif f == writes and value == its_value and value.__class__ is its_value.__class__:
                hash(value)
            else:
                return False
    except (TypeError, ValueError):
        return False
    return True


def checked_request(operation: Operation, allowed: Iterable[str]) -> Sequence[MicroOp]:
    """Return what a transaction asked for, each read in three places; `allowed` are functions.

    Raises MalformedHistory where it is no list of micro-operations over plain keys and values.
    """
    mops = operation.input
    if not isinstance(mops, list | tuple):
        raise MalformedHistory(
            f"op {operation.index}: a transaction is a list of micro-operations, not {mops!r}"
        )
    short = False
    for mop in mops:
        try:
            f, key, value = mop
            known = f in allowed
            hash(key)
            if f != READ:
                hash(value)
        except (TypeError, ValueError):
            known = short = _short_read(mop)
        if not known:
            names = "|".join(sorted(allowed))
            raise MalformedHistory(
                f"op {operation.index}: a micro-operation is [{names}, key, value], not {mop!r}"
            )
    return [[*mop, None][:3] for mop in mops] if short else mops


def _short_read(mop: Any) -> bool:
    """Whether this is a read in two places, [r, key]."""
    if not isinstance(mop, list | tuple) or len(mop) != 2 or mop[0] != READ:
        return False
    try:
        hash(mop[1])
    except TypeError:
        return False
    return True


def checked_answer(operation: Operation) -> Sequence[MicroOp]:
    """Return what a transaction that succeeded was answered, in the shape of micro-operations.

    Raises MalformedHistory where it has another shape, or was not kept.
    """
    mops = operation.output
    if mops is None:
        raise MalformedHistory(
            f"op {operation.index}: a transaction that succeeded is answered with its "
            f"micro-operations, not nil; one whose answer was not kept is an info"
        )
    if not isinstance(mops, list | tuple):
        raise MalformedHistory(
            f"op {operation.index}: a transaction is a list of micro-operations, not {mops!r}"
        )
    for mop in mops:
        if not isinstance(mop, list | tuple) or len(mop) != 3:
            raise MalformedHistory(
                f"op {operation.index}: a micro-operation is answered with [function, key, value], "
                f"not {mop!r}"
            )
    return mops


def mismatch(asked: Sequence[MicroOp], answered: Sequence[MicroOp]) -> Mismatch | None:
    """Return where an answer is to something else than was asked, or None where it fits.

    It fits when both have as many micro-operations, each of the same function and key, and writes
    and appends of the same value. What a read was answered with is not looked at.
    """
    if len(asked) == len(answered):
        try:
            for (f, key, value), (its_f, its_key, its_value) in zip(asked, answered, strict=True):
                if f != its_f or key != its_key:
                    break
                if f != READ and (
                    value != its_value
                    or (value.__class__ is not its_value.__class__ and _booleans(value, its_value))
                ):
                    break
            else:
                return None
        except (TypeError, ValueError):
            pass
    for at in range(max(len(asked), len(answered))):
        one = asked[at] if at < len(asked) else None
        other = answered[at] if at < len(answered) else None
        if one is None or other is None or not _fits(one, other):
            return Mismatch(at, one, other)
    return None


def _fits(asked: MicroOp, answered: Any) -> bool:
    if not isinstance(answered, list | tuple) or len(answered) != 3:
        return False
    if list(asked[:2]) != list(answered[:2]):
        return False
    return asked[0] == READ or (answered[2] == asked[2] and not _booleans(answered[2], asked[2]))


def _booleans(one: Any, other: Any) -> bool:
    """Whether one of two values is true or false, and the other, though equal, a number."""
    return isinstance(one, bool) is not isinstance(other, bool)


def _check_read(operation: Operation, mop: MicroOp, writes: str) -> None:
    """Check that what was read is a list of plain elements, or a plain value."""
    value = mop[2]
    if value is None:
        return
    if writes == APPEND and not isinstance(value, list):
        raise MalformedHistory(f"op {operation.index}: {mop!r} reads no list")
    try:
        hash(tuple(value) if writes == APPEND else value)
    except TypeError:
        what = "elements that are no plain values" if writes == APPEND else "no plain value"
        raise MalformedHistory(f"op {operation.index}: {mop!r} reads {what}") from None


def external_reads(mops: Iterable[MicroOp]) -> dict[Any, Any]:
    """The value each key had for this transaction before it wrote the key itself."""
    found: dict[Any, Any] = {}
    written = set()
    for f, key, value in mops:
        if f != READ:
            written.add(key)
        elif key not in written and key not in found:
            found[key] = value
    return found
