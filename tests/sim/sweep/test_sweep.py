"""The sweep that CI runs: three hundred seeds, and nobody raises an alarm.

Two simulated seconds of load each, so that all of them take less than 100 s of one core; the long
sweeps of docs/simulation.md have twenty. `SQUALL_SWEEP_SEEDS` asks for another number.
"""

from __future__ import annotations

import os

import pytest

from squall.harness.sim.sweep.summary import Summary
from squall.harness.sim.sweep.sweep import Result, Sweep, sweep

SEEDS = int(os.environ.get("SQUALL_SWEEP_SEEDS", "300"))
IDLE_SHARE_MAX = 0.1
"""In so short a run a swarm may have no leader while the load lasts."""


@pytest.mark.slow
def test_no_seed_of_the_swarm_raises_an_alarm():
    what = Sweep(time_s=2.0)
    summary = Summary(what)
    for row in sweep(range(SEEDS), what, jobs=2):
        summary.add(row)
    told = "\n".join(summary.lines())
    assert not summary.failures, told
    assert summary.results[Result.IDLE] <= IDLE_SHARE_MAX * SEEDS, told
    assert summary.effects["timed faults"] > 0, told
