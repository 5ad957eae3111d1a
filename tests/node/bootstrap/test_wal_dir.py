"""A log may live in a directory of its own, and a member never starts without its log."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.node.etcdctl import Etcdctl
from tests.node.server.processes import ROOT, Cluster, Node

MakeCluster = Callable[[int], Cluster]


def refused(node: Node, cluster: Cluster) -> str:
    """Start a node that does not come up, and return why."""
    node.start(cluster.initial)
    assert node.process is not None
    assert node.process.wait(30) == 3
    node.process = None
    return str(node.events("cannot-start")[-1]["msg"])


def test_the_log_lives_where_it_is_told_to(cluster_of: MakeCluster, tmp_path: Path) -> None:
    cluster = cluster_of(1)
    (node,) = cluster.nodes
    place = tmp_path / "fast" / "disk"
    node.extra = [f"--wal-dir={place}"]
    cluster.start()
    node.put(b"k", b"v")
    assert [file.suffix for file in place.iterdir() if file.name != "lock"] == [".wal"]
    assert not (tmp_path / node.name / "member/wal").exists()
    cluster.kill(node)
    cluster.start()
    assert node.get(b"k").kvs[0].value == b"v"


def test_a_member_does_not_begin_another_log(cluster_of: MakeCluster, tmp_path: Path) -> None:
    cluster = cluster_of(1)
    (node,) = cluster.nodes
    place, usual = tmp_path / "place", tmp_path / node.name / "member/wal"
    cluster.start()
    node.put(b"k", b"v")
    node.stop(signal.SIGTERM)
    node.extra = [f"--wal-dir={place}"]
    why = refused(node, cluster)
    assert f"the log of this member is in {usual}, not in {place}: start it without" in why
    for file in usual.iterdir():  # by hand, as the message says
        file.rename(place / file.name)
    cluster.start()
    assert node.get(b"k").kvs[0].value == b"v"
    node.stop(signal.SIGTERM)
    node.extra = []
    assert f"start it with --wal-dir={place}" in refused(node, cluster)
    node.extra = [f"--wal-dir={tmp_path / 'nowhere'}"]
    assert f"start it with --wal-dir={place}" in refused(node, cluster)
    for file in place.glob("*.wal"):
        file.rename(usual / file.name)
    node.extra = []
    cluster.start()
    assert node.get(b"k").kvs[0].value == b"v"


def test_a_snapshot_is_restored_with_the_log_elsewhere(
    cluster_of: MakeCluster, program: Any, tmp_path: Path
) -> None:
    cluster = cluster_of(1)
    (node,) = cluster.nodes
    cluster.start()
    node.put(b"k", b"v")
    file, place = tmp_path / "saved.db", tmp_path / "place"
    Etcdctl(program("etcdctl"), cluster)("snapshot", "save", str(file))
    node.stop(signal.SIGTERM)
    shutil.rmtree(tmp_path / node.name)
    command = [
        *(
            sys.executable,
            "-m",
            "squall.node",
            "snapshot",
            "restore",
            str(file),
            "--name",
            node.name,
        ),
        *("--data-dir", str(tmp_path / node.name), "--wal-dir", str(place)),
        *("--initial-cluster", cluster.initial, "--initial-advertise-peer-urls", node.peer_url),
    ]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    assert f"start it with --wal-dir={place}" in refused(node, cluster)
    node.extra = [f"--wal-dir={place}"]
    cluster.start()
    assert node.get(b"k").kvs[0].value == b"v"


def test_two_members_do_not_share_a_log(cluster_of: MakeCluster, tmp_path: Path) -> None:
    cluster = cluster_of(2)
    first, second = cluster.nodes
    first.extra = second.extra = [f"--wal-dir={tmp_path / 'place'}"]
    cluster_alone = f"{first.name}={first.peer_url}"
    first.start(cluster_alone)
    cluster.wait_ready()
    assert "another node uses the log directory" in refused(second, cluster)
