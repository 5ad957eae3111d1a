"""Transactions as their judges want them: numbered, with their micro-operations and intervals.

An operation `txn` asks for a list of micro-operations [function, key, argument] and is answered
with the same list, its reads filled in:

    append  key  element     put an element at the end of the key's list
    w       key  value       set the key's value
    r       key  None        -> the list (list-append) or the value (rw-register; None: never set)

Transaction i is `Transactions.operations[i]`. One that failed did nothing, ever; of one that nobody
answered (`info`) only the writes are known, and whether they took effect is for others to show.
This module decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from squall.checkers.history import MalformedHistory, Operation, OpType
from squall.checkers.linearizability.registers import FOREVER, IGNORED

TXN: Final = "txn"
"""The function of an operation that is a transaction."""

READ, WRITE, APPEND = "r", "w", "append"

MicroOp = Sequence[Any]
"""(function, key, value): the value written, or the value a read was answered with."""


class Transactions(NamedTuple):
    """Parallel columns, in order of invocation. `ret` is FOREVER where nobody answered."""

    operations: list[Operation]
    mops: list[Sequence[MicroOp]]
    ok: list[bool]
    failed: list[bool]
    call: list[int]
    ret: list[int]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.operations)


def transactions(operations: Iterable[Operation], writes: str) -> Transactions:
    """Collect the transactions; `writes` is the micro-operation which writes (`append` or `w`).

    Reads from a node's own state promise no isolation and are left out. Raises MalformedHistory on
    a misshapen micro-operation.
    """
    found = Transactions([], [], [], [], [], [])
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
        mops = operation.output if ok else operation.input
        if not isinstance(mops, list | tuple):
            raise MalformedHistory(
                f"op {operation.index}: a transaction is a list of micro-operations, not {mops!r}"
            )
        for mop in mops:
            try:
                f, key, value = mop
                known = f in allowed
                hash(key)
                if f == writes or (writes == WRITE and ok):
                    hash(value)
            except (TypeError, ValueError):
                known = False
            if not known:
                raise MalformedHistory(
                    f"op {operation.index}: a micro-operation is [{READ}|{writes}, key, value], "
                    f"not {mop!r}"
                )
            if f == READ and ok and writes == APPEND and value is not None:
                _check_list(operation, mop)
        found.operations.append(operation)
        found.mops.append(mops)
        found.ok.append(ok)
        found.failed.append(outcome is OpType.FAIL)
        found.call.append(operation.invoked_ns)
        until = operation.completed_ns
        found.ret.append(FOREVER if until is None or not ok else until)
    return found


def _check_list(operation: Operation, mop: MicroOp) -> None:
    value = mop[2]
    if not isinstance(value, list):
        raise MalformedHistory(f"op {operation.index}: {mop!r} reads no list")
    try:
        hash(tuple(value))
    except TypeError:
        raise MalformedHistory(
            f"op {operation.index}: {mop!r} reads elements that are no plain values"
        ) from None


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
