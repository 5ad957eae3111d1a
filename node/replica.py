"""A replica: Raft, its WAL and its state machine tied together, still sans-IO.

Two thin shells drive it: asyncio with real sockets and files, and the simulator. The shell does

    replica.receive(message, now_us)      a peer's message arrived
    replica.tick(now_us)                  now_us >= replica.deadline_us
    replica.propose(ticket, command, now_us)
    replica.read_barrier(ticket, now_us)
    replica.persisted(batch_id, now_us)   the disk batch it was given is durable

and after any of them `out = replica.take()`, whose obligations it fulfils: send `out.messages`,
execute `out.batch` (one at a time, in order), deliver `out.replies`, log `out.events`. The replica
owns the order (persist, then send what depends on it, then apply, then answer): whatever is in `out`
may be done at once and in any order.

Time is integer microseconds of the node's own monotonic clock. Chance comes from the `Random` given.
"""

from __future__ import annotations

import enum
from typing import Any, Protocol

import msgspec


class StateMachine(Protocol):
    """What the log is for. Deterministic: same commands, same state, same results, same digest."""

    def apply(self, index: int, term: int, command: bytes) -> Any:
        """Apply one command and return its result (kept only where its proposer waits)."""
        ...

    def snapshot(self) -> bytes:
        """The whole state, side tables included."""
        ...

    def restore(self, data: bytes) -> None:
        """Replace the whole state."""
        ...

    @property
    def revision(self) -> int:
        """The store's revision."""
        ...

    def digest(self) -> str:
        """A short digest of the state (or of its history): equal at equal index on every node. O(1)."""
        ...


class Outcome(enum.IntEnum):
    """How a proposal or a read barrier ended."""

    DONE = 0  # applied (result) / barrier reached: the machine may be read now
    REFUSED = 1  # certainly never happened and never will
    UNKNOWN = 2  # nobody knows: leadership lost, timed out, ...


class Reply(msgspec.Struct, frozen=True):
    """The end of what was begun with `ticket`. `error` is the etcd error text without prefix."""

    ticket: int
    outcome: Outcome
    result: Any = None
    error: str = ""
    index: int = 0
    term: int = 0
