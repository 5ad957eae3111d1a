"""The real etcdctl against five real containers."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from harness.cluster.docker import DockerCluster
from harness.image import ensure_image

pytestmark = pytest.mark.docker

CLIENT_PORT = 2379


class Etcdctl:
    """The program, pointed at every node of a cluster."""

    def __init__(self, path: str, endpoints: list[str]) -> None:
        self._path = path
        self.endpoints = endpoints

    async def __call__(self, *words: str, stdin: str = "", at: str = "") -> str:
        """Return what it printed; a failure fails the test with its words."""
        process = await asyncio.create_subprocess_exec(
            self._path,
            f"--endpoints={at or ','.join(self.endpoints)}",
            "--command-timeout=20s",
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
        output, _ = await process.communicate(stdin.encode())
        assert process.returncode == 0, output.decode()
        return output.decode()


async def test_etcdctl_works_against_five_containers(program: Any) -> None:
    """What an operator types first, at every node."""
    path = program("etcdctl")
    image = await asyncio.to_thread(ensure_image, None, print)
    cluster = DockerCluster(run_id="test-etcdctl", image=image.tag, size=5)
    try:
        await cluster.start()
        places = [await cluster._endpoint(node, CLIENT_PORT) for node in cluster.nodes]
        etcdctl = Etcdctl(path, [f"{host}:{port}" for host, port in places])
        await keys(etcdctl)
        await transactions_and_compaction(etcdctl)
        await members_and_endpoints(etcdctl)
    finally:
        await cluster.stop()


async def keys(etcdctl: Etcdctl) -> None:
    first, *_, last = etcdctl.endpoints
    assert await etcdctl("put", "a/1", "one", at=first) == "OK\n"
    assert await etcdctl("put", "a/1", "uno", at=last) == "OK\n"
    assert await etcdctl("put", "a/2", "two") == "OK\n"
    for endpoint in etcdctl.endpoints:
        assert await etcdctl("get", "a/1", at=endpoint) == "a/1\nuno\n"
        assert await etcdctl("get", "a/1", "--consistency=s", at=endpoint) == "a/1\nuno\n"
    assert await etcdctl("get", "a/1", "--rev=2") == "a/1\none\n"
    listed = await etcdctl("get", "a/", "--prefix", "--keys-only")
    assert listed.split() == ["a/1", "a/2"]
    assert await etcdctl("del", "a/2") == "1\n"


async def transactions_and_compaction(etcdctl: Etcdctl) -> None:
    guarded = 'value("a/1") = "uno"\n\nput a/1 eins\n\nput a/1 lost\n\n'
    assert (await etcdctl("txn", stdin=guarded)).split() == ["SUCCESS", "OK"]
    assert (await etcdctl("txn", stdin=guarded)).split() == ["FAILURE", "OK"]
    assert await etcdctl("compaction", "4") == "compacted revision 4\n"
    with pytest.raises(AssertionError, match="required revision has been compacted"):
        await etcdctl("get", "a/1", "--rev=3")


async def members_and_endpoints(etcdctl: Etcdctl) -> None:
    members = (await etcdctl("member", "list")).splitlines()
    assert sorted(line.split(", ")[2] for line in members) == ["n1", "n2", "n3", "n4", "n5"]
    assert all(line.split(", ")[1] == "started" for line in members)
    status = (await etcdctl("endpoint", "status")).splitlines()
    assert len(status) == len(etcdctl.endpoints)
    assert [line.split(", ")[4] for line in status].count("true") == 1
    health = await etcdctl("endpoint", "health")
    assert health.count("is healthy") == len(etcdctl.endpoints)
