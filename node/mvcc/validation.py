"""Validation of requests before they are proposed: etcd's checks, in etcd's order.

The checks depend on the request alone, so every node gives the same answer, and a refused request
has had no effect. What depends on the store is checked when the command is applied.
"""

from __future__ import annotations

from squall.node.mvcc.commands import DeleteRange, Operation, Put, Range, SortOrder, SortTarget, Txn
from squall.node.mvcc.errors import (
    DUPLICATE_KEY,
    EMPTY_KEY,
    INVALID_SORT_OPTION,
    LEASE_PROVIDED,
    TOO_MANY_OPS,
    VALUE_PROVIDED,
    RequestError,
)

MAX_TXN_OPS = 128
"""etcd's default of --max-txn-ops: guards, success and failure requests each."""

_SORT_ORDERS = frozenset(map(int, SortOrder))
_SORT_TARGETS = frozenset(map(int, SortTarget))

_Interval = tuple[bytes, bytes]


def check(request: Operation, max_txn_ops: int = MAX_TXN_OPS) -> None:
    """Raise RequestError when the request can be refused without looking at the store."""
    _check_shape(request, max_txn_ops)
    if isinstance(request, Txn):
        _check_overlap(request.success)
        _check_overlap(request.failure)


def _check_shape(request: Operation, max_ops: int) -> None:
    if isinstance(request, Txn):
        _check_txn(request, max_ops)
        return
    if not request.key:
        raise RequestError(EMPTY_KEY)
    if isinstance(request, Range):
        if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
            raise RequestError(INVALID_SORT_OPTION)
    elif isinstance(request, Put):
        if request.ignore_value and request.value:
            raise RequestError(VALUE_PROVIDED)
        if request.ignore_lease and request.lease:
            raise RequestError(LEASE_PROVIDED)
    else:
        assert isinstance(request, DeleteRange), request


def _check_txn(txn: Txn, max_ops: int) -> None:
    operations = max(len(txn.compares), len(txn.success), len(txn.failure))
    if operations > max_ops:
        raise RequestError(TOO_MANY_OPS)
    if not all(compare.key for compare in txn.compares):
        raise RequestError(EMPTY_KEY)
    for request in (*txn.success, *txn.failure):
        # The operations of a level reduce the limit of the levels below it.
        _check_shape(request, max_ops - operations)


def _check_overlap(requests: tuple[Operation, ...]) -> tuple[set[bytes], list[_Interval]]:
    """Refuse a branch that puts a key twice, or puts what it also deletes.

    Returns the keys put and the intervals deleted anywhere below. The two branches of a nested
    transaction may put the same key: only one of them will run.
    """
    deleted = [(op.key, op.range_end) for op in requests if isinstance(op, DeleteRange)]
    put: set[bytes] = set()
    for op in requests:
        if isinstance(op, Txn):
            put_then, deleted_then = _check_overlap(op.success)
            put_else, deleted_else = _check_overlap(op.failure)
            _refuse(put_then & put, put_then, deleted)
            put |= put_then
            _refuse((put_else & put) - put_then, put_else, deleted)
            put |= put_else
            deleted = [*deleted, *deleted_then, *deleted_else]
    for op in requests:
        if isinstance(op, Put):
            _refuse({op.key} & put, {op.key}, deleted)
            put.add(op.key)
    return put, deleted


def _refuse(twice: set[bytes], put: set[bytes], deleted: list[_Interval]) -> None:
    if twice or any(_covers(interval, key) for interval in deleted for key in put):
        raise RequestError(DUPLICATE_KEY)


def _covers(interval: _Interval, key: bytes) -> bool:
    start, end = interval
    if not end:
        return key == start
    # An end of b"\\0" (every key from here on) is not special here, as it is not in etcd: such a
    # delete followed by a put is let through, and does what it says.
    return start <= key < end
