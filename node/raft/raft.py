"""The consensus core: messages, time and proposals in, a `Ready` of obligations out.

`Raft` opens no socket, reads no clock and rolls no dice of its own. Its owner calls `step`, `tick`,
`propose`, ... and then `ready(can_save)`, and must

    1. send `messages` now: none of them promises anything that is not durable;
    2. make `snapshot`, `entries` and `hard_state` durable, in one batch, and then call `saved()`;
       what depends on that batch is kept back here and comes out of a later `ready`;
    3. apply entries up to min(commit, durable) and answer `reads` once their index is applied.

At most one batch is outstanding (`can_save` is false meanwhile); what comes up while it is being
synced goes into the next: group commit. A leader sends entries while it syncs them itself, and
counts itself only when they are durable (thesis §10.2.1).

This module holds the state and its transitions. What to do with each message lives beside it:
`election`, `replication`, `installation` (snapshots), `reading` (ReadIndex), `transfer`, `changing`
(membership). Section numbers in comments: § is the Raft paper, "thesis §" Ongaro's dissertation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from squall.node.raft import election, replication, snapshot_transfer, transfer
from squall.node.raft import read_index as reading
from squall.node.raft.log import RaftLog
from squall.node.raft.membership import Configuration, ConfigurationLog
from squall.node.raft.messages import (
    AppendEntries,
    AppendReply,
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
from squall.node.raft.progress import Progress
from squall.node.raft.ready import RaftConfig, Ready
from squall.node.raft.roles import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    NEVER_US,
    NOBODY,
    PRE_CANDIDATE,
    ROLE_NAMES,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


class Raft:
    """One member's view of the consensus."""

    __slots__ = (
        "_flight_held",
        "_handlers",
        "_saving",
        "append_cache",
        "config",
        "configurations",
        "election_deadline_us",
        "events",
        "hard_dirty",
        "hard_flight",
        "heartbeat_due_us",
        "held",
        "id",
        "incoming",
        "leader",
        "leader_contact_us",
        "log",
        "messages",
        "notice_due_us",
        "now_us",
        "peers",
        "progress",
        "read_commit",
        "read_contexts",
        "read_queue",
        "read_round",
        "reads",
        "replicate_due",
        "rng",
        "role",
        "round",
        "snapshot",
        "snapshot_unsaved",
        "term",
        "term_start",
        "timeout_us",
        "transfer_deadline_us",
        "transfer_target",
        "uncommitted_bytes",
        "vote",
        "voter_ids",
        "voters",
        "votes",
    )

    def __init__(
        self,
        config: RaftConfig,
        log: RaftLog,
        hard_state: HardState,
        configurations: ConfigurationLog,
        snapshot: Snapshot | None,
        rng: Random,
        now_us: int,
    ) -> None:
        self.config = config
        self.id = config.id
        self.log = log
        self.configurations = configurations
        self.rng = rng
        self.now_us = now_us
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = FOLLOWER
        self.leader = NOBODY
        self.votes: dict[int, bool] = {}
        self.leader_contact_us = -NEVER_US
        self.timeout_us = NEVER_US
        self.election_deadline_us = NEVER_US
        self.snapshot = snapshot  # the newest durable one, for followers that need it
        self.incoming: snapshot_transfer.Incoming | None = None
        self.voter_ids: tuple[int, ...] = ()
        # A leader's own.
        self.progress: dict[int, Progress] = {}
        self.peers: list[Progress] = []  # everyone else
        self.voters: list[Progress] = []  # those who count, itself included if it does
        self.heartbeat_due_us = 0
        self.notice_due_us = NEVER_US  # when followers must hear of the newest commit index
        self.term_start = 0  # the index of its first entry in this term
        self.uncommitted_bytes = 0
        self.replicate_due = False
        self.append_cache: AppendEntries | None = None
        self.round = 0
        self.read_queue: list[Any] = []
        self.read_contexts: list[Any] = []
        self.read_round = 0
        self.read_commit = 0
        self.transfer_target = NOBODY
        self.transfer_deadline_us = 0
        # Outgoing.
        self.messages: list[tuple[int, Message]] = []
        self.reads: list[tuple[int, Any]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.held: list[tuple[int, Message]] = []  # depend on what is not in a batch yet
        self._flight_held: list[tuple[int, Message]] = []  # depend on the batch in flight
        self.hard_dirty = False
        self.hard_flight = False
        self._saving = False
        self.snapshot_unsaved: Snapshot | None = None
        self._handlers: dict[type, Callable[[Raft, Any], None]] = {
            RequestVote: election.on_request_vote,
            VoteReply: election.on_vote_reply,
            AppendEntries: replication.on_append,
            AppendReply: replication.on_append_reply,
            Heartbeat: replication.on_heartbeat,
            HeartbeatReply: replication.on_heartbeat_reply,
            InstallSnapshot: snapshot_transfer.on_install,
            SnapshotReply: snapshot_transfer.on_snapshot_reply,
            TimeoutNow: transfer.on_timeout_now,
        }
        self.configuration_changed()

    def __repr__(self) -> str:
        return (
            f"Raft({self.id:x} {ROLE_NAMES[self.role]} term={self.term} vote={self.vote:x} "
            f"leader={self.leader:x} {self.log})"
        )

    @property
    def configuration(self) -> Configuration:
        """The configuration in force: the last one in the log, committed or not (§6)."""
        return self.configurations.current

    @property
    def is_voter(self) -> bool:
        """Whether this node counts in the configuration in force."""
        return self.id in self.voter_ids

    @property
    def may_campaign(self) -> bool:
        """Whether an election timeout concerns this node.

        Also while its removal is not known to be committed: it may be the only one whose log is
        complete enough to win, and then brings its own removal about (thesis §4.2.2).
        """
        if self.id in self.voter_ids:
            return True
        commit = self.log.commit
        return (
            self.configurations.index > commit
            and self.id in self.configurations.at(commit).voters()
        )

    @property
    def deadline_us(self) -> int:
        """When `tick` has something to do; it may be called earlier."""
        if self.role != LEADER:
            return self.election_deadline_us
        due_us = self.heartbeat_due_us
        if self.notice_due_us < due_us:
            due_us = self.notice_due_us
        return min(due_us, self.transfer_deadline_us) if self.transfer_target else due_us

    # Inputs.

    def step(self, message: Message, now_us: int) -> None:
        """Take in a peer's message."""
        self.now_us = now_us
        kind = type(message)
        if message.term != self.term and not election.settle_term(self, message):  # type: ignore[union-attr]
            return
        self._handlers[kind](self, message)

    def tick(self, now_us: int) -> None:
        """Let time pass."""
        self.now_us = now_us
        if self.role == LEADER:
            if now_us >= self.heartbeat_due_us:
                replication.beat(self)
            if now_us >= self.notice_due_us:
                replication.notify_all(self)
            if self.transfer_target and now_us >= self.transfer_deadline_us:
                transfer.abort(self)
        elif now_us >= self.election_deadline_us:
            election.timed_out(self)

    def propose(self, kind: int, data: bytes) -> bool:
        """Append an entry if this node leads and may; else the proposal was dropped for certain."""
        if self.role != LEADER or self.transfer_target:
            return False
        if self.uncommitted_bytes + len(data) > self.config.max_uncommitted_bytes:
            return False
        replication.append_own(self, kind, data)
        return True

    def read_index(self, context: Any) -> bool:
        """Ask for an index that a read begun now must see; it comes out in `Ready.reads`.

        False: this node does not lead. A leadership lost meanwhile drops the request silently.
        """
        if self.role != LEADER:
            return False
        self.read_queue.append(context)
        return True

    def compact(self, snapshot: Snapshot, keep: int) -> None:
        """A snapshot of this node's own is durable: forget all but `keep` entries behind it."""
        self.snapshot = snapshot
        index = min(snapshot.index - keep, snapshot_transfer.oldest_needed(self))
        if index > self.log.base_index:
            self.log.compact(index)
            self.configurations.compact(index)

    # Output.

    def ready(self, can_save: bool) -> Ready | None:
        """Give all that is owed by now, None if nothing is; a batch to save only if `can_save`."""
        if self.role == LEADER:
            if self.read_queue and not self.read_contexts:
                reading.begin_round(self)
            if self.replicate_due:
                replication.broadcast(self)
        log = self.log
        unsaved = (
            log.handed < log.last_index or self.hard_dirty or self.snapshot_unsaved is not None
        )
        if self.held and not unsaved and not self._saving:
            self.messages += self.held
            self.held = []
        messages, reads = self.messages, self.reads
        save = unsaved and can_save
        if not messages and not reads and not save:
            return None
        ready = Ready(messages, reads)
        self.messages = []
        if reads:
            self.reads = []
        if save:
            assert not self._saving, self
            self._hand_out(ready)
        return ready

    def saved(self, now_us: int) -> None:
        """The batch of the last `ready` is durable."""
        assert self._saving, self
        self.now_us = now_us
        self._saving = self.hard_flight = False
        self.log.saved()
        if self._flight_held:
            self.messages += self._flight_held
            self._flight_held = []
        if self.role == LEADER:
            replication.own_entries_saved(self)
        elif self.role == CANDIDATE and not self.hard_dirty:
            election.own_vote_saved(self)

    def send(self, target: int, message: Message) -> None:
        """Send what promises nothing, or nothing that is not durable already."""
        self.messages.append((target, message))

    def send_when_saved(self, target: int, message: Message) -> None:
        """Send when all that this node has taken in so far is durable."""
        self.held.append((target, message))

    def send_in_term(self, target: int, message: Message) -> None:
        """Send as soon as the term and vote are durable; entries do not matter."""
        if self.hard_dirty or self.hard_flight:
            self.held.append((target, message))
        else:
            self.messages.append((target, message))

    def _hand_out(self, ready: Ready) -> None:
        ready.save = True
        ready.entries = self.log.hand_out()
        # The commit index rides along; alone it is worth no sync, being only a hint.
        ready.hard_state = HardState(self.term, self.vote, self.log.commit)
        ready.snapshot = self.snapshot_unsaved
        self.snapshot_unsaved = None
        self.hard_flight = self.hard_dirty
        self.hard_dirty = False
        self._flight_held = self.held
        self.held = []
        self._saving = True

    # Transitions: the only places where role, term, vote and leader change.

    def become_follower(self, term: int, leader: int) -> None:
        """Follow `leader` (or nobody yet) in `term`."""
        assert term >= self.term, (term, self)
        was = self.role
        known = self.leader
        if term > self.term:
            self._enter_term(term, NOBODY)
        self.role = FOLLOWER
        self.leader = leader
        if was == LEADER:
            self._leave_leadership()
        self.votes = {}
        self.reset_election_timer()
        if was != FOLLOWER or (leader and leader != known):
            self.events.append(("became-follower", {"term": self.term, "leader": leader}))

    def become_pre_candidate(self) -> None:
        """Ask whether an election could be won, without touching the term (thesis §9.6)."""
        assert self.role != LEADER, self
        self.role = PRE_CANDIDATE
        self.leader = NOBODY
        self.votes = {self.id: True}
        self.reset_election_timer()
        self.events.append(("became-pre-candidate", {"term": self.term}))

    def become_candidate(self) -> None:
        """Begin a new term and vote for oneself; the vote counts once it is durable (§5.2)."""
        assert self.role != LEADER, self
        self._enter_term(self.term + 1, self.id)
        self.role = CANDIDATE
        self.leader = NOBODY
        self.votes = {}
        self.reset_election_timer()
        self.events.append(("became-candidate", {"term": self.term}))

    def become_leader(self) -> None:
        """Lead: append an entry of the term at once, so that earlier ones can commit (§5.4.2)."""
        assert self.role == CANDIDATE, self
        assert self.vote == self.id, self
        assert not self.hard_dirty, self
        self.role = LEADER
        self.leader = self.id
        self.votes = {}
        self.progress = {}
        self.configuration_changed()
        log = self.log
        first = log.commit - log.base_index
        self.uncommitted_bytes = sum(len(entry.data) for entry in log.entries[first:])
        self.round += 1
        self.term_start = log.last_index + 1
        self.events.append(("became-leader", {"term": self.term, "index": self.term_start}))
        replication.append_own(self, 0, b"")
        self.heartbeat_due_us = self.now_us + self.config.heartbeat_us

    def configuration_changed(self) -> None:
        """Another configuration is in force: by append, truncation, snapshot or election."""
        self.voter_ids = self.configurations.current.voters()
        if self.role != LEADER:
            if self.may_campaign != (self.timeout_us != NEVER_US):
                self.reset_election_timer()
            return
        replication.track_members(self)

    def reset_election_timer(self) -> None:
        """Draw a new timeout from [1, 2) election timeouts (§5.2)."""
        self.timeout_us = NEVER_US
        if self.may_campaign:
            election_us = self.config.election_us
            self.timeout_us = election_us + int(self.rng.random() * election_us)
        self.election_deadline_us = self.now_us + self.timeout_us

    def heard_leader(self, sender: int) -> None:
        """A message of this term's leader arrived."""
        assert self.role != LEADER, f"two leaders in term {self.term}: {self.id:x} and {sender:x}"
        if self.leader != sender or self.role != FOLLOWER:
            assert self.leader == NOBODY, f"two leaders in term {self.term}: {self}, {sender:x}"
            self.become_follower(self.term, sender)
        self.leader_contact_us = self.now_us
        self.election_deadline_us = self.now_us + self.timeout_us

    def voted(self, candidate: int) -> None:
        """Record a vote of this term."""
        assert self.vote in (NOBODY, candidate), (candidate, self)
        if self.vote != candidate:
            self.vote = candidate
            self.hard_dirty = True

    def _enter_term(self, term: int, vote: int) -> None:
        # The only place where a vote is forgotten: with the term it was given in.
        assert term > self.term, (term, self)
        self.term = term
        self.vote = vote
        self.hard_dirty = True
        # An acknowledgement dies with the term it was given in: its entries may be replaced before
        # the batch that carries them is durable.
        if self.held:
            self.held = [each for each in self.held if type(each[1]) is not AppendReply]
        if self._flight_held:
            self._flight_held = [
                each for each in self._flight_held if type(each[1]) is not AppendReply
            ]

    def _leave_leadership(self) -> None:
        self.progress = {}
        self.peers, self.voters = [], []
        self.append_cache = None
        self.read_queue, self.read_contexts = [], []
        self.transfer_target = NOBODY
        self.replicate_due = False
        self.notice_due_us = NEVER_US
