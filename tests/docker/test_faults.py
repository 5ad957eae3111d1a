"""Every fault is in force when its call returns, leaves a measure, and heals."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from squall.harness.cluster import Measured, NodeStatus
from squall.harness.docker.cluster import DockerCluster
from tests.patience import eventually

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


async def reachable(cluster: DockerCluster, node: str) -> bool:
    return (await cluster.observe(node)).reachable


async def rules_of(cluster: DockerCluster, node: str) -> str:
    container = cluster._containers[node]
    return await cluster._call(cluster._exec.run, container, ["squall-links", "counters"])


async def starts_of(cluster: DockerCluster, into: Path) -> dict[str, int]:
    await cluster.collect(into)
    wal = Path("data", "member", "wal", "starts")
    return {node: int((into / node / wal).read_text()) for node in cluster.nodes}


async def status(cluster: DockerCluster, node: str) -> NodeStatus:
    """Return what a node says of itself; one that has no core just then is asked again."""

    async def answer() -> NodeStatus | None:
        found = await cluster.observe(node)
        return found if found.reachable else None

    return await eventually(answer)


async def test_killed_nodes_are_dead_and_come_back_with_their_data(cluster, tmp_path) -> None:
    before = await starts_of(cluster, tmp_path / "before")
    await cluster.kill(("n1", "n2"))
    assert not await reachable(cluster, "n1")
    assert await cluster.crashed() == {}
    measured = await cluster.restart(("n1", "n2"))
    assert measured.effective
    for node in ("n1", "n2"):
        await status(cluster, node)
    after = await starts_of(cluster, tmp_path / "after")
    assert after == {"n1": before["n1"] + 1, "n2": before["n2"] + 1, "n3": before["n3"]}


async def test_restarting_what_runs_is_no_effect(cluster) -> None:
    assert (await cluster.restart(cluster.nodes)).effective is None


async def test_frozen_nodes_answer_nothing_until_they_thaw(cluster) -> None:
    await cluster.pause(("n2", "n3"))
    assert not await reachable(cluster, "n2")
    measured = await cluster.resume(cluster.nodes)
    assert measured.effective
    assert measured.data["frozen"] == ["n2", "n3"]
    assert (await status(cluster, "n2")).role == "follower"
    assert (await cluster.resume(cluster.nodes)).effective is None


async def test_a_frozen_node_that_is_killed_dies(cluster) -> None:
    await cluster.pause(("n3",))
    await cluster.kill(("n3",))
    assert (await cluster.resume(("n3",))).effective is None
    assert (await cluster.restart(("n3",))).effective
    await status(cluster, "n3")


async def test_a_cut_counts_what_it_dropped_and_the_controller_still_hears(cluster) -> None:
    await cluster.cut({"n1": frozenset({"n2"}), "n2": frozenset({"n1"})})
    await status(cluster, "n1")

    async def both_dropped() -> bool:
        text = await rules_of(cluster, "n1") + await rules_of(cluster, "n2")
        counts = [int(line.split()[0]) for line in text.splitlines() if "DROP" in line]
        return len(counts) == 2 and all(counts)

    await eventually(both_dropped)
    measured = await cluster.heal()
    assert measured.effective
    assert measured.data.keys() == {"n1->n2", "n2->n1"}
    assert all(measured.data.values())
    assert "DROP" not in await rules_of(cluster, "n1")
    assert (await cluster.heal()).effective is None


async def test_a_cut_that_dropped_nothing_is_none(cluster) -> None:
    await cluster.kill(("n2",))

    async def in_vain() -> bool:
        # The kernel may still be sending what the dead left unsent.
        await cluster.cut({"n1": frozenset({"n2"})})
        return (await cluster.heal()).effective is False

    await eventually(in_vain)
    await cluster.restart(("n2",))


async def test_a_node_restarted_while_cut_stays_cut_and_keeps_its_count(cluster) -> None:
    await cluster.cut({"n2": frozenset({"n1"})})

    async def dropped() -> bool:
        lines = (await rules_of(cluster, "n2")).splitlines()
        return any(int(line.split()[0]) for line in lines if "DROP" in line)

    await eventually(dropped)
    await cluster.kill(("n2",))
    await cluster.restart(("n2",))
    await status(cluster, "n2")
    assert "DROP" in await rules_of(cluster, "n2")
    assert (await cluster.heal()).effective


async def test_links_of_dead_and_frozen_nodes_can_be_cut_and_healed(cluster) -> None:
    await cluster.kill(("n1",))
    await cluster.pause(("n2",))
    await cluster.cut({"n1": frozenset({"n3"}), "n2": frozenset({"n3"})})
    await cluster.resume(("n2",))
    await cluster.restart(("n1",))
    for node in ("n1", "n2"):
        await status(cluster, node)
        assert "DROP" in await rules_of(cluster, node)
    await cluster.heal()


async def test_a_cut_in_the_moment_of_a_restart_is_in_force(cluster) -> None:
    await cluster.kill(("n3",))
    await asyncio.gather(cluster.restart(("n3",)), cluster.cut({"n3": frozenset({"n1"})}))
    await status(cluster, "n3")
    assert "DROP" in await rules_of(cluster, "n3")
    await cluster.heal()


async def test_a_node_frozen_in_the_moment_of_its_restart_can_be_cut_and_healed(cluster) -> None:
    """Half way through loading its rules it would hold a lock for as long as it is frozen."""
    for _ in range(3):
        await cluster.kill(("n2",))
        await cluster.restart(("n2",))
        await cluster.pause(("n2",))
        await cluster.cut({"n2": frozenset({"n1"})})
        await cluster.resume(("n2",))
        assert "DROP" in await rules_of(cluster, "n2")
        await cluster.heal()
        assert "DROP" not in await rules_of(cluster, "n2")


async def test_a_jumped_clock_is_believed_by_the_node_and_survives_its_restart(cluster) -> None:
    await cluster.jump_clock("n2", -3_600_000)
    assert (await status(cluster, "n2")).clock_offset_ns < -3_500 * 10**9
    await cluster.kill(("n2",))
    await cluster.restart(("n2",))
    assert (await status(cluster, "n2")).clock_offset_ns < -3_500 * 10**9
    measured = await cluster.reset_clocks()
    assert measured.effective
    assert abs((await status(cluster, "n2")).clock_offset_ns) < 10**9
    assert (await cluster.reset_clocks()).effective is None


async def test_a_drifting_clock_is_measured_and_never_goes_back(cluster) -> None:
    before = (await status(cluster, "n3")).monotonic_ns

    async def gained() -> bool:
        return (await cluster.observe("n3")).clock_offset_ns > 10**9

    async def drifted() -> Measured | None:
        await cluster.drift_clock("n3", 2.0)
        await eventually(gained)
        measured = await cluster.reset_clocks()
        # Of a node that answers slowly no rate is claimed.
        return measured if measured.data["n3"]["seen_rate"] else None

    measured = await eventually(drifted)
    assert measured.effective
    assert 1.5 < measured.data["n3"]["seen_rate"] < 2.5
    after = await status(cluster, "n3")
    assert after.monotonic_ns > before
    assert abs(after.clock_offset_ns) < 10**9


async def test_the_clock_of_a_frozen_node_can_be_turned(cluster) -> None:
    await cluster.pause(("n1",))
    await cluster.jump_clock("n1", 60_000)
    await cluster.resume(("n1",))
    assert (await status(cluster, "n1")).clock_offset_ns > 50 * 10**9
    assert (await cluster.reset_clocks()).effective


async def test_a_node_that_dies_by_itself_is_told_from_one_we_killed(cluster) -> None:
    host, port = await cluster._endpoint("n2", 2381)
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"POST /debug/crash HTTP/1.1\r\n\r\n")
        await writer.drain()

    async def noticed() -> bool:
        return "n2" in await cluster.crashed()

    await eventually(noticed)
    words = (await cluster.crashed())["n2"]
    assert "exit code 2" in words
    assert "AssertionError: told to" in words
    assert await cluster.disturbed() == {}
    measured = await cluster.restart(("n2",))
    assert measured.data["by_themselves"] == ["n2"]
    await status(cluster, "n2")
    assert (await cluster.crashed())["n2"] == words
    assert "told to" in str((await cluster.collect(None)).nodes["n2"].assertions)
