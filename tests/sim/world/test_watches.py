"""Watches in the simulator: a client's stream, the node's room, whole runs of the workload."""

from __future__ import annotations

import msgspec
import pytest

from squall.checkers.history import OpType
from squall.checkers.judge import judge as hear
from squall.checkers.verdict import Budget, Validity
from squall.harness.run.options import NS_PER_MS, NS_PER_S, Options
from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.chaos.swarm import HEALTHY, Swarm, draw
from squall.harness.sim.sweep.simulate import SimulationConfig, simulate
from squall.harness.sim.sweep.sweep import Result, Sweep, run_seed
from squall.harness.sim.world.watch_limits import WatchLimits
from squall.workloads.client import Compact, Definite, Delete, Indefinite, Put, Range, Txn, Watch
from squall.workloads.watch import WORKLOAD
from tests.sim.world.test_world import Stage

SHORT = 100 * NS_PER_MS
SMALL = msgspec.structs.replace(
    HEALTHY, watches=WatchLimits(recent=1, scanned=1, batch_bytes=1, window=2, progress_us=50_000)
)
ALL = Watch(b"a", b"z")


async def heard(stream, timeout_ns=SHORT):
    """Take answers until none comes in time."""
    answers = []
    while (answer := await stream.next(timeout_ns)) is not None:
        answers.append(answer)
    return answers


def told(answers):
    return [(e.deleted, e.kv.key, e.kv.mod_revision) for a in answers for e in a.events]


def play(scene, swarm=HEALTHY):
    async def whole(stage):
        client = await stage.cluster.client("n1")
        writer = await stage.cluster.client("n2")
        return await scene(stage, client, writer)

    return Stage(swarm).play(whole)


def test_a_watch_is_confirmed_and_then_told_of_every_change_in_order():
    async def scene(_stage, client, writer):
        stream = await client.watch(ALL)
        created = await stream.next(SHORT)
        await writer.call(Put(b"a", b"1"))
        await writer.call(Txn(success=(Put(b"b", b"2"), Delete(b"a"))))
        return created, await heard(stream)

    created, answers = play(scene)
    assert created.created
    assert created.revision == 1
    assert told(answers) == [(False, b"a", 2), (False, b"b", 3), (True, b"a", 3)]
    assert [len(answer.events) for answer in answers][-1] >= 2, "one revision, one answer"


def test_filters_the_value_before_and_the_past_are_as_asked():
    async def scene(_stage, client, writer):
        await writer.call(Put(b"a", b"1"))
        await writer.call(Put(b"a", b"2"))
        await writer.call(Delete(b"a"))
        puts = await client.watch(Watch(b"a", start_revision=3, no_delete=True, prev_kv=True))
        rest = await client.watch(Watch(b"a", start_revision=2, no_put=True))
        return await heard(puts), await heard(rest)

    puts, rest = play(scene)
    assert told(puts) == [(False, b"a", 3)]
    assert puts[-1].events[0].prev_kv.value == b"1"
    assert told(rest) == [(True, b"a", 4)]


def test_a_client_that_takes_nothing_holds_its_node_up_and_misses_nothing():
    async def scene(stage, client, writer):
        stream = await client.watch(ALL)
        for _ in range(20):
            await writer.call(Put(b"a", b"1"))
        await stream.rest(NS_PER_S)
        before = len(stream._arrived)
        (end,) = stage.world.nodes[0].api.streams
        assert end.closed is False
        return before, await heard(stream)

    before, answers = play(scene, SMALL)
    assert before == 2, "the window, and no answer more"
    assert [mod for _, _, mod in told(answers)] == list(range(2, 22))


def test_progress_is_promised_when_asked_for_and_only_behind_all_events():
    async def scene(_stage, client, writer):
        stream = await client.watch(ALL)
        for _ in range(10):
            await writer.call(Put(b"a", b"1"))
        await client.call(Range(b"a"))  # its node has come as far
        await stream.ask_progress()
        return await heard(stream)

    answers = play(scene, SMALL)
    at = next(at for at, answer in enumerate(answers) if answer.is_progress)
    assert max(mod for _, _, mod in told(answers[:at])) == answers[at].revision == 11


def test_an_idle_watch_that_asked_for_it_is_promised_progress_by_itself():
    async def scene(_stage, client, writer):
        stream = await client.watch(Watch(b"q", progress_notify=True))
        await writer.call(Put(b"a", b"1"))
        await stream.rest(NS_PER_S)
        return await stream.next(SHORT), await stream.next(SHORT)

    created, promise = play(scene, SMALL)
    assert created.created
    assert promise.is_progress


def test_a_killed_node_breaks_its_streams_after_what_it_had_sent():
    async def scene(stage, client, writer):
        stream = await client.watch(ALL)
        await writer.call(Put(b"a", b"1"))
        await stream.rest(SHORT)
        await stage.cluster.kill(("n1",))
        await stream.rest(SHORT)
        created, change = await stream.next(SHORT), await stream.next(SHORT)
        for _ in range(2):
            with pytest.raises(Indefinite, match="reset"):
                await stream.next(SHORT)
        await stream.close()
        await stage.cluster.restart(("n1",))
        return created.created, told([change])

    assert play(scene) == (True, [(False, b"a", 2)])


def test_a_dead_node_refuses_a_watch_and_a_frozen_one_is_silent():
    async def scene(stage, client, _writer):
        await stage.cluster.kill(("n1",))
        refused = await client.watch(ALL)
        with pytest.raises(Definite, match="refused"):
            await refused.next(SHORT)
        await stage.cluster.pause(("n3",))
        silent = await (await stage.cluster.client("n3")).watch(ALL)
        nothing = await silent.next(SHORT)
        await stage.cluster.resume(("n3",))
        return nothing, await silent.next(SHORT)

    nothing, created = play(scene)
    assert nothing is None
    assert created.created


def test_a_watch_from_before_the_compaction_is_canceled_with_its_revision():
    async def scene(_stage, client, writer):
        for _ in range(5):
            await writer.call(Put(b"a", b"1"))
        await writer.call(Compact(4))
        await client.call(Range(b"a"))  # its node has come as far
        gone = await client.watch(Watch(b"a", start_revision=3))
        kept = await client.watch(Watch(b"a", start_revision=4))
        return await heard(gone), await heard(kept)

    gone, kept = play(scene)
    assert gone[-1].canceled
    assert gone[-1].compact_revision == 4
    assert [mod for _, _, mod in told(kept)] == [4, 5, 6]


def test_a_closed_watch_costs_its_node_nothing_any_more():
    async def scene(stage, client, writer):
        stream = await client.watch(ALL)
        await stream.next(SHORT)
        await stream.close()
        await stream.close()
        await writer.call(Put(b"a", b"1"))
        await stage.runtime.sleep_ns(SHORT)
        assert not stage.world.nodes[0].api.streams
        assert stage.world.nodes[0].store.watches.count == 0
        with pytest.raises(Indefinite, match="its own side"):
            await stream.next(SHORT)

    play(scene)


def test_room_for_watches_is_drawn_apart_from_everything_else():
    rooms = {draw(WorldSeeds(seed)).watches for seed in range(50)}
    assert len(rooms) > 20
    assert any("recent events for watches" in draw(WorldSeeds(seed)).words() for seed in range(5))
    assert Swarm().watches.words() == ""


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_few_seeds_of_the_watch_workload_pass_with_everything_exercised(seed):
    row = run_seed(seed, Sweep(workload="watch", time_s=4.0))
    assert (row.result, row.text) == (Result.OK, "")


def run(**plan):
    options = Options(prefix="t/", time_limit_ns=6 * NS_PER_S, rate=100.0, concurrency=10)
    return simulate(5, WORKLOAD, SimulationConfig(options=options, **plan))


def test_every_node_is_asked_for_its_whole_history_in_the_end():
    found = run(swarm=SMALL, faults=("kill",))
    final = [one for one in found.history.operations if (one.meta or {}).get("final")]
    whole = [one for one in final if one.f == "watch" and one.outcome is OpType.OK]
    assert sorted(one.node for one in whole) == ["n1", "n2", "n3", "n4", "n5"]
    assert {one.output["ended"] for one in whole} == {"complete"}
    stories = [[e for r in one.output["responses"] for e in r.get("events", ())] for one in whole]
    assert all(story == stories[0] for story in stories)
    assert len(stories[0]) > 100


def test_watches_go_on_at_another_node_where_an_earlier_one_ended():
    found = run(swarm=HEALTHY, faults=())
    load = [one for one in found.history.operations if one.f == "watch" and one.output]
    starts = [one for one in load if one.input.get("start", 0) > 2]
    assert len(starts) > 10
    assert {one.output["ended"] for one in load} >= {"time"}


def test_a_storm_in_which_no_watch_was_told_anything_is_no_pass():
    found = run(swarm=HEALTHY, faults=("kill",))
    deaf = [
        msgspec.structs.replace(op, value={**op.value, "responses": []})
        if op.f == "watch" and op.type is OpType.OK and op.value["ended"] != "complete"
        else op
        for op in found.history
    ]
    history = type(found.history)(deaf)
    verdict = hear(WORKLOAD.checkers(("kill",)), history, found.findings.evidence, Budget())
    assert verdict.validity is Validity.UNKNOWN
    assert "no watch was told anything, while" in verdict.reason


def test_a_storm_leaves_no_stream_open():
    found = run(swarm=SMALL, faults=("kill", "pause"))
    assert found.broken is None
    assert found.error is None
    for node in found.world.nodes:
        assert not node.api.streams, "whoever watched has hung up or was hung up on"
