"""Automatic compaction: what is younger than the period, or near enough, is never taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from squall.node.mvcc.compaction import HOUR_US, NEVER_US, REVISION_CHECK_US, AutoCompactor


def test_off_means_never() -> None:
    assert AutoCompactor(0).deadline_us == NEVER_US


def test_a_number_of_revisions_is_kept() -> None:
    keeper = AutoCompactor(0, revisions=100)
    assert keeper.tick(REVISION_CHECK_US - 1, 500, leads=True) == 0
    assert keeper.tick(REVISION_CHECK_US, 500, leads=True) == 400
    assert keeper.tick(2 * REVISION_CHECK_US, 500, leads=True) == 0, "nothing new"
    assert keeper.tick(3 * REVISION_CHECK_US, 90, leads=True) == 0, "fewer than that"


def test_only_the_leader_speaks_and_a_new_one_knows_the_past() -> None:
    keeper = AutoCompactor(0, period_us=HOUR_US)
    revisions = {}
    for step in range(1, 31):
        now_us = step * HOUR_US // 10
        revisions[now_us] = 10 * step
        told = keeper.tick(now_us, 10 * step, leads=step == 30)
        assert told == (revisions[now_us - HOUR_US] if step == 30 else 0)


@given(st.lists(st.tuples(st.integers(1, HOUR_US), st.integers(0, 50)), max_size=60))
def test_what_is_younger_than_the_period_is_kept(steps: list[tuple[int, int]]) -> None:
    period_us = HOUR_US
    keeper = AutoCompactor(0, period_us=period_us)
    now_us, revision = 0, 1
    history = [(0, 1)]
    for delay_us, writes in steps:
        now_us += delay_us
        told = keeper.tick(now_us, revision, leads=True)
        if told:
            at_us = max(at for at, known in history if known <= told)
            assert told <= max(known for at, known in history if at <= now_us - period_us), at_us
        revision += writes
        history.append((now_us, revision))
