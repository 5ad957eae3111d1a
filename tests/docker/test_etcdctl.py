"""The real etcdctl against five real containers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from squall.harness.docker.cluster import DockerCluster
from squall.harness.docker.image.build import ensure_image
from tests.node.etcdctl import Etcdctl
from tests.patience import until

pytestmark = pytest.mark.docker

CLIENT_PORT = 2379


async def test_etcdctl_works_against_five_containers(program: Any) -> None:
    """What an operator types first, at every node."""
    path = program("etcdctl")
    image = await asyncio.to_thread(ensure_image, None, print)
    cluster = DockerCluster(run_id="test-etcdctl", image=image.tag, size=5)
    try:
        await cluster.start()
        places = [await cluster._endpoint(node, CLIENT_PORT) for node in cluster.nodes]
        endpoints = [f"{host}:{port}" for host, port in places]
        etcdctl = Etcdctl(path, endpoints=",".join(endpoints))
        for commands in (keys, transactions_and_compaction, members_and_endpoints):
            await asyncio.to_thread(commands, etcdctl, endpoints)
    finally:
        await cluster.stop()


def keys(etcdctl: Etcdctl, endpoints: list[str]) -> None:
    assert etcdctl("put", "a/1", "one", endpoints=endpoints[0]) == "OK\n"
    assert etcdctl("put", "a/1", "uno", endpoints=endpoints[-1]) == "OK\n"
    assert etcdctl("put", "a/2", "two") == "OK\n"
    for endpoint in endpoints:
        assert etcdctl("get", "a/1", endpoints=endpoint) == "a/1\nuno\n"
        assert etcdctl("get", "a/1", "--consistency=s", endpoints=endpoint) == "a/1\nuno\n"
    assert etcdctl("get", "a/1", "--rev=2") == "a/1\none\n"
    listed = etcdctl("get", "a/", "--prefix", "--keys-only")
    assert listed.split() == ["a/1", "a/2"]
    assert etcdctl("del", "a/2") == "1\n"


def transactions_and_compaction(etcdctl: Etcdctl, endpoints: list[str]) -> None:
    guarded = 'value("a/1") = "uno"\n\nput a/1 eins\n\nput a/1 lost\n\n'
    assert etcdctl("txn", stdin=guarded).split() == ["SUCCESS", "OK"]
    assert etcdctl("txn", stdin=guarded).split() == ["FAILURE", "OK"]
    assert etcdctl("compaction", "4") == "compacted revision 4\n"
    etcdctl.refused("required revision has been compacted", "get", "a/1", "--rev=3")


def members_and_endpoints(etcdctl: Etcdctl, endpoints: list[str]) -> None:
    members = etcdctl("member", "list").splitlines()
    assert sorted(line.split(", ")[2] for line in members) == ["n1", "n2", "n3", "n4", "n5"]
    assert all(line.split(", ")[1] == "started" for line in members)
    until(lambda: leaders(etcdctl, endpoints) == 1, "one leader in five answers")
    assert etcdctl("endpoint", "health").count("is healthy") == len(endpoints)


def leaders(etcdctl: Etcdctl, endpoints: list[str]) -> int:
    """Count who says to lead; an election may lie between two of the questions."""
    status = etcdctl("endpoint", "status").splitlines()
    assert len(status) == len(endpoints)
    return [line.split(", ")[4] for line in status].count("true")
