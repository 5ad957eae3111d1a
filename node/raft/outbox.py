"""What a member owes to others, and what each of it waits for.

A message that promises something leaves only when the promise is durable (§5.2, §5.3). Three cases:

* it promises nothing, or only what is durable already: `send`;
* it speaks in a term, or gives a vote: `send_in_term` waits for the hard state;
* it acknowledges entries: `acknowledge` waits for the batch that holds them.

Messages wait in `held` until their batch is handed to the disk, then in `flight` until that batch
is durable. At most one batch is in flight.
"""

from __future__ import annotations

from typing import Any

from squall.node.raft.messages import AppendReply, Message, Snapshot


class Outbox:
    """Messages, reads and events of one member on their way to its owner."""

    __slots__ = (
        "events",
        "flight",
        "hard_dirty",
        "hard_flight",
        "held",
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
        self.flight: list[tuple[int, Message]] = []  # depend on the batch in flight
        self.hard_dirty = False  # term or vote changed since the last batch
        self.hard_flight = False  # the batch in flight carries a changed term or vote
        self.saving = False  # a batch is in flight
        self.snapshot: Snapshot | None = None  # received, in no batch yet

    @property
    def hard_durable(self) -> bool:
        """Whether the current term and vote are on the disk."""
        return not (self.hard_dirty or self.hard_flight)

    def send(self, target: int, message: Message) -> None:
        """Send what promises nothing, or nothing that is not durable already."""
        self.messages.append((target, message))

    def send_in_term(self, target: int, message: Message) -> None:
        """Send as soon as the term and vote are durable; entries do not matter."""
        if self.hard_dirty or self.hard_flight:
            self.held.append((target, message))
        else:
            self.messages.append((target, message))

    def acknowledge(self, target: int, reply: AppendReply, durable: int) -> None:
        """Send an acknowledgement of entries once they are durable; `durable` is the last that is.

        One acknowledgement a batch: a later one of the same term covers the earlier one.
        """
        if reply.index <= durable and self.hard_durable:
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
        """The term changed: it must be saved, and acknowledgements of the old term are void.

        Their entries may be replaced before the batch that carries them is durable.
        """
        self.hard_dirty = True
        if self.held:
            self.held = [each for each in self.held if type(each[1]) is not AppendReply]
        if self.flight:
            self.flight = [each for each in self.flight if type(each[1]) is not AppendReply]

    def release_held(self) -> None:
        """There is nothing to save: what waited for a batch may go."""
        self.messages += self.held
        self.held = []

    def batch_begun(self) -> Snapshot | None:
        """A batch was handed to the disk; returns the snapshot that belongs to it."""
        snapshot, self.snapshot = self.snapshot, None
        self.hard_flight = self.hard_dirty
        self.hard_dirty = False
        self.flight = self.held
        self.held = []
        self.saving = True
        return snapshot

    def batch_saved(self) -> None:
        """The batch in flight is durable: what depended on it may go."""
        self.saving = self.hard_flight = False
        if self.flight:
            self.messages += self.flight
            self.flight = []
