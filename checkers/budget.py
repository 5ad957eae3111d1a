"""What a checker may spend, and what it has spent: asked about inside its innermost loop.

A checker reads no clock by itself: the budget brings the functions that do, and `UNTIMED` brings
none, so that a verdict depends on its history alone. A meter asks them only once in a while,
because a step of a search is cheaper than a system call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

STEPS_BETWEEN_LOOKS: Final = 512
"""Steps between two looks at the clock: well under a hundredth of a second of searching."""

STATES_MAX: Final = 20_000_000
"""Configurations one search may visit: the bound when nobody handed in a clock."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What judging a history may spend; what is undecided by then is unknown.

    `time_s`: seconds by `now_s`, which returns monotonic seconds; None: time has no limit.
    `memory_bytes`: the resident size of the process up to which a search goes on, as measured by
    `rss_bytes`, which returns bytes; None, the default: memory is not measured and has no limit.
    """

    time_s: float = 60.0
    memory_bytes: int = 4 << 30
    now_s: Callable[[], float] | None = time.monotonic
    rss_bytes: Callable[[], int] | None = None


UNTIMED: Final = Budget(now_s=None)
"""A budget without a clock: the number of steps alone limits a search, the same on any machine."""


class OutOfBudget(Exception):
    """The budget is spent; the message says which part of it, and what to raise."""


class Meter:
    """Counts steps and raises OutOfBudget when time, memory or the number of steps runs out."""

    def __init__(self, budget: Budget, *, states_max: int = STATES_MAX) -> None:
        self._budget = budget
        self.until_s = self.now_s() + budget.time_s
        self._next_look = STEPS_BETWEEN_LOOKS
        self.states = 0
        self.states_max = states_max

    def now_s(self) -> float:
        """Return monotonic seconds, or 0 for ever when the budget brought no clock."""
        return self._budget.now_s() if self._budget.now_s is not None else 0.0

    @property
    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.until_s - self.now_s())

    def spend(self, steps: int = 1) -> None:
        """Account for some steps of the search."""
        self.states += steps
        if self.states >= self._next_look:
            self._next_look = self.states + STEPS_BETWEEN_LOOKS
            self.look()

    def look(self) -> None:
        """Compare everything with its limit now."""
        budget = self._budget
        if self.states > self.states_max:
            raise OutOfBudget(f"gave up after {self.states:,} states (the most it may visit)")
        if budget.now_s is not None and self.now_s() > self.until_s:
            raise OutOfBudget(
                f"gave up after {budget.time_s:g} s and {self.states:,} states; "
                f"allow the checkers more time"
            )
        if budget.rss_bytes is not None and budget.rss_bytes() > budget.memory_bytes:
            raise OutOfBudget(
                f"gave up at {budget.memory_bytes / 2**30:.1f} GiB of memory and "
                f"{self.states:,} states; allow the checkers more memory"
            )
