"""Consensus state of one member, and the only functions that change role, term, vote and leader.

The message handlers act on a `RaftState`; this module imports none of them, `raft` all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from squall.node.raft.leadership import Leadership
from squall.node.raft.log import RaftLog
from squall.node.raft.membership import Configuration, ConfigurationLog, decode_entry
from squall.node.raft.messages import (
    CONFIGURATION,
    NOBODY,
    NORMAL,
    AppendReply,
    Entry,
    HardState,
    Snapshot,
)
from squall.node.raft.outbox import Outbox
from squall.node.raft.roles import CANDIDATE, FOLLOWER, LEADER, PRE_CANDIDATE, ROLE_NAMES
from squall.node.raft.settings import NEVER_US, RaftSettings

if TYPE_CHECKING:
    from random import Random


class Incoming(msgspec.Struct):
    """A snapshot in transfer: its identity, its sender and the bytes received so far."""

    sender: int
    term: int
    index: int
    snapshot_term: int
    size: int
    configuration: Configuration
    data: bytearray


class RaftState:
    """State and transitions of one member; `leadership` is set exactly while it leads."""

    __slots__ = (
        "config",
        "configurations",
        "election_deadline_us",
        "id",
        "incoming",
        "leader",
        "leader_contact_us",
        "leadership",
        "log",
        "now_us",
        "outbox",
        "rng",
        "role",
        "round",
        "snapshot",
        "term",
        "timeout_us",
        "vote",
        "voter_ids",
        "votes",
    )

    def __init__(
        self,
        member_id: int,
        config: RaftSettings,
        log: RaftLog,
        hard_state: HardState,
        configurations: ConfigurationLog,
        snapshot: Snapshot | None,
        rng: Random,
        now_us: int,
    ) -> None:
        self.config = config
        self.id = member_id
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
        self.incoming: Incoming | None = None
        self.voter_ids: tuple[int, ...] = ()
        self.round = 0  # of heartbeats; no number is used twice
        self.leadership: Leadership | None = None
        self.outbox = Outbox()
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
        """Whether this member votes in the configuration in force."""
        return self.id in self.voter_ids

    @property
    def may_campaign(self) -> bool:
        """Whether an election timeout makes this member campaign.

        Also while its removal is not known to be committed: its log may be the only one complete
        enough to win the election that then commits the removal (thesis §4.2.2).
        """
        if self.id in self.voter_ids:
            return True
        commit = self.log.commit
        return (
            self.configurations.index > commit
            and self.id in self.configurations.at(commit).voters()
        )

    @property
    def transfer_target(self) -> int:
        """The target of the leader transfer under way; NOBODY when there is none."""
        return NOBODY if self.leadership is None else self.leadership.transfer_target

    def become_follower(self, term: int, leader: int) -> None:
        """Become a follower in `term`, of `leader` or NOBODY when it is not known yet."""
        assert term >= self.term, (term, self)
        was = self.role
        known = self.leader
        if term > self.term:
            self._enter_term(term, NOBODY)
        self.role = FOLLOWER
        self.leader = leader
        self.leadership = None
        self.votes = {}
        self.reset_election_timer()
        if was != FOLLOWER or (leader and leader != known):
            self.outbox.events.append(("became-follower", {"term": self.term, "leader": leader}))

    def become_pre_candidate(self) -> None:
        """Start a pre-vote: term and vote stay as they are (thesis §9.6)."""
        assert self.role != LEADER, self
        self.role = PRE_CANDIDATE
        self.leader = NOBODY
        self.votes = {self.id: True}
        self.reset_election_timer()
        self.outbox.events.append(("became-pre-candidate", {"term": self.term}))

    def become_candidate(self) -> None:
        """Start an election in a new term; the own vote counts once it is durable (§5.2)."""
        assert self.role != LEADER, self
        self._enter_term(self.term + 1, self.id)
        self.role = CANDIDATE
        self.leader = NOBODY
        self.votes = {}
        self.reset_election_timer()
        self.outbox.events.append(("became-candidate", {"term": self.term}))

    def become_leader(self) -> None:
        """Become leader; append a no-op of the term so that earlier entries can commit (§5.4.2)."""
        assert self.role == CANDIDATE, self
        assert self.vote == self.id, self
        assert not self.outbox.hard_state_dirty, self
        self.role = LEADER
        self.leader = self.id
        self.votes = {}
        log = self.log
        first = log.commit - log.base_index
        uncommitted = sum(len(entry.data) for entry in log.entries[first:])
        leadership = self.leadership = Leadership(log.last_index + 1, uncommitted)
        self.configuration_changed()
        self.round += 1
        self.outbox.events.append(
            ("became-leader", {"term": self.term, "index": leadership.term_start})
        )
        self.append_own(leadership, NORMAL, b"")
        leadership.heartbeat_due_us = self.now_us + self.config.heartbeat_us

    def append_own(self, leadership: Leadership, kind: int, data: bytes) -> int:
        """Append an entry of the current term to the leader's log; returns its index."""
        index = self.log.last_index + 1
        if kind == CONFIGURATION:
            # In force once appended, committed or not (§6); a new member is sent this entry first.
            self.configurations.append(index, decode_entry(data).configuration)
            self.configuration_changed()
        self.log.append([Entry(self.term, index, kind, data)])
        leadership.uncommitted_bytes += len(data)
        leadership.replicate_due = True
        return index

    def configuration_changed(self) -> None:
        """Another configuration may be in force: after append, truncation, snapshot or election."""
        self.voter_ids = self.configurations.current.voters()
        leadership = self.leadership
        if leadership is not None:
            leadership.track(
                self.id, self.configuration, self.voter_ids, self.log, self.config, self.now_us
            )
        elif self.may_campaign != (self.timeout_us != NEVER_US):
            self.reset_election_timer()

    def reset_election_timer(self) -> None:
        """Draw a new timeout from [1, 2) election timeouts (§5.2)."""
        self.timeout_us = NEVER_US
        if self.may_campaign:
            election_us = self.config.election_us
            self.timeout_us = election_us + int(self.rng.random() * election_us)
        self.election_deadline_us = self.now_us + self.timeout_us

    def leader_contacted(self, sender: int) -> None:
        """A message of the leader of the current term arrived: follow it and restart the timer."""
        assert self.role != LEADER, f"two leaders in term {self.term}: {self.id:x} and {sender:x}"
        if self.leader != sender or self.role != FOLLOWER:
            assert self.leader == NOBODY, f"two leaders in term {self.term}: {self}, {sender:x}"
            self.become_follower(self.term, sender)
        self.leader_contact_us = self.now_us
        self.election_deadline_us = self.now_us + self.timeout_us

    def acknowledge(self, index: int) -> None:
        """Acknowledge that this log equals the leader's up to `index`, once that is durable."""
        reply = AppendReply(self.term, self.id, index)
        self.outbox.acknowledge(self.leader, reply, self.log.durable)

    def record_vote(self, candidate: int) -> None:
        """Record a vote in the current term; it must be saved before it is sent."""
        assert self.vote in (NOBODY, candidate), (candidate, self)
        if self.vote != candidate:
            self.vote = candidate
            self.outbox.hard_state_dirty = True

    def _enter_term(self, term: int, vote: int) -> None:
        # The only place where the vote is cleared: together with the term it was given in.
        assert term > self.term, (term, self)
        self.term = term
        self.vote = vote
        self.outbox.enter_term()
