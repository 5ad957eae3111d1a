"""The network: per directed link delay, loss, duplication, reordering, clogging and cuts.

Messages are passed by reference; a sampled fraction is encoded and decoded, so that the codec is
tested as well. A cut drops on arrival, at the receiver, like a packet filter: what was in flight
when the cut came is dropped too, and each link counts what it dropped, so that a fault's effect is
measured rather than assumed.

Every directed link draws from a stream of its own. Nothing here interprets a message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from functools import lru_cache
from heapq import heappush
from typing import Any

import msgspec

from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.world.loop import Loop

_STEPS = 1024
_TAIL = tuple(round(-math.log(1 - (i + 0.5) / _STEPS) * 1000) for i in range(_STEPS))
"""Quantiles of the exponential distribution, in thousandths of its mean: integers, so that the last
bit of a platform's logarithm can move no event."""

MAX_IN_FLIGHT = 4096
"""Messages on one directed link at a time; more are dropped, as by a full socket buffer."""


Receive = Callable[[int, Any], None]
"""Called with (source, message) when a message arrives."""


class LinkProfile(msgspec.Struct, frozen=True, kw_only=True):
    """How links behave. Microseconds and probabilities per message.

    `delay_us` is the least delay, `tail_us` the mean of the exponential part on top; with `slow_p`
    a message takes up to `slow_us` longer. Unless `reorder`, a link delivers in order of sending. A
    duplicate is sent right after its original, or with `late_us` arrives up to that much later.
    """

    delay_us: int = 300
    tail_us: int = 300
    slow_p: float = 0.0
    slow_us: int = 0
    loss_p: float = 0.0
    duplicate_p: float = 0.0
    late_us: int = 0
    reorder: bool = False
    codec_p: float = 0.02


class Link:
    """One directed link's state and counters, with its profile's values for fast access."""

    __slots__ = (
        "clogged_until_us",
        "codec_p",
        "delays_us",
        "dropped",
        "duplicate_p",
        "duplicated",
        "held",
        "hold_us",
        "in_flight",
        "last_us",
        "late_us",
        "loss_p",
        "lost",
        "overtook",
        "random",
        "receive",
        "reorder",
        "slow_p",
        "slow_us",
        "source",
        "target",
    )

    def __init__(
        self,
        source: int,
        target: int,
        receive: Receive,
        random: Callable[[], float],
        profile: LinkProfile,
    ) -> None:
        self.source = source
        self.target = target
        self.receive = receive
        self.random = random
        self.last_us = 0
        self.hold_us = 0
        self.in_flight = 0
        self.dropped = self.lost = self.duplicated = self.held = self.overtook = 0
        self.set_profile(profile)

    def set_profile(self, profile: LinkProfile) -> None:
        """Set the profile from now on; a clog ends."""
        self.clogged_until_us = 0
        self.delays_us = _delays_us(profile.delay_us, profile.tail_us)
        self.slow_p, self.slow_us = profile.slow_p, profile.slow_us
        self.loss_p, self.codec_p = profile.loss_p, profile.codec_p
        self.duplicate_p, self.late_us = profile.duplicate_p, profile.late_us
        self.reorder = profile.reorder


def _drop(source: int, message: Any) -> None:
    """Drop a message whose receiver has been replaced."""


@lru_cache(maxsize=64)
def _delays_us(delay_us: int, tail_us: int) -> tuple[int, ...]:
    """Return the quantiles of a link's delay: a draw is a look-up."""
    return tuple(delay_us + tail_us * thousandths // 1000 for thousandths in _TAIL)


Recode = Callable[[Any], Any]
"""Encode a message and decode it again."""


class Network:
    """All directed links between nodes numbered 0..n-1; `receivers` are called on arrival."""

    def __init__(
        self,
        loop: Loop,
        seeds: WorldSeeds,
        receivers: Sequence[Receive],
        profile: LinkProfile,
        recode: Recode,
    ) -> None:
        self._loop = loop
        self._heap = loop.heap
        self._number = loop.number
        self._recode = recode
        self._arrive = loop.register(self._on_arrive)
        self.size = size = len(receivers)
        self.links = [
            [
                Link(source, target, receive, seeds.of("link", source, target).random, profile)
                for target, receive in enumerate(receivers)
            ]
            for source in range(size)
        ]
        self._drops = [0] * size  # target -> bit mask of the sources it drops
        self._isolated = 0  # bit mask of nodes that neither send nor receive
        self._whole = True  # no cut, nobody isolated: the common case, decided once
        self.on_drop: Callable[[int, int, Any], None] | None = None

    def send(self, source: int, target: int, message: Any) -> None:
        """Put a message on its way; it may arrive later, twice, or never."""
        link = self.links[source][target]
        random = link.random
        if link.in_flight >= MAX_IN_FLIGHT or (link.loss_p and random() < link.loss_p):
            link.lost += 1
            if self.on_drop is not None:
                self.on_drop(source, target, message)
            return
        if link.codec_p and random() < link.codec_p:
            message = self._recode(message)
        begin_us = self._loop.now_us
        if link.clogged_until_us > begin_us:
            begin_us = link.clogged_until_us
        duplicated = False
        while True:
            at_us = begin_us + link.delays_us[int(random() * _STEPS)]
            if link.slow_p and random() < link.slow_p:
                at_us += int(random() * link.slow_us)
            if link.hold_us:
                at_us += link.hold_us
                link.hold_us = 0
                link.held += 1
            if at_us < link.last_us:
                if link.reorder:
                    link.overtook += 1
                else:
                    at_us = link.last_us
            else:
                link.last_us = at_us
            link.in_flight += 1
            heappush(self._heap, (at_us, self._number(), self._arrive, link, message))
            if duplicated or not link.duplicate_p or random() >= link.duplicate_p:
                return
            duplicated = True
            link.duplicated += 1
            if link.late_us:
                self._send_late(link, message)
                return

    def cut(self, target: int, sources: int) -> None:
        """Let `target` drop what comes from the nodes in the bit mask `sources`, besides others."""
        self._drops[target] |= sources
        self._update_whole()

    def dropped(self) -> int:
        """Count the messages that cut links dropped since `heal`."""
        return sum(link.dropped for row in self.links for link in row)

    def heal(self) -> dict[tuple[int, int], int]:
        """Drop nothing any more; returns how many messages each cut link dropped since `heal`."""
        self._drops = [0] * self.size
        self._update_whole()
        dropped = {}
        for source, row in enumerate(self.links):
            for target, link in enumerate(row):
                if link.dropped:
                    dropped[source, target] = link.dropped
                    link.dropped = 0
        return dropped

    def is_cut(self, source: int, target: int) -> bool:
        """Whether `target` drops what comes from `source`."""
        alone = self._isolated
        return bool((self._drops[target] >> source | alone >> source | alone >> target) & 1)

    def isolate(self, node: int) -> None:
        """Let a node neither send nor receive, besides whatever is cut."""
        self._isolated |= 1 << node
        self._update_whole()

    def rejoin(self, node: int) -> None:
        """End the isolation of a node; cuts stay."""
        self._isolated &= ~(1 << node)
        self._update_whole()

    def clog(self, source: int, target: int, until_us: int) -> None:
        """Deliver nothing on a link before `until_us`; what is sent meanwhile is delayed."""
        link = self.links[source][target]
        link.clogged_until_us = max(link.clogged_until_us, until_us)

    def drop_in_flight(self, target: int) -> None:
        """Drop what is in flight to a node: another one takes its place."""
        for row in self.links:
            old = row[target]
            row[target] = new = copy(old)
            new.in_flight = 0
            old.receive = _drop

    def hold_next(self, source: int, target: int, delay_us: int) -> None:
        """Delay the next message on a link by `delay_us`."""
        self.links[source][target].hold_us = delay_us

    def set_profile(self, profile: LinkProfile) -> None:
        """Set every link's profile from now on; clogs end."""
        for row in self.links:
            for link in row:
                link.set_profile(profile)

    def totals(self) -> dict[str, int]:
        """Count over all links: lost, duplicated, held, overtook."""
        names = ("lost", "duplicated", "held", "overtook")
        return {n: sum(getattr(link, n) for row in self.links for link in row) for n in names}

    def _update_whole(self) -> None:
        self._whole = not any(self._drops) and not self._isolated

    def _send_late(self, link: Link, message: Any) -> None:
        link.in_flight += 1
        at_us = self._loop.now_us + link.delays_us[0] + int(link.random() * link.late_us)
        heappush(self._heap, (at_us, self._number(), self._arrive, link, message))

    def _on_arrive(self, link: Link, message: Any) -> None:
        link.in_flight -= 1
        source = link.source
        if not self._whole and self.is_cut(source, link.target):
            link.dropped += 1
            if self.on_drop is not None:
                self.on_drop(source, link.target, message)
            return
        link.receive(source, message)
