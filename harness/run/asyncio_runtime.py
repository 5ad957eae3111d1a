"""The `Runtime` on asyncio: the monotonic clock, counted from the start of the load.

The only module through which a run uses asyncio's clock and tasks; the simulator has its own
runtime.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_NS = 1_000_000_000


class AsyncioTask(Generic[T]):
    """A coroutine running on the loop."""

    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[T]) -> None:
        self._task = task

    def done(self) -> bool:
        """Whether it has finished, one way or the other."""
        return self._task.done()

    def cancel(self) -> None:
        """Stop it at its next await; it sees asyncio.CancelledError."""
        self._task.cancel()

    async def join(self) -> T:
        """Await its result; cancelling the waiter does not cancel the task."""
        return await asyncio.shield(self._task)


class AsyncioEvent:
    """A flag whose bounded wait costs a timer, not a task."""

    __slots__ = ("_set", "_waiters")

    def __init__(self) -> None:
        self._set = False
        self._waiters: list[asyncio.Future[bool]] = []

    def set(self) -> None:
        """Set the flag and wake every waiter."""
        self._set = True
        for waiter in self._waiters:
            _resolve(waiter, value=True)

    def clear(self) -> None:
        """Reset the flag."""
        self._set = False

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._set

    async def wait(self, timeout_ns: int | None = None) -> bool:
        """Wait until the flag is set (True) or `timeout_ns` have passed (False)."""
        if self._set:
            return True
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        timer = None
        if timeout_ns is not None:
            timer = loop.call_later(max(0, timeout_ns) / _NS, _resolve, waiter, False)
        self._waiters.append(waiter)
        try:
            return await waiter
        finally:
            self._waiters.remove(waiter)
            if timer is not None:
                timer.cancel()


def _resolve(waiter: asyncio.Future[bool], value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)


class AsyncioRuntime:
    """Time is `time.monotonic_ns` since this object was made; tasks are asyncio's."""

    def __init__(self) -> None:
        self._origin_ns = time.monotonic_ns()
        self._tasks: set[asyncio.Task[Any]] = set()

    def now_ns(self) -> int:
        """Monotonic nanoseconds since `begin`, or since this object was made."""
        return time.monotonic_ns() - self._origin_ns

    def begin(self) -> None:
        """Make now the zero of `now_ns`."""
        self._origin_ns = time.monotonic_ns()

    async def sleep_ns(self, duration_ns: int) -> None:
        """Let `duration_ns` pass."""
        await asyncio.sleep(max(0, duration_ns) / _NS)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> AsyncioTask[T]:
        """Run a coroutine concurrently; the runtime keeps it referenced until it ends."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return AsyncioTask(task)

    def event(self) -> AsyncioEvent:
        """Make a flag that is not set."""
        return AsyncioEvent()
