"""One member of a lost cluster becomes a cluster of one, with its data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.node.etcdctl import Etcdctl
from tests.node.real_etcd import Etcd
from tests.node.server.processes import Cluster, Node, until

MakeCluster = Callable[[int], Cluster]


def keys(node: Node) -> dict[bytes, bytes]:
    return {kv.key: kv.value for kv in node.get(b"\0", range_end=b"\0").kvs}


def test_a_lone_survivor_goes_on_with_everything_acknowledged(
    cluster_of: MakeCluster, program: Any
) -> None:
    cluster = cluster_of(3)
    for node in cluster.nodes:
        node.extra = ["--snapshot-count=30"]
    cluster.start()
    survivor, *lost = cluster.nodes
    for number in range(100):
        # To the survivor: what it acknowledges it has, though perhaps not as committed.
        survivor.put(b"k%d" % number, b"v%d" % number)
    before = keys(survivor)
    revision = survivor.get(b"k1").header.revision
    cluster_id = survivor.get(b"k1").header.cluster_id
    cluster.kill(*cluster.nodes)
    for node in lost:
        shutil.rmtree(node.directory / node.name)

    survivor.extra = ["--force-new-cluster"]
    cluster.start(survivor)
    assert keys(survivor) == before
    assert survivor.get(b"k1").header.revision == revision
    assert survivor.get(b"k1").header.cluster_id == cluster_id
    etcdctl = Etcdctl(program("etcdctl"))

    def member_list() -> list[str]:
        return etcdctl("member", "list", endpoints=survivor.endpoint).splitlines()

    assert len(member_list()) == 1
    (note,) = survivor.events("new-cluster")
    assert len(note["left"]) == 2

    # The flag has done its work: without it the member is what it was made, and others may join.
    survivor.stop(signal.SIGTERM)
    survivor.extra = []
    cluster.start(survivor)
    assert len(member_list()) == 1
    joiner = lost[0]
    add = subprocess.Popen(
        etcdctl.command(
            *("--command-timeout=30s", "member", "add", joiner.name),
            f"--peer-urls={joiner.peer_url}",
            endpoints=survivor.endpoint,
        ),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
    # One becomes two: both must agree, so the second starts while the first waits for it.
    until(lambda: len(member_list()) == 2, "the new member in the list")
    joiner.extra = ["--initial-cluster-state=existing"]
    joiner.start(f"{survivor.name}={survivor.peer_url},{joiner.name}={joiner.peer_url}")
    assert "added to cluster" in add.communicate(timeout=60)[0]
    cluster.wait_ready()
    assert until(lambda: keys(joiner) == before, "the data at the new member")
    assert len(member_list()) == 2
    joiner.put(b"together", b"again")
    assert survivor.get(b"together").count == 1


def test_an_empty_directory_is_nothing_to_begin_with(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    (node,) = cluster.nodes
    node.extra = ["--force-new-cluster"]
    node.start(cluster.initial)
    assert node.process is not None
    assert node.process.wait(30) == 3
    node.process = None
    assert "--force-new-cluster begins with the data" in node.events("cannot-join")[-1]["msg"]


def test_etcd_keeps_identity_and_data_the_same_way(
    cluster_of: MakeCluster, program: Any, tmp_path: Path
) -> None:
    """The member's id and the cluster's stay; ours is compared with what etcd makes of its own."""
    cluster = cluster_of(1)
    (node,) = cluster.nodes
    cluster.start()
    node.put(b"k", b"v")
    etcdctl = Etcdctl(program("etcdctl"))
    real = Etcd(program("etcd"), tmp_path / "real", node.peer + 1)

    def told(endpoint: str) -> str:
        until(lambda: etcdctl.run("get", "k", endpoints=endpoint)[0] == 0, "an answer")
        return etcdctl("member", "list", endpoints=endpoint).split(",")[0]

    try:
        until(lambda: etcdctl.run("put", "k", "v", endpoints=real.endpoint)[0] == 0, "a put")
        theirs, ours = told(real.endpoint), told(node.endpoint)
    finally:
        real.stop()
    node.stop(signal.SIGTERM)
    node.extra = ["--force-new-cluster"]
    cluster.start()
    real = Etcd(program("etcd"), tmp_path / "real", node.peer + 1, "--force-new-cluster")
    try:
        assert told(real.endpoint) == theirs
        assert told(node.endpoint) == ours
        assert etcdctl("get", "k", endpoints=real.endpoint) == "k\nv\n"
        assert etcdctl("get", "k", endpoints=node.endpoint) == "k\nv\n"
    finally:
        real.stop()
