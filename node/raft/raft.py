"""The consensus core: messages, time and proposals in, a `Ready` out (as etcd's raft.Node).

`Raft` opens no socket, reads no clock and has no random source of its own. Its owner calls `step`,
`tick`, `propose`, ... and then `ready(can_save)`, and must

    1. send `messages` now: none of them depends on anything that is not durable;
    2. make `snapshot`, `entries` and `hard_state` durable, in one batch, and then call `saved()`;
       messages that depend on that batch are kept back here and returned by a later `ready`;
    3. apply entries up to min(commit, durable) and answer `reads` once their index is applied.

At most one batch is outstanding (`can_save` is false meanwhile); what accumulates while it is being
synced goes into the next: group commit. A leader sends entries while it syncs them itself, and
counts itself only when they are durable (thesis §10.2.1).

`state` holds the state and its transitions, `leadership` the part that only a leader has, `outbox`
the messages and what each waits for. The handlers of messages are in `election`, `replication`,
`heartbeats` and `snapshot_transfer`; what a leader does by itself is in `sending`, `read_index`,
`transfer` and `membership_changes`. None of them imports this module. In comments, § is the Raft
paper and "thesis §" Ongaro's dissertation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from squall.node.raft import (
    election,
    heartbeats,
    read_index,
    replication,
    sending,
    snapshot_transfer,
    transfer,
)
from squall.node.raft.messages import (
    AppendEntries,
    AppendReply,
    Entry,
    HardState,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    RequestVote,
    Snapshot,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)
from squall.node.raft.roles import CANDIDATE
from squall.node.raft.state import RaftState

_HANDLERS: Final[dict[type, Callable[[RaftState, Any], None]]] = {
    RequestVote: election.on_request_vote,
    VoteReply: election.on_vote_reply,
    TimeoutNow: election.on_timeout_now,
    AppendEntries: replication.on_append,
    AppendReply: replication.on_append_reply,
    Heartbeat: heartbeats.on_heartbeat,
    HeartbeatReply: heartbeats.on_heartbeat_reply,
    InstallSnapshot: snapshot_transfer.on_install,
    SnapshotReply: snapshot_transfer.on_snapshot_reply,
}


class Ready(msgspec.Struct):
    """What the owner of a `Raft` must do now; see the module's docstring."""

    messages: list[tuple[int, Message]]  # (receiver, message)
    reads: list[tuple[int, Any]]  # (index, context): may be served once the index is applied
    save: bool = False  # there is a batch to write: the three below
    snapshot: Snapshot | None = None
    entries: list[Entry] = []
    hard_state: HardState | None = None


class Raft(RaftState):
    """One member: inputs (`step`, `tick`, `propose`, ...) and output (`ready`, `saved`)."""

    __slots__ = ()

    @property
    def deadline_us(self) -> int:
        """When `tick` must be called, in microseconds; it may be called earlier."""
        leadership = self.leadership
        return self.election_deadline_us if leadership is None else leadership.deadline_us

    # Inputs.

    def step(self, message: Message, now_us: int) -> None:
        """Handle a peer's message."""
        self.now_us = now_us
        kind = type(message)
        if message.term != self.term and not election.compare_terms(self, message):  # type: ignore[union-attr]
            return
        _HANDLERS[kind](self, message)

    def tick(self, now_us: int) -> None:
        """Fire the timers that are due."""
        self.now_us = now_us
        leadership = self.leadership
        if leadership is not None:
            if now_us >= leadership.heartbeat_due_us:
                if heartbeats.lost_quorum(self, leadership):
                    heartbeats.step_down(self)
                    return
                heartbeats.beat(self, leadership)
            if now_us >= leadership.notice_due_us:
                sending.notify_all(self, leadership)
            if leadership.transfer_target and now_us >= leadership.transfer_deadline_us:
                transfer.abort(self, leadership)
        elif now_us >= self.election_deadline_us:
            election.timed_out(self)

    def propose(self, kind: int, data: bytes) -> bool:
        """Append an entry; False: dropped, this member does not lead or may not append now."""
        leadership = self.leadership
        if leadership is None or leadership.transfer_target:
            return False
        if leadership.uncommitted_bytes + len(data) > self.config.max_uncommitted_bytes:
            return False
        self.append_own(leadership, kind, data)
        return True

    def read_index(self, context: Any) -> bool:
        """Request an index that a read begun now must see; it is returned in `Ready.reads`.

        False: this member does not lead. The request is dropped when leadership ends meanwhile.
        """
        if self.leadership is None:
            return False
        self.leadership.read_queue.append(context)
        return True

    def compact(self, snapshot: Snapshot, keep: int) -> None:
        """An own snapshot is durable: compact the log up to `keep` entries before its index."""
        self.snapshot = snapshot
        index = snapshot.index - keep
        if self.leadership is not None:
            index = min(index, self.leadership.oldest_needed(self.now_us, self.config.election_us))
        if index > self.log.base_index:
            self.log.compact(index)
            self.configurations.compact(index)

    # Output.

    def ready(self, can_save: bool) -> Ready | None:
        """Return everything that is due, or None; a batch to save only if `can_save`."""
        leadership = self.leadership
        if leadership is not None:
            if leadership.read_queue and not leadership.read_contexts:
                read_index.begin_round(self, leadership)
            if leadership.replicate_due:
                sending.broadcast(self, leadership)
        log, outbox = self.log, self.outbox
        unsaved = (
            log.batched < log.last_index or outbox.hard_state_dirty or outbox.snapshot is not None
        )
        if outbox.held and not unsaved and not outbox.saving:
            outbox.release_held()
        messages, reads = outbox.messages, outbox.reads
        save = unsaved and can_save
        if not messages and not reads and not save:
            return None
        ready = Ready(messages, reads)
        outbox.messages = []
        if reads:
            outbox.reads = []
        if save:
            assert not outbox.saving, self
            ready.save = True
            ready.entries = log.next_batch()
            # The commit index rides along; alone it is worth no sync, being only a hint.
            ready.hard_state = HardState(self.term, self.vote, log.commit)
            ready.snapshot = outbox.batch_begun()
        return ready

    def saved(self, now_us: int) -> None:
        """The batch of the last `ready` is durable."""
        outbox = self.outbox
        assert outbox.saving, self
        self.now_us = now_us
        self.log.saved()
        outbox.batch_saved()
        if self.leadership is not None:
            replication.own_entries_saved(self, self.leadership)
        elif self.role == CANDIDATE and not outbox.hard_state_dirty:
            election.own_vote_saved(self)
