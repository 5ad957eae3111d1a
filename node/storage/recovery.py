"""Recovery at start-up: read the log, the hard state and the snapshot from the data directory.

A torn tail in the last segment is what a power failure leaves of a batch that was never durable:
it was never acknowledged, so it is cut. Any other damage may concern what was acknowledged. A node
that lost a vote or an entry could elect a leader or commit without it, so it refuses to start.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import msgspec

from squall.node.raft.log import UNKNOWN_TERM, RaftLog
from squall.node.raft.messages import Entry, HardState, Snapshot
from squall.node.storage import frames, snapshot, wal
from squall.node.storage.disk import Disk, DiskOp, Remove, Sync, SyncDir, Truncate

REJOIN: Final = (
    "If the cluster still has a majority: remove this member, delete its data directory, and add "
    "it again as a new member. Do not delete the file alone."
)


class DamagedError(Exception):
    """The data directory is damaged. The text says what is wrong and what to do."""


class Recovered(msgspec.Struct):
    """What was on the disk. `log` is empty and `snapshot` is None at the first start."""

    log: RaftLog
    hard_state: HardState
    snapshot: Snapshot | None
    wal: wal.Wal
    unmarked: bool = False  # the WAL has no mark of the snapshot yet: write one next
    cut_bytes: int = 0  # of a torn tail


_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_hard_state = msgspec.msgpack.Decoder(HardState)
_mark = msgspec.msgpack.Decoder(tuple[int, int])
_header = msgspec.msgpack.Decoder(tuple[int, int, int, int])


class _Reader:
    """Replays the records of all segments."""

    def __init__(self, cluster_id: int, member_id: int) -> None:
        self.identity = (cluster_id, member_id)
        self.start = 1  # the index of entries[0]
        self.started = False  # an entry was seen, or a mark that replaced entries
        self.base_term = 0  # of start - 1; UNKNOWN_TERM where earlier segments were purged
        self.entries: list[Entry] = []
        self.hard_state = HardState()
        self.newest_mark = (0, 0)
        self.last_mark = (0, 0)
        self.purged = False  # the oldest segment there is not the first there was

    @property
    def last_index(self) -> int:
        return self.start + len(self.entries) - 1

    def term_at(self, index: int) -> int:
        if index == self.start - 1:
            return self.base_term
        if self.start <= index <= self.last_index:
            return self.entries[index - self.start].term
        return UNKNOWN_TERM

    def segment(self, path: str, data: bytes, is_last: bool) -> tuple[int, int, int]:
        """Replay one segment; returns (offset behind the last record, its crc, torn bytes)."""
        offset = crc = 0
        while True:
            record = frames.body_at(data, offset, crc)
            if record is None:
                break
            body, crc, end = record
            self.record(path, offset, body)
            offset = end
        torn = len(data[offset:].rstrip(b"\0"))
        if torn:
            sound = frames.any_record_after(data, offset, crc)
            if sound is not None or not is_last:
                where = f"and a sound one follows at {sound}" if sound else "inside the log"
                raise DamagedError(
                    f"{path} is damaged: the record at offset {offset} is not what was written, "
                    f"{where}. Entries this node acknowledged are lost. {REJOIN}"
                )
        return offset, crc, torn

    def record(self, path: str, offset: int, body: bytes) -> None:
        kind, payload = body[0], body[1:]
        try:
            if kind == frames.ENTRY:
                self.entry(path, _decode_entry(payload))
            elif kind == frames.HARD_STATE:
                self.hard_state = _hard_state.decode(payload)
            elif kind == frames.SNAPSHOT_MARK:
                self.mark(*_mark.decode(payload))
            elif kind == frames.SEGMENT_HEADER:
                self.header(path, *_header.decode(payload))
            else:
                raise DamagedError(
                    f"{path}: unknown record type {kind} at offset {offset}. {REJOIN}"
                )
        except msgspec.MsgspecError as error:
            raise DamagedError(
                f"{path}: the record at offset {offset} does not decode: {error}. {REJOIN}"
            ) from error

    def header(self, path: str, version: int, cluster_id: int, member_id: int, _: int) -> None:
        if version != frames.FORMAT:
            raise DamagedError(
                f"{path} has format {version}; this version reads format {frames.FORMAT}. "
                "Start the version that wrote it."
            )
        if (cluster_id, member_id) != self.identity:
            raise DamagedError(
                f"{path} belongs to member {member_id:x} of cluster {cluster_id:x}, but this node "
                f"is member {self.identity[1]:x} of cluster {self.identity[0]:x}. Check "
                "--data-dir, --name, --initial-cluster and --initial-cluster-token."
            )

    def entry(self, path: str, entry: Entry) -> None:
        index = entry.index
        if self.started and index == self.start + len(self.entries):
            self.entries.append(entry)  # as almost all
            return
        if not self.started or (self.purged and index < self.start):
            # Earlier segments are purged: entries begin here, or begin again where another leader's
            # log or snapshot replaced a tail of which only the end was left.
            self.started = True
            self.start = index
            self.entries = []
            mark_index, mark_term = self.last_mark
            self.base_term = mark_term if mark_index == index - 1 else UNKNOWN_TERM
        if not self.start <= index <= self.last_index + 1:
            raise DamagedError(
                f"{path}: entry {index} does not follow the log, which holds {self.start} to "
                f"{self.last_index}, although no segment is missing: entries that this node "
                f"acknowledged were not written, or a file was exchanged. {REJOIN}"
            )
        if index <= self.last_index:
            assert index > self.hard_state.commit, (path, index, self.hard_state)
            del self.entries[index - self.start :]
        self.entries.append(entry)

    def mark(self, index: int, term: int) -> None:
        self.last_mark = (index, term)
        self.newest_mark = max(self.newest_mark, self.last_mark)
        if self.started and index >= self.start and self.term_at(index) != term:
            # Installed from a leader, over a log that was shorter or another one (§7).
            self.entries = []
            self.start = index + 1
            self.base_term = term

    def finish(self) -> None:
        if not self.started:
            self.start = self.newest_mark[0] + 1
            self.base_term = self.newest_mark[1]


def recover(
    disk: Disk, cluster_id: int, member_id: int, segment_bytes: int, max_wals: int
) -> Recovered:
    """Read everything, cut a torn tail, and sync what was read."""
    operations: list[DiskOp] = []
    newest = _newest_snapshot(disk, operations)
    reader = _Reader(cluster_id, member_id)
    segments = _segments(disk)
    reader.purged = bool(segments) and segments[0][0] > 0
    torn = offset = crc = size = 0
    sequence = -1
    for position, (number, _, name) in enumerate(segments):
        path = f"{wal.DIRECTORY}/{name}"
        data = disk.read(path)
        is_last = position == len(segments) - 1
        offset, crc, torn = reader.segment(path, data, is_last)
        size = len(data)
        sequence = number
        if offset == 0 and is_last:
            # It was created and never written: its creation was not durable either.
            operations += [Remove(path), SyncDir(wal.DIRECTORY)]
            sequence = number - 1
            segments = segments[:-1]
            offset = size = 0
        elif is_last:
            if torn:
                operations.append(Truncate(path, offset))
                size = offset
            # It may have been read from a cache: nothing may depend on it before it is synced.
            operations.append(Sync(path))
    reader.finish()
    disk.execute((*operations, SyncDir(wal.DIRECTORY)))
    log, unmarked = _log_after_snapshot(reader, newest)
    state = _initial_hard_state(reader, log)
    writer = wal.Wal(cluster_id, member_id, segment_bytes, max_wals)
    known = [(first, f"{wal.DIRECTORY}/{name}") for _, first, name in segments]
    written = reader.hard_state
    writer.resume(known, sequence, (offset, size, crc), written)
    return Recovered(log, state, newest, writer, unmarked, torn)


def _segments(disk: Disk) -> list[tuple[int, int, str]]:
    found = []
    for name in disk.listdir(wal.DIRECTORY):
        parsed = _parse_segment_name(name)
        if parsed is not None:
            found.append((*parsed, name))
    found.sort()
    for before, after in pairwise(found):
        if after[0] == before[0]:
            raise DamagedError(
                f"{wal.DIRECTORY}: {before[2]} and {after[2]} both have the sequence number "
                f"{after[0]}: one of them is not of this log. {REJOIN}"
            )
        if after[0] != before[0] + 1:
            raise DamagedError(
                f"{wal.DIRECTORY}: no segment with sequence number {before[0] + 1} lies between "
                f"{before[2]} and {after[2]}. {REJOIN}"
            )
    return found


def _parse_segment_name(name: str) -> tuple[int, int] | None:
    if not name.endswith(wal.SUFFIX):
        return None
    sequence, _, first = name.removesuffix(wal.SUFFIX).partition("-")
    try:
        return int(sequence, 16), int(first, 16)
    except ValueError:
        return None


def _newest_snapshot(disk: Disk, operations: list[DiskOp]) -> Snapshot | None:
    """Load the newest valid snapshot; whether an older one suffices depends on the log."""
    names = disk.listdir(snapshot.DIRECTORY)
    operations.extend(
        Remove(f"{snapshot.DIRECTORY}/{name}")
        for name in names
        if name.endswith(snapshot.TEMPORARY)
    )
    if names:
        # A rename may have been read from a cache too.
        operations.append(SyncDir(snapshot.DIRECTORY))
    found = sorted(parsed for parsed in map(snapshot.parse_name, names) if parsed is not None)
    for index, term in reversed(found):
        try:
            loaded = snapshot.decode_file(disk.read(snapshot.path_of(term, index)))
        except snapshot.DamagedSnapshotError:
            continue
        if (loaded.index, loaded.term) == (index, term):
            return loaded
    return None


def _log_after_snapshot(reader: _Reader, newest: Snapshot | None) -> tuple[RaftLog, bool]:
    """Join the WAL's entries to the snapshot; returns the log and whether its mark is missing."""
    index, term = (newest.index, newest.term) if newest else (0, 0)
    start = reader.start
    if index < start - 1:
        raise DamagedError(
            f"the log begins at {start}, but the newest sound snapshot in {snapshot.DIRECTORY} is "
            f"at {index}: what lies between is missing or damaged. {REJOIN}"
        )
    unmarked = index > 0 and reader.newest_mark < (index, term)
    if index == start - 1 and reader.base_term == UNKNOWN_TERM:
        reader.base_term = term
    if reader.term_at(index) != term:
        # Installed from a leader over a shorter or conflicting log (§7), and the crash came before
        # the WAL contained its mark.
        log = RaftLog(index, term)
    else:
        if index >= start and start > 1:
            # The term before `start` may be unknown, and entries before it are not needed.
            log = RaftLog(start, reader.entries[0].term)
            log.append(reader.entries[1:])
        else:
            log = RaftLog(start - 1, reader.base_term if start > 1 else 0)
            log.append(reader.entries)
        log.commit = max(log.commit, index)
    log.batched = log.durable = log.last_index
    return log, unmarked


def _initial_hard_state(reader: _Reader, log: RaftLog) -> HardState:
    """The initial hard state, consistent with the log."""
    state = reader.hard_state
    if state.commit > log.last_index:
        raise DamagedError(
            f"{wal.DIRECTORY}: entries up to {state.commit} were committed, but the log ends at "
            f"{log.last_index}. {REJOIN}"
        )
    log.commit = max(log.commit, state.commit)
    if log.last_term > state.term:
        # Torn between the first entries of a term and its hard state: no vote was given in it.
        return HardState(log.last_term, 0, log.commit)
    return HardState(state.term, state.vote, log.commit)
