"""The types between a replica, its shell and its state machine: inputs, outputs and settings."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from squall.node.raft.membership import Configuration, Member
from squall.node.raft.messages import Message
from squall.node.raft.settings import MIB, RaftSettings
from squall.node.storage.disk import Batch


class StateMachine(Protocol):
    """What the log is applied to. Deterministic: equal commands give equal states and digests."""

    def apply(self, index: int, term: int, command: bytes) -> Any:
        """Apply one command and return its result (used only where its proposer waits)."""
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
        """A short digest of the state or its history, O(1): equal at equal index on every node."""
        ...


class StreamingStateMachine(StateMachine, Protocol):
    """A state machine that can be snapshotted while it changes (`background_snapshots`)."""

    def pieces(self) -> Iterator[bytes]:
        """What `snapshot` returns now, in pieces that may be consumed while the state changes."""
        ...


class Outcome(enum.IntEnum):
    """How a proposal or a read barrier ended."""

    DONE = 0  # applied (result) / barrier reached: the machine may be read now
    REFUSED = 1  # certainly never happened and never will
    UNKNOWN = 2  # may or may not happen: leadership lost, timed out, ...


class Reply(msgspec.Struct, frozen=True):
    """The outcome of the request with this ticket. `error` is etcd's error text without prefix."""

    ticket: int
    outcome: Outcome
    result: Any = None
    error: str = ""
    index: int = 0
    term: int = 0


class PendingSnapshot(msgspec.Struct, frozen=True):
    """An own snapshot that the shell writes in the background: its position and its content."""

    index: int
    term: int
    configuration: Configuration
    sessions: msgspec.Raw
    machine: Iterator[bytes]

    @property
    def at(self) -> tuple[int, int, Configuration]:
        """Its position in the log."""
        return self.index, self.term, self.configuration


class Event(msgspec.Struct):
    """One line of the node's log; the field names are those of the log line."""

    name: str
    fields: dict[str, Any]


class Output(msgspec.Struct):
    """What the shell must do; all of it may be done at once and in any order.

    `messages` are (member id of the target, message). `batch` is set only while no other batch is
    outstanding; the shell answers it with `persisted(batch.id)` or `disk_failed(error)`.
    """

    messages: list[tuple[int, Message]]
    batch: Batch | None
    replies: list[Reply]
    events: list[Event]


NOTHING = Output([], None, [], [])
"""Nothing to do, as after most messages. Shared: its lists must stay empty."""


class Status(msgspec.Struct, frozen=True):
    """What a replica knows of itself; `role` is one of `squall.node.raft.roles.ROLE_NAMES`."""

    member_id: int
    role: str
    term: int
    leader: int
    commit: int
    applied: int
    last_index: int
    revision: int
    digest: str
    members: dict[int, Member]


class ReplicaSettings(RaftSettings, frozen=True, kw_only=True):
    """Raft's settings and those of what is around it; sizes are bytes."""

    request_timeout_us: int = 0  # 0: etcd's 5 s + 2 x election timeout
    retry_us: int = 500_000  # repeat requests that a leader has not answered, as etcd's read index
    max_pending: int = 16_384  # proposals and barriers that wait on this node
    max_apply_backlog: int = 5_000  # committed but not applied, as etcd
    max_apply: int = 512  # entries applied by one take()

    snapshot_count: int = 10_000  # applied entries between snapshots
    snapshot_ahead: int = 0  # the first one that many earlier: members take turns
    background_snapshots: bool = False  # own ones are written by the shell, not in a batch
    catch_up_entries: int = 5_000  # kept in the log behind a snapshot, for slow followers
    segment_bytes: int = 16 * MIB
    max_wals: int = 0  # 0 keeps all
    max_snapshots: int = 0  # 0 keeps all
    digest_every: int = 64  # a state-digest event at every multiple of it

    @property
    def timeout_us(self) -> int:
        """How long a request may wait for its answer."""
        return self.request_timeout_us or 5_000_000 + 2 * self.election_us


class ReplicaConfig(ReplicaSettings, frozen=True, kw_only=True):
    """A replica's identity and its settings.

    `initial_members` is the same on every member of a new cluster and empty on one that joins an
    existing cluster; it is read only when the data directory is empty.
    """

    cluster_id: int
    member_id: int
    initial_members: tuple[Member, ...] = ()
