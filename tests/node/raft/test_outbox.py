"""Nothing leaves the outbox before what it depends on is durable.

Random orders of everything that happens to an outbox, beside a model that remembers for each
message which term, vote and entries it speaks for.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from squall.node.raft.messages import AppendReply, Message, VoteReply
from squall.node.raft.outbox import Outbox

PEER = 2


@dataclass
class Disk:
    """What is durable: the latest hard state, by its number, and the log's last index."""

    hard_state: int = 0
    last_index: int = 0


class OutboxMachine(RuleBasedStateMachine):
    """An outbox driven as `Raft` drives it: at most one batch in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.term = 1
        self.hard_state = 0  # numbers each change of term or vote
        self.last_index = 0
        self.batched = 0  # the last entry that some batch carries
        self.durable = Disk()
        self.in_flight: Disk | None = None
        self.depends_on: dict[int, int] = {}  # id of a message: the hard state it was made under
        self.let_go: set[int] = set()
        self.made: list[Message] = []  # keeps the ids unique
        self.left: list[Message] = []

    # What a member does.

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        """Entries are appended to the log in memory."""
        self.last_index += count

    @rule(removed=st.integers(0, 3))
    def enter_term(self, removed: int) -> None:
        """A higher term; its leader replaces the last entries."""
        self.term += 1
        self.hard_state += 1
        self.outbox.enter_term()
        self.last_index = max(self.last_index - removed, 0)
        self.batched = min(self.batched, self.last_index)
        self.durable.last_index = min(self.durable.last_index, self.last_index)
        if self.in_flight is not None:
            # The batch no longer vouches for what was replaced (`RaftLog.truncate`).
            self.in_flight.last_index = min(self.in_flight.last_index, self.last_index)

    @rule()
    def vote(self) -> None:
        """A vote is given, and answered in the term."""
        self.hard_state += 1
        self.outbox.hard_state_dirty = True
        self.send(VoteReply(self.term, 1, True))

    @rule()
    def refuse(self) -> None:
        """A message that speaks in the term and promises nothing else."""
        self.send(VoteReply(self.term, 1, False))

    @rule(below=st.integers(0, 3))
    def acknowledge(self, below: int) -> None:
        """Entries up to some index are acknowledged."""
        index = max(self.last_index - below, 0)
        reply = AppendReply(self.term, 1, index)
        self.remember(reply)
        self.outbox.acknowledge(PEER, reply, self.durable.last_index)

    # What its owner does.

    @rule()
    def take(self) -> None:
        """`Raft.ready` while a batch is in flight, or with nothing to save."""
        outbox = self.outbox
        if outbox.held and not self.unsaved() and not outbox.saving:
            outbox.release_held()
        self.left += [message for _, message in outbox.messages]
        outbox.messages = []

    @precondition(lambda self: self.in_flight is None and self.unsaved())
    @rule()
    def begin_batch(self) -> None:
        """`Raft.ready` with a batch to save."""
        self.batched = self.last_index
        self.in_flight = Disk(self.hard_state, self.last_index)
        self.outbox.batch_begun()

    @precondition(lambda self: self.in_flight is not None)
    @rule()
    def save_batch(self) -> None:
        """The batch is durable."""
        assert self.in_flight is not None
        self.durable.hard_state = self.in_flight.hard_state
        self.durable.last_index = max(self.durable.last_index, self.in_flight.last_index)
        self.in_flight = None
        self.outbox.batch_saved()

    # What must hold.

    @invariant()
    def nothing_leaves_too_early(self) -> None:
        """What is let go rests on a durable hard state and durable entries at that moment.

        An acknowledgement that may go stays true of its term when a later one replaces the entries.
        """
        for _, message in self.outbox.messages:
            if id(message) in self.let_go:
                continue
            self.let_go.add(id(message))
            assert self.depends_on[id(message)] <= self.durable.hard_state, message
            if type(message) is AppendReply:
                assert message.index <= self.durable.last_index, message

    @invariant()
    def no_acknowledgement_of_an_old_term_waits(self) -> None:
        """One that waits is of the current term: it could vouch for replaced entries otherwise."""
        for _, message in self.outbox.held + self.outbox.in_flight:
            assert type(message) is not AppendReply or message.term == self.term, message

    def teardown(self) -> None:
        """Once everything is durable, nothing is kept back."""
        if self.in_flight is not None:
            self.save_batch()
        if self.unsaved():
            self.begin_batch()
            self.save_batch()
        self.take()
        assert not self.outbox.held
        assert not self.outbox.in_flight
        votes = [message for message in self.made if type(message) is VoteReply]
        assert [message for message in self.left if type(message) is VoteReply] == votes

    def unsaved(self) -> bool:
        return self.batched < self.last_index or self.outbox.hard_state_dirty

    def send(self, message: Message) -> None:
        self.remember(message)
        self.outbox.send_in_term(PEER, message)

    def remember(self, message: Message) -> None:
        self.made.append(message)
        self.depends_on[id(message)] = self.hard_state


TestOutbox = OutboxMachine.TestCase
