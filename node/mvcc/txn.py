"""Transactions: compares, then checks, then all operations at one revision (etcd: apply.go).

All compares, those of nested transactions on the chosen branches too, are evaluated on the store as
it was before the transaction; then every request on the chosen path is checked; only then does the
first one run. A request that fails nevertheless rolls the whole transaction back.
"""

from __future__ import annotations

import operator
from typing import Any

import msgspec

from squall.node.mvcc import ranges
from squall.node.mvcc.commands import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRange,
    Put,
    Range,
    Txn,
)
from squall.node.mvcc.errors import KEY_NOT_FOUND, RequestError
from squall.node.mvcc.keyvalue import KeyValue
from squall.node.mvcc.lease.table import Leases
from squall.node.mvcc.results import DeleteResult, OperationResult, PutResult, TxnResult
from squall.node.mvcc.revisions import Revisions


class Path(msgspec.Struct, frozen=True):
    """A transaction whose compares are evaluated: the requests of the branch that will run."""

    succeeded: bool
    steps: tuple[Range | Put | DeleteRange | Path, ...]


def run(store: Revisions, leases: Leases, txn: Txn) -> TxnResult:
    """Run a whole transaction up to, not including, its commit; raises RequestError.

    After a RequestError the caller rolls back. The result's revision is the one the store has once
    the caller has committed.
    """
    path = _decide(store, txn)
    # etcd checks the puts of the whole path before its ranges: two errors have one winner.
    _check_puts(store, leases, path)
    _check_ranges(store, path)
    results = _execute(store, leases, path)
    return TxnResult(store.visible, path.succeeded, results)


def put(store: Revisions, leases: Leases, op: Put) -> PutResult:
    """Run one put up to its commit; raises RequestError."""
    value, lease = op.value, op.lease
    if lease:
        leases.check(lease)
    if op.ignore_value or op.ignore_lease:
        existing = store.index.latest(op.key)
        if existing is None:
            raise RequestError(KEY_NOT_FOUND)
        if op.ignore_value:
            value = existing.value
        if op.ignore_lease:
            lease = existing.lease
    previous = store.put(op.key, value, lease)
    return PutResult(store.current + 1, previous if op.prev_kv else None)


def delete(store: Revisions, op: DeleteRange) -> DeleteResult:
    """Run one delete up to its commit."""
    removed = store.delete(op.key, op.range_end)
    return DeleteResult(store.visible, len(removed), tuple(removed) if op.prev_kv else ())


def _decide(store: Revisions, txn: Txn) -> Path:
    succeeded = True
    for compare in txn.compares:
        if not _holds(store, compare):
            succeeded = False
            break
    branch = txn.success if succeeded else txn.failure
    steps = [_decide(store, op) if isinstance(op, Txn) else op for op in branch]
    return Path(succeeded, tuple(steps))


_OPERATORS: dict[int, Any] = {
    CompareResult.EQUAL: operator.eq,
    CompareResult.GREATER: operator.gt,
    CompareResult.LESS: operator.lt,
    CompareResult.NOT_EQUAL: operator.ne,
}
_FIELDS: dict[int, Any] = {
    CompareTarget.VERSION: operator.attrgetter("version"),
    CompareTarget.CREATE: operator.attrgetter("create_revision"),
    CompareTarget.MOD: operator.attrgetter("mod_revision"),
    CompareTarget.VALUE: operator.attrgetter("value"),
    CompareTarget.LEASE: operator.attrgetter("lease"),
}
_ABSENT = KeyValue(b"", b"", 0, 0, 0)


def _holds(store: Revisions, compare: Compare) -> bool:
    """Evaluate a compare: all keys of its interval must satisfy it.

    Where there is no key, a comparison of values fails whatever its operator, and every other one
    compares with 0.
    """
    holds, field = _OPERATORS[compare.result], _FIELDS[compare.target]
    if compare.range_end:
        kvs = store.index.scan(compare.key, compare.range_end, store.current)
        if kvs:
            return all(holds(field(kv), compare.operand) for kv in kvs)
        kv = None
    else:
        kv = store.index.latest(compare.key)
    if kv is None:
        if compare.target == CompareTarget.VALUE:
            return False
        kv = _ABSENT
    return bool(holds(field(kv), compare.operand))


def _check_puts(store: Revisions, leases: Leases, path: Path) -> None:
    for step in path.steps:
        if isinstance(step, Path):
            _check_puts(store, leases, step)
        elif isinstance(step, Put):
            keeps = step.ignore_value or step.ignore_lease
            if keeps and store.index.latest(step.key) is None:
                raise RequestError(KEY_NOT_FOUND)
            if step.lease:
                leases.check(step.lease)


def _check_ranges(store: Revisions, path: Path) -> None:
    for step in path.steps:
        if isinstance(step, Path):
            _check_ranges(store, step)
        elif isinstance(step, Range) and step.revision > 0:
            store.check_readable(step.revision)


def _execute(store: Revisions, leases: Leases, path: Path) -> tuple[OperationResult, ...]:
    return tuple([_step(store, leases, step) for step in path.steps])


def _step(
    store: Revisions, leases: Leases, step: Range | Put | DeleteRange | Path
) -> OperationResult:
    if isinstance(step, Put):
        return put(store, leases, step)
    if isinstance(step, DeleteRange):
        return delete(store, step)
    if isinstance(step, Path):
        return TxnResult(0, step.succeeded, _execute(store, leases, step))
    return ranges.read(store, step)
