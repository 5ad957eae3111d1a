"""The write-ahead log: segments, and the operations that append records to them.

    wal/%016x-%016x.wal     sequence number, index of the first entry that may be in it

Segments are preallocated with zeros and written from the start: appending is overwriting, and a
sync moves no metadata. Segments in order of sequence form one log, in which an entry replaces
everything from its index on. This module plans disk operations; `squall.node.storage.recovery`
reads what they left behind.
"""

from __future__ import annotations

from typing import Final

from squall.node.raft.messages import Entry, HardState
from squall.node.storage import frames
from squall.node.storage.disk import Append, Create, DiskOp, Remove, Sync, SyncDir

DIRECTORY: Final = "member/wal"
SUFFIX: Final = ".wal"


def segment_path(sequence: int, first_index: int) -> str:
    """Return the path of a segment."""
    return f"{DIRECTORY}/{sequence:016x}-{first_index:016x}{SUFFIX}"


class Wal:
    """The writing end: turns records into disk operations and rolls segments."""

    __slots__ = (
        "_cluster_id",
        "_crc",
        "_last_hard_state",
        "_max_wals",
        "_member_id",
        "_offset",
        "_path",
        "_segment_bytes",
        "_segments",
        "_sequence",
        "_size",
    )

    def __init__(
        self, cluster_id: int, member_id: int, segment_bytes: int, max_wals: int = 0
    ) -> None:
        self._cluster_id = cluster_id
        self._member_id = member_id
        self._segment_bytes = segment_bytes
        self._max_wals = max_wals
        self._segments: list[tuple[int, str]] = []  # (first index, path), oldest first
        self._sequence = -1
        self._path = ""
        self._offset = 0
        self._size = 0
        self._crc = 0
        self._last_hard_state: tuple[int, int, int] = (0, 0, 0)

    def save(
        self,
        entries: list[Entry],
        hard_state: HardState | None,
        mark: tuple[int, int] | None,
        last_index: int,
    ) -> list[DiskOp]:
        """Plan the operations that make these durable, in this order: mark, entries, hard state.

        `last_index` is where the log ends with them. The mark comes first because entries behind a
        snapshot need not follow the log before it; the hard state last because its commit index is
        at most the last entry.
        """
        crc, encode = self._crc, frames.encode
        parts: list[bytes] = []
        if mark is not None:
            data, crc = encode(frames.SNAPSHOT_MARK, mark, crc)
            parts.append(data)
        for entry in entries:
            data, crc = encode(frames.ENTRY, entry, crc)
            parts.append(data)
        if hard_state is not None:
            state = (hard_state.term, hard_state.vote, hard_state.commit)
            if state != self._last_hard_state:
                self._last_hard_state = state
                data, crc = encode(frames.HARD_STATE, state, crc)
                parts.append(data)
        if not parts:
            return []
        block = parts[0] if len(parts) == 1 else b"".join(parts)
        if self._offset + len(block) > self._size:
            first = last_index + 1 - len(entries)
            return self._save_in_new_segment(first, entries, mark)
        self._crc = crc
        operations: list[DiskOp] = [Append(self._path, self._offset, block), Sync(self._path)]
        self._offset += len(block)
        return operations

    def _save_in_new_segment(
        self, first: int, entries: list[Entry], mark: tuple[int, int] | None
    ) -> list[DiskOp]:
        """Roll to a new segment and write there; the hard state is repeated in every segment.

        The directory is synced in the same batch, or a crash could lose the whole segment.
        """
        self._sequence += 1
        self._path = segment_path(self._sequence, first)
        self._segments.append((first, self._path))
        header = (frames.FORMAT, self._cluster_id, self._member_id, self._sequence)
        records: list[tuple[int, object]] = [(frames.SEGMENT_HEADER, header)]
        if mark is not None:
            records.append((frames.SNAPSHOT_MARK, mark))
        records += [(frames.ENTRY, entry) for entry in entries]
        records.append((frames.HARD_STATE, self._last_hard_state))
        parts = []
        crc = 0
        for kind, payload in records:
            data, crc = frames.encode(kind, payload, crc)
            parts.append(data)
        block = b"".join(parts)
        self._crc = crc
        self._offset = len(block)
        self._size = max(self._segment_bytes, len(block))
        return [
            Create(self._path, self._size),
            Append(self._path, 0, block),
            Sync(self._path),
            SyncDir(DIRECTORY),
        ]

    def resume(
        self,
        segments: list[tuple[int, str]],
        sequence: int,
        position: tuple[int, int, int],
        hard_state: HardState,
    ) -> None:
        """Continue after recovery, at (offset, size, crc) in the last of `segments`."""
        self._segments = segments
        self._sequence = sequence
        self._path = segments[-1][1] if segments else ""
        self._offset, self._size, self._crc = position
        self._last_hard_state = (hard_state.term, hard_state.vote, hard_state.commit)

    def purge(self, index: int) -> list[DiskOp]:
        """Plan the removal of segments with entries up to `index` only, beyond those to keep."""
        if not self._max_wals:
            return []
        operations: list[DiskOp] = []
        segments = self._segments
        while len(segments) > self._max_wals and segments[1][0] <= index:
            operations.append(Remove(segments.pop(0)[1]))
        if operations:
            operations.append(SyncDir(DIRECTORY))
        return operations
