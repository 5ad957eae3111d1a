"""Leader state (Figure 2, volatile state on leaders): progress of the members, timers, read rounds.

Created when an election is won and dropped as one object when leadership ends, so that a follower,
or a later leadership of the same member, cannot use any of it.
"""

from __future__ import annotations

from typing import Any

from squall.node.raft.log import RaftLog
from squall.node.raft.membership import Configuration
from squall.node.raft.messages import NOBODY, AppendEntries
from squall.node.raft.progress import Progress
from squall.node.raft.settings import NEVER_US, RaftSettings


class Leadership:
    """One term of leadership of one member."""

    __slots__ = (
        "append_cache",
        "heartbeat_due_us",
        "notice_due_us",
        "peers",
        "progress",
        "read_commit",
        "read_contexts",
        "read_queue",
        "read_round",
        "replicate_due",
        "term_start",
        "transfer_deadline_us",
        "transfer_target",
        "uncommitted_bytes",
        "voters",
    )

    def __init__(self, term_start: int, uncommitted_bytes: int) -> None:
        self.progress: dict[int, Progress] = {}
        self.peers: list[Progress] = []  # everyone else
        self.voters: list[Progress] = []  # those who count, itself included if it does
        self.heartbeat_due_us = 0
        self.notice_due_us = NEVER_US  # when followers must be sent the newest commit index
        self.term_start = term_start  # the index of its first entry in this term
        self.uncommitted_bytes = uncommitted_bytes
        self.replicate_due = False
        self.append_cache: AppendEntries | None = None
        # ReadIndex: requests queued for the next round; those of the current round and its number.
        self.read_queue: list[Any] = []
        self.read_contexts: list[Any] = []
        self.read_round = 0
        self.read_commit = 0
        self.transfer_target = NOBODY
        self.transfer_deadline_us = 0

    @property
    def deadline_us(self) -> int:
        """The earliest deadline of the leader's timers."""
        due_us = self.heartbeat_due_us
        if self.notice_due_us < due_us:
            due_us = self.notice_due_us
        return min(due_us, self.transfer_deadline_us) if self.transfer_target else due_us

    def track(
        self,
        own_id: int,
        configuration: Configuration,
        voter_ids: tuple[int, ...],
        log: RaftLog,
        config: RaftSettings,
        now_us: int,
    ) -> None:
        """Keep a `Progress` for each member of the configuration in force, and for no other."""
        window = (config.max_inflight, config.max_inflight_bytes)
        previous = self.progress
        self.progress = {}
        for member in configuration.members:
            known = previous.get(member.id)
            if known is None:
                first = log.last_index + 1
                known = Progress(member.id, member.is_learner, first, now_us, window)
                if member.id == own_id:
                    known.match = log.durable
            known.is_learner = member.is_learner
            self.progress[member.id] = known
        self.peers = [known for known in self.progress.values() if known.id != own_id]
        self.voters = [self.progress[voter] for voter in voter_ids]
        self.replicate_due = True

    def oldest_needed(self, now_us: int, election_us: int) -> int:
        """The index up to which compaction does not make a snapshot in transfer useless.

        Followers that have not replied for an election timeout are not considered.
        """
        oldest = NEVER_US
        for progress in self.peers:
            snapshot = progress.snapshot
            if snapshot is not None and now_us - progress.contact_us < election_us:
                oldest = min(oldest, snapshot.index)
        return oldest
