"""A Runtime whose clock moves only when nobody has anything left to do: hours pass in no time."""

from __future__ import annotations

import heapq
import types
from collections.abc import Coroutine
from typing import Any


class Cancelled(BaseException):
    """What a cancelled coroutine sees."""


@types.coroutine
def _suspend():
    return (yield)


class ManualTask:
    def __init__(self, runtime: ManualRuntime, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._runtime, self._coroutine = runtime, coroutine
        self._over = runtime.event()
        self._value: Any = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        return self._over.is_set()

    def cancel(self) -> None:
        if not self.done():
            self._runtime.ready(self, Cancelled())

    async def join(self) -> Any:
        await self._over.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def step(self, value: Any) -> None:
        if self.done():
            return
        self._runtime.current = self
        try:
            if isinstance(value, BaseException):
                self._coroutine.throw(value)
            else:
                self._coroutine.send(value)
        except StopIteration as stop:
            self._value = stop.value
            self._over.set()
        except (Exception, Cancelled) as error:  # noqa: BLE001 - its joiner's business
            self._error = error
            self._over.set()


class ManualEvent:
    def __init__(self, runtime: ManualRuntime) -> None:
        self._runtime, self._up = runtime, False
        self._waiting: dict[ManualTask, list[bool]] = {}

    def set(self) -> None:
        self._up = True
        for task, token in list(self._waiting.items()):
            self._runtime.at(0, task, token, True)
        self._waiting.clear()

    def clear(self) -> None:
        self._up = False

    def is_set(self) -> bool:
        return self._up

    async def wait(self, timeout_ns: int | None = None) -> bool:
        if self._up:
            return True
        task, token = self._runtime.current, [False]
        self._waiting[task] = token
        if timeout_ns is not None:
            self._runtime.at(timeout_ns, task, token, False)
        try:
            return await _suspend()
        finally:
            token[0] = True
            self._waiting.pop(task, None)


class ManualRuntime:
    """Virtual nanoseconds and one heap of wake-ups."""

    def __init__(self) -> None:
        self._now_ns = self._zero_ns = 0
        self._heap: list[tuple[int, int, ManualTask, list[bool], Any]] = []
        self._count = 0
        self.current: Any = None

    def now_ns(self) -> int:
        return self._now_ns - self._zero_ns

    def begin(self) -> None:
        self._zero_ns = self._now_ns

    async def sleep_ns(self, duration_ns: int) -> None:
        self.at(duration_ns, self.current, [False], None)
        await _suspend()

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> ManualTask:
        task = ManualTask(self, coroutine)
        self.ready(task, None)
        return task

    def event(self) -> ManualEvent:
        return ManualEvent(self)

    def ready(self, task: ManualTask, value: Any) -> None:
        self.at(0, task, [False], value)

    def at(self, after_ns: int, task: ManualTask, token: list[bool], value: Any) -> None:
        self._count += 1
        heapq.heappush(
            self._heap, (self._now_ns + max(0, after_ns), self._count, task, token, value)
        )

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end and return what it returned."""
        task = self.spawn(coroutine, "main")
        while not task.done():
            assert self._heap, "deadlock: everybody waits and nothing is due"
            self._now_ns, _, due, token, value = heapq.heappop(self._heap)
            if not token[0]:
                token[0] = True
                due.step(value)
        if task._error is not None:
            raise task._error
        return task._value
