"""Maps the store to the buckets of etcd's database file, and back, in etcd's encoding.

`key` has the history by revision, `lease` the leases, `auth`, `authUsers` and `authRoles` the users
and roles, `meta` the applied index and the compaction, `members` and `members_removed` the
membership when the file was written (a restore makes a new one). The other buckets exist and are
empty, as in etcd's files. Items are produced lazily, so that a file can be streamed. Reading
refuses what it does not understand, because half a store is worse than none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from aetcd.rpc import auth_pb2, kv_pb2, rpc_pb2
from google.protobuf.message import DecodeError

from squall.node.bootstrap.bolt.pages import PAGE_BYTES, DamagedFileError
from squall.node.bootstrap.bolt.reading import Database
from squall.node.bootstrap.bolt.writing import Bucket, Item
from squall.node.mvcc.alarms import Raised
from squall.node.mvcc.auth.commands import Permission
from squall.node.mvcc.auth.store import FIRST_AUTH_REVISION, AuthState, Role, User
from squall.node.mvcc.keyvalue import KeyValue, revision_key, to_protobuf
from squall.node.mvcc.lease.table import Lease
from squall.node.mvcc.revisions import FIRST_REVISION, NEVER_COMPACTED
from squall.node.mvcc.store import Store
from squall.node.raft.membership import Member

COMPACTED_KEYS: Final = (b"finishedCompactRev", b"scheduledCompactRev")
TOMBSTONE: Final = b"t"

_NUMBER: Final = struct.Struct(">Q")
_SIGNED: Final = struct.Struct(">q")
_REVISION: Final = struct.Struct(">QcQ")


EMPTY_FILE_BYTES: Final = 7 * PAGE_BYTES
"""The size of an empty store's file."""


def about_bytes(store: Store) -> int:
    """Estimate the size of a store's file from its counters, to within a tenth.

    `size_bytes` counts for a version about what it takes in a leaf page.
    """
    return EMPTY_FILE_BYTES + -(-store.size_bytes // PAGE_BYTES) * PAGE_BYTES


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


def tables(
    leases: Iterable[Lease], alarms: Iterable[Raised], auth: AuthState
) -> dict[bytes, list[Item]]:
    """Return the items of the buckets besides keys and cluster."""
    return {
        b"alarm": sorted((_alarm_key(raised), b"") for raised in alarms),
        b"auth": [
            (b"authEnabled", b"\1" if auth.enabled else b"\0"),
            (b"authRevision", _NUMBER.pack(auth.revision)),
        ],
        b"authRoles": sorted(map(_role_item, auth.roles)),
        b"authUsers": sorted(map(_user_item, auth.users)),
        b"lease": sorted(map(_lease_item, leases)),
    }


def read_leases(database: Database) -> list[Lease]:
    """Read the leases; raises DamagedFileError."""
    leases = []
    for key, value in database.items(b"lease"):
        message = _parsed(rpc_pb2.LeaseGrantRequest, value, f"the lease {key!r}")
        if key != _SIGNED.pack(message.TTL):
            raise DamagedFileError(f"the lease {key!r} says it is {message.TTL}")
        leases.append(Lease(message.TTL, message.ID))
    return leases


def read_alarms(database: Database) -> list[Raised]:
    """Read the alarms that stand; raises DamagedFileError."""
    alarms = []
    for key, _ in database.items(b"alarm"):
        message = _parsed(rpc_pb2.AlarmMember, key, "an alarm")
        alarms.append(Raised(message.memberID, message.alarm))
    return alarms


def read_auth(database: Database) -> AuthState:
    """Read users and roles; raises DamagedFileError."""
    switches = dict(database.items(b"auth"))
    revision = switches.get(b"authRevision", _NUMBER.pack(FIRST_AUTH_REVISION))
    if len(revision) != _NUMBER.size:
        raise DamagedFileError("its auth revision is no number")
    users = [_user(value) for _, value in database.items(b"authUsers")]
    roles = [_role(value) for _, value in database.items(b"authRoles")]
    return AuthState(
        switches.get(b"authEnabled") == b"\1",
        max(FIRST_AUTH_REVISION, _NUMBER.unpack(revision)[0]),
        tuple(sorted(users, key=lambda user: user.name)),
        tuple(sorted(roles, key=lambda role: role.name)),
    )


def _lease_item(lease: Lease) -> Item:
    # leasepb.Lease {1: ID, 2: TTL} is not among the compiled messages; LeaseGrantRequest has the
    # same two fields, the other way round.
    message = rpc_pb2.LeaseGrantRequest(TTL=lease.id, ID=lease.ttl_s)
    return _SIGNED.pack(lease.id), message.SerializeToString()


def _alarm_key(raised: Raised) -> bytes:
    message = rpc_pb2.AlarmMember(memberID=raised.member_id, alarm=raised.kind)
    key: bytes = message.SerializeToString()
    return key


def _user_item(user: User) -> Item:
    message = auth_pb2.User(
        name=user.name.encode(),
        password=user.password_hash,
        roles=user.roles,
        options=auth_pb2.UserAddOptions(no_password=user.no_password),
    )
    return user.name.encode(), message.SerializeToString()


def _user(value: bytes) -> User:
    message = _parsed(auth_pb2.User, value, "a user")
    roles = tuple(sorted(message.roles))
    return User(message.name.decode(), message.password, roles, message.options.no_password)


def _role_item(role: Role) -> Item:
    permissions = [
        auth_pb2.Permission(permType=each.kind, key=each.key, range_end=each.range_end)
        for each in role.permissions
    ]
    message = auth_pb2.Role(name=role.name.encode(), keyPermission=permissions)
    return role.name.encode(), message.SerializeToString()


def _role(value: bytes) -> Role:
    message = _parsed(auth_pb2.Role, value, "a role")
    permissions = (Permission(p.permType, p.key, p.range_end) for p in message.keyPermission)
    ordered = sorted(permissions, key=lambda each: (each.key, each.range_end))
    return Role(message.name.decode(), tuple(ordered))


def _parsed(kind: Any, data: bytes, what: str) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise DamagedFileError(f"{what} cannot be read: {error}") from None


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
    """Decode one version: the key is its revision, the value a KeyValue."""
    if len(key) not in (_REVISION.size, _REVISION.size + 1) or key[_REVISION.size :] not in (
        b"",
        TOMBSTONE,
    ):
        raise DamagedFileError(f"the key bucket has {key!r}, which is no revision")
    main, underscore, sub = _REVISION.unpack_from(key)
    if underscore != b"_":
        raise DamagedFileError(f"the key bucket has {key!r}, which is no revision")
    message = _parsed(kv_pb2.KeyValue, value, f"the version at {main}")
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
