"""The index by key: the versions of each key (etcd: mvcc/index.go, key_index.go).

A key has a list of versions in order of revision; a tombstone ends a generation, and the next put
begins a new one with version 1. A key without versions is not in the index.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter

from sortedcontainers import SortedList

from squall.node.mvcc.keyvalue import KeyValue

_by_mod_revision = attrgetter("mod_revision")

FROM_KEY = b"\0"
"""The range_end that means: every key from here on."""


class KeyIndex:
    """Keys in order, each with its versions."""

    __slots__ = ("_keys", "_versions")

    def __init__(self) -> None:
        self._keys: SortedList[bytes] = SortedList()
        self._versions: dict[bytes, list[KeyValue]] = {}

    def __len__(self) -> int:
        return len(self._versions)

    def latest(self, key: bytes) -> KeyValue | None:
        """Return the key as it is now; None when it does not exist."""
        versions = self._versions.get(key)
        if versions is None:
            return None
        kv = versions[-1]
        return kv if kv.version else None

    def at(self, key: bytes, revision: int) -> KeyValue | None:
        """Return the key as it was at `revision`; None when it did not exist then."""
        versions = self._versions.get(key)
        if versions is None:
            return None
        kv = versions[-1]
        if kv.mod_revision > revision:
            position = bisect_right(versions, revision, key=_by_mod_revision)
            if position == 0:
                return None
            kv = versions[position - 1]
        return kv if kv.version else None

    def scan(self, key: bytes, range_end: bytes, revision: int) -> list[KeyValue]:
        """Return what existed in the interval at `revision`, in order of keys."""
        found = (self.at(k, revision) for k in self._keys_in(key, range_end))
        return [kv for kv in found if kv is not None]

    def last_version_at(self, key: bytes, revision: int) -> KeyValue | None:
        """Return the key's newest version up to `revision`, a tombstone included."""
        versions = self._versions.get(key, [])
        position = bisect_right(versions, revision, key=_by_mod_revision)
        return versions[position - 1] if position else None

    def add(self, kv: KeyValue) -> None:
        """Append a version to its key; revisions never decrease."""
        versions = self._versions.get(kv.key)
        if versions is None:
            self._versions[kv.key] = [kv]
            self._keys.add(kv.key)
        else:
            assert versions[-1].mod_revision <= kv.mod_revision, (versions[-1], kv)
            versions.append(kv)

    def undo_add(self, kv: KeyValue) -> None:
        """Undo `add`: the newest version of the key must be `kv`."""
        versions = self._versions[kv.key]
        newest = versions.pop()
        assert newest is kv, (newest, kv)
        if not versions:
            self._forget(kv.key)

    def drop_before(self, key: bytes, revision: int) -> None:
        """Remove the versions of a key that no read at `revision` or later can see."""
        versions = self._versions[key]
        keep_from = bisect_right(versions, revision, key=_by_mod_revision)
        if keep_from and survives(versions[keep_from - 1], revision):
            keep_from -= 1
        del versions[:keep_from]
        if not versions:
            self._forget(key)

    def _forget(self, key: bytes) -> None:
        del self._versions[key]
        self._keys.remove(key)

    def _keys_in(self, key: bytes, range_end: bytes) -> Iterator[bytes]:
        if not range_end:
            return iter((key,))
        if range_end == FROM_KEY:
            return self._keys.irange(key)  # type: ignore[no-any-return]
        return self._keys.irange(key, range_end, (True, False))  # type: ignore[no-any-return]


def survives(kv: KeyValue, compacted: int) -> bool:
    """Whether a key's last version up to the compaction is kept.

    A live one is. A tombstone cannot be read, but one written at the compacted revision itself is
    kept: a watch may still start there and must receive the delete.
    """
    return bool(kv.version) or kv.mod_revision == compacted
