"""Automatic compaction (etcd: v3compactor): keep the history of a period, or a number of revisions.

Every member samples revisions, so that a new leader knows how old each one is; only the leader
proposes compactions. Time is passed in, in microseconds of the node's monotonic clock.
"""

from __future__ import annotations

from collections import deque

NEVER_US = 1 << 62
HOUR_US = 3_600_000_000
SAMPLES = 10
"""Samples of the revision in each interval, as etcd."""
REVISION_CHECK_US = 300_000_000
"""Interval of the mode `revision`, as etcd: five minutes."""


class AutoCompactor:
    """Determines the revision to compact to. `period_us` or `revisions` is kept; 0 is off."""

    __slots__ = ("_interval_us", "_last", "_period_us", "_revisions", "_samples", "deadline_us")

    def __init__(self, now_us: int, *, period_us: int = 0, revisions: int = 0) -> None:
        assert not (period_us and revisions), "one mode or the other"
        self._period_us = period_us
        self._revisions = revisions
        # etcd compacts once a period, but at least every hour.
        self._interval_us = min(period_us, HOUR_US) // SAMPLES if period_us else REVISION_CHECK_US
        self._samples: deque[tuple[int, int]] = deque()
        self._last = 0
        active = period_us or revisions
        self.deadline_us = now_us + self._interval_us if active else NEVER_US
        if period_us:
            self._samples.append((now_us, 0))

    def tick(self, now_us: int, revision: int, leads: bool) -> int:
        """Return the revision to compact to now; 0 for none."""
        if now_us < self.deadline_us:
            return 0
        self.deadline_us = now_us + self._interval_us
        wanted = self._aged(now_us, revision) if self._period_us else revision - self._revisions
        if not leads or wanted <= self._last:
            return 0
        self._last = wanted
        return wanted

    def _aged(self, now_us: int, revision: int) -> int:
        """Record the revision, and return the newest that is a whole period old."""
        self._samples.append((now_us, revision))
        aged = 0
        while self._samples and self._samples[0][0] <= now_us - self._period_us:
            aged = self._samples.popleft()[1]
        return aged
