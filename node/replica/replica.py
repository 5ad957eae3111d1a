"""The replica: requests, messages and time in, `Output` out; it determines the order of effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from squall.node.raft import sending, transfer
from squall.node.raft.membership import Change, Configuration, Member, decode_entry
from squall.node.raft.messages import (
    NORMAL,
    ChangeRefused,
    Entry,
    Forward,
    ForwardChange,
    Message,
    ReadIndex,
    ReadIndexReply,
    Snapshot,
)
from squall.node.raft.raft import Raft, Ready
from squall.node.raft.roles import LEADER, ROLE_NAMES
from squall.node.raft.settings import NEVER_US
from squall.node.replica.interface import (
    NOTHING,
    Event,
    Outcome,
    Output,
    PendingSnapshot,
    ReplicaConfig,
    Reply,
    StateMachine,
    Status,
    StreamingStateMachine,
)
from squall.node.replica.persistence import Persistence
from squall.node.replica.proposals import Proposals, decode_request
from squall.node.replica.read_index import PendingReads
from squall.node.replica.sessions import Sessions
from squall.node.storage.disk import Disk
from squall.node.storage.snapshot import State, decode_state, encode_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

AT_ONCE_US = 0
_NONE: list[Any] = []  # no replies, no events; shared, so it must stay empty


class Replica:
    """Raft, its storage and its state machine as one; see the package's docstring."""

    __slots__ = (
        "_config",
        "_events",
        "_failure",
        "_handlers",
        "_known_leader",
        "_known_term",
        "_machine",
        "_members_by_id",
        "_members_of",
        "_more",
        "_nonce",
        "_now_us",
        "_persistence",
        "_proposals",
        "_reads",
        "_replies",
        "_sessions",
        "_snapshot_index",
        "_transfer",
        "applied",
        "raft",
    )

    def __init__(
        self,
        config: ReplicaConfig,
        disk: Disk,
        machine: StateMachine,
        rng: Random,
        boot_nonce: int,
        now_us: int,
    ) -> None:
        self._config = config
        self._machine = machine
        self._nonce = boot_nonce
        self._now_us = now_us
        self._sessions = Sessions()
        self._events: list[Event] = []
        self._replies: list[Reply] = []
        self._failure = ""
        self._more = False
        self._members_of: Configuration | None = None
        self._members_by_id: dict[int, Member] = {}
        self._known_leader = 0  # the leader and term that requests were submitted to
        self._known_term = 0
        self._transfer: tuple[int, int, int] | None = None  # (ticket, target, deadline)
        self._persistence = Persistence(config, disk)
        found = self._persistence.found
        self.applied = 0
        self._snapshot_index = -config.snapshot_ahead
        if found.snapshot is not None:
            self._restore(found.snapshot)
        self.raft = Raft(
            config.member_id,
            config,
            found.log,
            found.hard_state,
            self._persistence.configurations(),
            found.snapshot,
            rng,
            now_us,
        )
        self._proposals = Proposals(config, self.raft, self._sessions, boot_nonce, self._replies)
        self._reads = PendingReads(config, self.raft, boot_nonce, self._replies)
        self._handlers: dict[type, Callable[[Any], None]] = {
            Forward: self._proposals.on_forward,
            ForwardChange: self._proposals.on_forward_change,
            ChangeRefused: self._proposals.on_change_refused,
            ReadIndex: self._reads.on_read_index,
            ReadIndexReply: self._on_read_index_reply,
        }
        while self.applied < found.log.commit:
            self._apply()
        if found.snapshot is not None:
            self.raft.compact(found.snapshot, config.catch_up_entries)

    @property
    def deadline_us(self) -> int:
        """When to call `tick`, possibly in the past (then at once). Poll it after every call."""
        if self._more or self._failure:
            return NEVER_US if self._failure else AT_ONCE_US
        raft = self.raft
        deadline_us = raft.election_deadline_us if raft.role != LEADER else raft.deadline_us
        if (due_us := self._proposals.deadline_us) < deadline_us:
            deadline_us = due_us
        if (due_us := self._reads.deadline_us) < deadline_us:
            deadline_us = due_us
        return deadline_us if self._transfer is None else min(deadline_us, self._transfer[2])

    # What comes in.

    def receive(self, message: Message, now_us: int) -> None:
        """A peer's message arrived."""
        if self._failure:
            return
        self._now_us = now_us
        handler = self._handlers.get(type(message))
        if handler is None:
            self.raft.step(message, now_us)
            return
        self.raft.now_us = now_us
        handler(message)

    def tick(self, now_us: int) -> None:
        """Time has passed; call it when now_us >= deadline_us (earlier is harmless)."""
        if self._failure:
            return
        self._now_us = now_us
        self.raft.tick(now_us)
        self._proposals.tick(now_us)
        self._reads.tick(now_us)
        if self._transfer is not None and now_us >= self._transfer[2]:
            self._end_transfer("request timed out, leader transfer took too long")

    def propose(self, ticket: int, command: bytes, now_us: int) -> None:
        """Propose a command; every member applies it exactly once."""
        if self._admit(ticket, now_us):
            self._proposals.add(ticket, command, now_us)

    def read_barrier(self, ticket: int, now_us: int) -> None:
        """Answer DONE when a read of the state machine would be linearizable."""
        if self._admit(ticket, now_us):
            self._reads.add(ticket, now_us)

    def propose_membership(self, ticket: int, change: Change, now_us: int) -> None:
        """Propose a membership change; the result is the new tuple of members."""
        if self._admit(ticket, now_us):
            self._proposals.add_change(ticket, change, now_us)

    def removed(self) -> None:
        """A peer reports that it has applied the removal of this member."""
        self._proposals.settle_removal()

    def transfer_leadership(self, ticket: int, target: int, now_us: int) -> None:
        """Transfer leadership to `target`; DONE once it leads. Only the leader can."""
        if not self._admit(ticket, now_us):
            return
        if self.raft.role != LEADER:
            self._refuse(ticket, "not leader")
        elif target == self.raft.id:
            self._replies.append(Reply(ticket, Outcome.DONE))
        elif self._transfer is not None:
            self._refuse(ticket, "too many requests")
        elif not transfer.begin(self.raft, target):
            self._refuse(ticket, "bad leader transferee")
        else:
            # The target's election may need a second try.
            self._transfer = (ticket, target, now_us + 2 * self._config.election_us)

    def persisted(self, batch_id: int, now_us: int) -> None:
        """The outstanding batch is durable."""
        if self._failure:
            return
        self._now_us = now_us
        saved = self._persistence.persisted(batch_id)
        received, own = saved.received, saved.own
        if received is not None and received.index > self.applied:
            self._restore(received)
            self._events.append(
                Event("snapshot-installed", {"index": received.index, "term": received.term})
            )
            self.raft.snapshot = received
            self._proposals.settle_overtaken()
            self._reads.applied(self.applied)
        if own is not None and own.index > self.raft.log.base_index:
            self._events.append(Event("snapshot-saved", {"index": own.index, "term": own.term}))
            self.raft.compact(own, self._config.catch_up_entries)
        if saved.of_raft:
            self.raft.saved(now_us)

    @property
    def pending_snapshot(self) -> PendingSnapshot | None:
        """An own snapshot for the shell to write in the background; see `background_snapshots`."""
        return self._persistence.pending_snapshot

    def snapshot_written(self, data: bytes) -> None:
        """The draft is durable under its temporary name; `data` may be lazy bytes."""
        self._persistence.snapshot_written(data, self.raft.log.base_index)

    def disk_failed(self, error: BaseException) -> None:
        """The outstanding batch failed: refuse everything from now on."""
        self._failure = str(error) or type(error).__name__
        self._more = False
        self._proposals.fail_all("server stopped")
        self._reads.fail_all("server stopped")
        self._end_transfer("server stopped")

    # What goes out.

    def take(self) -> Output:
        """Return everything the shell must do since the last call."""
        raft, persistence = self.raft, self._persistence
        if self._failure:
            return self._output([], None)
        if raft.leader != self._known_leader or raft.term != self._known_term:
            self._leader_changed()
        if self._proposals.outgoing:
            self._proposals.flush()
        if self._reads.queued:
            self._reads.flush(self._now_us)
        # Apply first: commit notices to the proposers are then among the messages of this output.
        log = raft.log
        if log.commit > self.applied < log.durable or self._more:
            self._apply()
        idle = persistence.outstanding is None
        ready = raft.ready(idle)
        batch = None
        if ready is None:
            messages = []
            if idle and persistence.own is not None:
                batch = persistence.batch(Ready([], []))
            elif not (self._replies or self._events or raft.outbox.events):
                return NOTHING
        else:
            messages = ready.messages
            if ready.save or (idle and persistence.own is not None):
                batch = persistence.batch(ready)
            for index, context in ready.reads:
                if reply := self._reads.confirmed(index, context, self.applied):
                    messages.append(reply)
        if self._replies or self._events or raft.outbox.events:
            return self._output(messages, batch)
        return Output(messages, batch, _NONE, _NONE)

    def status(self) -> Status:
        """The state of this replica as it knows it."""
        raft = self.raft
        return Status(
            member_id=raft.id,
            role=ROLE_NAMES[raft.role],
            term=raft.term,
            leader=raft.leader,
            commit=raft.log.commit,
            applied=self.applied,
            last_index=raft.log.last_index,
            revision=self._machine.revision,
            digest=self._machine.digest(),
            members=self._members(),
        )

    def settled(self) -> Configuration:
        """Return the newest configuration that is committed and applied here."""
        return self.raft.configurations.at(self.applied)

    def _members(self) -> dict[int, Member]:
        configuration = self.raft.configuration
        if configuration is not self._members_of:
            self._members_of = configuration
            self._members_by_id = {member.id: member for member in configuration.members}
        return self._members_by_id

    def _output(self, messages: list[tuple[int, Message]], batch: Any) -> Output:
        events = self._events
        if self.raft.outbox.events:
            events += [Event(name, fields) for name, fields in self.raft.outbox.events]
            self.raft.outbox.events.clear()
        if events:
            self._events = []
        replies = self._replies
        if not replies:
            return Output(messages, batch, [], events)
        given = replies[:]
        replies.clear()
        return Output(messages, batch, given, events)

    def _admit(self, ticket: int, now_us: int) -> bool:
        self._now_us = self.raft.now_us = now_us
        if self._failure:
            self._refuse(ticket, "server stopped")
            return False
        config = self._config
        if (
            self.raft.log.commit - self.applied > config.max_apply_backlog
            or len(self._proposals) + len(self._reads) >= config.max_pending
        ):
            self._refuse(ticket, "too many requests")
            return False
        return True

    def _end_transfer(self, error: str) -> None:
        if self._transfer is not None:
            self._replies.append(Reply(self._transfer[0], Outcome.UNKNOWN, error=error))
            self._transfer = None

    def _refuse(self, ticket: int, error: str) -> None:
        self._replies.append(Reply(ticket, Outcome.REFUSED, error=error))

    def _leader_changed(self) -> None:
        """Submit everything again: entries submitted to another leader or term may be lost."""
        raft = self.raft
        self._known_leader = raft.leader
        self._known_term = raft.term
        if self._transfer is not None:
            ticket, target, _ = self._transfer
            if raft.leader == target:
                self._replies.append(Reply(ticket, Outcome.DONE))
                self._transfer = None
        if raft.leader:
            self._proposals.submit_all(self._now_us)
            self._reads.request_again()

    def _on_read_index_reply(self, message: ReadIndexReply) -> None:
        self._reads.answered(message.nonce, message.sequence, message.index, self.applied)

    # The state machine.

    def _apply(self) -> None:
        """Apply what is committed and durable here, at most `max_apply` entries."""
        log = self.raft.log
        applied = self.applied
        self._more = False
        # Entries that are not durable here are not applied: no answer may depend on them.
        limit = min(log.commit, log.durable)
        if limit <= applied or applied < log.base_index:
            return
        until = min(limit, applied + self._config.max_apply)
        base = log.base_index
        leads = self.raft.role == LEADER
        for entry in log.entries[applied - base : until - base]:
            assert entry.index == self.applied + 1, (entry.index, self.applied)
            self._apply_entry(entry)
            if leads and self._proposals.was_forwarded(entry.data):
                # The member that waits for this commit is sent a notice at once.
                self._notify(entry)
        self._more = until < limit
        if self._reads.awaiting:
            self._reads.applied(until)
        if until - self._snapshot_index >= self._config.snapshot_count:
            self._take_snapshot()

    def _apply_entry(self, entry: Entry) -> None:
        index = self.applied = entry.index
        if entry.kind != NORMAL:
            self._apply_configuration(entry)
        elif entry.data:
            origin, nonce, sequence, command = decode_request(entry.data)
            if self._sessions.is_new(origin, nonce, sequence, index):
                result = self._machine.apply(index, entry.term, command)
                if origin == self._config.member_id:
                    waiter = self._proposals.pop(nonce, sequence)
                    if waiter is not None:
                        self._replies.append(
                            Reply(waiter.ticket, Outcome.DONE, result, index=index, term=entry.term)
                        )
        if index % self._config.digest_every == 0:
            digest = {"revision": self._machine.revision, "digest": self._machine.digest()}
            fields = {"index": index, "term": entry.term} | digest
            self._events.append(Event("state-digest", fields))

    def _notify(self, entry: Entry) -> None:
        leadership = self.raft.leadership
        if leadership is None:
            return
        progress = leadership.progress.get(decode_request(entry.data)[0])
        if progress is not None:
            sending.notify(self.raft, progress)

    def _apply_configuration(self, entry: Entry) -> None:
        change = decode_entry(entry.data)
        members = change.configuration.members
        self._events.append(
            Event(
                "configuration",
                {"index": entry.index, "members": [f"{member.id:x}" for member in members]},
            )
        )
        if change.origin == self._config.member_id:
            waiter = self._proposals.pop(change.nonce, change.sequence)
            if waiter is not None:
                reply = Reply(waiter.ticket, Outcome.DONE, members, "", entry.index, entry.term)
                self._replies.append(reply)

    def _take_snapshot(self) -> None:
        if self._persistence.snapshotting or self.raft.outbox.snapshot is not None:
            return
        index = self._snapshot_index = self.applied
        configuration, term = self.raft.configurations.at(index), self.raft.log.term_at(index)
        sessions = self._sessions.encode()
        if self._config.background_snapshots:
            machine = cast("StreamingStateMachine", self._machine).pieces()
            self._persistence.pending_snapshot = PendingSnapshot(
                index, term, configuration, sessions, machine
            )
        else:
            data = encode_state(State(sessions, self._machine.snapshot()))
            self._persistence.add_own(Snapshot(index, term, configuration, data))
        self._events.append(Event("snapshot-begun", {"index": index, "term": term}))
        self._more = True

    def _restore(self, taken: Snapshot) -> None:
        """State, sessions and applied index change together or not at all."""
        state = decode_state(taken.data)
        self._machine.restore(state.machine)
        self._sessions.restore(state.sessions)
        self.applied = taken.index
        self._snapshot_index = taken.index - self._config.snapshot_ahead
