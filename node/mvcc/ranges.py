"""Range reads: count, filters, order and limit, in etcd's order.

The whole interval is counted; then the revision filters apply; then sorting; then the limit. So
`count` is that of the interval, whatever the page contains.
"""

from __future__ import annotations

from operator import attrgetter

from squall.node.mvcc.commands import Range, SortOrder, SortTarget
from squall.node.mvcc.keyvalue import KeyValue, without_value
from squall.node.mvcc.results import RangeResult
from squall.node.mvcc.revisions import Revisions

_SORT_KEYS = {
    SortTarget.KEY: attrgetter("key"),
    SortTarget.VERSION: attrgetter("version"),
    SortTarget.CREATE: attrgetter("create_revision"),
    SortTarget.MOD: attrgetter("mod_revision"),
    SortTarget.VALUE: attrgetter("value"),
}


def read(store: Revisions, op: Range) -> RangeResult:
    """Answer a Range; raises RequestError for a compacted or a future revision."""
    now = store.visible
    if op.revision > 0:
        store.check_readable(op.revision)
        at = op.revision
    else:
        at = now
    if op.range_end:
        found = store.index.scan(op.key, op.range_end, at)
    else:
        kv = store.index.at(op.key, at)
        found = [] if kv is None else [kv]
    count = len(found)
    if op.count_only:
        return RangeResult(now, (), count)
    page = _ordered(_filtered(found, op), op) if count else found
    more = 0 < op.limit < len(page)
    if more:
        page = page[: op.limit]
    if op.keys_only:
        page = [without_value(kv) for kv in page]
    return RangeResult(now, tuple(page), count, more)


def _filtered(kvs: list[KeyValue], op: Range) -> list[KeyValue]:
    if op.max_mod_revision:
        kvs = [kv for kv in kvs if kv.mod_revision <= op.max_mod_revision]
    if op.min_mod_revision:
        kvs = [kv for kv in kvs if kv.mod_revision >= op.min_mod_revision]
    if op.max_create_revision:
        kvs = [kv for kv in kvs if kv.create_revision <= op.max_create_revision]
    if op.min_create_revision:
        kvs = [kv for kv in kvs if kv.create_revision >= op.min_create_revision]
    return kvs


def _ordered(kvs: list[KeyValue], op: Range) -> list[KeyValue]:
    """Sort a page; no order with a target other than the key means ascending."""
    if op.sort_order == SortOrder.NONE and op.sort_target == SortTarget.KEY:
        return kvs
    descending = op.sort_order == SortOrder.DESCEND
    return sorted(kvs, key=_SORT_KEYS[SortTarget(op.sort_target)], reverse=descending)
