"""Between etcd and this node, both ways, by `etcdctl snapshot save` and `restore`."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from tests.node.etcdctl import Etcdctl
from tests.node.ports import free_ports
from tests.node.real_etcd import Etcd
from tests.node.server.processes import ROOT, Cluster, Node
from tests.patience import PATIENCE_S, until


@pytest.fixture
def etcdctl(program: Any) -> Etcdctl:
    return Etcdctl(program("etcdctl"))


@pytest.fixture
def etcd(program: Any) -> Iterator[Callable[[Path, int], Etcd]]:
    path = program("etcd")
    running: list[Etcd] = []

    def start(data_dir: Path, peer: int) -> Etcd:
        running.append(Etcd(path, data_dir, peer))
        running[-1].wait_ready()
        return running[-1]

    yield start
    for each in running:
        each.stop()


def fill(etcdctl: Etcdctl, endpoint: str) -> None:
    """Write versions, deletions and a compaction."""
    at = f"--endpoints={endpoint}"
    with grpc.insecure_channel(endpoint) as channel:
        put = stubs.KVStub(channel).Put
        for number in range(60):
            put(
                pb.PutRequest(key=b"n%d" % (number % 20), value=b"value %d" % number),
                timeout=PATIENCE_S,
            )
    etcdctl(at, "compaction", "30")
    etcdctl(at, "put", "a", "one")
    etcdctl(at, "put", "a", "two")
    etcdctl(at, "put", "gone", "x")
    etcdctl(at, "del", "gone")
    lease = etcdctl(at, "lease", "grant", "6000").split()[1]
    etcdctl(at, "put", "leased", "x", f"--lease={lease}")
    etcdctl(at, "user", "add", "root:rootpw")
    etcdctl(at, "role", "add", "root")
    etcdctl(at, "user", "grant-role", "root", "root")
    etcdctl(at, "user", "add", "ann:annpw")
    etcdctl(at, "role", "add", "files")
    etcdctl(at, "role", "grant-permission", "files", "read", "a")
    etcdctl(at, "role", "grant-permission", "files", "readwrite", "b/", "--prefix")
    etcdctl(at, "user", "grant-role", "ann", "files")


def check_tables(etcdctl: Etcdctl, endpoint: str) -> None:
    """The lease and the users of `fill` are there, and passwords are right."""
    at = f"--endpoints={endpoint}"
    (lease,) = re.findall(r"^[0-9a-f]{8,}$", etcdctl(at, "lease", "list"), re.MULTILINE)
    shown = etcdctl(at, "lease", "timetolive", lease, "--keys")
    assert "granted with TTL(6000s)" in shown
    assert "attached keys([leased])" in shown
    etcdctl(at, "auth", "enable")
    ann = (at, "--user=ann:annpw")
    assert etcdctl(*ann, "get", "a") == "a\ntwo\n"
    assert etcdctl(*ann, "put", "b/1", "x") == "OK\n"
    assert "permission denied" in etcdctl.run(*ann, "put", "a", "x")[1]
    assert "invalid user ID or password" in etcdctl.run(at, "--user=ann:no", "get", "a")[1]
    etcdctl(at, "--user=root:rootpw", "auth", "disable")


def hash_of(etcdctl: Etcdctl, endpoint: str) -> tuple[int, int]:
    """Return (hash, revision) of everything at an endpoint."""
    answer = json.loads(etcdctl(f"--endpoints={endpoint}", "endpoint", "hashkv", "-w", "json"))
    return answer[0]["HashKV"]["hash"], answer[0]["HashKV"]["header"]["revision"]


def initial(peer: int) -> list[str]:
    url = f"http://127.0.0.1:{peer}"
    return ["--name=r1", f"--initial-cluster=r1={url}", f"--initial-advertise-peer-urls={url}"]


@pytest.fixture
def saved(etcdctl: Etcdctl, cluster_of: Callable[[int], Cluster], tmp_path: Path) -> Any:
    """A snapshot of one of ours, and the (hash, revision) it had."""
    node = cluster_of(1).nodes[0]
    node.start(f"n1={node.peer_url}")
    until(node.has_leader, "a leader")
    fill(etcdctl, node.endpoint)
    before = hash_of(etcdctl, node.endpoint)
    file = tmp_path / "backup.db"
    etcdctl(f"--endpoints={node.endpoint}", "snapshot", "save", str(file))
    return file, before


def test_a_real_etcd_boots_from_our_snapshot(
    etcdctl: Etcdctl, etcd: Callable[[Path, int], Etcd], saved: Any, tmp_path: Path
) -> None:
    file, (hash_, revision) = saved
    data = file.read_bytes()
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    status = json.loads(etcdctl("snapshot", "status", str(file), "-w", "json"))
    assert status["revision"] == revision
    (peer,) = free_ports(1)
    restored = tmp_path / "restored"
    etcdctl("snapshot", "restore", str(file), "--data-dir", str(restored), *initial(peer))
    endpoint = etcd(restored, peer).endpoint
    assert hash_of(etcdctl, endpoint) == (hash_, revision)
    at = f"--endpoints={endpoint}"
    assert etcdctl(at, "get", "a") == "a\ntwo\n"
    assert etcdctl(at, "get", "a", f"--rev={revision - 4}") == "a\none\n"
    assert etcdctl(at, "get", "gone") == ""
    assert etcdctl(at, "get", "gone", f"--rev={revision - 2}") == "gone\nx\n"
    assert "has been compacted" in etcdctl.run(at, "get", "a", "--rev=29")[1]
    check_tables(etcdctl, endpoint)
    revision = hash_of(etcdctl, endpoint)[1]
    etcdctl(at, "put", "a", "three")
    etcdctl(at, "compaction", str(revision + 1))
    etcdctl(at, "defrag")
    assert etcdctl(at, "get", "a") == "a\nthree\n"


def started_on(node: Node, data_dir: Path, name: str) -> Node:
    """Start one of ours, alone, on a directory that somebody else made."""
    data_dir.rename(node.directory / name)
    node.name = name
    node.start(f"{name}={node.peer_url}")
    until(node.has_leader, "a leader")
    return node


def test_our_node_starts_on_what_etcdctl_restored(
    etcdctl: Etcdctl,
    etcd: Callable[[Path, int], Etcd],
    cluster_of: Callable[[int], Cluster],
    tmp_path: Path,
) -> None:
    theirs = etcd(tmp_path / "theirs", free_ports(1)[0])
    fill(etcdctl, theirs.endpoint)
    before = hash_of(etcdctl, theirs.endpoint)
    file = tmp_path / "backup.db"
    etcdctl(f"--endpoints={theirs.endpoint}", "snapshot", "save", str(file))
    node = cluster_of(1).nodes[0]
    restored = tmp_path / "restored"
    etcdctl("snapshot", "restore", str(file), "--data-dir", str(restored), *initial(node.peer))
    started_on(node, restored, "r1")
    assert hash_of(etcdctl, node.endpoint) == before
    assert etcdctl(f"--endpoints={node.endpoint}", "get", "a") == "a\ntwo\n"
    check_tables(etcdctl, node.endpoint)
    node.put(b"a", b"three")
    node.stop(signal.SIGKILL)
    node.start(f"r1={node.peer_url}")
    assert node.get(b"a").kvs[0].value == b"three"
    assert (node.directory / "r1" / "member.etcd" / "snap" / "db").exists()


def restore(*words: str) -> tuple[int, str]:
    """Run our own `snapshot restore`."""
    done = subprocess.run(
        [sys.executable, "-m", "squall.node", "snapshot", "restore", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=ROOT,
    )
    return done.returncode, done.stdout + done.stderr


def test_our_restore_makes_a_cluster_of_three_with_the_same_history(
    etcdctl: Etcdctl, saved: Any, cluster_of: Callable[[int], Cluster]
) -> None:
    file, before = saved
    cluster = cluster_of(3)
    for node in cluster.nodes:
        words = [
            *(str(file), f"--name={node.name}", f"--data-dir={node.directory / 'new' / node.name}"),
            f"--initial-cluster={cluster.initial}",
            f"--initial-advertise-peer-urls={node.peer_url}",
        ]
        code, said = restore(*words)
        assert code == 0, said
        code, said = restore(*words)
        assert code == 3
        assert "exists" in said
        node.directory = node.directory / "new"
        node.log_path = node.directory / f"{node.name}.log"
    cluster.start()
    cluster.nodes[0].put(b"after", b"1")
    hashes = set()
    for node in cluster.nodes:
        assert node.get(b"after").kvs
        maintenance = stubs.MaintenanceStub(node.channel)
        hashes.add(maintenance.HashKV(pb.HashKVRequest(revision=before[1])).hash)
    assert hashes == {before[0]}
    digests = until(
        lambda: len(found := {node.status()["digest"] for node in cluster.nodes}) == 1 and found,
        "one digest everywhere",
    )
    assert len(digests) == 1


def test_a_damaged_snapshot_is_refused_and_leaves_nothing(saved: Any, tmp_path: Path) -> None:
    file, _ = saved
    data = bytearray(file.read_bytes())
    data[9000] ^= 0xFF
    damaged, target = tmp_path / "damaged.db", tmp_path / "target"
    damaged.write_bytes(data)
    code, said = restore(str(damaged), f"--data-dir={target}")
    assert code == 3
    assert "expected sha256" in said
    damaged.write_bytes(data[: 3 * 4096])
    code, said = restore(str(damaged), f"--data-dir={target}")
    assert "snapshot missing hash but --skip-hash-check=false" in said
    code, said = restore(str(damaged), f"--data-dir={target}", "--skip-hash-check")
    assert "is no sound database" in said
    assert not target.exists()


def test_the_directory_of_a_running_etcd_is_refused(
    etcdctl: Etcdctl,
    etcd: Callable[[Path, int], Etcd],
    cluster_of: Callable[[int], Cluster],
    tmp_path: Path,
) -> None:
    """Its log may have writes that its database has not."""
    theirs = etcd(tmp_path / "theirs", free_ports(1)[0])
    etcdctl(f"--endpoints={theirs.endpoint}", "put", "a", "1")
    theirs.stop()
    node = cluster_of(1).nodes[0]
    (tmp_path / "theirs").rename(node.directory / node.name)
    node.start(f"n1={node.peer_url}")
    assert node.ended() == 3
    assert "etcdctl snapshot save" in node.log()[-1]["msg"]
    assert (node.directory / node.name / "member" / "snap" / "db").exists()


def test_a_snapshot_streams_in_blobs_of_32_kib(cluster_of: Callable[[int], Cluster]) -> None:
    cluster = cluster_of(1)
    cluster.start()
    node = cluster.nodes[0]
    for number in range(4):
        node.put(b"k%d" % number, b"x" * 1_000_000)
    answers = list(stubs.MaintenanceStub(node.channel).Snapshot(pb.SnapshotRequest()))
    assert {len(answer.blob) for answer in answers[:-2]} == {32 * 1024}
    body = b"".join(answer.blob for answer in answers[:-1])
    assert answers[-1].blob == hashlib.sha256(body).digest()
    assert answers[0].remaining_bytes == len(body) - 32 * 1024
    assert answers[-1].remaining_bytes == 0
