"""The history of the store: every version by revision, and the current and compacted revisions.

`current` starts at 1 and grows by exactly 1 for each command that changed something. A command's
writes are collected first and become visible to other readers only with `commit`; `roll_back`
removes them. Until then, reads inside the command see its own writes. Nothing here depends on the
log, on leases or on authentication.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import attrgetter

import msgspec

from squall.node.mvcc.errors import COMPACTED, FUTURE_REVISION, RequestError
from squall.node.mvcc.index import FROM_KEY, KeyIndex, survives
from squall.node.mvcc.keyvalue import KeyValue

_by_mod_revision = attrgetter("mod_revision")

FIRST_REVISION = 1
"""The revision of an empty store, as in etcd."""

NEVER_COMPACTED = -1
"""etcd's compacted revision before the first compaction."""


RECORD_OVERHEAD_BYTES = 48
"""What a version costs besides its key and value: its revision key, its numbers, their framing."""


PIECE_RECORDS = 500
"""Records in one piece of a snapshot: some tenths of a millisecond to encode."""

_encoder = msgspec.msgpack.Encoder()
_encode = _encoder.encode


class Revisions:
    """Versions in order of revision, the index over them, and the writes under way."""

    __slots__ = (
        "_encoded",
        "_encoded_count",
        "changes",
        "compacted",
        "current",
        "index",
        "records",
        "size_bytes",
    )

    def __init__(self) -> None:
        self.current = FIRST_REVISION
        self.compacted = NEVER_COMPACTED
        self.index = KeyIndex()
        self.records: list[KeyValue] = []
        self.changes: list[KeyValue] = []
        self.size_bytes = 0
        self._encoded = bytearray()  # the first records, as the last snapshot had them
        self._encoded_count = 0

    @property
    def visible(self) -> int:
        """The revision a read inside the running command works at."""
        return self.current + 1 if self.changes else self.current

    def check_readable(self, revision: int) -> None:
        """Raise RequestError for a future or a compacted revision."""
        if revision > self.visible:
            raise RequestError(FUTURE_REVISION)
        if 0 < revision < self.compacted:
            raise RequestError(COMPACTED)

    def put(self, key: bytes, value: bytes, lease: int) -> KeyValue | None:
        """Write a version of a key; returns the one it replaces."""
        previous = self.index.latest(key)
        changes = self.changes
        main = self.current + 1
        if previous is None:
            kv = KeyValue(key, value, main, main, 1, lease, len(changes))
        else:
            created, version = previous.create_revision, previous.version + 1
            kv = KeyValue(key, value, created, main, version, lease, len(changes))
        self.index.add(kv)
        changes.append(kv)
        return previous

    def delete(self, key: bytes, range_end: bytes) -> list[KeyValue]:
        """Write a tombstone for each existing key of the interval; returns what they delete."""
        if range_end:
            found = self.index.scan(key, range_end, self.current + 1)
        else:
            previous = self.index.latest(key)
            found = [] if previous is None else [previous]
        main = self.current + 1
        for kv in found:
            tombstone = KeyValue(kv.key, b"", 0, main, 0, 0, len(self.changes))
            self.index.add(tombstone)
            self.changes.append(tombstone)
        return found

    def commit(self) -> None:
        """Make the command's writes, if there are any, the next revision."""
        changes = self.changes
        if changes:
            self.current += 1
            self.records += changes
            for kv in changes:
                self.size_bytes += len(kv.key) + len(kv.value) + RECORD_OVERHEAD_BYTES
            self.changes = []

    def roll_back(self) -> None:
        """Undo the command's writes."""
        while self.changes:
            self.index.undo_add(self.changes.pop())

    def since(self, revision: int) -> list[KeyValue]:
        """Return every write at `revision` or later in order: the events of a watch from there.

        Complete only above the compacted revision; the caller checks that.
        """
        return self.records[bisect_left(self.records, revision, key=_by_mod_revision) :]

    def upto(self, revision: int) -> list[KeyValue]:
        """Return every version at `revision` or before, in order: a copy."""
        return self.records[: bisect_right(self.records, revision, key=_by_mod_revision)]

    def compact(self, revision: int) -> list[KeyValue]:
        """Remove every version that no read at `revision` or later can see; returns those."""
        if revision <= self.compacted:
            raise RequestError(COMPACTED)
        if revision > self.current:
            raise RequestError(FUTURE_REVISION)
        old = self.upto(revision)
        last = {kv.key: kv for kv in old}  # later ones overwrite: the last up to `revision`
        kept: list[KeyValue] = []
        forgotten: list[KeyValue] = []
        for kv in old:
            stays = last[kv.key] is kv and survives(kv, revision)
            (kept if stays else forgotten).append(kv)
        self.records[: len(old)] = kept
        self._forget_encoded()
        self.size_bytes += _size(kept) - _size(old)
        for key in last:
            self.index.drop_before(key, revision)
        self.compacted = revision
        return forgotten

    def encoded(self) -> msgspec.Raw:
        """Return the records as a msgpack array; only those added since the last call are encoded.

        Versions never change and only a compaction removes any, so a snapshot every few commands
        costs what is new plus a copy, instead of the whole history again.
        """
        records, encoded = self.records, self._encoded
        for kv in records[self._encoded_count :]:
            encoded += _encode(kv)
        self._encoded_count = len(records)
        return msgspec.Raw(_array_header(len(records)) + encoded)

    def live(self) -> list[KeyValue]:
        """Return what exists now, in order of keys."""
        return self.index.scan(b"", FROM_KEY, self.current)

    def load(self, current: int, compacted: int, records: list[KeyValue]) -> None:
        """Replace the history by these records, which are in order of revision."""
        self.current, self.compacted = current, compacted
        self.records, self.changes = records, []
        self.index = KeyIndex()
        self.size_bytes = _size(records)
        for kv in records:
            self.index.add(kv)
        self._forget_encoded()

    def _forget_encoded(self) -> None:
        self._encoded = bytearray()
        self._encoded_count = 0


def _size(records: list[KeyValue]) -> int:
    return sum(len(kv.key) + len(kv.value) + RECORD_OVERHEAD_BYTES for kv in records)


def encoded_pieces(records: list[KeyValue]) -> Iterator[bytes]:
    """Return records as a msgpack array, in pieces."""
    yield _array_header(len(records))
    encode_into = _encoder.encode_into
    for start in range(0, len(records), PIECE_RECORDS):
        piece = bytearray()
        for kv in records[start : start + PIECE_RECORDS]:
            encode_into(kv, piece, -1)
        yield bytes(piece)


def _array_header(length: int) -> bytes:
    """Return the head of a msgpack array of this length (format fixarray, array 16, array 32)."""
    if length < 16:
        return bytes((0x90 | length,))
    if length < 1 << 16:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")
