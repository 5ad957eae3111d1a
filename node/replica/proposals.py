"""Proposals of this node's clients that wait to be applied (sessions: §8, thesis §6.3).

Each gets a number in this boot's session and keeps it however often it is submitted: to a leader,
to the next one, and again after a timeout. So a waiter is found by session and number, never by the
index at which an entry was applied, and a proposal that is submitted twice is applied once.

A proposal that was never submitted can be refused with certainty; one that was submitted cannot.
"""

from __future__ import annotations

import msgspec

from squall.node.raft import membership_changes
from squall.node.raft.membership import REMOVE, Change, ChangeRejectedError
from squall.node.raft.messages import NORMAL, ChangeRefused, Forward, ForwardChange
from squall.node.raft.raft import Raft
from squall.node.raft.roles import LEADER
from squall.node.raft.settings import NEVER_US
from squall.node.replica.interface import Outcome, ReplicaConfig, Reply
from squall.node.replica.sessions import Sessions

MAX_REMEMBERED_CHANGES = 64  # changes whose fate a leader can repeat; more than can be pending


class Waiter(msgspec.Struct, gc=False):
    """One proposal, and where it was submitted last."""

    ticket: int
    sequence: int
    data: bytes  # of a normal entry; of the change for a change of members
    deadline_us: int
    change: Change | None = None
    submitted: bool = False
    sent_us: int = 0
    sent_term: int = 0
    sent_to: int = 0
    terms: int = 0  # how many different terms' leaders it was submitted to


_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(tuple[int, int, int, bytes])
_change_decoder = msgspec.msgpack.Decoder(Change)


decode_request = _request_decoder.decode
"""Read (origin, nonce, sequence, command) of a normal entry."""


class Proposals:
    """The waiters of this boot, in order of their numbers and therefore of their deadlines."""

    __slots__ = (
        "_appended",
        "_config",
        "_decided",
        "_id",
        "_nonce",
        "_raft",
        "_replies",
        "_sequence",
        "_sessions",
        "_waiters",
        "deadline_us",
        "outgoing",
    )

    def __init__(
        self,
        config: ReplicaConfig,
        raft: Raft,
        sessions: Sessions,
        nonce: int,
        replies: list[Reply],
    ) -> None:
        self._config = config
        self._sessions = sessions
        self._raft = raft
        self._id = config.member_id
        self._nonce = nonce
        self._replies = replies
        self._sequence = 0
        self._waiters: dict[int, Waiter] = {}
        self.outgoing: list[
            tuple[bytes, bool]
        ] = []  # for the next flush; True: not for the first time
        self._appended: set[bytes] = set()  # forwarded to this leader and not applied yet
        self._decided: dict[tuple[int, int, int, int], str] = {}  # changes by (term, origin, ...)
        self.deadline_us = NEVER_US

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, ticket: int, command: bytes, now_us: int) -> None:
        """Submit a command."""
        self._sequence = sequence = self._sequence + 1
        data = _encoder.encode((self._id, self._nonce, sequence, command))
        waiter = Waiter(ticket, sequence, data, now_us + self._config.timeout_us)
        self._enter(waiter, now_us)

    def add_change(self, ticket: int, change: Change, now_us: int) -> None:
        """Submit a membership change."""
        self._sequence = sequence = self._sequence + 1
        data = _encoder.encode(change)
        waiter = Waiter(ticket, sequence, data, now_us + self._config.timeout_us, change)
        self._enter(waiter, now_us)

    def pop(self, nonce: int, sequence: int) -> Waiter | None:
        """Remove and return the waiter of an entry that is being applied, if it still waits."""
        return self._waiters.pop(sequence, None) if nonce == self._nonce else None

    def settle_overtaken(self) -> None:
        """Answer proposals that a snapshot contains: applied, but the result is not known here."""
        for waiter in list(self._waiters.values()):
            if self._sessions.was_applied(self._id, self._nonce, waiter.sequence):
                del self._waiters[waiter.sequence]
                self._end(waiter, Outcome.UNKNOWN, "request timed out")

    def settle_removal(self) -> None:
        """Answer requests to remove this member: done, but its log will never contain the entry."""
        for waiter in list(self._waiters.values()):
            change = waiter.change
            if change and (change.kind, change.member.id) == (REMOVE, self._id):
                del self._waiters[waiter.sequence]
                members = self._raft.configuration.members
                rest = tuple(member for member in members if member.id != self._id)
                self._replies.append(Reply(waiter.ticket, Outcome.DONE, rest))

    def submit_all(self, now_us: int) -> None:
        """A new leader is known: submit everything to it."""
        self.outgoing.clear()
        self._appended.clear()
        for waiter in list(self._waiters.values()):
            self._submit(waiter, now_us)

    def flush(self) -> None:
        """Forward the proposals queued since the last call."""
        if not self._raft.leader:
            return
        first = [data for data, again in self.outgoing if not again]
        repeated = [data for data, again in self.outgoing if again]
        self.outgoing = []
        if first:
            self._forward(first, again=False)
        if repeated:
            self._forward(repeated, again=True)

    def _forward(self, outgoing: list[bytes], again: bool) -> None:
        leader = self._raft.leader
        limit = self._config.max_batch_bytes
        group: list[bytes] = []
        size = 0
        for data in outgoing:
            if group and size + len(data) > limit:
                self._raft.outbox.send(leader, Forward(self._id, group, again))
                group = []
                size = 0
            group.append(data)
            size += len(data)
        self._raft.outbox.send(leader, Forward(self._id, group, again))

    def tick(self, now_us: int) -> None:
        """End proposals that waited too long; submit those again that were not answered."""
        if now_us < self.deadline_us:
            return
        waiters = self._waiters
        first_deadline_us = NEVER_US
        for waiter in list(waiters.values()):
            if waiter.deadline_us > now_us:
                first_deadline_us = waiter.deadline_us
                break
            del waiters[waiter.sequence]
            if waiter.submitted:
                self._end(waiter, Outcome.UNKNOWN, "request timed out")
            else:
                self._end(waiter, Outcome.REFUSED, "no leader")
        for waiter in list(waiters.values()):
            if now_us - waiter.sent_us >= self._config.retry_us:
                self._submit(waiter, now_us)
        self.deadline_us = NEVER_US
        if waiters:
            self.deadline_us = min(first_deadline_us, now_us + self._config.retry_us)

    def fail_all(self, error: str) -> None:
        """End all proposals: the node stops."""
        for waiter in self._waiters.values():
            self._end(waiter, Outcome.UNKNOWN if waiter.submitted else Outcome.REFUSED, error)
        self._waiters.clear()
        self.outgoing.clear()
        self.deadline_us = NEVER_US

    def on_forward(self, message: Forward) -> None:
        """Append another member's proposals; dropped if this member does not lead."""
        appended = self._appended
        for data in message.proposals:
            # Appending it twice would be harmless but for the load, which would slow a slow
            # cluster further.
            if message.again and (data in appended or self._is_applied(data)):
                continue
            if not self._raft.propose(NORMAL, data):
                return
            appended.add(data)

    def was_forwarded(self, data: bytes) -> bool:
        """Whether the entry being applied was forwarded to this leader; forgets it."""
        if data in self._appended:
            self._appended.remove(data)
            return True
        return False

    def on_forward_change(self, message: ForwardChange) -> None:
        """Append another member's change if this member still leads the term it is for."""
        raft = self._raft
        if raft.role != LEADER or raft.term != message.term:
            return
        origin = (message.sender, message.nonce, message.sequence)
        key = (raft.term, *origin)
        error = self._decided.get(key)
        if error is None:
            try:
                if not membership_changes.propose(
                    raft, *origin, _change_decoder.decode(message.change)
                ):
                    return
                error = ""
            except ChangeRejectedError as rejection:
                error = str(rejection.args[0])
            self._decided[key] = error
            if len(self._decided) > MAX_REMEMBERED_CHANGES:
                del self._decided[next(iter(self._decided))]
        if error:
            # The refusal is remembered: a late copy of the request is refused in this term as well.
            refusal = ChangeRefused(raft.term, self._id, message.nonce, message.sequence, error)
            raft.outbox.send(message.sender, refusal)

    def on_change_refused(self, message: ChangeRefused) -> None:
        """The leader of that term refused; final if no other leader was asked."""
        waiter = self._waiters.get(message.sequence)
        if message.nonce != self._nonce or waiter is None or waiter.sent_term != message.term:
            return
        del self._waiters[message.sequence]
        final = waiter.terms == 1
        self._end(waiter, Outcome.REFUSED if final else Outcome.UNKNOWN, message.error)

    def _enter(self, waiter: Waiter, now_us: int) -> None:
        self._waiters[waiter.sequence] = waiter
        if self.deadline_us == NEVER_US:
            self.deadline_us = now_us + self._config.retry_us
        self._submit(waiter, now_us)

    def _submit(self, waiter: Waiter, now_us: int) -> None:
        raft = self._raft
        if not raft.leader:
            return
        if raft.role == LEADER:
            # An entry in its own log stays there for as long as it leads.
            if waiter.sent_to == self._id and waiter.sent_term == raft.term:
                return
            if not self._append(waiter):
                return
        elif waiter.change is None:
            again = waiter.submitted and waiter.sent_term == raft.term
            self.outgoing.append((waiter.data, again))
        else:
            request = ForwardChange(raft.term, self._id, self._nonce, waiter.sequence, waiter.data)
            raft.outbox.send(raft.leader, request)
        waiter.submitted = True
        waiter.sent_us = now_us
        waiter.sent_to = raft.leader
        if waiter.sent_term != raft.term:
            waiter.sent_term = raft.term
            waiter.terms += 1

    def _append(self, waiter: Waiter) -> bool:
        raft = self._raft
        if waiter.change is not None:
            try:
                return membership_changes.propose(
                    raft, self._id, self._nonce, waiter.sequence, waiter.change
                )
            except ChangeRejectedError as rejection:
                del self._waiters[waiter.sequence]
                outcome = Outcome.UNKNOWN if waiter.submitted else Outcome.REFUSED
                self._end(waiter, outcome, str(rejection.args[0]))
                return False
        if raft.propose(NORMAL, waiter.data):
            return True
        if not waiter.submitted and not raft.transfer_target:
            # Too much is uncommitted; the client may try again.
            del self._waiters[waiter.sequence]
            self._end(waiter, Outcome.REFUSED, "too many requests")
        return False

    def _is_applied(self, data: bytes) -> bool:
        origin, nonce, sequence, _ = decode_request(data)
        return self._sessions.was_applied(origin, nonce, sequence)

    def _end(self, waiter: Waiter, outcome: Outcome, error: str) -> None:
        self._replies.append(Reply(waiter.ticket, outcome, error=error))
