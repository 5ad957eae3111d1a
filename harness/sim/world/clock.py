"""A node's clocks, each independent of those of the other nodes.

Monotonic time runs at a rate of its own (drift) and never goes back, not even over a restart: the
machine keeps running when its process dies. Wall time is monotonic time plus an offset that can
jump. All integers: rates are parts per million of true speed, so every platform computes the same
instant.
"""

from __future__ import annotations

MILLION = 1_000_000

EPOCH_NS = 1_700_000_000_000_000_000
"""The wall clocks of a simulated cluster at its beginning (2023-11-14 22:13:20 UTC)."""


class NodeClock:
    """One node's monotonic and wall clock, as functions of true (virtual) time."""

    __slots__ = ("_base_local_us", "_base_true_us", "_rate_ppm", "_wall_ns", "offset_ns")

    def __init__(self, rate_ppm: int = MILLION, started_us: int = 0) -> None:
        self._rate_ppm = rate_ppm
        self._base_true_us = 0
        self._base_local_us = started_us
        self._wall_ns = EPOCH_NS - started_us * 1000
        self.offset_ns = 0

    @property
    def rate_ppm(self) -> int:
        """Speed in parts per million of true speed."""
        return self._rate_ppm

    def monotonic_us(self, true_us: int) -> int:
        """Read the monotonic clock at a true time."""
        rate = self._rate_ppm
        elapsed = true_us - self._base_true_us
        if rate != MILLION:
            elapsed = elapsed * rate // MILLION
        return self._base_local_us + elapsed

    def true_us(self, local_us: int) -> int:
        """Return the first true time at which the monotonic clock shows at least `local_us`."""
        elapsed = local_us - self._base_local_us
        if self._rate_ppm != MILLION:
            elapsed = -(-elapsed * MILLION // self._rate_ppm)
        return self._base_true_us + elapsed

    def wall_ns(self, true_us: int) -> int:
        """Read the wall clock at a true time, in nanoseconds since the Unix epoch."""
        return self._wall_ns + self.monotonic_us(true_us) * 1000 + self.offset_ns

    def drift(self, rate_ppm: int, true_us: int) -> None:
        """Run at another rate from now on."""
        self._base_local_us = self.monotonic_us(true_us)
        self._base_true_us = true_us
        self._rate_ppm = rate_ppm

    def jump(self, offset_ns: int) -> None:
        """Set the wall clock off by `offset_ns` from what it would show, not added up."""
        self.offset_ns = offset_ns

    def step_to_true(self, true_us: int) -> None:
        """Make the wall clock true again, and both run at true speed; monotonic never goes back."""
        self.drift(MILLION, true_us)
        self._wall_ns = EPOCH_NS + (true_us - self._base_local_us) * 1000
        self.offset_ns = 0
