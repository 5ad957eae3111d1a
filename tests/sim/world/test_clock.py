"""Node clocks: drift and jumps, and time that never goes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from squall.harness.sim.world.clock import EPOCH_NS, NodeClock

rates = st.integers(100_000, 5_000_000)


def test_a_true_clock_shows_the_true_time():
    clock = NodeClock(started_us=77)
    assert clock.wall_ns(5) == EPOCH_NS + 5000
    assert clock.monotonic_us(5) == 82


def test_a_jump_moves_the_wall_clock_alone():
    clock = NodeClock()
    clock.jump(-3_000_000_000)
    assert clock.wall_ns(1_000_000) == EPOCH_NS - 2_000_000_000
    assert clock.monotonic_us(1_000_000) == 1_000_000


def test_a_reset_makes_the_wall_clock_true_and_leaves_monotonic_time_where_it_was():
    clock = NodeClock()
    clock.drift(2_000_000, 0)
    clock.jump(999)
    before = clock.monotonic_us(1_000_000)
    clock.step_to_true(1_000_000)
    assert clock.wall_ns(1_000_000) == EPOCH_NS + 1_000_000_000
    assert clock.monotonic_us(1_000_000) == before == 2_000_000
    assert clock.monotonic_us(1_500_000) == 2_500_000


@given(st.lists(st.tuples(rates, st.integers(0, 10**9)), max_size=6))
def test_monotonic_time_never_goes_back_whatever_the_drifts(changes):
    clock, now_us, shown = NodeClock(), 0, 0
    for rate, later_us in changes:
        clock.drift(rate, now_us)
        assert clock.monotonic_us(now_us) >= shown
        now_us += later_us
        shown = clock.monotonic_us(now_us)


@given(rates, st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_deadline_is_reached_at_its_true_time_and_not_a_microsecond_before(rate, now_us, wait_us):
    clock = NodeClock()
    clock.drift(rate, now_us)
    deadline_us = clock.monotonic_us(now_us) + wait_us
    at_us = clock.true_us(deadline_us)
    assert clock.monotonic_us(at_us) >= deadline_us
    assert at_us <= now_us or clock.monotonic_us(at_us - 1) < deadline_us
