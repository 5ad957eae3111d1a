"""The digest that shows two runs to be equal, and the transcript of a run.

Every event of a run is noted as five integers (time, kind, node, x, y) that go into a rolling
digest, plus a detail that is formatted only for a transcript. So the digest costs next to nothing,
and formatting costs nothing until a run has failed: the last events are kept as tuples, and a whole
transcript is obtained by running the seed again and keeping all of them.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import msgspec

RING = 400
"""Events kept unless a transcript was asked for: the ones that led to a broken invariant."""

MAX_TRANSCRIPT = 20_000_000
"""Events kept when a whole transcript is asked for; about 2 GB. Older ones fall out."""

_NUMBERS = 5  # of an event that are in the digest
_BLOCK = 4096  # events folded into the digest at a time


class Kind(IntEnum):
    """What can happen."""

    DELIVER = 0
    DROP = 1
    TICK = 3
    PERSIST = 4
    PERSISTED = 5
    NOTE = 8
    KILL = 9
    START = 10
    PAUSE = 11
    RESUME = 12
    CUT = 13
    HEAL = 14
    CLOCK = 15
    DISK = 16
    TRIGGER = 17
    DIED = 18
    REQUEST = 19
    REPLY = 20
    INVARIANT = 21
    PHASE = 22
    LINK = 23
    MEMBER = 24


class TraceEvent(msgspec.Struct, frozen=True):
    """One event of a transcript. `node` is an index into the cluster's nodes, -1 for none."""

    at_us: int
    kind: Kind
    node: int
    x: int
    y: int
    detail: Any


Describe = Callable[[TraceEvent], str]
"""Formats an event's x, y and detail; supplied by `trace_format`, which knows the messages."""


class Trace:
    """Collects events; the digest is of all of them, the last `keep` can be read."""

    def __init__(self, keep: int = RING) -> None:
        self._keep = keep
        self._events: list[tuple[int, int, int, int, int, Any]] = []
        self._folded = 0  # how many of them are in the digest already
        self._fold_at = _BLOCK
        self.append = self._events.append
        """`note` of one whole tuple, for what happens most; the next `note` folds it."""
        self._hash = hashlib.blake2b(digest_size=16, person=b"squall.trace")

    def note(self, at_us: int, kind: int, node: int, x: int = 0, y: int = 0, d: Any = None) -> None:
        """Record one event; `d` is kept by reference and must not change afterwards."""
        events = self._events
        events.append((at_us, kind, node, x, y, d))
        if len(events) >= self._fold_at:
            self._fold()

    def digest(self) -> str:
        """Return the digest of every event so far, as 32 hexadecimal digits."""
        self._fold()
        return self._hash.copy().hexdigest()

    def events(self) -> Iterator[TraceEvent]:
        """Yield the events that are still kept, oldest first."""
        for at_us, kind, node, x, y, detail in self._events[-self._keep :]:
            yield TraceEvent(at_us, Kind(kind), node, x, y, detail)

    def _fold(self) -> None:
        events = self._events
        # Column by column: that runs in C, and a block's digest is as good as its rows'.
        fresh = events[self._folded :]
        for column in list(zip(*fresh, strict=True))[:_NUMBERS]:
            self._hash.update(array("q", column).tobytes())
        if len(events) > self._keep:
            del events[: -self._keep]
        self._folded = len(events)
        self._fold_at = self._folded + _BLOCK


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events of a transcript to show: an interval of time, and a node (-1: all)."""

    from_us: int | None = None
    until_us: int | None = None
    node: int = -1

    def passes(self, event: TraceEvent) -> bool:
        """Whether an event is to be shown. Events of no node in particular are always shown."""
        if self.from_us is not None and event.at_us < self.from_us:
            return False
        if self.until_us is not None and event.at_us > self.until_us:
            return False
        return self.node < 0 or event.node in (-1, self.node)


def transcript(
    events: Iterator[TraceEvent],
    nodes: tuple[str, ...],
    describe: Describe,
    shown: Filter,
    zero_us: int = 0,
) -> Iterator[str]:
    """Yield one line an event: time in seconds, node, kind, and the text of `describe`.

    Times count from `zero_us`, as in the history; events before the load have negative ones.
    """
    for event in events:
        event = msgspec.structs.replace(event, at_us=event.at_us - zero_us)
        if shown.passes(event):
            name = nodes[event.node] if event.node >= 0 else "-"
            what = event.kind.name.lower()
            yield f"{event.at_us / 1e6:12.6f}  {name:<4} {what:<9} {describe(event)}".rstrip()
