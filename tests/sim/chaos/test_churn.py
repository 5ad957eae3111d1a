"""Members that are replaced, and bits that rot: what the cluster must make of it."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from squall.checkers.history import History
from squall.checkers.raft.safety import check_raft_safety
from squall.harness.run.options import NS_PER_S, Options
from squall.harness.sim.chaos.churn import NO_TARGET, Churn, Step, choose_bit
from squall.harness.sim.chaos.swarm import Knobs, Swarm
from squall.harness.sim.cluster import SimCluster
from squall.harness.sim.judge.evidence import gather
from squall.harness.sim.runtime import DeadlockError, SimRuntime
from squall.harness.sim.sweep.simulate import SimulationConfig, simulate
from squall.harness.sim.sweep.sweep import Result, judge
from squall.harness.sim.world.disk import DiskFaults, SimDisk
from squall.harness.sim.world.node import SimNode
from squall.harness.sim.world.world import SimWorld
from squall.node.raft import membership_changes
from squall.node.raft.messages import Entry, HardState
from squall.node.storage import recovery, wal
from squall.workloads.client import Definite, Indefinite, Put, PutAnswer
from squall.workloads.register import WORKLOAD

S = NS_PER_S
OPTIONS = Options(prefix="t/", time_limit_ns=8 * S, rate=100.0, concurrency=10)
QUICK = Knobs(election_us=200_000, heartbeat_us=50_000, segment_bytes=2048, snapshot_count=50)
OFTEN = Churn(every_us=400_000, linger_us=200_000)


class Stage:
    """A running cluster of five, whose members can be replaced by hand."""

    def __init__(self, churn: Churn = OFTEN) -> None:
        self.world = SimWorld(3, 5, Swarm(knobs=QUICK, churn=churn))
        self.runtime = SimRuntime(self.world.loop)
        self.cluster = SimCluster(self.world, self.runtime, op_timeout_ns=2 * S)

    def play(self, scene) -> object:
        async def whole() -> object:
            await self.cluster.start()
            for number in range(60):
                await self.put(f"n{number % 5 + 1}")
            return await scene(self)

        return self.runtime.run(whole())

    async def put(self, node: str) -> object:
        client = await self.cluster.client(node)
        try:
            return await client.call(Put(b"k", b"v" * 60))
        except (Definite, Indefinite) as error:
            return error

    async def until_settled(self) -> None:
        for _ in range(200):
            if self.world.churn.target == NO_TARGET:
                return
            await self.runtime.sleep_ns(S // 10)
        raise AssertionError(self.world.churn.stage())


def test_a_replaced_member_is_another_one_and_serves():
    async def scene(stage):
        stage.world.churn.begin(2, rot=False)
        await stage.until_settled()
        assert stage.world.nodes[2].config.member_id == 6
        voters = {node.replica.raft.voter_ids for node in stage.world.nodes}
        assert voters == {(1, 2, 4, 5, 6)}
        return await stage.put("n3")

    assert isinstance(Stage().play(scene), PutAnswer)


@pytest.mark.parametrize(("learner_p", "promoted"), [(0.0, 0), (1.0, 1)])
def test_a_machine_joins_as_a_learner_or_at_once_as_a_voter(learner_p, promoted):
    async def scene(stage):
        stage.world.churn.begin(4, rot=False)
        await stage.until_settled()
        return stage.world.churn.done

    done = Stage(msgspec.structs.replace(OFTEN, learner_p=learner_p)).play(scene)
    assert (done[Step.REMOVED], done[Step.ADDED], done[Step.PROMOTED]) == (1, 1, promoted)


async def rot_a_log(stage: Stage, *, by_us: bool) -> SimNode:
    """Flip a bit in n2's first segment while it is down, and start it again."""
    node = stage.world.nodes[1]
    stage.world.hold(1)
    segments = [path for path in node.disk.files() if path.startswith(wal.DIRECTORY)]
    assert len(segments) > 2
    node.disk.rot(segments[0], 30, 3)
    node.rotten = by_us
    stage.world.release(1)
    await stage.runtime.sleep_ns(S)
    return node


def test_a_node_whose_log_rotted_refuses_to_start_and_its_successor_serves():
    async def scene(stage):
        node, world = await rot_a_log(stage, by_us=True), stage.world
        assert node.refused
        assert "is damaged" in node.exit_text
        assert recovery.REJOIN in node.exit_text
        assert world.invariants.broken is None
        world.churn.begin(1, rot=False)
        await stage.until_settled()
        assert world.churn.done[Step.REFUSED] == 1
        return await stage.put("n2")

    assert isinstance(Stage().play(scene), PutAnswer)


def test_a_node_that_stumbles_over_rot_instead_of_refusing_is_an_alarm(monkeypatch):
    def fail_by_disk(*_: object) -> None:
        raise ValueError("what is this")

    monkeypatch.setattr(recovery.frames, "any_record_after", fail_by_disk)
    stage = Stage()
    with pytest.raises(DeadlockError):
        stage.play(lambda stage: rot_a_log(stage, by_us=True))
    assert "what is this" in stage.world.invariants.broken.text


def test_a_node_that_refuses_a_log_which_nobody_damaged_is_an_alarm():
    stage = Stage()
    with pytest.raises(DeadlockError):
        stage.play(lambda stage: rot_a_log(stage, by_us=False))
    broken = stage.world.invariants.broken
    assert (broken.rule, broken.node) == ("durability", "n2")
    assert broken.text.startswith("refuses to start from a disk that nothing had damaged: member/")
    evidence = gather(stage.world, None)
    assert "is damaged" in evidence.nodes["n2"].refusals[0]
    told = check_raft_safety(History(()), evidence)
    summaries = [found.summary for child in told.children for found in child.anomalies]
    assert "n2 would not start from its own disk, which no fault had damaged." in summaries
    assert not any("stopped by itself" in summary for summary in summaries)


def test_any_byte_may_rot_but_those_of_the_last_record():
    disk = SimDisk(Random(1), DiskFaults())
    writer = wal.Wal(1, 1, 2048)
    disk.makedirs(wal.DIRECTORY)
    disk.execute(tuple(writer.save([Entry(1, 1, 0, b"x" * 40)], HardState(1, 1, 0), None, 1)))
    before = disk.files()
    disk.execute(tuple(writer.save([Entry(1, 2, 0, b"y" * 40)], None, None, 2)))
    (path,) = before
    end = len(before[path].rstrip(b"\0"))
    places = {choose_bit(disk, Random(seed))[1] for seed in range(400)}
    assert max(places) < end + 8
    assert len(places) > 40


def test_a_storm_of_replacements_and_rot_is_survived_and_every_step_is_counted():
    churn = msgspec.structs.replace(OFTEN, rot_p=0.5, learner_p=0.5)
    config = SimulationConfig(
        options=OPTIONS, swarm=Swarm(knobs=QUICK, churn=churn), faults=("kill",)
    )
    run = simulate(2, WORKLOAD, config)
    row = judge(run, WORKLOAD)
    assert row.result is Result.OK, row
    for step in Step:
        assert row.effects[step] > 0, (step, row.effects)
    assert run.liveness.replaced
    assert run.world.churn.target == NO_TARGET


@pytest.mark.parametrize(("size", "replaced"), [(1, False), (2, False), (3, True), (4, True)])
def test_clusters_of_other_sizes_replace_members_if_they_can(size, replaced):
    churn = msgspec.structs.replace(OFTEN, rot_p=0.3)
    swarm = Swarm(knobs=QUICK, churn=churn)
    run = simulate(
        4, WORKLOAD, SimulationConfig(options=OPTIONS, swarm=swarm, faults=("kill",), size=size)
    )
    assert (run.broken, run.error) == (None, None)
    assert bool(run.liveness.replaced) == replaced


def test_a_core_that_cannot_replace_a_member_fails_the_liveness_phase(monkeypatch):
    config = SimulationConfig(
        options=OPTIONS, swarm=Swarm(knobs=QUICK, churn=OFTEN), faults=("kill",)
    )

    def never(*_: object) -> bool:
        return False

    monkeypatch.setattr(membership_changes, "propose", never)
    run = simulate(2, WORKLOAD, config)
    assert run.broken is not None
    assert run.broken.rule == "liveness"
    assert "is not removed" in run.broken.text
