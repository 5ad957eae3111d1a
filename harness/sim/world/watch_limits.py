"""Limits of what a watch may queue: on the way to a client, and in the node beside its history.

The interesting states of a watch are those of a slow one: it falls behind, is served from the
history, and catches up. With the node's defaults that takes thousands of events; with small limits
it takes a few.
"""

from __future__ import annotations

from random import Random
from typing import TypeVar

import msgspec

from squall.node.mvcc.watch.watchers import MAX_BATCH_BYTES, MAX_RECENT, MAX_SCANNED, Limits

T = TypeVar("T")


class WatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """One set-up of all limits that concern watches.

    `recent`, `scanned` and `batch_bytes` are the node's own
    (`squall.node.mvcc.watch.watchers.Limits`). `window`: answers that may be on the way to a client
    or wait there. `wake_us`: a node checks what it owes a watch up to so much after the write.
    `progress_us`: between progress notifications.
    """

    recent: int = MAX_RECENT
    scanned: int = MAX_SCANNED
    batch_bytes: int = MAX_BATCH_BYTES
    window: int = 64
    wake_us: int = 200
    progress_us: int = 1_000_000

    @property
    def limits(self) -> Limits:
        """The node's part."""
        return Limits(recent=self.recent, scanned=self.scanned, batch_bytes=self.batch_bytes)

    def words(self) -> str:
        """Describe in one line what differs from the defaults; "" if nothing does."""
        found = []
        if self.recent < MAX_RECENT:
            found.append(f"{self.recent} recent events for watches")
        if self.scanned < MAX_SCANNED:
            found.append(f"{self.scanned} events looked at for an answer")
        if self.batch_bytes < MAX_BATCH_BYTES:
            found.append(f"watches answered {self.batch_bytes} bytes at a time")
        if self.window < WatchLimits().window:
            found.append(f"{self.window} answers under way to a watch")
        return ", ".join(found)


def draw_watch_limits(rng: Random) -> WatchLimits:
    """Draw a set-up."""
    return WatchLimits(
        recent=_pick(rng, (1, 4, 32, MAX_RECENT)),
        scanned=_pick(rng, (1, 8, MAX_SCANNED)),
        batch_bytes=_pick(rng, (1, 200, MAX_BATCH_BYTES)),
        window=_pick(rng, (1, 2, 8, 64)),
        wake_us=_pick(rng, (1, 500, 20_000)),
        progress_us=_pick(rng, (10_000, 100_000, 1_000_000)),
    )


def _pick(rng: Random, choices: tuple[T, ...]) -> T:
    return choices[int(rng.random() * len(choices))]
