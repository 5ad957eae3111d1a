"""Reads of this node's clients that wait until a read of the machine is linearizable.

All that gather between two outputs ask together. The question is numbered, uniquely over all boots,
and an answer serves what was asked up to its number. Unanswered questions are asked again, under a
new number; a new leader is asked at once. Then the read waits until the index is applied here.
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

MAX_QUESTIONS: Final = 16  # on their way at once; later reads gather for the next


class Barrier(msgspec.Struct, gc=False):
    """One read that waits."""

    ticket: int
    deadline_us: int


class Question(msgspec.Struct):
    """One ReadIndex on its way, and who waits for it."""

    sequence: int
    sent_us: int
    barriers: list[Barrier]


class Remote(msgspec.Struct, gc=False):
    """Another member's question, as the leader's context of a read."""

    member: int
    nonce: int
    sequence: int


class Barriers:
    """The barriers of this boot."""

    __slots__ = (
        "_asked",
        "_config",
        "_count",
        "_nonce",
        "_raft",
        "_replies",
        "_sequence",
        "alarm_us",
        "awaiting",
        "gathered",
    )

    def __init__(self, config: ReplicaConfig, raft: Raft, nonce: int, replies: list[Reply]) -> None:
        self._config = config
        self._raft = raft
        self._nonce = nonce
        self._replies = replies
        self._sequence = 0
        self._count = 0
        self.gathered: list[Barrier] = []
        self._asked: deque[Question] = deque()
        self.awaiting: list[tuple[int, list[Barrier]]] = []  # (index to be applied, who waits)
        self.alarm_us = NEVER_US

    def __len__(self) -> int:
        return self._count

    def add(self, ticket: int, now_us: int) -> None:
        """Take in a read."""
        self.gathered.append(Barrier(ticket, now_us + self._config.timeout_us))
        self._count += 1
        if self.alarm_us == NEVER_US:
            self.alarm_us = now_us + self._config.retry_us

    def flush(self, now_us: int) -> None:
        """Ask the leader for those that gathered."""
        raft = self._raft
        if not self.gathered or not raft.leader or len(self._asked) >= MAX_QUESTIONS:
            return
        self._sequence = sequence = self._sequence + 1
        self._asked.append(Question(sequence, now_us, self.gathered))
        self.gathered = []
        if raft.role == LEADER:
            raft.read_index(Remote(raft.id, self._nonce, sequence))
        else:
            raft.outbox.send(raft.leader, ReadIndex(raft.id, self._nonce, sequence))

    def ask_again(self) -> None:
        """Whatever was asked goes back to be asked anew, under a new number."""
        if self._asked:
            again = [barrier for question in self._asked for barrier in question.barriers]
            self.gathered = again + self.gathered
            self._asked.clear()

    def answered(self, nonce: int, sequence: int, index: int, applied: int) -> None:
        """A read asked for up to `sequence` of this boot must see `index`."""
        if nonce != self._nonce:
            return
        asked = self._asked
        while asked and asked[0].sequence <= sequence:
            barriers = asked.popleft().barriers
            if index <= applied:
                self._reach(barriers, index)
            else:
                self.awaiting.append((index, barriers))

    def applied(self, applied: int) -> None:
        """The machine is at `applied`."""
        still = []
        for index, barriers in self.awaiting:
            if index <= applied:
                self._reach(barriers, index)
            else:
                still.append((index, barriers))
        self.awaiting = still

    def tick(self, now_us: int) -> None:
        """Give up what waited too long; ask again what was not answered."""
        if now_us < self.alarm_us:
            return
        self.gathered = self._unexpired(self.gathered, now_us)
        for question in self._asked:
            question.barriers = self._unexpired(question.barriers, now_us)
        self.awaiting = [
            (index, left)
            for index, barriers in self.awaiting
            if (left := self._unexpired(barriers, now_us))
        ]
        if self._asked and now_us - self._asked[0].sent_us >= self._config.retry_us:
            self.ask_again()
        self.alarm_us = NEVER_US
        if self.gathered or self._asked or self.awaiting:
            self.alarm_us = now_us + self._config.retry_us

    def fail_all(self, error: str) -> None:
        """End them all: the node stops."""
        self.ask_again()
        for barrier in self.gathered + [each for _, some in self.awaiting for each in some]:
            self._replies.append(Reply(barrier.ticket, Outcome.REFUSED, error=error))
        self.gathered = []
        self.awaiting = []
        self._count = 0
        self.alarm_us = NEVER_US

    def on_read_index(self, message: ReadIndex) -> None:
        """Another member's question; a node that does not lead drops it, its owner asks again."""
        self._raft.read_index(Remote(message.sender, message.nonce, message.sequence))

    def confirmed(self, index: int, remote: Remote, applied: int) -> tuple[int, Message] | None:
        """Serve a question whose round is through, or give the reply to send."""
        member = self._raft.id
        if remote.member == member:
            self.answered(remote.nonce, remote.sequence, index, applied)
            return None
        return remote.member, ReadIndexReply(member, remote.nonce, remote.sequence, index)

    def _reach(self, barriers: list[Barrier], index: int) -> None:
        self._count -= len(barriers)
        for barrier in barriers:
            self._replies.append(Reply(barrier.ticket, Outcome.DONE, index=index))

    def _unexpired(self, barriers: list[Barrier], now_us: int) -> list[Barrier]:
        left = []
        for barrier in barriers:
            if barrier.deadline_us > now_us:
                left.append(barrier)
            else:
                # A read that was not served has not happened.
                self._count -= 1
                self._replies.append(
                    Reply(barrier.ticket, Outcome.REFUSED, error="request timed out")
                )
        return left
