"""Results of commands and reads. `revision` is that of the response's header."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from squall.node.mvcc.alarms import Raised
from squall.node.mvcc.errors import RequestError
from squall.node.mvcc.keyvalue import KeyValue


class RangeResult(msgspec.Struct, frozen=True):
    """A page of keys; `count` is of the whole interval, `more`: the limit cut the page."""

    revision: int
    kvs: tuple[KeyValue, ...] = ()
    count: int = 0
    more: bool = False


class PutResult(msgspec.Struct, frozen=True):
    """A put. `prev_kv` only when it was requested and existed."""

    revision: int
    prev_kv: KeyValue | None = None


class DeleteResult(msgspec.Struct, frozen=True):
    """How many keys a delete removed, and which, when that was requested."""

    revision: int
    deleted: int = 0
    prev_kvs: tuple[KeyValue, ...] = ()


class TxnResult(msgspec.Struct, frozen=True):
    """Which branch ran and the results of its operations, in order.

    A transaction inside another has revision 0, as etcd's has.
    """

    revision: int
    succeeded: bool
    results: tuple[OperationResult, ...] = ()


class CompactResult(msgspec.Struct, frozen=True):
    """A compaction; `revision` is the store's, which it does not change."""

    revision: int


class LeaseResult(msgspec.Struct, frozen=True):
    """A lease that was granted or revoked."""

    revision: int
    id: int
    ttl_s: int = 0


class AlarmResult(msgspec.Struct, frozen=True):
    """The alarms that a command changed."""

    revision: int
    changed: tuple[Raised, ...] = ()


class AuthResult(msgspec.Struct, frozen=True):
    """A change of users or roles, or an issued token."""

    revision: int
    token: str = ""


OperationResult: TypeAlias = RangeResult | PutResult | DeleteResult | TxnResult
CommandResult: TypeAlias = (
    OperationResult | CompactResult | LeaseResult | AlarmResult | AuthResult | RequestError
)
