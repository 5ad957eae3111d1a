"""The controller's `Runtime` in virtual time: coroutines on the event heap, without asyncio.

A task is driven by `send()`. To wait, it hands out its current token and yields; a wake with an
old token is ignored, so nothing has to be removed from the heap: a timeout and an answer that race
are decided by the order of the heap, the same way every time. Timeouts are lazy, as nodes' timers
are: a task has one on the heap, which is armed again if it fires before the time that the task
waits for by then. Long ones, which rarely fire and of which every request has one, are queued
instead, one queue for each duration, and only the head of a queue is on the heap.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

from squall.harness.sim.world.loop import FAR_US, Loop

T = TypeVar("T")


LONG_US = 1_000_000
"""Timeouts of at least this are queued; shorter ones are mostly expected to fire."""

MAX_QUEUES = 16
"""Different durations that have a queue."""


class Cancelled(BaseException):
    """A task was cancelled; raised inside it at its present await, and from its `join`."""


class DeadlockError(Exception):
    """The simulation ran out of events while the main task was still waiting."""


@types.coroutine
def park() -> Generator[None, bool, bool]:
    """Yield until the task is woken; True unless it was a timeout."""
    woken = yield
    return woken


class SimTask(Generic[T]):
    """A coroutine that runs beside its creator, in virtual time."""

    __slots__ = (
        "_cancelling",
        "_coroutine",
        "_end",
        "_error",
        "_runtime",
        "_value",
        "finished",
        "joined",
        "name",
        "timer_us",
        "token",
        "until_token",
        "until_us",
    )

    def __init__(self, runtime: SimRuntime, coroutine: Coroutine[Any, Any, T], name: str) -> None:
        self.name = name
        self.token = 0
        self.joined = False
        self.timer_us = FAR_US  # when its event on the heap fires ...
        self.until_us = FAR_US  # ... and when it is to be woken ...
        self.until_token = 0  # ... if it still waits for the same thing
        self._runtime = runtime
        self._coroutine = coroutine
        self._cancelling = False
        self.finished = False
        self._end: SimEvent | None = None  # made when a task waits for it
        self._value: T | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether it has finished, one way or the other."""
        return self.finished

    def cancel(self) -> None:
        """Stop it at its present await; it sees `Cancelled` there."""
        if not self.finished:
            self._cancelling = True
            self._runtime.wake(self, self.token)

    async def join(self) -> T:
        """Await its result; re-raises what it raised."""
        self.joined = True
        await self.settled()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    async def settled(self) -> None:
        """Await its end, whatever that is."""
        if not self.finished:
            if self._end is None:
                self._end = SimEvent(self._runtime)
            await self._end.wait()

    @property
    def error(self) -> BaseException | None:
        """What it raised, if it has finished by raising."""
        return self._error

    def step(self, woken: bool) -> None:
        """Run it to its next await, or to its end."""
        self.token += 1
        runtime = self._runtime
        before, runtime.current = runtime.current, self
        try:
            if self._cancelling:
                self._cancelling = False
                self._coroutine.throw(Cancelled())
            elif self.token == 1:
                self._coroutine.send(None)
            else:
                self._coroutine.send(woken)
        except StopIteration as stop:
            self._value = stop.value
            self._finish()
        except (Exception, Cancelled) as error:  # noqa: BLE001 - raised again by join
            self._error = error
            if isinstance(error, Exception):
                runtime.failed.append(self)
            self._finish()
        finally:
            runtime.current = before

    def _finish(self) -> None:
        self.finished = True
        self._runtime.ended(self)
        if self._end is not None:
            self._end.set()

    def unwind(self) -> None:
        """Raise `Cancelled` in it now, wherever it waits."""
        self._cancelling = True
        self.step(False)


class SimEvent:
    """A flag that can be awaited, in virtual time."""

    __slots__ = ("_runtime", "_set", "_waiting")

    def __init__(self, runtime: SimRuntime) -> None:
        self._runtime = runtime
        self._set = False
        self._waiting: dict[SimTask[Any], int] = {}

    def set(self) -> None:
        """Raise the flag and wake every waiter, in the order in which they came.

        From outside of any task a single waiter runs at once: make it the last thing you do.
        """
        self._set = True
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            runtime = self._runtime
            if runtime.current is None and len(waiting) == 1:
                # No other task is running.
                ((task, token),) = waiting.items()
                runtime.resume(task, token)
                return
            for task, token in waiting.items():
                runtime.wake(task, token)

    def clear(self) -> None:
        """Lower the flag."""
        self._set = False

    def is_set(self) -> bool:
        """Whether the flag is up."""
        return self._set

    async def wait(self, timeout_ns: int | None = None) -> bool:
        """Wait until the flag is up (True) or `timeout_ns` have passed (False)."""
        if self._set:
            return True
        runtime = self._runtime
        task = runtime.running()
        self._waiting[task] = task.token
        if timeout_ns is not None:
            runtime.wake_late(task, task.token, timeout_ns)
        try:
            return await park()
        finally:
            self._waiting.pop(task, None)


class SimRuntime:
    """Virtual time and tasks on an event heap: `squall.harness.run.runtime.Runtime`."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.current: SimTask[Any] | None = None
        self._alive: dict[SimTask[Any], None] = {}
        self.failed: list[SimTask[Any]] = []
        self._wake = loop.register(self._on_wake)
        self._timeout = loop.register(self._on_timeout)
        self._queues: dict[int, deque[tuple[int, SimTask[Any], int]]] = {}
        self._line = loop.register(self._on_line)

    def now_ns(self) -> int:
        """Virtual nanoseconds since `begin`, or since the beginning of the simulation."""
        loop = self.loop
        return (loop.now_us - loop.zero_us) * 1000

    def begin(self) -> None:
        """Make now the zero of `now_ns`."""
        self.loop.zero_us = self.loop.now_us

    async def sleep_ns(self, duration_ns: int) -> None:
        """Let `duration_ns` pass, rounded up to whole microseconds."""
        task = self.running()
        self.loop.after(_us(duration_ns), self._wake, task, task.token)
        await park()

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> SimTask[T]:
        """Run a coroutine beside this one; it begins at this instant, after its creator pauses."""
        task = SimTask(self, coroutine, name)
        self._alive[task] = None
        self.wake(task, task.token)
        return task

    def event(self) -> SimEvent:
        """Make a lowered flag."""
        return SimEvent(self)

    def running(self) -> SimTask[Any]:
        """Return the task that is running now."""
        assert self.current is not None, "awaited outside of a simulated task"
        return self.current

    def wake(self, task: SimTask[Any], token: int) -> None:
        """Resume a task now, unless it was woken by something else since it left `token`."""
        self.loop.soon(self._wake, task, token)

    def resume(self, task: SimTask[Any], token: int) -> None:
        """Run a task now, unless it was woken by something else since it left `token`."""
        if task.token == token and not task.finished:
            task.step(True)

    def wake_late(self, task: SimTask[Any], token: int, timeout_ns: int) -> None:
        """Resume a task with False in `timeout_ns`, unless it was woken since."""
        timeout_us = -(-timeout_ns // 1000) if timeout_ns > 0 else 0
        at_us = self.loop.now_us + timeout_us
        if timeout_us >= LONG_US and self._enqueue(timeout_us, at_us, task, token):
            return
        task.until_us, task.until_token = at_us, token
        if at_us < task.timer_us:
            task.timer_us = at_us
            self.loop.at(at_us, self._timeout, task, at_us)

    def _enqueue(self, timeout_us: int, at_us: int, task: SimTask[Any], token: int) -> bool:
        line = self._queues.get(timeout_us)
        if line is None:
            if len(self._queues) >= MAX_QUEUES:
                return False
            line = self._queues[timeout_us] = deque()
        if not line:
            self.loop.at(at_us, self._line, line)
        line.append((at_us, task, token))
        return True

    def run(self, coroutine: Coroutine[Any, Any, T], name: str = "main") -> T:
        """Run until `coroutine` has finished and return its result.

        Raises DeadlockError if it waits for something that nothing is going to do, or was stopped.
        """
        task = self.spawn(coroutine, name)
        task.joined = True
        self.spawn(self._stop_after(task), "stop")
        self.loop.run()
        if not task.done():
            raise DeadlockError(
                f"{name} still waits at {self.loop.now_us / 1e6:.6f} s: "
                f"{self.loop.stopped or 'nothing is left to happen'}"
            )
        if task.error is not None:
            raise task.error
        return task._value  # type: ignore[return-value]  # noqa: SLF001

    def wind_down(self) -> None:
        """Unwind every task that a stopped run has left waiting, so that none is torn down later.

        Each sees `Cancelled` at its present await and at every further one.
        """
        for task in list(self._alive):
            for _ in range(UNWINDING_MAX):
                if task.done():
                    break
                task.unwind()

    def ended(self, task: SimTask[Any]) -> None:
        """Forget a task that has finished."""
        self._alive.pop(task, None)

    async def _stop_after(self, task: SimTask[Any]) -> None:
        await task.settled()
        self.loop.stop(FINISHED)

    def _on_wake(self, task: SimTask[Any], token: int) -> None:
        if task.token == token and not task.finished:
            task.step(True)

    def _on_timeout(self, task: SimTask[Any], armed_us: int) -> None:
        if armed_us != task.timer_us:
            return  # an earlier one took its place
        task.timer_us = FAR_US
        if task.token != task.until_token or task.finished:
            return
        if armed_us < task.until_us:
            task.timer_us = task.until_us
            self.loop.at(task.until_us, self._timeout, task, task.until_us)
            return
        task.step(False)

    def _on_line(self, line: deque[tuple[int, SimTask[Any], int]], _b: None) -> None:
        """Wake the tasks whose time has come, if they still wait; the next head is armed."""
        now_us = self.loop.now_us
        due = []
        while line:
            at_us, task, token = line[0]
            if task.token == token and not task.finished:
                if at_us > now_us:
                    self.loop.at(at_us, self._line, line)
                    break
                due.append((task, token))
            line.popleft()
        for task, token in due:
            if task.token == token:
                task.step(False)


UNWINDING_MAX = 100
"""Awaits a task may still make while it is being unwound."""

FINISHED = "finished"
"""The loop's reason to stop when its main task came to its end."""


def _us(duration_ns: int) -> int:
    return max(0, -(-duration_ns // 1000))
