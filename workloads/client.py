"""A key-value client as a workload sees it: requests and answers as plain data.

A workload's client step awaits a `Kv`, which speaks gRPC to a container or passes the request to a
simulated node. Every method makes exactly one attempt. It raises `Definite` when the request
certainly had and will have no effect, `Indefinite` when the outcome is unknown. Anything else that
is raised counts as Indefinite.

A watch is a stream of answers on a connection of its own. It ends when its client closes it, or
when it breaks; it is never reopened without the client's asking.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Definite(Exception):
    """The request did not happen and never will. The message is the database's own text."""


class Indefinite(Exception):
    """The outcome is unknown: the request may have happened, or still may."""


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


class Watch(msgspec.Struct, frozen=True, tag="watch"):
    """Watch the changes of a key, or of [key, range_end), from `start_revision` on.

    Revision 0 is now: the next change. `progress_notify` asks for promises of progress while
    nothing happens.
    """

    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    no_put: bool = False
    no_delete: bool = False
    prev_kv: bool = False
    progress_notify: bool = False


class WatchEvent(msgspec.Struct, frozen=True):
    """A change. Of a deleted key only its name and `mod_revision` are given."""

    deleted: bool
    kv: KeyValue
    prev_kv: KeyValue | None = None


class WatchAnswer(msgspec.Struct, frozen=True):
    """One response of a watch; `revision` is that of its header.

    A canceled one is the last. Its `compact_revision` is not 0 if what was asked for is gone.
    """

    revision: int
    events: tuple[WatchEvent, ...] = ()
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""

    @property
    def is_progress(self) -> bool:
        """Whether it promises that everything up to its revision has been sent."""
        return not (self.events or self.created or self.canceled)


class WatchStream(Protocol):
    """A watch in progress. Answers not taken yet wait in bounded room, and hold the node back.

    The first answer confirms that the watch was created.
    """

    @property
    def elapsed_ns(self) -> int:
        """How long ago the watch was asked for."""
        ...

    async def next(self, timeout_ns: int) -> WatchAnswer | None:
        """Await the next answer; None if none came in time.

        Raises Definite or Indefinite, now and for ever, once the stream is broken and everything
        that came before has been handed out.
        """
        ...

    async def ask_progress(self) -> None:
        """Ask for a promise of progress. Never raises: a broken stream says so by `next`."""
        ...

    async def rest(self, duration_ns: int) -> None:
        """Take no answer for a while, as a slow client does."""
        ...

    async def close(self) -> None:
        """End the watch. Never raises, and may be called twice."""
        ...


class Kv(Protocol):
    """One connection to one node. One request at a time, one attempt each."""

    node: str

    async def call(self, request: Request) -> Answer:
        """Send one request and await its one answer; raises Definite or Indefinite."""
        ...

    async def watch(self, request: Watch) -> WatchStream:
        """Ask for a watch on a stream of its own; raises Definite or Indefinite."""
        ...
