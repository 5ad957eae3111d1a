"""What a leader knows of one follower's log, and flow control (etcd: tracker/progress.go).

    PROBE       one message at a time, until it is known where the logs agree
    REPLICATE   pipelined: a bounded window of messages in flight. When a message was lost or
                reordered the window is halved, and each acknowledgement widens it by one again (as
                in TCP: every failure of a full window costs a full window of messages)
    SNAPSHOT    the entries it needs are compacted: one chunk of a snapshot at a time

`match` never decreases within a term of leadership; `next` may.
"""

from __future__ import annotations

from collections import deque

from squall.node.raft.messages import Snapshot

PROBE = 0
REPLICATE = 1
SNAPSHOT = 2
STATE_NAMES = ("probe", "replicate", "snapshot")


class Progress:
    """One member's progress; the leader keeps one for itself too."""

    __slots__ = (
        "_inflight",
        "_inflight_bytes",
        "_max_bytes",
        "_max_messages",
        "_window",
        "advanced_us",
        "commit_owed",
        "commit_sent",
        "contact_us",
        "id",
        "is_learner",
        "match",
        "next",
        "paused",
        "round",
        "snapshot",
        "snapshot_offset",
        "state",
    )

    def __init__(
        self, member: int, is_learner: bool, next_index: int, now_us: int, window: tuple[int, int]
    ) -> None:
        self.id = member
        self.is_learner = is_learner
        self.match = 0  # the highest index known to be durable there and equal to this log
        self.next = next_index
        self.state = PROBE
        self.paused = False  # PROBE: one message is in flight
        self.contact_us = now_us  # when it last replied; a new leader assumes contact with everyone
        self.advanced_us = now_us  # when it last acknowledged, or was first sent something new
        self.round = 0  # the newest heartbeat round it acknowledged
        self.commit_sent = 0
        self.commit_owed = False  # a commit notice waits until it acknowledged the entries
        self.snapshot: Snapshot | None = None
        self.snapshot_offset = 0  # acknowledged bytes of it
        self._max_messages, self._max_bytes = window
        self._window = self._max_messages
        self._inflight: deque[tuple[int, int]] = deque()  # (last index, bytes), oldest first
        self._inflight_bytes = 0

    def __repr__(self) -> str:
        waiting = f" inflight={len(self._inflight)}" if self._inflight else ""
        waiting += " paused" if self.paused else ""
        name = STATE_NAMES[self.state]
        return f"{self.id:x}: {name} match={self.match} next={self.next}{waiting}"

    def can_send(self) -> bool:
        """Whether flow control admits another AppendEntries."""
        if self.state == REPLICATE:
            inflight = self._inflight
            return not inflight or (
                len(inflight) < self._window and self._inflight_bytes < self._max_bytes
            )
        return self.state == PROBE and not self.paused

    def sent(self, last: int, size: int, now_us: int) -> None:
        """Entries up to `last`, of `size` bytes, were sent."""
        if self.state == REPLICATE:
            if not self._inflight:
                self.advanced_us = now_us
            self._inflight.append((last, size))
            self._inflight_bytes += size
            self.next = last + 1
        else:
            self.paused = True
            self.advanced_us = now_us

    def acknowledged(self, index: int, now_us: int) -> bool:
        """It holds all entries up to `index`; returns whether `match` advanced."""
        inflight = self._inflight
        while inflight and inflight[0][0] <= index:
            self._inflight_bytes -= inflight.popleft()[1]
        if index <= self.match:
            return False
        self.match = index
        if self._window < self._max_messages:
            self._window += 1
        if self.next <= index:
            self.next = index + 1
        self.advanced_us = now_us
        return True

    def become_probe(self) -> None:
        """Send one message at a time from `match` on."""
        if self.state == REPLICATE:
            self._window = (self._window + 1) // 2
        self._enter(PROBE)
        self.next = self.match + 1

    def become_replicate(self) -> None:
        """The logs agree up to `match`: send pipelined."""
        self._enter(REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, snapshot: Snapshot) -> None:
        """The entries it needs are compacted: send this snapshot."""
        self._enter(SNAPSHOT)
        self.snapshot = snapshot

    def _enter(self, state: int) -> None:
        self.state = state
        self.paused = False
        self.snapshot = None
        self.snapshot_offset = 0
        self._inflight.clear()
        self._inflight_bytes = 0
