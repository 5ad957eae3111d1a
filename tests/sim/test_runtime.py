"""Coroutines in virtual time: sleeping, waiting, racing, cancelling, failing."""

from __future__ import annotations

import pytest

from squall.harness.sim.runtime import Cancelled, DeadlockError, SimRuntime
from squall.harness.sim.world.loop import Loop

MS = 1_000_000


@pytest.fixture
def runtime() -> SimRuntime:
    return SimRuntime(Loop())


def test_sleeping_an_hour_takes_an_hour_of_virtual_time_only(runtime):
    async def main():
        await runtime.sleep_ns(3600 * 1000 * MS)
        return runtime.now_ns()

    assert runtime.run(main()) == 3600 * 1000 * MS


def test_a_sleep_is_never_shorter_than_asked(runtime):
    async def main():
        await runtime.sleep_ns(1)
        return runtime.now_ns()

    assert runtime.run(main()) == 1000


def test_tasks_run_side_by_side_and_join_returns_their_results(runtime):
    seen = []

    async def worker(name, pause_ms):
        for _ in range(2):
            await runtime.sleep_ns(pause_ms * MS)
            seen.append((name, runtime.now_ns() // MS))
        return name

    async def main():
        tasks = [runtime.spawn(worker("a", 2), "a"), runtime.spawn(worker("b", 3), "b")]
        return [await task.join() for task in tasks]

    assert runtime.run(main()) == ["a", "b"]
    assert seen == [("a", 2), ("b", 3), ("a", 4), ("b", 6)]


def test_an_event_wakes_every_waiter_in_the_order_they_came(runtime):
    woken = []

    async def waiter(name, flag):
        assert await flag.wait()
        woken.append(name)

    async def main():
        flag = runtime.event()
        tasks = [runtime.spawn(waiter(name, flag), name) for name in "abc"]
        await runtime.sleep_ns(MS)
        flag.set()
        for task in tasks:
            await task.join()
        assert await flag.wait(), "a raised flag does not block"
        flag.clear()
        assert not flag.is_set()

    runtime.run(main())
    assert woken == ["a", "b", "c"]


def test_a_wait_that_times_out_says_so_and_a_later_set_disturbs_nothing(runtime):
    async def main():
        flag = runtime.event()
        assert await flag.wait(5 * MS) is False
        assert runtime.now_ns() == 5 * MS
        flag.set()
        await runtime.sleep_ns(10 * MS)
        assert runtime.now_ns() == 15 * MS

    runtime.run(main())


def test_a_set_just_before_the_timeout_wins(runtime):
    async def setter(flag):
        await runtime.sleep_ns(4 * MS)
        flag.set()

    async def main():
        flag = runtime.event()
        runtime.spawn(setter(flag), "setter")
        assert await flag.wait(5 * MS) is True
        assert runtime.now_ns() == 4 * MS

    runtime.run(main())


def test_a_cancelled_task_cleans_up_and_its_joiner_learns_of_it(runtime):
    cleaned = []

    async def sleeper():
        try:
            await runtime.sleep_ns(1000 * MS)
        finally:
            cleaned.append(runtime.now_ns() // MS)

    async def main():
        task = runtime.spawn(sleeper(), "sleeper")
        await runtime.sleep_ns(7 * MS)
        task.cancel()
        with pytest.raises(Cancelled):
            await task.join()
        assert task.done()
        task.cancel()

    runtime.run(main())
    assert cleaned == [7]


def test_a_task_cancelled_before_it_began_never_begins(runtime):
    async def never():
        raise AssertionError("it began")

    async def main():
        task = runtime.spawn(never(), "never")
        task.cancel()
        with pytest.raises(Cancelled):
            await task.join()

    runtime.run(main())


def test_what_a_task_raises_is_raised_by_join_and_remembered(runtime):
    async def fails():
        raise ValueError("broken")

    async def main():
        task = runtime.spawn(fails(), "fails")
        with pytest.raises(ValueError, match="broken"):
            await task.join()

    runtime.run(main())
    assert [task.name for task in runtime.failed] == ["fails"]


def test_waiting_for_what_never_comes_is_an_error_and_not_a_hang(runtime):
    async def main():
        await runtime.event().wait()

    with pytest.raises(DeadlockError, match="nothing is left to happen"):
        runtime.run(main())
