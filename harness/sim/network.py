"""The network: per directed link delay, loss, duplication, reordering, clogging and cuts.

Messages are passed by reference; a sampled fraction goes through the codec and back, so that what
the wire would do to them is tested as well. A cut drops on arrival, at the receiver, like a packet
filter: what was on its way when the cut came is dropped too, and each link counts what it dropped,
so that a fault's effect is measured rather than assumed.

Every directed link draws from a stream of its own. Nothing here knows what a message means.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from harness.sim.loop import Loop
from harness.sim.streams import Streams

_STEPS = 1024
_TAIL = tuple(round(-math.log(1 - (i + 0.5) / _STEPS) * 1000) for i in range(_STEPS))
"""Quantiles of the exponential distribution, in thousandths of its mean: integers, so that the last
bit of a platform's logarithm can move no event."""

MAX_IN_FLIGHT = 4096
"""Messages on one directed link at a time; more are dropped, as by a full socket buffer."""


class LinkProfile(msgspec.Struct, frozen=True, kw_only=True):
    """How links behave. Microseconds and probabilities per message.

    `delay_us` is the least delay, `tail_us` the mean of the exponential part on top; with `slow_p`
    a message takes up to `slow_us` longer. Unless `reorder`, a link delivers in order of sending.
    """

    delay_us: int = 300
    tail_us: int = 300
    slow_p: float = 0.0
    slow_us: int = 0
    loss_p: float = 0.0
    duplicate_p: float = 0.0
    reorder: bool = False
    codec_p: float = 0.02


class Link:
    """One directed link's state and counters."""

    __slots__ = (
        "clogged_until_us",
        "codec",
        "delays_us",
        "delivered",
        "dropped",
        "duplicated",
        "hold_us",
        "in_flight",
        "last_us",
        "lost",
        "profile",
        "random",
        "sent",
    )

    def __init__(self, random: Callable[[], float], profile: LinkProfile) -> None:
        self.random = random
        self.profile = profile
        self.delays_us = _delays_us(profile.delay_us, profile.tail_us)
        self.last_us = 0
        self.clogged_until_us = 0
        self.hold_us = 0
        self.in_flight = 0
        self.sent = self.delivered = self.dropped = self.lost = self.duplicated = self.codec = 0


@lru_cache(maxsize=64)
def _delays_us(delay_us: int, tail_us: int) -> tuple[int, ...]:
    """Return the quantiles of a link's delay: a draw is a look-up."""
    return tuple(delay_us + tail_us * thousandths // 1000 for thousandths in _TAIL)


Deliver = Callable[[int, int, Any], None]
"""Called with (source, target, message) when a message arrives."""

Recode = Callable[[Any], Any]
"""Encode a message and decode it again: what the wire would make of it."""


class Network:
    """All directed links between nodes numbered 0..n-1."""

    def __init__(
        self,
        loop: Loop,
        streams: Streams,
        size: int,
        profile: LinkProfile,
        deliver: Deliver,
        recode: Recode,
    ) -> None:
        self._loop = loop
        self._deliver = deliver
        self._recode = recode
        self._arrive = loop.register(self._on_arrive)
        self.size = size
        self.links = [
            [Link(streams.of("link", source, target).random, profile) for target in range(size)]
            for source in range(size)
        ]
        self._drops = [0] * size  # target -> bit mask of the sources it drops
        self._isolated = 0  # bit mask of nodes that neither send nor receive
        self._whole = True  # no cut, nobody isolated: the common case, decided once
        self.on_drop: Callable[[int, int, Any], None] | None = None

    def send(self, source: int, target: int, message: Any) -> None:
        """Put a message on its way; it may arrive later, twice, or never."""
        link = self.links[source][target]
        profile, random = link.profile, link.random
        link.sent += 1
        if link.in_flight >= MAX_IN_FLIGHT or (profile.loss_p and random() < profile.loss_p):
            link.lost += 1
            if self.on_drop is not None:
                self.on_drop(source, target, message)
            return
        if profile.codec_p and random() < profile.codec_p:
            link.codec += 1
            message = self._recode(message)
        self._put(source, target, link, message)
        if profile.duplicate_p and random() < profile.duplicate_p:
            link.duplicated += 1
            self._put(source, target, link, message)

    def cut(self, target: int, sources: int) -> None:
        """Let `target` drop what comes from the nodes in the bit mask `sources`, besides others."""
        self._drops[target] |= sources
        self._look()

    def heal(self) -> dict[tuple[int, int], int]:
        """Drop nothing any more; returns how many messages each cut link dropped since `heal`."""
        self._drops = [0] * self.size
        self._look()
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
        self._look()

    def rejoin(self, node: int) -> None:
        """End the isolation of a node; cuts stay."""
        self._isolated &= ~(1 << node)
        self._look()

    def clog(self, source: int, target: int, until_us: int) -> None:
        """Deliver nothing on a link before `until_us`; what is sent meanwhile waits."""
        link = self.links[source][target]
        link.clogged_until_us = max(link.clogged_until_us, until_us)

    def hold_next(self, source: int, target: int, delay_us: int) -> None:
        """Delay the next message on a link by `delay_us`."""
        self.links[source][target].hold_us = delay_us

    def set_profile(self, profile: LinkProfile) -> None:
        """Make every link behave otherwise from now on; clogs end."""
        for row in self.links:
            for link in row:
                link.profile = profile
                link.delays_us = _delays_us(profile.delay_us, profile.tail_us)
                link.clogged_until_us = 0

    def totals(self) -> dict[str, int]:
        """Count over all links: sent, delivered, dropped (by cuts), lost, duplicated, codec."""
        names = ("sent", "delivered", "lost", "duplicated", "codec")
        return {n: sum(getattr(link, n) for row in self.links for link in row) for n in names}

    def _look(self) -> None:
        self._whole = not any(self._drops) and not self._isolated

    def _put(self, source: int, target: int, link: Link, message: Any) -> None:
        profile, random = link.profile, link.random
        delay = link.delays_us[int(random() * _STEPS)]
        if profile.slow_p and random() < profile.slow_p:
            delay += int(random() * profile.slow_us)
        if link.hold_us:
            delay += link.hold_us
            link.hold_us = 0
        loop = self._loop
        at_us = loop.now_us + delay
        if link.clogged_until_us > loop.now_us:
            at_us = link.clogged_until_us + delay
        if not profile.reorder:
            if at_us < link.last_us:
                at_us = link.last_us
            link.last_us = at_us
        link.in_flight += 1
        loop.at(at_us, self._arrive, source << 8 | target, message)

    def _on_arrive(self, path: int, message: Any) -> None:
        source, target = path >> 8, path & 0xFF
        link = self.links[source][target]
        link.in_flight -= 1
        if not self._whole and self.is_cut(source, target):
            link.dropped += 1
            if self.on_drop is not None:
                self.on_drop(source, target, message)
            return
        link.delivered += 1
        self._deliver(source, target, message)
