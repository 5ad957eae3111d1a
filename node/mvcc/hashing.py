"""HashKV: a hash over the history of all keys, equal to etcd's at equal content.

CRC-32C over the bucket's name and then every (revision key, KeyValue message) up to the given
revision. At or below the compacted revision only the newest version of a live key counts: so nodes
agree whether or not they have removed the compacted versions yet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from crc32c import crc32c

from squall.node.mvcc.errors import COMPACTED, FUTURE_REVISION, RequestError
from squall.node.mvcc.keyvalue import KeyValue, revision_key, to_protobuf
from squall.node.mvcc.revisions import Revisions


class HashResult(msgspec.Struct, frozen=True):
    """`hash` covers the history up to `hash_revision`; `revision` is the store's."""

    hash: int
    hash_revision: int
    compact_revision: int
    revision: int


def hash_kv(store: Revisions, revision: int) -> Callable[[], HashResult]:
    """Return what hashes the history up to `revision` (0: now); raises RequestError.

    It hashes the store as it is now and changes nothing, so it may be called in another thread.
    """
    if 0 < revision <= store.compacted:
        raise RequestError(COMPACTED)
    if revision > store.current:
        raise RequestError(FUTURE_REVISION)
    upto = revision or store.current
    return partial(_hash, store.upto(upto), upto, store.compacted, store.current)


def _hash(records: list[KeyValue], upto: int, compacted: int, current: int) -> HashResult:
    newest = {kv.key: kv for kv in records}
    nothing_lives = not any(kv.version for kv in newest.values())
    crc: int = crc32c(b"key")
    for kv in records:
        if kv.mod_revision > compacted or nothing_lives or (kv.version and newest[kv.key] is kv):
            crc = crc32c(to_protobuf(kv), crc32c(revision_key(kv), crc))
    return HashResult(crc, upto, compacted, current)
