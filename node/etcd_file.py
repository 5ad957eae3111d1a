"""Our store as the database file of an etcd, and back: which bucket holds what, in etcd's encoding.

`key` is the history by revision, `lease` the leases, `auth`, `authUsers` and `authRoles` who may do
what, `meta` the applied index and the compaction, `members` and `members_removed` the cluster as
the file's writer knew it (whoever restores the file makes a new one). The rest is there and empty,
as in a file of etcd's own. Writing gives items lazily, so that a file is streamed; reading refuses
what it does not understand, because half a store is worse than none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from aetcd.rpc import kv_pb2, rpc_pb2
from google.protobuf.message import DecodeError

from node.bolt.pages import DamagedFileError
from node.bolt.reading import Database
from node.bolt.writing import Bucket, Item
from node.mvcc.keyvalue import KeyValue, revision_key, to_protobuf
from node.mvcc.revisions import FIRST_REVISION, NEVER_COMPACTED
from node.raft.membership import Member

COMPACTED_KEYS: Final = (b"finishedCompactRev", b"scheduledCompactRev")
TOMBSTONE: Final = b"t"

_NUMBER: Final = struct.Struct(">Q")
_SIGNED: Final = struct.Struct(">q")
_REVISION: Final = struct.Struct(">QcQ")


class History(msgspec.Struct, frozen=True):
    """The keys of a store: every version in order of revision, and where the history begins."""

    revision: int
    compacted: int
    records: list[KeyValue]


class _KeyItems:
    """The `key` bucket's items, made anew each time they are iterated."""

    def __init__(self, records: list[KeyValue]) -> None:
        self._records = records

    def __iter__(self) -> Iterator[Item]:
        for kv in self._records:
            yield revision_key(kv), to_protobuf(kv)


def buckets(
    history: History, applied: int, members: Iterable[Member], tables: dict[bytes, list[Item]]
) -> list[Bucket]:
    """Return the buckets of a database; `tables` has the items of those besides keys and cluster.

    `history.records` must not change until the file is written.
    """
    meta = [(b"consistent_index", _NUMBER.pack(applied))]
    if history.compacted > NEVER_COMPACTED:
        revision = _REVISION.pack(history.compacted, b"_", 0)
        meta += [(name, revision) for name in COMPACTED_KEYS]
    content: dict[bytes, Iterable[Item]] = {
        b"alarm": (),
        b"auth": (),
        b"authRoles": (),
        b"authUsers": (),
        b"cluster": (),
        b"key": _KeyItems(history.records),
        b"lease": (),
        b"members": sorted(map(_member, members)),
        b"members_removed": (),
        b"meta": sorted(meta),
    }
    assert tables.keys() <= content.keys(), tables.keys()
    return [Bucket(name, items) for name, items in {**content, **tables}.items()]


def read_history(database: Database) -> History:
    """Read the keys of a database; raises DamagedFileError."""
    records = [_record(key, value) for key, value in database.items(b"key")]
    meta = dict(database.items(b"meta"))
    scheduled = [_compaction(meta[name]) for name in COMPACTED_KEYS if name in meta]
    compacted = max(scheduled, default=NEVER_COMPACTED)
    last = records[-1].mod_revision if records else FIRST_REVISION
    return History(max(FIRST_REVISION, last, compacted), compacted, records)


def lease_item(lease_id: int, ttl_s: int) -> Item:
    """Return a lease as the `lease` bucket has it."""
    # leasepb.Lease {1: ID, 2: TTL} is not among the compiled messages; LeaseGrantRequest has the
    # same two fields, the other way round.
    message = rpc_pb2.LeaseGrantRequest(TTL=lease_id, ID=ttl_s)
    return _SIGNED.pack(lease_id), message.SerializeToString()


def read_leases(database: Database) -> list[tuple[int, int]]:
    """Read (id, TTL in seconds) of every lease; raises DamagedFileError."""
    leases = []
    for key, value in database.items(b"lease"):
        try:
            message = rpc_pb2.LeaseGrantRequest.FromString(value)
        except DecodeError as error:
            raise DamagedFileError(f"the lease {key!r} cannot be read: {error}") from None
        if key != _SIGNED.pack(message.TTL):
            raise DamagedFileError(f"the lease {key!r} says it is {message.TTL}")
        leases.append((message.TTL, message.ID))
    return leases


def _member(member: Member) -> Item:
    fields = {
        "id": member.id,
        "peerURLs": member.peer_urls,
        "isLearner": member.is_learner,
        "name": member.name,
        "clientURLs": member.client_urls,
    }
    return f"{member.id:x}".encode(), msgspec.json.encode(fields)


def _record(key: bytes, value: bytes) -> KeyValue:
    """Read one version; the key says when it was written, the value what."""
    if len(key) not in (_REVISION.size, _REVISION.size + 1) or key[_REVISION.size :] not in (
        b"",
        TOMBSTONE,
    ):
        raise DamagedFileError(f"the key bucket has {key!r}, which is no revision")
    main, underscore, sub = _REVISION.unpack_from(key)
    if underscore != b"_":
        raise DamagedFileError(f"the key bucket has {key!r}, which is no revision")
    try:
        message = kv_pb2.KeyValue.FromString(value)
    except DecodeError as error:
        raise DamagedFileError(f"the version at {main} is no KeyValue: {error}") from None
    if len(key) > _REVISION.size:
        return KeyValue(message.key, b"", 0, main, 0, 0, sub)
    if message.mod_revision != main or message.version < 1:
        raise DamagedFileError(
            f"the version at {main} says it is version {message.version} of revision "
            f"{message.mod_revision}"
        )
    return KeyValue(
        message.key,
        message.value,
        message.create_revision,
        main,
        message.version,
        message.lease,
        sub,
    )


def _compaction(value: bytes) -> int:
    if len(value) != _REVISION.size:
        raise DamagedFileError("its compaction is no revision")
    return int(_REVISION.unpack(value)[0])
