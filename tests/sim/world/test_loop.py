"""The event heap: order, bounds, and what its clock says."""

from __future__ import annotations

import pytest

from squall.harness.sim.world.loop import Loop, TooManyEventsError


def recording_loop(**options: int) -> tuple[Loop, int, list[tuple[int, object]]]:
    loop = Loop(**options)
    seen: list[tuple[int, object]] = []
    kind = loop.register(lambda a, b: seen.append((loop.now_us, a)))
    return loop, kind, seen


def test_events_happen_in_order_of_time_and_ties_in_order_of_scheduling():
    loop, kind, seen = recording_loop()
    loop.at(5, kind, "late")
    loop.at(3, kind, "first of two")
    loop.at(3, kind, "second of two")
    loop.run()
    assert seen == [(3, "first of two"), (3, "second of two"), (5, "late")]


def test_an_event_for_the_past_happens_now_and_never_turns_the_clock_back():
    loop, kind, seen = recording_loop()
    loop.run(until_us=10)
    loop.at(4, kind, "overdue")
    loop.run()
    assert seen == [(10, "overdue")]


def test_run_until_includes_its_end_and_leaves_the_clock_there():
    loop, kind, seen = recording_loop()
    loop.at(10, kind, "at the end")
    loop.at(11, kind, "after the end")
    loop.run(until_us=10)
    assert seen == [(10, "at the end")]
    loop.run(until_us=10)
    assert loop.now_us == 10
    loop.run(until_us=50)
    assert seen[-1] == (11, "after the end")
    assert loop.now_us == 50


def test_a_storm_of_events_ends_at_the_cap_instead_of_never():
    loop = Loop(max_events=100)
    kind = loop.register(lambda a, b: loop.after(0, kind))
    loop.after(0, kind)
    with pytest.raises(TooManyEventsError, match="100 events"):
        loop.run(until_us=1)
    assert loop.events == 100


def test_the_first_reason_to_stop_is_the_one_that_is_kept():
    loop, kind, seen = recording_loop()
    stopper = loop.register(lambda a, b: (loop.stop("first"), loop.stop("second")))
    loop.at(1, stopper)
    loop.at(2, kind, "never")
    loop.run()
    assert (loop.stopped, seen) == ("first", [])
