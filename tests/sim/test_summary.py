"""What a sweep says in the end."""

from __future__ import annotations

import pytest

from harness.sim.summary import FAILURES_SHOWN, Summary
from harness.sim.sweep import Result, Row, Sweep


def row(seed: int, result: Result = Result.OK, **values: object) -> Row:
    return Row(seed=seed, result=result, operations=10, ok=8, simulated_s=60, elapsed_s=1, **values)


def summed(*rows: Row) -> Summary:
    summary = Summary(Sweep())
    for each in rows:
        summary.add(each)
    return summary


def test_a_failing_seed_is_told_with_the_line_that_repeats_it():
    text = "\n".join(summed(row(1), row(7, Result.ALARM, text="n1 did\n  wrong")).lines())
    assert "seed 7: alarm: n1 did wrong" in text
    assert "repeat: squall trace 7 --workload register --time 20s" in text
    assert "2 seeds: 1 ok, 0 idle, 1 alarm, 0 trouble" in text
    assert "60 times real time" in text


def test_failures_beyond_the_bound_are_counted():
    many = [row(seed, Result.ALARM) for seed in range(FAILURES_SHOWN + 3)]
    assert "... and 3 more failing seeds" in list(summed(*many).lines())


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([Result.OK, Result.IDLE], 0),
        ([Result.OK, Result.TROUBLE], 3),
        ([Result.TROUBLE, Result.ALARM], 1),
        ([Result.IDLE], 2),
        ([], 2),
    ],
)
def test_an_alarm_weighs_more_than_trouble_and_nothing_is_no_pass(results, code):
    assert summed(*(row(i, result) for i, result in enumerate(results))).exit_code == code


def test_idle_runs_are_explained():
    lines = list(summed(row(1, Result.IDLE, text="no operation succeeded")).lines())
    assert lines[-1] == "1 idle: no operation succeeded"
