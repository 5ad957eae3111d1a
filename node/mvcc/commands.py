r"""Commands of the replicated log, as tagged structs.

A command is what one log entry carries: `encode` makes its bytes on the node that proposes it,
`decode` reads them on every node that applies it. Tags and the order of fields are a disk format:
new fields go to the end with a default, tags are never reused. `Range` is here because a
transaction may contain reads; a read alone never enters the log.

Field meanings are etcd's: `range_end` b"" means the single key, b"\0" every key from `key` on,
anything else the half-open interval [key, range_end).
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from squall.node.mvcc.auth.commands import AuthCommand


class SortOrder(enum.IntEnum):
    """Numbered as in etcd's protocol."""

    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(enum.IntEnum):
    """Numbered as in etcd's protocol."""

    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class CompareResult(enum.IntEnum):
    """Numbered as in etcd's protocol."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareTarget(enum.IntEnum):
    """Numbered as in etcd's protocol."""

    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class Range(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Read a key or an interval, at `revision` (0: now).

    `count` in the answer is of all keys in the interval; limit, sorting and the four revision
    filters act on the returned page only.
    """

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: int = 0
    sort_target: int = 0
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


class Put(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Write a key. `ignore_value` and `ignore_lease` keep what the key already has."""

    key: bytes
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class DeleteRange(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Delete a key or an interval."""

    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


class Compare(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A guard: every key of the interval must satisfy `target result operand`.

    `operand` is bytes for `CompareTarget.VALUE` and an integer for every other target.
    """

    key: bytes
    target: int
    result: int
    operand: bytes | int
    range_end: bytes = b""


class Txn(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """If every compare holds then `success`, else `failure`: atomically, at one revision."""

    compares: tuple[Compare, ...] = ()
    success: tuple[Operation, ...] = ()
    failure: tuple[Operation, ...] = ()


class Compact(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Remove versions that no read at `revision` or later can see."""

    revision: int


class LeaseGrant(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Grant a lease. Its id and TTL are determined before it is proposed: all nodes agree."""

    id: int
    ttl_s: int


class LeaseRevoke(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """End a lease and delete its keys.

    `term` 0: requested by a client. Otherwise the leader of that term saw it expire, and the
    command has no effect in an entry of another term.
    """

    id: int
    term: int = 0


class AlarmAction(enum.IntEnum):
    """Numbered as in etcd's protocol."""

    GET = 0
    ACTIVATE = 1
    DEACTIVATE = 2


class Alarm(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Raise or clear an alarm of a member; `kind` is an `alarms.AlarmKind`."""

    action: int
    member_id: int
    kind: int


Operation: TypeAlias = Range | Put | DeleteRange | Txn
"""What a transaction may contain."""


class As(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """A command with the user on whose behalf it runs, under authentication."""

    user: str
    auth_revision: int
    command: Command


Command: TypeAlias = (
    Put | DeleteRange | Txn | Compact | LeaseGrant | LeaseRevoke | Alarm | AuthCommand | As
)
"""What a log entry may contain."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)


encode = _encoder.encode
"""Return the bytes of a command as they stand in the log."""

decode = _decoder.decode
"""Read what `encode` wrote.

Raises msgspec.ValidationError or msgspec.DecodeError: such bytes are damage, since only `encode`
ever writes a log entry.
"""


def is_write(operation: Operation) -> bool:
    """Whether an operation could change the store, whichever branches it takes."""
    if isinstance(operation, Txn):
        return any(map(is_write, operation.success)) or any(map(is_write, operation.failure))
    return not isinstance(operation, Range)
