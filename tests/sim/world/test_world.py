"""Nodes under the hands of nemesis, triggers and background: who holds whom, and what it takes."""

from __future__ import annotations

import pytest

from squall.harness.cluster import NodeStatus
from squall.harness.run.options import NS_PER_S, Options
from squall.harness.sim.chaos.swarm import HEALTHY, BackgroundFaults, Swarm
from squall.harness.sim.chaos.triggers import Action, Trigger, TriggerPoint
from squall.harness.sim.cluster import SimCluster
from squall.harness.sim.runtime import SimRuntime
from squall.harness.sim.sweep.simulate import SimulationConfig, simulate
from squall.harness.sim.sweep.sweep import Result, judge
from squall.harness.sim.world.disk import DiskFaults
from squall.harness.sim.world.world import BROKEN, FaultSource, SimWorld
from squall.node.replica import Replica
from squall.workloads.client import Definite, Indefinite, Put, PutAnswer, Range
from squall.workloads.register import WORKLOAD

S = NS_PER_S
OPTIONS = Options(prefix="t/", time_limit_ns=6 * S, rate=100.0, concurrency=10)


class Stage:
    """A running cluster of five, and a way to do things to it."""

    def __init__(self, swarm: Swarm = HEALTHY, seed: int = 1) -> None:
        self.world = SimWorld(seed, 5, swarm)
        self.runtime = SimRuntime(self.world.loop)
        self.cluster = SimCluster(self.world, self.runtime, op_timeout_ns=S)

    def play(self, scene) -> object:
        async def whole() -> object:
            await self.cluster.start()
            await self.until_led()
            return await scene(self)

        return self.runtime.run(whole())

    async def until_led(self) -> NodeStatus:
        while True:
            statuses = [await self.cluster.observe(name) for name in self.cluster.nodes]
            leaders = [status for status in statuses if status.role == "leader"]
            if leaders:
                return max(leaders, key=lambda status: status.term)
            await self.runtime.sleep_ns(S // 20)

    async def put(self, node: str, key: bytes = b"k") -> object:
        client = await self.cluster.client(node)
        try:
            return await client.call(Put(key, b"v"))
        except (Definite, Indefinite) as error:
            return error


def test_any_node_takes_a_write_and_any_node_reads_it():
    async def scene(stage):
        assert isinstance(await stage.put("n2"), PutAnswer)
        client = await stage.cluster.client("n5")
        return await client.call(Range(b"k"))

    assert Stage().play(scene).kvs[0].value == b"v"


def test_a_dead_node_refuses_and_a_frozen_one_does_not_answer():
    async def scene(stage):
        await stage.cluster.kill(("n1",))
        await stage.cluster.pause(("n2",))
        dead, frozen = await stage.put("n1"), await stage.put("n2")
        seen = [await stage.cluster.observe(name) for name in ("n1", "n2")]
        assert not any(status.reachable for status in seen)
        return dead, frozen

    dead, frozen = Stage().play(scene)
    assert (type(dead), str(dead)) == (Definite, "connection refused")
    assert (type(frozen), str(frozen)) == (Indefinite, "timed out")


def test_a_frozen_node_handles_what_waited_once_it_is_thawed():
    async def scene(stage):
        await stage.cluster.pause(("n2",))
        client = await stage.cluster.client("n2")
        client._timeout_ns = 20 * S
        task = stage.runtime.spawn(client.call(Put(b"k", b"v")), "put")
        await stage.runtime.sleep_ns(3 * S)
        assert not task.done()
        measured = await stage.cluster.resume(("n2",))
        assert measured.effective
        return await task.join()

    assert isinstance(Stage().play(scene), PutAnswer)


def test_a_restarted_node_has_what_it_acknowledged():
    async def scene(stage):
        await stage.put("n1")
        names = stage.cluster.nodes
        await stage.runtime.sleep_ns(S)
        await stage.cluster.kill(names)
        measured = await stage.cluster.restart(names)
        assert measured.effective
        await stage.until_led()
        client = await stage.cluster.client("n3")
        return await client.call(Range(b"k"))

    assert Stage().play(scene).kvs[0].value == b"v"


def test_a_node_starts_when_the_last_hand_lets_go_of_it():
    async def scene(stage):
        world = stage.world
        world.kill(0, FaultSource.TRIGGER)
        await stage.cluster.kill(("n1",))
        await stage.cluster.restart(("n1",))
        await stage.runtime.sleep_ns(S)
        assert not world.nodes[0].running
        world.revive(0, FaultSource.TRIGGER)
        await stage.runtime.sleep_ns(S)
        return world.nodes[0].running

    assert Stage().play(scene)


def test_a_cut_leader_loses_its_office_and_the_dropped_messages_are_counted():
    async def scene(stage):
        led = (await stage.until_led()).node
        others = frozenset(stage.cluster.nodes) - {led}
        await stage.cluster.cut({led: others, **{name: frozenset({led}) for name in others}})
        await stage.runtime.sleep_ns(10 * S)
        now = (await stage.until_led()).node
        measured = await stage.cluster.heal()
        assert measured.effective
        assert sum(measured.data.values()) > 10
        return led != now

    assert Stage().play(scene)


def test_a_lying_clock_is_seen_to_lie_and_is_set_right():
    async def scene(stage):
        await stage.cluster.jump_clock("n3", 5_000)
        await stage.cluster.drift_clock("n4", 2.0)
        await stage.runtime.sleep_ns(2 * S)
        jumped, drifted = [await stage.cluster.observe(name) for name in ("n3", "n4")]
        assert round(jumped.clock_offset_ns / S, 2) == 5.0
        assert 1.9 < drifted.clock_offset_ns / S < 2.1
        measured = await stage.cluster.reset_clocks()
        assert measured.effective
        after = await stage.cluster.observe("n4")
        return abs(after.clock_offset_ns)

    assert Stage().play(scene) < S // 100


def test_healing_what_is_whole_is_no_error_and_no_effect():
    async def scene(stage):
        cluster, names = stage.cluster, stage.cluster.nodes
        return [
            (await cluster.restart(names)).effective,
            (await cluster.resume(names)).effective,
            (await cluster.heal()).effective,
            (await cluster.reset_clocks()).effective,
        ]

    assert Stage().play(scene) == [None] * 4


def test_a_node_whose_disk_fails_stops_and_comes_back_and_nobody_is_blamed():
    swarm = Swarm(background=BackgroundFaults(disk_error_every_us=500_000, outage_us=300_000))
    run = simulate(2, WORKLOAD, SimulationConfig(options=OPTIONS, swarm=swarm, faults=()))
    assert run.broken is None
    assert sum(node.boots for node in run.world.nodes) > 7
    assert judge(run, WORKLOAD).result is Result.OK


@pytest.mark.parametrize("action", list(Action))
def test_a_cluster_survives_a_trigger_of_every_kind(action):
    triggers = tuple(
        Trigger(point=point, action=action, p=0.2, mend_us=100_000) for point in TriggerPoint
    )
    swarm = Swarm(triggers=triggers, max_targets=2, disk=DiskFaults(tear_p=0.9))
    run = simulate(3, WORKLOAD, SimulationConfig(options=OPTIONS, swarm=swarm, faults=()))
    assert run.broken is None
    assert sum(run.world.triggers.fired) > 3
    assert judge(run, WORKLOAD).result is Result.OK


def test_a_node_that_dies_by_its_own_assertion_stops_the_run_and_is_evidence(monkeypatch):
    healthy = Replica.propose

    def broken(self, ticket: int, command: bytes, now_us: int) -> None:
        assert ticket < 5, "this node is broken on purpose"
        healthy(self, ticket, command, now_us)

    monkeypatch.setattr(Replica, "propose", broken)
    run = simulate(1, WORKLOAD, SimulationConfig(options=OPTIONS, swarm=HEALTHY, faults=()))
    assert run.world.loop.stopped == BROKEN
    assert run.broken.rule == "node died by itself"
    assert "broken on purpose" in run.broken.text
    node = run.findings.evidence.nodes[run.broken.node]
    assert "broken on purpose" in node.assertions[0]
    assert judge(run, WORKLOAD).result is Result.ALARM
    assert any("broken on purpose" in line for line in run.transcript())


def test_a_cluster_that_never_elects_again_fails_the_liveness_phase(monkeypatch):
    from squall.node.raft import election

    swarm = Swarm(background=BackgroundFaults(disk_error_every_us=0))
    config = SimulationConfig(options=OPTIONS, swarm=swarm, faults=("kill",))
    ask = election._ask

    def mute(raft, *arguments: object, **options: object) -> None:
        if raft.term < 3:
            ask(raft, *arguments, **options)

    monkeypatch.setattr(election, "_ask", mute)
    run = simulate(1, WORKLOAD, config)
    assert run.broken is not None
    assert run.broken.rule == "liveness"
    assert "no leader" in run.broken.text
