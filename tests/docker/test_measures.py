"""A clock fault counts only when the node's own report shows it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from squall.harness.cluster import HarnessError, NodeStatus
from squall.harness.docker.clocks import Clocks, drift_was_seen, rate_between
from squall.harness.docker.status import Reading

S, MS = 1_000_000_000, 1_000_000


def reading(at_s: float, *, monotonic_s: float = 0, offset_ms: float = 0, took_ms=2) -> Reading:
    status = NodeStatus(
        node="n1",
        reachable=True,
        monotonic_ns=round(monotonic_s * S),
        clock_offset_ns=round(offset_ms * MS),
    )
    at_ns = round(at_s * S)
    return Reading(status=status, asked_ns=at_ns, answered_ns=at_ns + took_ms * MS)


@pytest.fixture
def clocks() -> Clocks:
    obedient = SimpleNamespace(run=lambda container, command: "")
    return Clocks(cast("Any", obedient), {"n1": "squall-x-n1"})


def test_a_clock_that_was_seen_off_was_turned(clocks: Clocks) -> None:
    clocks.jump("n1", 5000)
    clocks.record("n1", reading(1, offset_ms=5003))
    measured = clocks.measured()
    assert measured.effective is True
    assert "reported +5,003 ms" in measured.effect


def test_a_clock_that_stayed_true_was_not_turned(clocks: Clocks) -> None:
    clocks.jump("n1", 5000)
    clocks.record("n1", reading(1, offset_ms=3))
    assert clocks.measured().effective is False


def test_a_clock_that_could_not_be_read_is_unknown(clocks: Clocks) -> None:
    clocks.jump("n1", 5000)
    clocks.record("n1", Reading(status=NodeStatus(node="n1", reachable=False)))
    assert clocks.measured().effective is None


def test_a_strobe_at_rest_proves_nothing(clocks: Clocks) -> None:
    clocks.jump("n1", 5000)
    clocks.jump("n1", 0)
    clocks.record("n1", reading(1, offset_ms=0))
    assert clocks.measured().effective is None


def test_a_strobe_seen_away_once_was_effective(clocks: Clocks) -> None:
    clocks.jump("n1", 5000)
    clocks.record("n1", reading(1, offset_ms=5000))
    clocks.jump("n1", 0)
    clocks.record("n1", reading(2, offset_ms=0))
    assert clocks.measured().effective is True


def test_a_drift_is_measured_between_two_reports(clocks: Clocks) -> None:
    clocks.drift("n1", 2.0)
    clocks.record("n1", reading(10, monotonic_s=100))
    clocks.record("n1", reading(12, monotonic_s=104))
    measured = clocks.measured()
    assert measured.effective is True
    assert measured.data["n1"]["seen_rate"] == pytest.approx(2.0)


def test_a_rate_is_not_claimed_from_readings_too_close_together() -> None:
    assert rate_between(reading(1.0), reading(1.01)) is None


@pytest.mark.parametrize(
    ("demanded", "measured", "seen"),
    [(2.0, 1.9, True), (0.5, 0.55, True), (2.0, 1.0, False), (0.5, 1.0, False), (0.5, None, None)],
)
def test_a_drift_is_seen_when_most_of_it_is(demanded, measured, seen) -> None:
    assert drift_was_seen(demanded, measured) is seen


def test_a_clock_that_stays_wrong_after_the_reset_is_our_trouble(clocks: Clocks) -> None:
    with pytest.raises(HarnessError, match="still"):
        clocks.verify_true("n1", reading(1, offset_ms=-900))


def test_nothing_is_measured_twice(clocks: Clocks) -> None:
    clocks.jump("n1", 5000)
    clocks.measured()
    assert clocks.measured().effective is None
