"""Watchers over the history of a store (etcd: mvcc/watchable_store.go).

A watcher is a position in the history, not a queue. It is *idle* (etcd: synced) when it has read
all events that match; a matching write makes it *behind* (etcd: unsynced), with the revision of
that write as its cursor. Its stream then reads events from the cursor on, as fast as the client
reads them. So a slow client costs a number, not memory, and no event can be lost between a buffer
and the history. The newest events are kept in a second list that compaction does not change, for
watchers that are behind only a little.

What a watch must never do: skip an event, repeat one, or deliver events out of order. A watcher
behind the compacted revision is canceled with that revision, never moved on. A snapshot from the
leader replaces the history: each watcher continues at its position.

Local to a node and not part of the replicated state.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from operator import attrgetter

import msgspec

from squall.node.mvcc.index import FROM_KEY
from squall.node.mvcc.keyvalue import KeyValue
from squall.node.mvcc.revisions import Revisions

MAX_WATCHERS = 100_000
"""Watchers on one node; each costs about a kilobyte."""
MAX_RECENT = 4096
"""Newest events kept for watchers that are a little behind; trimmed at twice as many."""
MAX_SCANNED = 8192
"""Events scanned for one response, so that a watcher far behind does not delay the others."""
MAX_BATCH_BYTES = 1 << 20
"""A response ends with the revision that reaches this size."""
EVENT_OVERHEAD_BYTES = 64
"""Size of an event in a message besides its keys and values, at most."""

_by_mod_revision = attrgetter("mod_revision")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the work done for watchers at a time; small ones reach rare paths sooner."""

    recent: int = MAX_RECENT
    scanned: int = MAX_SCANNED
    batch_bytes: int = MAX_BATCH_BYTES


DEFAULT = Limits()


class Event(msgspec.Struct, frozen=True, gc=False):
    """A write; a tombstone is a delete. `previous` only when the watch requested it."""

    kv: KeyValue
    previous: KeyValue | None = None

    @property
    def size_bytes(self) -> int:
        """Approximate size in a message."""
        size = len(self.kv.key) + len(self.kv.value) + EVENT_OVERHEAD_BYTES
        if self.previous is not None:
            size += len(self.previous.key) + len(self.previous.value) + EVENT_OVERHEAD_BYTES
        return size


class Interest(msgspec.Struct, frozen=True):
    """Keys and filters of a watch. `start_revision` 0: from the next write on."""

    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    no_put: bool = False
    no_delete: bool = False
    prev_kv: bool = False

    def wants(self, kv: KeyValue) -> bool:
        """Whether an event matches."""
        if self.no_put if kv.version else self.no_delete:
            return False
        if not self.range_end:
            return kv.key == self.key
        return self.key <= kv.key and (self.range_end == FROM_KEY or kv.key < self.range_end)


class Watcher:
    """One watch. `cursor` is the revision to read from, 0 while it is idle."""

    __slots__ = ("cursor", "interest", "on_behind", "since")

    def __init__(self, interest: Interest, on_behind: Callable[[Watcher], None]) -> None:
        self.interest = interest
        self.on_behind = on_behind
        self.cursor = 0
        self.since = 0  # it has read, or does not want, events before this revision


class Compacted(Exception):
    """The watcher's next event may be compacted. `revision` is the compacted revision."""

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.revision = revision


class WatchHub:
    """All watchers of a node, over the history of its store."""

    __slots__ = ("_by_key", "_history", "_limits", "_ranges", "_recent", "_recent_from", "count")

    def __init__(self, history: Revisions, limits: Limits = DEFAULT) -> None:
        self._history = history
        self._limits = limits
        self._by_key: dict[bytes, dict[Watcher, None]] = {}
        self._ranges: dict[Watcher, None] = {}
        self._recent: list[KeyValue] = []
        self._recent_from = 0  # every event from this revision on is in `_recent`
        self.count = 0

    @property
    def revision(self) -> int:
        """The store's revision: idle watchers have read all matching events up to it."""
        return self._history.current

    def add(self, interest: Interest, on_behind: Callable[[Watcher], None]) -> Watcher:
        """Add a watcher; `on_behind` is called when it has events to read, perhaps at once."""
        if self.count == 0:
            self._forget_recent()
        watcher = Watcher(interest, on_behind)
        watcher.since = interest.start_revision or self.revision + 1
        if interest.range_end:
            self._ranges[watcher] = None
        else:
            self._by_key.setdefault(interest.key, {})[watcher] = None
        self.count += 1
        if watcher.since <= self.revision:
            watcher.cursor = watcher.since
            on_behind(watcher)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """Remove a watcher."""
        if watcher.interest.range_end:
            del self._ranges[watcher]
        else:
            same_key = self._by_key[watcher.interest.key]
            del same_key[watcher]
            if not same_key:
                del self._by_key[watcher.interest.key]
        self.count -= 1
        if self.count == 0:
            self._forget_recent()

    def publish(self, changes: list[KeyValue]) -> None:
        """Publish the writes of the store's newest revision to the watchers that match."""
        recent = self._recent
        recent += changes
        if len(recent) > 2 * self._limits.recent:
            self._trim()
        for kv in changes:
            for watcher in self._by_key.get(kv.key, ()):
                self._touch(watcher, kv)
            for watcher in self._ranges:
                self._touch(watcher, kv)

    def replaced(self, previous_revision: int) -> None:
        """The history was replaced by a snapshot's, which continues the previous one."""
        self._forget_recent()
        if not self.count:
            return
        assert self.revision >= previous_revision, (self.revision, previous_revision)
        idle = [each for some in self._by_key.values() for each in some if not each.cursor]
        idle += [each for each in self._ranges if not each.cursor]
        for watcher in idle:
            undelivered = max(watcher.since, previous_revision + 1)
            if undelivered <= self.revision:
                watcher.cursor = undelivered
                watcher.on_behind(watcher)

    def read(self, watcher: Watcher) -> list[Event]:
        """Return the next events of a watcher that is behind, whole revisions; raises Compacted.

        May be empty while there is more to scan: the watcher is idle when its cursor is 0.
        """
        history, interest, limits = self._history, watcher.interest, self._limits
        assert watcher.cursor, "an idle watcher has nothing to read"
        if watcher.cursor >= self._recent_from:
            source = self._recent
        elif watcher.cursor < history.compacted:
            raise Compacted(history.compacted)
        else:
            source = history.records
        begin = position = bisect_left(source, watcher.cursor, key=_by_mod_revision)
        events: list[Event] = []
        size, last = 0, 0
        while position < len(source):
            kv = source[position]
            if kv.mod_revision != last:
                if size >= limits.batch_bytes or position - begin >= limits.scanned:
                    watcher.cursor = kv.mod_revision
                    return events
                last = kv.mod_revision
            if interest.wants(kv):
                event = Event(kv, self._previous(kv) if interest.prev_kv else None)
                events.append(event)
                size += event.size_bytes
            position += 1
        watcher.cursor, watcher.since = 0, self.revision + 1
        return events

    def _touch(self, watcher: Watcher, kv: KeyValue) -> None:
        # A watch from a future revision receives no event before that revision.
        if not watcher.cursor and kv.mod_revision >= watcher.since and watcher.interest.wants(kv):
            watcher.cursor = kv.mod_revision
            watcher.on_behind(watcher)

    def _previous(self, kv: KeyValue) -> KeyValue | None:
        """The key before this write; None when it did not exist or is compacted."""
        before = kv.mod_revision - 1
        if before < self._history.compacted:
            return None
        return self._history.index.at(kv.key, before)

    def _trim(self) -> None:
        """Remove the oldest of the recent events, whole revisions only."""
        recent = self._recent
        first = recent[-self._limits.recent].mod_revision
        del recent[: bisect_left(recent, first, key=_by_mod_revision)]
        self._recent_from = first

    def _forget_recent(self) -> None:
        self._recent.clear()
        self._recent_from = self.revision + 1
