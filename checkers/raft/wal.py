"""An independent reader of the node's write-ahead log (format 1).

Names and bytes of the files in, a node's evidence out. It shares no code with the node, trusts no
length, and distinguishes a torn tail (what a crash leaves, to be cut) from damage (what no crash
explains).

A segment `%016x-%016x.wal` (sequence, first index) holds frames from offset 0 until a length of 0:

    u32 LE length | u32 LE crc | body (length bytes) | zeros to a multiple of 8
    body = u8 type + msgpack payload
    crc = CRC-32C of the body, seeded with the previous record's crc

    1 header      [format, cluster_id, member_id, sequence]
    2 entry       [term, index, kind, data]       replaces everything from its index on
    3 hard state  [term, vote, commit]
    4 snapshot    [index, term]                   entries up to index may be absent

Normal entry data is msgpack [origin, nonce, sequence, command]; a Put inside a command is the
tagged array [2, key, value, ...], possibly nested in transactions.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import crc32c
import msgspec

from squall.checkers.evidence import HardState, LogEntry, NodeEvidence

FORMAT: Final = 1
HEADER, ENTRY, HARD_STATE, SNAPSHOT = 1, 2, 3, 4
PUT_TAG: Final = 2

NESTING_MAX: Final = 32
"""Depth to which puts are searched inside a command; transactions nest far less."""

_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.wal")
_FRAME = struct.Struct("<II")
_decode = msgspec.msgpack.Decoder().decode


class Damage(ValueError):
    """The WAL is broken in a way that no crash explains; the message says where and how."""


class Record(NamedTuple):
    """One intact frame: its position, type and payload."""

    offset: int
    type: int
    payload: Any


def read_wal(node: str, files: Mapping[str, bytes]) -> NodeEvidence:
    """Read all segments of a node's WAL.

    `files` maps file names (a path before the name is ignored, as are other files) to contents. The
    evidence has whatever could be read before any damage, and describes the damage. A node without
    any segment has `log_missing`.
    """
    segments = sorted(
        (int(found[1], 16), name, data)
        for name, data in files.items()
        if (found := _NAME.fullmatch(name.rpartition("/")[2]))
    )
    if not segments:
        return NodeEvidence(node=node, log_missing=True)
    log = _Log(purged=segments[0][0] > 0)
    damage = None
    try:
        expected = segments[0][0]
        for sequence, name, data in segments:
            if sequence < expected:
                raise Damage(f"{name}: another segment has its sequence number too")
            if sequence > expected:
                raise Damage(f"{name}: segment {expected:016x} is missing before it")
            expected += 1
            for record in read_segment(name, data, last=sequence == segments[-1][0]):
                log.add(name, record, sequence)
    except Damage as found:
        damage = str(found)
    return NodeEvidence(
        node=node,
        entries=tuple(log.entries),
        first_index=log.first_index,
        overwritten=log.overwritten,
        overwrote_committed=log.overwrote_committed,
        hard_states=tuple(log.hard_states),
        committed=log.committed,
        damage=damage,
        member_id=log.member_id,
    )


def read_segment(name: str, data: bytes, *, last: bool) -> Iterator[Record]:
    """Return the records of one segment; raises Damage.

    In the `last` segment a broken frame with no intact one behind it is a torn tail, and the end.
    """
    offset, seed = 0, 0
    while offset + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, offset)
        if length == 0:
            if crc == 0 and not any(data[offset : offset + 64]):
                return
            why = "a record of no length"
        else:
            start = offset + _FRAME.size
            body = data[start : start + length]
            if len(body) < length:
                why = f"a record of {length:,} bytes does not fit"
            elif (found := crc32c.crc32c(body, seed)) != crc:
                why = f"checksum {found:08x} where {crc:08x} is written"
            else:
                yield _record(name, offset, body)
                offset, seed = start + -(-length // 8) * 8, crc
                continue
        if last and not _anything_behind(data, offset):
            return
        where = "with intact records behind it" if last else "and it is not the last segment"
        raise Damage(f"{name} at byte {offset:,}: {why}, {where}")


def _record(name: str, offset: int, body: bytes) -> Record:
    try:
        payload = _decode(body[1:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damage(f"{name} at byte {offset:,}: intact but not msgpack: {error}") from None
    return Record(offset, body[0], payload)


def _anything_behind(data: bytes, offset: int) -> bool:
    """Whether an intact record lies behind a broken one.

    Checksums are chained, so a record is recognised by its predecessor: any aligned position at
    which a frame's written checksum is the seed of the frame that follows it.
    """
    end = len(data.rstrip(b"\0"))
    for position in range(offset, end - _FRAME.size, 8):
        length, crc = _FRAME.unpack_from(data, position)
        following = position + _FRAME.size + -(-length // 8) * 8
        if length == 0 or following + _FRAME.size > len(data):
            continue
        length, expected = _FRAME.unpack_from(data, following)
        start = following + _FRAME.size
        fits = 0 < length <= len(data) - start
        if fits and crc32c.crc32c(data[start : start + length], crc) == expected:
            return True
    return False


class _Log:
    """The log, rebuilt record by record."""

    def __init__(self, *, purged: bool = False) -> None:
        self._begins_late = purged  # older segments were removed, and no entry was read yet
        self.entries: list[LogEntry] = []
        self.member_id = 0
        self.first_index = 1
        self.overwritten = 0
        self.hard_states: list[HardState] = []
        self.committed = 0
        # A hard state and the entries written with it become durable together, in either order: the
        # commit index that covers an entry is that of the hard state before it.
        self._settled = 0
        self._truncated: dict[int, LogEntry] = {}
        self._replaced: set[int] = set()

    def add(self, name: str, record: Record, sequence: int) -> None:
        """Apply one record; raises Damage."""
        where = f"{name} at byte {record.offset:,}"
        try:
            if record.type == HEADER:
                found_format, _, member_id, found_sequence = record.payload
                self.member_id = int(member_id)
                if found_format != FORMAT:
                    raise Damage(f"{where}: format {found_format}, this reads format {FORMAT}")
                if found_sequence != sequence:
                    raise Damage(f"{where}: says it is segment {found_sequence}, named {sequence}")
            elif record.type == ENTRY:
                term, index, kind, data = record.payload
                self._append(where, int(term), int(index), int(kind), bytes(data))
            elif record.type == HARD_STATE:
                term, vote, commit = record.payload
                self.hard_states.append(HardState(int(term), int(vote or 0), int(commit)))
                self._settled = self.committed
                self.committed = max(self.committed, int(commit))
            elif record.type == SNAPSHOT:
                index, term = record.payload
                self._snapshot(int(index), int(term))
            else:
                raise Damage(f"{where}: unknown record type {record.type}")
        except (TypeError, ValueError) as error:
            if isinstance(error, Damage):
                raise
            raise Damage(f"{where}: a record of type {record.type} with a strange shape") from None

    @property
    def overwrote_committed(self) -> tuple[int, ...]:
        """Committed entries that were replaced by others, or truncated and never written again."""
        return tuple(sorted(self._replaced | self._truncated.keys()))

    @property
    def _last_index(self) -> int:
        return self.first_index + len(self.entries) - 1

    def _append(self, where: str, term: int, index: int, kind: int, data: bytes) -> None:
        if not self.entries and self.first_index == 1 and index > 1:
            self.first_index = index  # older segments were purged
        if self._begins_late:
            # Entries left over by a snapshot named here may lie in a segment that was purged.
            self._begins_late = False
            self.first_index = max(self.first_index, index)
        if index > self._last_index + 1 or index < 1:
            raise Damage(f"{where}: entry {index} after entry {self._last_index}")
        entry = LogEntry(term, index, kind, digest_of(kind, data), puts_in(data))
        keep = max(0, index - self.first_index)
        for old in self.entries[keep:]:
            self.overwritten += 1
            if old.index <= self._settled:
                self._truncated[old.index] = old
        # A committed entry may be written once more, but never with other content.
        if (committed := self._truncated.pop(index, entry)) != entry:
            self._replaced.add(committed.index)
        del self.entries[keep:]
        if index < self.first_index:
            self.first_index = index
        self.entries.append(entry)

    def _snapshot(self, index: int, term: int) -> None:
        """Process a durable snapshot: the log continues from it."""
        at = index - self.first_index
        if index < self.first_index - 1 or (index == 0 and not self.entries):
            return
        self.committed = max(self.committed, index)  # only applied entries are in a snapshot
        if 0 <= at < len(self.entries) and self.entries[at].term == term:
            return  # the node's own snapshot of entries it has
        if at < 0 and self.entries:
            return  # of entries in a segment that was purged
        # Installed from the leader (Raft, section 7): conflicting entries are discarded.
        self.entries.clear()
        self.first_index = index + 1
        self._truncated.clear()


def digest_of(kind: int, data: bytes) -> str:
    """Identify an entry's content."""
    return hashlib.blake2b(bytes([kind & 0xFF]) + data, digest_size=8).hexdigest()


def puts_in(data: bytes) -> tuple[tuple[str, str], ...]:
    """Return the (key, value) pairs an entry's command would write; none if it is not ours."""
    if not data:
        return ()
    try:
        _, _, _, command = _decode(data)
        tree = _decode(command) if isinstance(command, bytes) else command
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, ValueError):
        return ()
    return tuple(_puts(tree, NESTING_MAX))


def _puts(tree: Any, depth: int) -> Iterator[tuple[str, str]]:
    if not isinstance(tree, list) or not depth:
        return
    if len(tree) >= 3 and tree[0] == PUT_TAG and all(isinstance(x, bytes) for x in tree[1:3]):
        yield tree[1].decode(errors="replace"), tree[2].decode(errors="replace")
        return
    for branch in tree:
        yield from _puts(branch, depth - 1)
