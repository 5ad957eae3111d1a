"""Our own node in containers: it elects, it answers, and what it leaves behind can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from squall.harness.docker.cluster import DockerCluster
from squall.harness.docker.image.build import ensure_image
from squall.workloads.client import Put, PutAnswer, Range, RangeAnswer

pytestmark = pytest.mark.docker


async def test_what_was_written_survives_a_kill_of_all_and_is_in_every_wal(tmp_path: Path) -> None:
    """One write, every process killed at once, and the write is read back from another node."""
    image = ensure_image(None, print)
    cluster = DockerCluster(run_id="test-real", image=image.tag, size=3)
    try:
        await cluster.start()
        client = await cluster.client("n1")
        written = await client.call(Put(key=b"k", value=b"before the storm"))
        await client.close()
        assert isinstance(written, PutAnswer)
        await cluster.kill(cluster.nodes)
        await cluster.restart(cluster.nodes)
        await cluster._await_ready()
        for node in cluster.nodes:  # who answers has it in its log, however late it came
            client = await cluster.client(node)
            found = await client.call(Range(key=b"k"))
            await client.close()
            assert isinstance(found, RangeAnswer)
            assert [pair.value for pair in found.kvs] == [b"before the storm"]
        evidence = await cluster.collect(tmp_path)
    finally:
        await cluster.stop()
    assert evidence.trouble == ()
    for node in cluster.nodes:
        left = evidence.nodes[node]
        assert left.damage is None
        assert left.assertions == ()
        assert any(("k", "before the storm") in entry.puts for entry in left.entries)
