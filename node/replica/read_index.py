"""ReadIndex at the member that serves the read (thesis §6.4): reads that wait to be linearizable.

All reads that arrive between two outputs share one ReadIndex request to the leader. (nonce,
sequence) identifies it over all boots, and a reply serves every request up to its sequence number.
Unanswered requests are repeated under a new number; a new leader is sent one at once. A read is
answered when the state machine has applied the index of the reply.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from squall.node.raft.messages import Message, ReadIndex, ReadIndexReply
from squall.node.raft.raft import Raft
from squall.node.raft.roles import LEADER
from squall.node.raft.settings import NEVER_US
from squall.node.replica.interface import Outcome, ReplicaConfig, Reply

MAX_REQUESTS: Final = 16  # unanswered at a time; later reads are queued for the next one


class PendingRead(msgspec.Struct, gc=False):
    """One read that waits."""

    ticket: int
    deadline_us: int


class Request(msgspec.Struct):
    """One ReadIndex request that is not answered yet, and the reads that share it."""

    sequence: int
    sent_us: int
    reads: list[PendingRead]


class ReadContext(msgspec.Struct, gc=False):
    """The leader's context of a read: whose request it confirms."""

    member: int
    nonce: int
    sequence: int


class PendingReads:
    """The reads of this boot: queued, then requested from the leader, then awaiting their index."""

    __slots__ = (
        "_config",
        "_count",
        "_nonce",
        "_raft",
        "_replies",
        "_requests",
        "_sequence",
        "awaiting",
        "deadline_us",
        "queued",
    )

    def __init__(self, config: ReplicaConfig, raft: Raft, nonce: int, replies: list[Reply]) -> None:
        self._config = config
        self._raft = raft
        self._nonce = nonce
        self._replies = replies
        self._sequence = 0
        self._count = 0
        self.queued: list[PendingRead] = []
        self._requests: deque[Request] = deque()
        self.awaiting: list[tuple[int, list[PendingRead]]] = []  # (index to be applied, reads)
        self.deadline_us = NEVER_US

    def __len__(self) -> int:
        return self._count

    def add(self, ticket: int, now_us: int) -> None:
        """Take in a read."""
        self.queued.append(PendingRead(ticket, now_us + self._config.timeout_us))
        self._count += 1
        if self.deadline_us == NEVER_US:
            self.deadline_us = now_us + self._config.retry_us

    def flush(self, now_us: int) -> None:
        """Send one request for the queued reads."""
        raft = self._raft
        if not self.queued or not raft.leader or len(self._requests) >= MAX_REQUESTS:
            return
        self._sequence = sequence = self._sequence + 1
        self._requests.append(Request(sequence, now_us, self.queued))
        self.queued = []
        if raft.role == LEADER:
            raft.read_index(ReadContext(raft.id, self._nonce, sequence))
        else:
            raft.outbox.send(raft.leader, ReadIndex(raft.id, self._nonce, sequence))

    def request_again(self) -> None:
        """Queue the reads of unanswered requests again, ahead of the newer ones."""
        if self._requests:
            again = [read for request in self._requests for read in request.reads]
            self.queued = again + self.queued
            self._requests.clear()

    def answered(self, nonce: int, sequence: int, index: int, applied: int) -> None:
        """Reads requested up to `sequence` of this boot must see the state at `index` or later."""
        if nonce != self._nonce:
            return
        requests = self._requests
        while requests and requests[0].sequence <= sequence:
            reads = requests.popleft().reads
            if index <= applied:
                self._reach(reads, index)
            else:
                self.awaiting.append((index, reads))

    def applied(self, applied: int) -> None:
        """Answer the reads whose index is applied now."""
        waiting = []
        for index, reads in self.awaiting:
            if index <= applied:
                self._reach(reads, index)
            else:
                waiting.append((index, reads))
        self.awaiting = waiting

    def tick(self, now_us: int) -> None:
        """Refuse reads that waited too long; repeat requests that were not answered."""
        if now_us < self.deadline_us:
            return
        self.queued = self._unexpired(self.queued, now_us)
        for request in self._requests:
            request.reads = self._unexpired(request.reads, now_us)
        self.awaiting = [
            (index, left)
            for index, reads in self.awaiting
            if (left := self._unexpired(reads, now_us))
        ]
        if self._requests and now_us - self._requests[0].sent_us >= self._config.retry_us:
            self.request_again()
        self.deadline_us = NEVER_US
        if self.queued or self._requests or self.awaiting:
            self.deadline_us = now_us + self._config.retry_us

    def fail_all(self, error: str) -> None:
        """Refuse every read: the node stops."""
        self.request_again()
        for read in self.queued + [each for _, some in self.awaiting for each in some]:
            self._replies.append(Reply(read.ticket, Outcome.REFUSED, error=error))
        self.queued = []
        self.awaiting = []
        self._count = 0
        self.deadline_us = NEVER_US

    def on_read_index(self, message: ReadIndex) -> None:
        """Handle another member's request; a member that does not lead drops it: it is repeated."""
        self._raft.read_index(ReadContext(message.sender, message.nonce, message.sequence))

    def confirmed(
        self, index: int, context: ReadContext, applied: int
    ) -> tuple[int, Message] | None:
        """A round confirmed this request: serve it here, or return (member, reply) to send."""
        member = self._raft.id
        if context.member == member:
            self.answered(context.nonce, context.sequence, index, applied)
            return None
        return context.member, ReadIndexReply(member, context.nonce, context.sequence, index)

    def _reach(self, reads: list[PendingRead], index: int) -> None:
        self._count -= len(reads)
        for read in reads:
            self._replies.append(Reply(read.ticket, Outcome.DONE, index=index))

    def _unexpired(self, reads: list[PendingRead], now_us: int) -> list[PendingRead]:
        left = []
        for read in reads:
            if read.deadline_us > now_us:
                left.append(read)
            else:
                # A read that was not served has not happened.
                self._count -= 1
                self._replies.append(Reply(read.ticket, Outcome.REFUSED, error="request timed out"))
        return left
