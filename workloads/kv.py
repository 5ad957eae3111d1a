"""A key-value client as a workload sees it: requests and answers as plain data.

A workload's client step awaits a `Kv`; it neither knows nor cares whether that speaks gRPC to a
container or hands the request to a simulated node. Every method makes exactly one attempt. It
raises `Definite` when the request certainly had and will have no effect, `Indefinite` when nobody
knows. Anything else that is raised counts as Indefinite.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Definite(Exception):
    """The request did not happen and never will. The message is the database's own text."""


class Indefinite(Exception):
    """Nobody knows whether the request happened, or whether it still will."""


class KeyValue(msgspec.Struct, frozen=True):
    """A key with its value and its four etcd numbers."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


class Range(msgspec.Struct, frozen=True, tag="range"):
    """Read a key, or [key, range_end). Revision 0 is now."""

    key: bytes
    range_end: bytes = b""
    revision: int = 0
    limit: int = 0
    serializable: bool = False


class Put(msgspec.Struct, frozen=True, tag="put"):
    """Write a key."""

    key: bytes
    value: bytes
    lease: int = 0
    prev_kv: bool = False


class Delete(msgspec.Struct, frozen=True, tag="delete"):
    """Delete a key, or [key, range_end)."""

    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


class Compare(msgspec.Struct, frozen=True):
    """A guard: `target` is value, version, create, mod or lease; `op` one of = != < >."""

    key: bytes
    target: str
    op: str
    operand: bytes | int


class Txn(msgspec.Struct, frozen=True, tag="txn"):
    """If every compare holds then `success`, else `failure`; all at one revision."""

    compares: tuple[Compare, ...] = ()
    success: tuple[Request, ...] = ()
    failure: tuple[Request, ...] = ()


class Compact(msgspec.Struct, frozen=True, tag="compact"):
    """Forget history below `revision`."""

    revision: int
    physical: bool = False


Request = Range | Put | Delete | Txn | Compact


class RangeAnswer(msgspec.Struct, frozen=True):
    """What a Range found."""

    kvs: tuple[KeyValue, ...]
    count: int
    more: bool
    revision: int
    term: int = 0


class PutAnswer(msgspec.Struct, frozen=True):
    """A Put that happened at `revision`."""

    revision: int
    prev_kv: KeyValue | None = None
    term: int = 0


class DeleteAnswer(msgspec.Struct, frozen=True):
    """How many keys a Delete removed."""

    deleted: int
    revision: int
    prev_kvs: tuple[KeyValue, ...] = ()
    term: int = 0


class TxnAnswer(msgspec.Struct, frozen=True):
    """Which branch ran, and its answers in order."""

    succeeded: bool
    revision: int
    answers: tuple[Answer, ...] = ()
    term: int = 0


class CompactAnswer(msgspec.Struct, frozen=True):
    """A Compact that happened."""

    revision: int
    term: int = 0


Answer = RangeAnswer | PutAnswer | DeleteAnswer | TxnAnswer | CompactAnswer


class Kv(Protocol):
    """One connection to one node. One request at a time, one attempt each."""

    node: str

    async def call(self, request: Request) -> Answer:
        """Send one request and await its one answer; raises Definite or Indefinite."""
        ...
