"""Turning nodes' clocks, and believing it only when the node itself reports the wrong time.

The means is a shim of our own, preloaded in the node alone (docker/clock.c), not libfaketime: that
one chooses at the start of a process whether monotonic time is faked, so that jumps and drift could
not meet in one run; its drift throws a clock back whenever the rate changes; and under its drift a
timed wait on a lock never returns, under its jumps `time.sleep` raises. The shim has offset and
rate in a mapped file, changes them continuously, and translates deadlines as well as readings. The
price is a compiler in one stage of the image build. The host's clock is never touched.

A reading lies between asking and answering, so an offset is known to within the time that took.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from squall.harness.cluster import HarnessError, Measured
from squall.harness.docker.exec import ContainerExec
from squall.harness.docker.status import Reading

NS_PER_MS = 1_000_000

TOLERANCE_NS = 100 * NS_PER_MS
"""How far from the demanded offset a clock may be found, beyond the time the asking took. On one
kernel it is microseconds; a desktop engine's own clock wanders by some tens of milliseconds."""

DRIFT_SEEN_SHARE = 0.5
"""A drift counts as seen when at least this share of the demanded rate was measured."""


class Skew(msgspec.Struct, kw_only=True):
    """What one clock was told to do, and what was seen of it.

    A strobe swings between an offset and the truth: `offset_ms` is the last that was not nought,
    and while the clock is `at_rest` there is nothing to see.
    """

    offset_ms: int | None = None
    at_rest: bool = False
    rate: float = 1.0
    drift_from: Reading | None = None
    seen_offset_ms: float | None = None
    seen_rate: float | None = None
    jump_seen: bool | None = None

    @property
    def effective(self) -> bool | None:
        """Whether everything demanded of this clock was seen; None when nothing could be."""
        found = []
        if self.offset_ms is not None:
            found.append(self.jump_seen)
        if self.rate != 1.0:
            found.append(drift_was_seen(self.rate, self.seen_rate))
        if False in found:
            return False
        return True if True in found else None


def drift_was_seen(demanded: float, measured: float | None) -> bool | None:
    """Whether the measured rate is well on the way from true to the demanded one."""
    if measured is None:
        return None
    return (measured - 1.0) / (demanded - 1.0) >= DRIFT_SEEN_SHARE


def rate_between(first: Reading, second: Reading) -> float | None:
    """How fast a node's monotonic clock ran between two readings; None when too close to tell.

    Too close: the uncertainty of the two moments is more than a tenth of the time between them.
    """
    elapsed = (second.asked_ns + second.answered_ns - first.asked_ns - first.answered_ns) / 2
    if elapsed <= 10 * (first.took_ns + second.took_ns) / 2:
        return None
    return (second.status.monotonic_ns - first.status.monotonic_ns) / elapsed


class Clocks:
    """The clocks of one cluster. Methods that take a node block and want its lock held."""

    def __init__(self, container_exec: ContainerExec, containers: Mapping[str, str]) -> None:
        self._exec, self._containers = container_exec, containers
        self._skews: dict[str, Skew] = {}

    @property
    def skewed(self) -> tuple[str, ...]:
        """Nodes whose clocks were turned since the last reset."""
        return tuple(sorted(self._skews))

    @property
    def observed(self) -> bool:
        """Whether one of them was seen to do as it was told."""
        return any(skew.effective for skew in self._skews.values())

    def jump(self, node: str, offset_ms: int) -> None:
        """Set a node's wall clock off by `offset_ms` from true."""
        skew = self._skews.setdefault(node, Skew())
        skew.at_rest = offset_ms == 0
        if offset_ms:
            skew.offset_ms = offset_ms
        self._set(node, "jump", str(offset_ms * NS_PER_MS))

    def drift(self, node: str, rate: float) -> None:
        """Let both of a node's clocks run at `rate` times true speed from here on."""
        skew = self._skews.setdefault(node, Skew())
        skew.rate, skew.drift_from = rate, None
        self._set(node, "rate", repr(rate))

    def reset(self, node: str) -> None:
        """Make the wall clock true, and the monotonic one run at true speed from where it is."""
        self._set(node, "reset")

    def record(self, node: str, reading: Reading) -> None:
        """Learn what a node reported while its clock was turned."""
        skew = self._skews.get(node)
        if skew is None or not reading.status.reachable:
            return
        if skew.rate != 1.0:
            if skew.drift_from is None:
                skew.drift_from = reading
            else:
                skew.seen_rate = rate_between(skew.drift_from, reading) or skew.seen_rate
        elif skew.offset_ms is not None and not skew.at_rest:
            off_ns = reading.status.clock_offset_ns
            skew.seen_offset_ms = off_ns / NS_PER_MS
            near = abs(off_ns - skew.offset_ms * NS_PER_MS) <= TOLERANCE_NS + reading.took_ns
            # Seen once is seen: a strobe jumps on before the next reading.
            skew.jump_seen = near or bool(skew.jump_seen)

    def verify_true(self, node: str, reading: Reading) -> None:
        """Raise HarnessError when a node still reports a wrong time after the reset."""
        off_ns = reading.status.clock_offset_ns
        if reading.status.reachable and abs(off_ns) > TOLERANCE_NS + reading.took_ns:
            raise HarnessError(
                f"{node}'s clock is still {off_ns / NS_PER_MS:+.0f} ms off after the reset"
            )

    def measured(self) -> Measured:
        """Sum up what was seen since the last time this was asked."""
        skews, self._skews = self._skews, {}
        if not skews:
            return Measured(effective=None, effect="no clock was turned")
        found = {node: skew.effective for node, skew in skews.items()}
        if False in found.values():
            effective: bool | None = False
        else:
            effective = True if True in found.values() else None
        return Measured(
            effective=effective,
            effect="; ".join(_words(node, skew) for node, skew in sorted(skews.items())),
            command="; ".join(_command(node, skew) for node, skew in sorted(skews.items())),
            data={node: _data(skew) for node, skew in sorted(skews.items())},
        )

    def _set(self, node: str, *command: str) -> None:
        self._exec.run(self._containers[node], ["squall-clock", *command])


def _words(node: str, skew: Skew) -> str:
    if skew.rate != 1.0:
        seen = "no reading" if skew.seen_rate is None else f"ran at {skew.seen_rate:.3f}"
        return f"{node}'s clocks {seen} (told {skew.rate:.3f})"
    if skew.seen_offset_ms is None:
        return f"{node}'s wall clock: no reading (told {skew.offset_ms:+,} ms)"
    return f"{node} reported {skew.seen_offset_ms:+,.0f} ms (told {skew.offset_ms:+,} ms)"


def _command(node: str, skew: Skew) -> str:
    if skew.rate != 1.0:
        return f"{node}: squall-clock rate {skew.rate}"
    return f"{node}: squall-clock jump {(skew.offset_ms or 0) * NS_PER_MS}"


def _data(skew: Skew) -> dict[str, Any]:
    return {
        "offset_ms": skew.offset_ms,
        "rate": skew.rate,
        "seen_offset_ms": skew.seen_offset_ms,
        "seen_rate": skew.seen_rate,
    }
