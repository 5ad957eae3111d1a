"""Interference with containers from outside is trouble, never evidence against a node."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from squall.harness.cluster import HarnessError, NodeDisturbed, NodeKilled
from squall.harness.docker import nodes as docker_nodes
from squall.harness.docker.cluster import DockerCluster
from squall.harness.docker.engine import Docker
from squall.harness.docker.image.build import ensure_image
from tests.docker.conftest import STANDIN
from tests.patience import eventually

pytestmark = pytest.mark.docker


@pytest.fixture
def engine() -> Iterator[Any]:
    """Return another connection to the engine, for the interference."""
    made = Docker()
    yield made.api
    made.close()


@pytest_asyncio.fixture
async def cluster(standin_image: str) -> AsyncIterator[DockerCluster]:
    made = DockerCluster(run_id="test-outside", image=standin_image, size=3)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def told(cluster: DockerCluster, node: str = "n2") -> str:
    """Return the disturbances of one node; checks that there are no others, and no crash."""
    found = await cluster.disturbed()
    assert set(found) <= {node}
    assert await cluster.crashed() == {}
    return "; ".join(found.get(node, ()))


async def reachable(cluster: DockerCluster, node: str = "n2") -> bool:
    return (await cluster.observe(node)).reachable


async def test_a_node_that_was_killed_is_named_with_the_signal(cluster, engine) -> None:
    assert await told(cluster) == ""
    engine.kill(cluster._containers["n2"], "SIGKILL")
    said = await told(cluster)
    assert "n2 was killed from outside the harness (SIGKILL, exit code 137)" in said
    assert "asked to send it SIGKILL" in said
    with pytest.raises(NodeDisturbed, match="SIGKILL"):
        await cluster.pause(("n2",))
    await cluster.kill(("n2",))
    assert (await cluster.restart(("n2",))).effective is False, "no kill of ours worked"
    await eventually(lambda: reachable(cluster))
    assert await told(cluster) == said, "said once, and its restart is ours"


async def test_a_node_that_was_killed_just_before_our_own_kill_is_not_ours(cluster, engine) -> None:
    """The state was not inspected in between."""
    engine.kill(cluster._containers["n2"], "SIGKILL")
    await cluster.kill(("n2",))
    assert "SIGKILL" in await told(cluster)


async def test_a_kill_of_ours_is_nobody_elses(cluster) -> None:
    await cluster.kill(("n2",))
    assert await told(cluster) == ""
    with pytest.raises(NodeKilled, match="another fault"):
        await cluster.pause(("n2",))
    assert (await cluster.restart(("n2",))).effective
    assert await told(cluster) == ""


async def test_a_node_that_was_restarted_between_two_looks_is_noticed(cluster, engine) -> None:
    engine.restart(cluster._containers["n2"], timeout=0)
    assert "n2 was restarted from outside the harness" in await told(cluster)


async def test_a_node_that_was_started_while_a_fault_kept_it_dead_is_noticed(
    cluster, engine
) -> None:
    await cluster.kill(("n2",))
    engine.start(cluster._containers["n2"])
    assert "started from outside the harness while a fault kept it dead" in await told(cluster)
    assert (await cluster.restart(("n2",))).effective is None


async def test_a_node_that_was_paused_is_noticed_and_thawed_in_the_end(cluster, engine) -> None:
    engine.pause(cluster._containers["n2"])
    assert "n2 was frozen from outside the harness (`docker pause`)" in await told(cluster)
    assert (await cluster.resume(cluster.nodes)).effective is None, "no pause of ours"
    assert await reachable(cluster)


async def test_a_pause_that_another_ended_is_noticed(cluster, engine) -> None:
    await cluster.pause(("n2",))
    assert await told(cluster) == ""
    engine.unpause(cluster._containers["n2"])
    assert "resumed from outside the harness" in await told(cluster)


async def test_a_node_that_was_stopped_by_a_signal_is_noticed_and_continued(
    cluster, engine
) -> None:
    """The engine reports it as running; only the node itself does not answer."""
    engine.kill(cluster._containers["n2"], "SIGSTOP")
    assert not await reachable(cluster)
    assert "SIGSTOP" in await told(cluster)
    await cluster.resume(cluster.nodes)
    await eventually(lambda: reachable(cluster))


async def test_a_node_without_its_network_is_noticed_and_connected_again(cluster, engine) -> None:
    assert cluster._network is not None
    engine.disconnect_container_from_network(cluster._containers["n2"], cluster._network.id)
    assert "disconnected from its network" in await told(cluster)
    await cluster.heal()
    await eventually(lambda: reachable(cluster))


async def test_a_container_that_was_removed_takes_nothing_else_with_it(
    cluster, engine, tmp_path
) -> None:
    """The others are restarted and collected, and what is missing is said."""
    engine.remove_container(cluster._containers["n2"], force=True)
    await cluster.kill(("n1",))
    with pytest.raises(HarnessError, match="removed from outside"):
        await cluster.kill(("n2",))
    await cluster.restart(cluster.nodes)
    await cluster.resume(cluster.nodes)
    await cluster.heal()
    await eventually(lambda: reachable(cluster, "n1"))
    assert "the container of n2 was removed from outside" in await told(cluster)
    evidence = await cluster.collect(tmp_path)
    assert evidence.nodes["n2"].log_missing
    assert (tmp_path / "n1" / "node.log").stat().st_size > 0
    assert any("n2" in text for text in evidence.trouble)


async def test_docker_stop_of_a_real_node_is_not_its_own_leaving(engine) -> None:
    """It exits with code 0, in order, because it was asked to."""
    cluster = DockerCluster(run_id="test-stop", image=ensure_image(None, print).tag, size=3)
    try:
        await cluster.start()
        engine.stop(cluster._containers["n2"])
        said = await told(cluster)
        assert "n2 was stopped from outside the harness (SIGTERM, exit code 0" in said
        await cluster.restart(cluster.nodes)
        await eventually(lambda: reachable(cluster))
    finally:
        await cluster.stop()


async def test_a_node_without_enough_memory_is_not_to_blame(monkeypatch, tmp_path) -> None:
    """A node that wants more than its limit: one a little short of it would run, slowly."""
    greedy = Path(shutil.copytree(STANDIN, tmp_path / "node")) / "__main__.py"
    program = greedy.read_text()
    greedy.write_text(program.replace("parser = ", "held = b'x' * (1 << 30)\nparser = ", 1))
    monkeypatch.setattr(docker_nodes, "MEMORY_MAX", "64m")
    image = ensure_image(greedy.parent, print).tag
    cluster = DockerCluster(run_id="test-oom", image=image, size=3)
    try:
        with pytest.raises(NodeDisturbed, match="OOMKilled"):
            await cluster.start()
    finally:
        await cluster.stop()


async def test_looking_for_what_works_leaves_nothing_behind(cluster) -> None:
    """No queueing discipline delays the loopback of the node that was asked."""
    for node in cluster.nodes:
        queue = cluster._exec.run(cluster._containers[node], ["tc", "qdisc", "show", "dev", "lo"])
        assert "netem" not in queue
