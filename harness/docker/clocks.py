"""Skews the nodes' clocks, and measures the skew by the time that the node itself reports.

Clocks are skewed by a shim of our own that is preloaded into the node's process only
(docker/clock.c). libfaketime is not used: it decides at the start of a process whether monotonic
time is faked, so jumps and drift exclude each other within a run; a change of its rate sets the
clock back; under its drift a timed wait on a lock never returns, and under its jumps `time.sleep`
raises. The shim keeps offset and rate in a mapped file, changes them continuously, and translates
deadlines as well as readings. The cost is a compiler in one stage of the image build. The host's
clock is never changed.

The node reads its clock between request and response, so an offset is known to within the duration
of the exchange.
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
"""Accepted deviation from the demanded offset, beyond the duration of the exchange. On one kernel
it is microseconds; the clock of a desktop engine's virtual machine deviates by tens of
milliseconds."""

DRIFT_SEEN_SHARE = 0.5
"""A drift counts as observed when at least this share of the demanded rate was measured."""


class Skew(msgspec.Struct, kw_only=True):
    """The skew demanded of one clock, and what was observed of it.

    A strobe alternates between an offset and zero: `offset_ms` is the last one that was not zero,
    and while the clock is `at_rest` (at zero) there is nothing to observe.
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
        """Whether everything demanded of this clock was observed; None if nothing could be."""
        found = []
        if self.offset_ms is not None:
            found.append(self.jump_seen)
        if self.rate != 1.0:
            found.append(drift_was_seen(self.rate, self.seen_rate))
        if False in found:
            return False
        return True if True in found else None


def drift_was_seen(demanded: float, measured: float | None) -> bool | None:
    """Whether the measured rate reached DRIFT_SEEN_SHARE of the demanded deviation from 1."""
    if measured is None:
        return None
    return (measured - 1.0) / (demanded - 1.0) >= DRIFT_SEEN_SHARE


def rate_between(first: Reading, second: Reading) -> float | None:
    """Return the rate of a node's monotonic clock between two readings; None if they are too close.

    Too close: the uncertainty of the two moments is more than a tenth of the time between them.
    """
    elapsed = (second.asked_ns + second.answered_ns - first.asked_ns - first.answered_ns) / 2
    if elapsed <= 10 * (first.took_ns + second.took_ns) / 2:
        return None
    return (second.status.monotonic_ns - first.status.monotonic_ns) / elapsed


class Clocks:
    """The clocks of one cluster. Methods that take a node block; the caller holds its lock."""

    def __init__(self, container_exec: ContainerExec, containers: Mapping[str, str]) -> None:
        self._exec, self._containers = container_exec, containers
        self._skews: dict[str, Skew] = {}

    @property
    def skewed(self) -> tuple[str, ...]:
        """Nodes whose clocks were skewed since the last reset."""
        return tuple(sorted(self._skews))

    @property
    def observed(self) -> bool:
        """Whether the skew of any of them was observed."""
        return any(skew.effective for skew in self._skews.values())

    def jump(self, node: str, offset_ms: int) -> None:
        """Set a node's wall clock off by `offset_ms` from true time."""
        skew = self._skews.setdefault(node, Skew())
        skew.at_rest = offset_ms == 0
        if offset_ms:
            skew.offset_ms = offset_ms
        self._set(node, "jump", str(offset_ms * NS_PER_MS))

    def drift(self, node: str, rate: float) -> None:
        """Let both clocks of a node run at `rate` times true speed from now on."""
        skew = self._skews.setdefault(node, Skew())
        skew.rate, skew.drift_from = rate, None
        self._set(node, "rate", repr(rate))

    def reset(self, node: str) -> None:
        """Set the wall clock to true time; the monotonic clock continues at true speed."""
        self._set(node, "reset")

    def record(self, node: str, reading: Reading) -> None:
        """Take a node's report into account while its clock is skewed."""
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
            # One observation suffices: a strobe jumps again before the next reading.
            skew.jump_seen = near or bool(skew.jump_seen)

    def verify_true(self, node: str, reading: Reading) -> None:
        """Raise HarnessError if a node still reports a wrong time after the reset."""
        off_ns = reading.status.clock_offset_ns
        if reading.status.reachable and abs(off_ns) > TOLERANCE_NS + reading.took_ns:
            raise HarnessError(
                f"{node}'s clock is still {off_ns / NS_PER_MS:+.0f} ms off after the reset"
            )

    def measured(self) -> Measured:
        """Return the effect observed since the last call."""
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
            effect="; ".join(_observation(node, skew) for node, skew in sorted(skews.items())),
            command="; ".join(_command(node, skew) for node, skew in sorted(skews.items())),
            data={node: _data(skew) for node, skew in sorted(skews.items())},
        )

    def _set(self, node: str, *command: str) -> None:
        self._exec.run(self._containers[node], ["squall-clock", *command])


def _observation(node: str, skew: Skew) -> str:
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
