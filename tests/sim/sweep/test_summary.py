"""What a sweep says in the end."""

from __future__ import annotations

import pytest

from squall.harness.sim.sweep.summary import SEEDS_SHOWN, Summary, failure_lines
from squall.harness.sim.sweep.sweep import Result, Row, Sweep


def row(seed: int, result: Result = Result.OK, **values: object) -> Row:
    return Row(seed=seed, result=result, operations=10, ok=8, simulated_s=60, cpu_s=1, **values)


def summed(*rows: Row) -> Summary:
    summary = Summary(Sweep())
    for each in rows:
        summary.add(each)
    return summary


def test_a_failing_seed_is_told_with_the_line_that_repeats_it():
    failed = row(7, Result.ALARM, text="n1 did\n  wrong", swarm="batch 1")
    told = list(failure_lines(failed, Sweep(faults=("kill", "clock"), node_source="a b/node")))
    assert told == [
        "seed 7: alarm: n1 did wrong",
        "    drew: batch 1",
        (
            "    repeat: squall trace 7 --workload register --time 20s --rate 200 --concurrency 20 "
            "--nodes 5 --faults kill,clock --node-source 'a b/node'"
        ),
    ]


def test_a_summary_counts_how_seeds_ended_and_what_they_cost():
    text = "\n".join(summed(row(1), row(7, Result.ALARM, rule="order")).lines())
    assert "2: 1 ok, 0 idle, 1 alarm, 0 trouble" in text
    assert "60 times real time" in text
    assert "1 alarm (order): 7" in text


def test_failing_seeds_beyond_the_bound_are_counted():
    many = [row(seed, Result.ALARM, rule="order") for seed in range(SEEDS_SHOWN + 3)]
    assert list(summed(*many).lines())[-1].endswith("19 and 3 more")


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
    idle = [row(seed, Result.IDLE, text="no operation succeeded") for seed in (7, 3)]
    assert list(summed(*idle).lines())[-1] == "idle         2 no operation succeeded: 3 7"
