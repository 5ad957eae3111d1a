"""A replica's durable state: what it recovers from, and the batches it writes.

One batch at a time, with everything that accumulated since the last: received or own snapshot, then
the WAL's records, then removals of files that are no longer needed. A batch is executed in order,
so that any part of it that survives a crash is consistent: a snapshot is complete before the WAL
contains its mark.
"""

from __future__ import annotations

import msgspec

from squall.node.raft.membership import (
    Configuration,
    ConfigurationEntry,
    ConfigurationLog,
    decode_entry,
    encode_entry,
)
from squall.node.raft.messages import CONFIGURATION, Entry, HardState, Snapshot
from squall.node.raft.raft import Ready
from squall.node.replica.interface import PendingSnapshot, ReplicaConfig
from squall.node.storage import recovery, snapshot, wal
from squall.node.storage.disk import Batch, Disk, DiskOp, Remove

BOOTSTRAP_TERM = 1  # of the entry that every member of a new cluster begins its log with


class Saving(msgspec.Struct):
    """A batch that is being written: whether Raft waits for it, and the snapshots in it."""

    id: int
    of_raft: bool
    received: Snapshot | None
    own: Snapshot | None


class Persistence:
    """The WAL and the snapshots of one node."""

    __slots__ = (
        "_config",
        "_is_written",
        "_marker",
        "_names",
        "_removals",
        "_sequence",
        "_wal",
        "found",
        "outstanding",
        "own",
        "pending_snapshot",
    )

    def __init__(self, config: ReplicaConfig, disk: Disk) -> None:
        self._config = config
        disk.makedirs(wal.DIRECTORY)
        disk.makedirs(snapshot.DIRECTORY)
        self.found = found = recovery.recover(
            disk, config.cluster_id, config.member_id, config.segment_bytes, config.max_wals
        )
        self._wal = found.wal
        self._names = disk.listdir(snapshot.DIRECTORY)
        self._marker: tuple[int, int] | None = None
        if found.unmarked and found.snapshot is not None:
            self._marker = (found.snapshot.index, found.snapshot.term)
        self._removals: list[DiskOp] = []
        self.own: Snapshot | None = None  # a snapshot of the own state, to be saved
        self._is_written = False  # and whether its file is there already
        self.pending_snapshot: PendingSnapshot | None = None  # being written by the shell
        self.outstanding: Saving | None = None
        self._sequence = 0
        if config.initial_members and self._is_first_start():
            self._bootstrap(disk)

    def configurations(self) -> ConfigurationLog:
        """The configurations in the recovered snapshot and log."""
        taken = self.found.snapshot
        since = taken.index if taken else 0
        history = ConfigurationLog(since, taken.configuration if taken else Configuration())
        for entry in self.found.log.entries:
            if entry.kind == CONFIGURATION and entry.index > since:
                history.append(entry.index, decode_entry(entry.data).configuration)
        return history

    def add_own(self, taken: Snapshot) -> None:
        """Save this snapshot of the own state with the next batch."""
        self.own, self._is_written = taken, False

    def snapshot_written(self, data: bytes, base_index: int) -> None:
        """The shell wrote the snapshot: publish it with the next batch, if it is still newer."""
        pending, self.pending_snapshot = self.pending_snapshot, None
        assert pending is not None
        if pending.index > base_index:
            self.own, self._is_written = Snapshot(*pending.at, data), True
        else:
            path = snapshot.path_of(pending.term, pending.index)
            self._removals.append(Remove(path + snapshot.TEMPORARY))

    @property
    def snapshotting(self) -> bool:
        """Whether an own snapshot is not durable yet: one at a time."""
        return (
            self.pending_snapshot is not None
            or self.own is not None
            or (self.outstanding is not None and self.outstanding.own is not None)
        )

    def batch(self, ready: Ready) -> Batch:
        """Plan the next batch."""
        assert self.outstanding is None, self.outstanding
        operations: list[DiskOp] = []
        received, own = ready.snapshot, self.own
        self.own = None
        for taken in (own, received) if own or received else ():
            if taken is not None:
                if taken is own and self._is_written:
                    operations += snapshot.publish(taken.term, taken.index)
                else:
                    operations += snapshot.save(taken)
                path = snapshot.path_of(taken.term, taken.index)
                self._names.append(path.removeprefix(snapshot.DIRECTORY + "/"))
                self._marker = (taken.index, taken.term)
        operations += self._wal.save(
            ready.entries, ready.hard_state, self._marker, self.found.log.last_index
        )
        self._marker = None
        if self._removals:
            operations += self._removals
            self._removals = []
        self._sequence += 1
        self.outstanding = Saving(self._sequence, ready.save, received, own)
        return Batch(self._sequence, tuple(operations))

    def persisted(self, batch_id: int) -> Saving:
        """The batch is durable; returns what was in it."""
        saved = self.outstanding
        assert saved is not None, batch_id
        assert batch_id == saved.id, (batch_id, saved.id)
        self.outstanding = None
        newest = saved.received or saved.own
        if newest is not None:
            self._removals += self._wal.purge(newest.index - self._config.catch_up_entries)
            self._removals += self._purge_snapshots()
        return saved

    def _purge_snapshots(self) -> list[DiskOp]:
        removed = snapshot.purge(self._names, self._config.max_snapshots)
        if removed:
            keep = self._config.max_snapshots
            self._names = sorted(self._names, key=lambda name: snapshot.parse_name(name) or (0, 0))
            self._names = self._names[-keep:]
        return removed

    def _is_first_start(self) -> bool:
        found = self.found
        return found.log.last_index == 0 and found.hard_state.term == 0

    def _bootstrap(self, disk: Disk) -> None:
        """Begin the log as every member of the new cluster does: with its first configuration."""
        config = self._config
        members = tuple(sorted(config.initial_members, key=lambda member: member.id))
        assert any(member.id == config.member_id for member in members), (
            f"member {config.member_id:x} is not among the initial members"
        )
        first = ConfigurationEntry(0, 0, 0, Configuration(members))
        entry = Entry(BOOTSTRAP_TERM, 1, CONFIGURATION, encode_entry(first))
        state = HardState(BOOTSTRAP_TERM, 0, 1)
        disk.execute(tuple(self._wal.save([entry], state, None, 1)))
        log = self.found.log
        log.append([entry])
        log.batched = log.durable = log.commit = 1
        self.found.hard_state = state
