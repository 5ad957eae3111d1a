"""What every Runtime promises: asyncio's and the simulator's alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from squall.harness.run.asyncio_runtime import AsyncioRuntime
from squall.harness.run.runtime import Runtime
from tests.harness.virtual import virtual_runtime

MS = 1_000_000


def on_asyncio(scenario: Callable[[Runtime], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        return await scenario(AsyncioRuntime())

    return asyncio.run(main())


def on_simulator(scenario: Callable[[Runtime], Coroutine[Any, Any, Any]]) -> Any:
    runtime = virtual_runtime()
    return runtime.run(scenario(runtime))


worlds = pytest.mark.parametrize("world", [on_asyncio, on_simulator], ids=["asyncio", "simulator"])


@worlds
def test_a_raised_flag_wakes_every_waiter(world: Any):
    """All of them, once."""

    async def scenario(runtime: Runtime) -> list[bool]:
        flag = runtime.event()
        tasks = [runtime.spawn(flag.wait(60_000 * MS), "waiter") for _ in range(3)]
        await runtime.sleep_ns(0)
        flag.set()
        return [await task.join() for task in tasks]

    assert world(scenario) == [True, True, True]


@worlds
def test_a_wait_ends_with_its_time(world: Any):
    """And says that the flag is still down."""

    async def scenario(runtime: Runtime) -> tuple[bool, bool]:
        flag = runtime.event()
        before = runtime.now_ns()
        woken = await flag.wait(5 * MS)
        return woken, runtime.now_ns() - before >= 4 * MS

    assert world(scenario) == (False, True)


@worlds
def test_a_lowered_flag_holds_again(world: Any):
    """Raise, lower, wait: nothing."""

    async def scenario(runtime: Runtime) -> tuple[bool, bool, bool]:
        flag = runtime.event()
        flag.set()
        first = await flag.wait(MS)
        flag.clear()
        return first, flag.is_set(), await flag.wait(MS)

    assert world(scenario) == (True, False, False)


@worlds
def test_joining_raises_what_the_task_raised(world: Any):
    """Nothing is swallowed."""

    async def fails() -> None:
        raise ValueError("oops")

    async def scenario(runtime: Runtime) -> str:
        task = runtime.spawn(fails(), "fails")
        try:
            await task.join()
        except ValueError as error:
            return f"{error} {task.done()}"
        return "nothing"

    assert world(scenario) == "oops True"


@worlds
def test_a_cancelled_task_runs_its_finally(world: Any):
    """Healing always runs."""

    async def scenario(runtime: Runtime) -> list[str]:
        said: list[str] = []

        async def holds() -> None:
            try:
                await runtime.event().wait()
            finally:
                said.append("healed")

        task = runtime.spawn(holds(), "holds")
        await runtime.sleep_ns(0)
        task.cancel()
        await runtime.sleep_ns(MS)
        return [*said, str(task.done())]

    assert world(scenario) == ["healed", "True"]


@worlds
def test_time_only_goes_forward(world: Any):
    """From zero, in nanoseconds."""

    async def scenario(runtime: Runtime) -> bool:
        first = runtime.now_ns()
        await runtime.sleep_ns(2 * MS)
        return 0 <= first < first + MS < runtime.now_ns()

    assert world(scenario)
