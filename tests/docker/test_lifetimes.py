"""Runs do not touch each other, and what a dead controller leaves behind is removed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from squall.harness.cluster import NodeNeverReady
from squall.harness.docker.cleanup import clean
from squall.harness.docker.cluster import DockerCluster
from squall.harness.docker.engine import Docker, NoEngineError
from squall.harness.docker.labels import RUN
from squall.harness.docker.nodes import STATUS_PORT, NodeSettings
from tests.patience import eventually

pytestmark = pytest.mark.docker

CONTROLLER = """
import asyncio, sys
from squall.harness.docker.cluster import DockerCluster

async def main():
    cluster = DockerCluster(run_id="test-doomed", image=sys.argv[1], size=3)
    await cluster.start()
    print(cluster._owner.run, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def left_of(run: str) -> list[Any]:
    engine = Docker()
    try:
        named = {"label": f"{RUN}={run}"}
        return [
            *engine.api.containers(all=True, filters=named),
            *(engine.api.volumes(filters=named).get("Volumes") or ()),
            *engine.api.networks(filters=named),
        ]
    finally:
        engine.close()


async def reachable(cluster: DockerCluster, node: str) -> bool:
    return (await cluster.observe(node)).reachable


@pytest.fixture
def doomed(standin_image: str) -> Iterator[subprocess.Popen[str]]:
    """Start a controller with a cluster of its own, to be killed."""
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, standin_image], stdout=subprocess.PIPE, text=True
    )
    yield controller
    controller.kill()
    controller.wait()


async def test_clusters_side_by_side_share_nothing_and_a_dead_ones_remains_go(
    standin_image: str, doomed: subprocess.Popen[str]
) -> None:
    """A second, live cluster must not be affected by what happens to the first."""
    living = DockerCluster(run_id="test-doomed", image=standin_image, size=3)
    try:
        await living.start()
        assert doomed.stdout is not None
        run = doomed.stdout.readline().strip()
        assert len(left_of(run)) == 3 + 6 + 1
        clean()
        assert len(left_of(run)) == 10, "a living controller's cluster stays"
        doomed.send_signal(signal.SIGKILL)
        doomed.wait()
        clean()
        assert left_of(run) == []
        await eventually(lambda: reachable(living, "n1"))
    finally:
        await living.stop()
    assert left_of(living._owner.run) == []


async def test_where_addresses_cannot_be_reached_published_ports_are_used(
    standin_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a desktop's engine; a restart publishes other ports than before."""
    monkeypatch.setenv("SQUALL_PUBLISH_PORTS", "1")
    cluster = DockerCluster(run_id="test-published", image=standin_image, size=3)
    try:
        await cluster.start()
        assert (await cluster._endpoint("n1", STATUS_PORT))[0] == "127.0.0.1"
        await cluster.kill(("n1",))
        assert not (await cluster.observe("n1")).reachable
        await cluster.restart(("n1",))
        await eventually(lambda: reachable(cluster, "n1"))
    finally:
        await cluster.stop()


async def test_a_node_that_never_gets_ready_is_told_with_its_last_words(
    standin_image: str,
) -> None:
    cluster = DockerCluster(
        run_id="test-stillborn",
        image=standin_image,
        size=3,
        settings=NodeSettings(extra_flags=("--die-at-once",)),
    )
    try:
        with pytest.raises(NodeNeverReady, match="born dead"):
            await cluster.start()
    finally:
        await cluster.stop()
    assert left_of(cluster._owner.run) == []


async def test_stopping_what_never_started_is_no_error(standin_image: str) -> None:
    await DockerCluster(run_id="test-unborn", image=standin_image, size=3).stop()


def test_without_an_engine_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(NoEngineError, match="Start Docker") as found:
        Docker()
    assert "\n" not in str(found.value)
    assert found.value.exit_code == 3
