"""The event heap: what happens next, and the only clock there is.

An event is a tuple `(time_us, sequence, kind, a, b)`: integers compare fast and exactly, and the
unique sequence number decides ties by order of scheduling, so payloads are never compared. Time is
integer microseconds and jumps from event to event; idle time costs nothing.

Events due at once, after the present one and before any other, need no heap: they are queued
(`soon`).

Nothing is ever removed from the heap. To cancel an event, put an epoch into it and ignore it when
it fires.

Scheduling is most of what a simulation does: code that schedules an event for every message pushes
onto `heap` directly, with `number()` for its sequence number and a time that is not past.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

Handler = Callable[[Any, Any], None]

MAX_EVENTS = 50_000_000
"""Events one run may cost at most. A broken protocol can exchange messages without end, so that a
bound on virtual time alone would hang a sweep; a healthy simulated minute costs about 300,000."""


FAR_US = 1 << 62
"""A time after the end of every run; as a sequence number, greater than all others."""


class _End(Exception):
    """Raised by the event that ends a run, so that no other event has to check for the end."""


class TooManyEventsError(Exception):
    """The run used up its events before its time: endless messages, or too small a cap."""


class Loop:
    """A heap of events in virtual time, run by one thread, in one order."""

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self.now_us = 0
        self.zero_us = 0  # when the load began: what is shown or recorded counts from here
        self.events = 0
        self.stopped: str | None = None
        self._max_events = max_events
        self.heap: list[tuple[int, int, int, Any, Any]] = []
        self.number = count(1).__next__
        self._soon: deque[tuple[int, Any, Any]] = deque()
        self._handlers: list[Handler] = []
        self._end = self.register(_end)

    def register(self, handler: Handler) -> int:
        """Add a kind of event; returns its number, for `at` and `after`."""
        self._handlers.append(handler)
        return len(self._handlers) - 1

    def at(self, time_us: int, kind: int, a: Any = None, b: Any = None) -> None:
        """Have the handler of `kind` called with (a, b) at `time_us`, or now if that is past."""
        if time_us < self.now_us:
            time_us = self.now_us
        heappush(self.heap, (time_us, self.number(), kind, a, b))

    def after(self, delay_us: int, kind: int, a: Any = None, b: Any = None) -> None:
        """Have the handler of `kind` called with (a, b) after `delay_us`, which is not negative."""
        heappush(self.heap, (self.now_us + delay_us, self.number(), kind, a, b))

    def soon(self, kind: int, a: Any = None, b: Any = None) -> None:
        """Have the handler of `kind` called with (a, b) before time goes on, in order of asking."""
        self._soon.append((kind, a, b))

    def stop(self, reason: str) -> None:
        """End the run after the present event. The first reason is kept."""
        if self.stopped is None:
            self.stopped = reason
            self._soon.appendleft((self._end, None, None))

    def run(self, until_us: int | None = None) -> None:
        """Run events in order until none is left, `until_us` is reached, or `stop` was called.

        An event exactly at `until_us` still happens, and afterwards the clock stands at `until_us`.
        Raises TooManyEventsError at the cap; whatever a handler raises comes out as it is.
        """
        if self.stopped is not None:
            return
        heap, soon, handlers, pop = self.heap, self._soon, self._handlers, heappop
        end = (FAR_US if until_us is None else until_us, FAR_US, self._end, None, None)
        heappush(heap, end)
        now_us = before_us = self.now_us
        count = begun = self.events
        try:
            for count in range(begun, self._max_events):  # noqa: B007 - read at the end
                if soon:
                    kind, a, b = soon.popleft()
                else:
                    before_us = now_us
                    now_us, _, kind, a, b = pop(heap)
                    self.now_us = now_us
                handlers[kind](a, b)
            count = self._max_events
        except _End:
            if self.stopped is None and until_us is None:
                self.now_us = before_us
        except BaseException:
            count += 1
            raise
        finally:
            self.events = count
            if end in heap:  # the run ended before its time
                heap.remove(end)
                heapify(heap)
        if count == self._max_events and (soon or (heap and heap[0][0] <= end[0])):
            raise TooManyEventsError(
                f"{self._max_events:,} events by {self.now_us / 1e6:.3f} s of simulated time: "
                "a storm of messages, or raise the cap on events"
            )
        if until_us is not None and self.stopped is None:
            self.now_us = max(self.now_us, until_us)


def _end(_a: None, _b: None) -> None:
    raise _End
