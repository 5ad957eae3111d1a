"""The history of the store: every version by revision, and the counters that say where it stands.

`current` starts at 1 and grows by exactly 1 for each command that changed something. A command's
writes are collected first and become visible to other readers only with `commit`; `roll_back`
removes them without a trace. Between the two, reads inside the command see its own writes.

Nothing here knows the log, leases or who asks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter

from node.mvcc.errors import COMPACTED, FUTURE_REVISION, RequestError
from node.mvcc.index import FROM_KEY, KeyIndex, survives
from node.mvcc.keyvalue import KeyValue

_by_mod_revision = attrgetter("mod_revision")

FIRST_REVISION = 1
"""The revision of an empty store, as in etcd."""

NEVER_COMPACTED = -1
"""What etcd has for a compacted revision before the first compaction."""


RECORD_OVERHEAD_BYTES = 48
"""What a version costs besides its key and value: its revision key, its numbers, their framing."""


class Revisions:
    """Versions in order of revision, the index over them, and the writes under way."""

    __slots__ = ("changes", "compacted", "current", "index", "records", "size_bytes")

    def __init__(self) -> None:
        self.current = FIRST_REVISION
        self.compacted = NEVER_COMPACTED
        self.index = KeyIndex()
        self.records: list[KeyValue] = []
        self.changes: list[KeyValue] = []
        self.size_bytes = 0

    @property
    def visible(self) -> int:
        """The revision a read inside the running command works at."""
        return self.current + 1 if self.changes else self.current

    def check_readable(self, revision: int) -> None:
        """Refuse a revision that is not there yet, or not there any more."""
        if revision > self.visible:
            raise RequestError(FUTURE_REVISION)
        if 0 < revision < self.compacted:
            raise RequestError(COMPACTED)

    def put(self, key: bytes, value: bytes, lease: int) -> KeyValue | None:
        """Write a version of a key; returns the one it replaces."""
        previous = self.index.latest(key)
        main = self.current + 1
        if previous is None:
            kv = KeyValue(key, value, main, main, 1, lease, len(self.changes))
        else:
            created, version = previous.create_revision, previous.version + 1
            kv = KeyValue(key, value, created, main, version, lease, len(self.changes))
        self.index.add(kv)
        self.changes.append(kv)
        return previous

    def delete(self, key: bytes, range_end: bytes) -> list[KeyValue]:
        """Write a tombstone on every key of the interval that exists; returns what was there."""
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
        if self.changes:
            self.current += 1
            self.records.extend(self.changes)
            self.size_bytes += _size(self.changes)
            self.changes = []

    def roll_back(self) -> None:
        """Take the command's writes back: it never happened."""
        while self.changes:
            self.index.take_back(self.changes.pop())

    def since(self, revision: int) -> list[KeyValue]:
        """Return every write at `revision` or later in order: what a watch there must deliver.

        Complete only above the compacted revision; the caller checks that.
        """
        return self.records[bisect_left(self.records, revision, key=_by_mod_revision) :]

    def compact(self, revision: int) -> None:
        """Forget every version that no read at `revision` or later can see."""
        if revision <= self.compacted:
            raise RequestError(COMPACTED)
        if revision > self.current:
            raise RequestError(FUTURE_REVISION)
        end = bisect_right(self.records, revision, key=_by_mod_revision)
        old = self.records[:end]
        last = {kv.key: kv for kv in old}  # later ones overwrite: the last up to `revision`
        kept = [kv for kv in old if last[kv.key] is kv and survives(kv, revision)]
        self.records[:end] = kept
        self.size_bytes += _size(kept) - _size(old)
        for key in last:
            self.index.drop_before(key, revision)
        self.compacted = revision

    def live(self) -> list[KeyValue]:
        """Return what exists now, in order of keys."""
        return self.index.scan(b"", FROM_KEY, self.current)

    def load(self, current: int, compacted: int, records: list[KeyValue]) -> None:
        """Become the history with these records, which are in order of revision."""
        self.current, self.compacted = current, compacted
        self.records, self.changes = records, []
        self.index = KeyIndex()
        self.size_bytes = _size(records)
        for kv in records:
            self.index.add(kv)


def _size(records: list[KeyValue]) -> int:
    return sum(len(kv.key) + len(kv.value) + RECORD_OVERHEAD_BYTES for kv in records)
