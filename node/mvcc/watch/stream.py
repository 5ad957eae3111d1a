"""One client's watch stream: its watches, and its responses in the order in which they may be sent.

Three rules: a watch is confirmed before its first event; the events of one revision are sent in one
response, or in marked fragments of one; and a progress notification is sent only when every watch
of the stream has been sent all events up to its revision.

Responses are made when the client can receive them (`take`), so that only confirmations are queued
here, which `is_full` bounds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from squall.node.mvcc.watch.watchers import (
    MAX_WATCHERS,
    Compacted,
    Event,
    Interest,
    Watcher,
    WatchHub,
)

MAX_OWED = 1024
"""Queued responses without events; a client that does not read them may send no more requests."""

NO_ID = -1
"""The watch id of a response that concerns no watch, or every one."""

DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_RANGE = "mvcc: watcher range is empty"
TOO_MANY = "mvcc: too many watches"


class WatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a WatchResponse. `revision` is that of its header."""

    watch_id: int
    revision: int
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False
    events: list[Event] = []


class _Watch:
    """A watch of this stream."""

    __slots__ = ("fragment", "id", "progress_notify", "quiet", "watcher")

    def __init__(self, watch_id: int, fragment: bool, progress_notify: bool) -> None:
        self.id = watch_id
        self.fragment = fragment
        self.progress_notify = progress_notify
        self.quiet = False  # no event was sent since the last progress notification
        self.watcher: Watcher | None = None


class WatchStream:
    """The watches of one stream. `wake` is called when `take` may have a response."""

    def __init__(self, hub: WatchHub, max_bytes: int, wake: Callable[[], None]) -> None:
        self._hub = hub
        self._max_bytes = max_bytes
        self._wake = wake
        self._watches: dict[int, _Watch] = {}
        self._next_id = 0
        self._owed: deque[WatchAnswer] = deque()
        self._behind: dict[_Watch, None] = {}
        self._progress_requested = False

    @property
    def is_full(self) -> bool:
        """Whether further requests must wait until the client has read queued responses."""
        return len(self._owed) >= MAX_OWED

    def create(
        self,
        interest: Interest,
        *,
        watch_id: int = 0,
        fragment: bool = False,
        progress_notify: bool = False,
    ) -> None:
        """Create a watch; `watch_id` 0 lets the stream choose one."""
        reason = self._refusal(interest, watch_id)
        if reason:
            self.refuse(reason)
            return
        if not watch_id:
            while self._next_id in self._watches:
                self._next_id += 1
            watch_id = self._next_id
            self._next_id += 1
        watch = _Watch(watch_id, fragment, progress_notify)
        self._watches[watch_id] = watch
        self._owe(WatchAnswer(watch_id=watch_id, revision=self._hub.revision, created=True))
        watch.watcher = self._hub.add(interest, lambda _: self._fell_behind(watch))

    def refuse(self, reason: str) -> None:
        """Answer a create request with: created, and canceled at once (as etcd)."""
        self._owe(
            WatchAnswer(
                watch_id=NO_ID,
                revision=self._hub.revision,
                created=True,
                canceled=True,
                cancel_reason=reason,
            )
        )

    def cancel(self, watch_id: int) -> None:
        """Cancel a watch; an unknown one is no error and gets no response."""
        watch = self._watches.get(watch_id)
        if watch is not None:
            self._end(watch)
            self._owe(WatchAnswer(watch_id=watch_id, revision=self._hub.revision, canceled=True))

    def request_progress(self) -> None:
        """Send a progress notification for the whole stream as soon as no watch is behind."""
        self._progress_requested = True
        self._wake()

    def notify_progress(self) -> None:
        """Notify each watch that requested progress and was sent nothing since the last call.

        Not those that are behind, which are sent events soon; and none while the client does not
        read its queued responses.
        """
        if self.is_full:
            return
        for watch in self._watches.values():
            if watch.progress_notify and watch.quiet and watch not in self._behind:
                self._owe(WatchAnswer(watch_id=watch.id, revision=self._hub.revision))
            watch.quiet = True

    def take(self) -> WatchAnswer | None:
        """Return the next response to send; None when there is none."""
        while True:
            if self._owed:
                return self._owed.popleft()
            if self._behind:
                self._read(next(iter(self._behind)))
                continue
            if self._progress_requested:
                self._progress_requested = False
                return WatchAnswer(watch_id=NO_ID, revision=self._hub.revision)
            return None

    def close(self) -> None:
        """Remove all watches."""
        for watch in list(self._watches.values()):
            self._end(watch)
        self._owed.clear()

    def _refusal(self, interest: Interest, watch_id: int) -> str:
        if watch_id and watch_id in self._watches:
            return DUPLICATE_ID
        if interest.range_end > b"\0" and interest.range_end <= interest.key:
            return EMPTY_RANGE
        return TOO_MANY if self._hub.count >= MAX_WATCHERS else ""

    def _read(self, watch: _Watch) -> None:
        """Make the next response of a watch that is behind, then move it to the end of the line."""
        watcher = watch.watcher
        assert watcher is not None, watch.id
        del self._behind[watch]
        revision = self._hub.revision
        try:
            events = self._hub.read(watcher)
        except Compacted as compacted:
            self._end(watch)
            self._owe(
                WatchAnswer(
                    watch_id=watch.id,
                    revision=revision,
                    canceled=True,
                    compact_revision=compacted.revision,
                )
            )
            return
        if watcher.cursor:
            self._behind[watch] = None
        if events:
            watch.quiet = False
            parts = self._fragments(events) if watch.fragment else [events]
            for number, part in enumerate(parts, start=1):
                more = number < len(parts)
                self._owed.append(
                    WatchAnswer(watch_id=watch.id, revision=revision, events=part, fragment=more)
                )

    def _fragments(self, events: list[Event]) -> list[list[Event]]:
        parts: list[list[Event]] = [[]]
        size = 0
        for event in events:
            if parts[-1] and size + event.size_bytes > self._max_bytes:
                parts.append([])
                size = 0
            parts[-1].append(event)
            size += event.size_bytes
        return parts

    def _fell_behind(self, watch: _Watch) -> None:
        self._behind[watch] = None
        self._wake()

    def _end(self, watch: _Watch) -> None:
        assert watch.watcher is not None, watch.id
        self._hub.remove(watch.watcher)
        del self._watches[watch.id]
        self._behind.pop(watch, None)

    def _owe(self, answer: WatchAnswer) -> None:
        self._owed.append(answer)
        self._wake()
