"""Outgoing messages, each kept back until what it depends on is durable (§5.2, §5.3).

Three kinds:

* depends on nothing, or only on what is durable already: `send`;
* reveals the term, or grants a vote: `send_in_term` waits for the hard state;
* acknowledges entries: `acknowledge` waits for the batch that contains them.

Messages wait in `held` until the batch they depend on is begun, then in `in_flight` until it is
durable. At most one batch is in flight. This is the rule that a vote is durable before it is sent.
"""

from __future__ import annotations

from typing import Any

from squall.node.raft.messages import AppendReply, Message, Snapshot


class Outbox:
    """Messages, reads and events of one member, to be taken by its owner (`Raft.ready`)."""

    __slots__ = (
        "events",
        "hard_state_dirty",
        "hard_state_in_flight",
        "held",
        "in_flight",
        "messages",
        "reads",
        "saving",
        "snapshot",
    )

    def __init__(self) -> None:
        self.messages: list[tuple[int, Message]] = []
        self.reads: list[tuple[int, Any]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.held: list[tuple[int, Message]] = []  # depend on what is in no batch yet
        self.in_flight: list[tuple[int, Message]] = []  # depend on the batch in flight
        self.hard_state_dirty = False  # term or vote changed since the last batch
        self.hard_state_in_flight = False  # the batch in flight carries a changed term or vote
        self.saving = False  # a batch is in flight
        self.snapshot: Snapshot | None = None  # received, in no batch yet

    @property
    def hard_state_durable(self) -> bool:
        """Whether the current term and vote are on the disk."""
        return not (self.hard_state_dirty or self.hard_state_in_flight)

    def send(self, target: int, message: Message) -> None:
        """Send a message that depends on nothing that is not durable already."""
        self.messages.append((target, message))

    def send_in_term(self, target: int, message: Message) -> None:
        """Send as soon as the current term and vote are durable; entries do not matter."""
        if self.hard_state_dirty or self.hard_state_in_flight:
            self.held.append((target, message))
        else:
            self.messages.append((target, message))

    def acknowledge(self, target: int, reply: AppendReply, durable: int) -> None:
        """Send an acknowledgement once its entries are durable, so far up to index `durable`.

        One acknowledgement a batch: a later one of the same term covers an earlier one.
        """
        if reply.index <= durable and self.hard_state_durable:
            self.messages.append((target, reply))
            return
        held = self.held
        if held:
            to, last = held[-1]
            if (
                type(last) is AppendReply
                and not last.rejected
                and last.term == reply.term
                and to == target
            ):
                reply.index = max(reply.index, last.index)
                held.pop()
        held.append((target, reply))

    def enter_term(self) -> None:
        """The term changed: it must be saved; pending acknowledgements of the old one are dropped.

        Their entries may be replaced before the batch that contains them is durable.
        """
        self.hard_state_dirty = True
        if self.held:
            self.held = [each for each in self.held if type(each[1]) is not AppendReply]
        if self.in_flight:
            self.in_flight = [each for each in self.in_flight if type(each[1]) is not AppendReply]

    def release_held(self) -> None:
        """Nothing is left to save: messages that waited for a batch may be sent."""
        self.messages += self.held
        self.held = []

    def batch_begun(self) -> Snapshot | None:
        """A batch is being written; returns the received snapshot that belongs to it."""
        snapshot, self.snapshot = self.snapshot, None
        self.hard_state_in_flight = self.hard_state_dirty
        self.hard_state_dirty = False
        self.in_flight = self.held
        self.held = []
        self.saving = True
        return snapshot

    def batch_saved(self) -> None:
        """The batch in flight is durable: messages that depended on it may be sent."""
        self.saving = self.hard_state_in_flight = False
        if self.in_flight:
            self.messages += self.in_flight
            self.in_flight = []
