"""What faults did is counted where they struck."""

from __future__ import annotations

from squall.harness.run.options import NS_PER_S, Options
from squall.harness.sim.chaos.effects import words
from squall.harness.sim.chaos.swarm import BackgroundFaults, Swarm
from squall.harness.sim.chaos.triggers import Action, Trigger, TriggerPoint
from squall.harness.sim.sweep.simulate import SimulationConfig, simulate
from squall.harness.sim.sweep.sweep import judge
from squall.harness.sim.world.network import LinkProfile
from squall.workloads.register import WORKLOAD

OPTIONS = Options(prefix="t/", time_limit_ns=6 * NS_PER_S, rate=100.0, concurrency=10)


def test_every_fault_that_struck_is_counted_and_no_other():
    swarm = Swarm(
        link=LinkProfile(loss_p=0.05, duplicate_p=0.05, late_us=50_000, reorder=True),
        background=BackgroundFaults(clog_every_us=300_000, clog_us=50_000),
        triggers=(Trigger(point=TriggerPoint.ACKNOWLEDGES, action=Action.DELAY, p=0.05),),
    )
    found = judge(
        simulate(5, WORKLOAD, SimulationConfig(options=OPTIONS, swarm=swarm, faults=())), WORKLOAD
    )
    assert set(found.effects) == {
        "messages lost",
        "messages doubled",
        "messages overtaken",
        "messages held back",
        "links clogged",
        "delay its next messages at a moment",
    }
    assert min(found.effects.values()) > 0


def test_effects_are_put_into_a_line():
    assert (
        words({"timed faults": 3, "messages lost": 1200}) == "3 timed faults, 1,200 messages lost"
    )
    assert words({}) == "no effect"
