"""The whole state of a store, part by part, read from what the store holds now.

The node's own digest at an index is the node's claim about its state, and part of it travels in
snapshots. To compare states themselves, each part is encoded anew from the live store: every
version, what a read of everything finds, leases and the keys attached to them, alarms, users and
roles, the last compaction.
"""

from __future__ import annotations

import hashlib

import msgspec

from squall.node.mvcc.commands import Range
from squall.node.mvcc.store import Store

Parts = dict[str, str]
"""Name of a part of the state -> digest of it."""

_EVERYTHING = Range(key=b"\0", range_end=b"\0")
_encode = msgspec.msgpack.Encoder().encode


def parts_of(store: Store) -> Parts:
    """Digest every part of a store's state; the cost is that of reading all of it."""
    leases = list(store.leases)
    parts = {
        "revision": store.revision,
        "last compaction": store.compacted,
        "versions": store.versions(),
        "what a read finds": store.range(_EVERYTHING).kvs,
        "leases": leases,
        "keys of leases": [store.leases.keys_of(lease.id) for lease in leases],
        "alarms": list(store.alarms),
        "users and roles": store.auth.state(),
    }
    return {name: _digest(_encode(part)) for name, part in parts.items()}


def differing(one: Parts, other: Parts) -> list[str]:
    """Name the parts in which two states differ."""
    return [name for name, digest in one.items() if other.get(name) != digest]


def identity(data: bytes) -> bytes:
    """Identify a snapshot by its bytes."""
    return hashlib.blake2b(data, digest_size=16).digest()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
