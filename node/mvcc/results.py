"""What the store answers. `revision` is what the response's header shows."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from squall.node.mvcc.alarms import Raised
from squall.node.mvcc.errors import RequestError
from squall.node.mvcc.keyvalue import KeyValue


class RangeResult(msgspec.Struct, frozen=True):
    """A page of keys; `count` is of the whole interval, `more` says the page was cut by limit."""

    revision: int
    kvs: tuple[KeyValue, ...] = ()
    count: int = 0
    more: bool = False


class PutResult(msgspec.Struct, frozen=True):
    """A put that happened. `prev_kv` only when it was asked for and there was one."""

    revision: int
    prev_kv: KeyValue | None = None


class DeleteResult(msgspec.Struct, frozen=True):
    """How many keys a delete removed, and which, when that was asked for."""

    revision: int
    deleted: int = 0
    prev_kvs: tuple[KeyValue, ...] = ()


class TxnResult(msgspec.Struct, frozen=True):
    """Which branch ran and the answers of its operations, in order.

    A transaction inside another has revision 0, as etcd's has.
    """

    revision: int
    succeeded: bool
    results: tuple[OperationResult, ...] = ()


class CompactResult(msgspec.Struct, frozen=True):
    """A compaction that happened; `revision` is the store's, which it leaves alone."""

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
    """A change of users or roles, or a token that was issued."""

    revision: int
    token: str = ""


OperationResult: TypeAlias = RangeResult | PutResult | DeleteResult | TxnResult
CommandResult: TypeAlias = (
    OperationResult | CompactResult | LeaseResult | AlarmResult | AuthResult | RequestError
)
