"""Members compare their data: one whose history was changed is found, a healthy one never is."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from squall.node.peer.handshake import HashReply
from squall.node.server.corruption import who_differs
from squall.node.storage import frames
from tests.node.etcdctl import Etcdctl
from tests.node.server.processes import Cluster, Node, until

MakeCluster = Callable[[int], Cluster]

OFTEN = "--experimental-corrupt-check-time=100ms"
AT_START = "--experimental-initial-corrupt-check"


def told(member: int, number: int = 7, revision: int = 5, compacted: int = 2) -> HashReply:
    """Return what a member says that could hash up to revision 5."""
    return HashReply(1, member, revision, compacted, 5, number)


BEHIND = HashReply(1, 3, 4, 2, refusal="etcdserver: mvcc: required revision is a future revision")


@pytest.mark.parametrize(
    ("others", "wrong"),
    [
        ([told(2), told(3)], []),
        ([told(2), told(3, 8)], [3]),
        ([told(2, 8), told(3, 8)], [1]),
        ([told(2, 8)], [2]),
        ([told(2, 8), told(3, 9)], [2, 3]),
        ([told(2), BEHIND], []),
        ([told(2), told(3, 8, compacted=1)], []),
        ([told(2), told(3, 8, compacted=3)], []),
        ([told(2), told(3, revision=7)], [3]),
        ([told(2), told(3, compacted=6)], [3]),
    ],
    ids=[
        "all agree",
        "one differs",
        "the leader differs from most",
        "nobody knows who is right, so the leader is",
        "no two agree, so the leader is right",
        "one lags",
        "one has still to compact",
        "one has compacted further, as the leader has since",
        "one has a revision the leader never had",
        "one has compacted what the leader never did",
    ],
)
def test_who_is_blamed(others: list[HashReply], wrong: list[int]) -> None:
    assert who_differs(told(1), others, limit=(6, 3), size=3) == wrong


def rewrite_history(node: Node, old: bytes, new: bytes) -> None:
    """Change what a stopped member has in its log, as if it had always been so."""
    assert len(old) == len(new)
    found = 0
    for path in sorted((node.directory / node.name / "member/wal").iterdir()):
        data = path.read_bytes()
        written, offset, seed, new_seed = b"", 0, 0, 0
        while (record := frames.body_at(data, offset, seed)) is not None:
            body, seed, offset = record
            found += body.count(old)
            payload = msgspec.Raw(body[1:].replace(old, new))
            framed, new_seed = frames.encode(body[0], payload, new_seed)
            written += framed
        path.write_bytes(written + data[len(written) :])
    assert found, "the log does not say so"


def damaged(cluster: Cluster) -> Node:
    """Run a cluster for a while, stop it, and change a value in the last member's log."""
    cluster.start()
    for number in range(20):
        cluster.nodes[0].put(b"k%d" % number, b"the truth %d" % number)
    victim = cluster.nodes[-1]
    until(lambda: b"k19" in [kv.key for kv in all_of(victim)], "the last write everywhere")
    cluster.kill(*cluster.nodes)
    rewrite_history(victim, b"the truth 0", b"the trash 0")
    return victim


def all_of(node: Node) -> Any:
    return node.get(b"\0", range_end=b"\0", serializable=True).kvs


def test_the_leader_finds_a_changed_value_and_raises_the_alarm(
    cluster_of: MakeCluster, program: Any
) -> None:
    cluster = cluster_of(3)
    etcdctl = Etcdctl(program("etcdctl"), cluster)
    victim = damaged(cluster)
    for node in cluster.nodes:
        node.extra.append(OFTEN)
    # The honest first, so that one of them leads: where only two compare, the leader is believed.
    cluster.start(*cluster.nodes[:2])
    victim.start(cluster.initial)
    member = victim.get(b"k7").header.member_id
    until(lambda: etcdctl("alarm", "list"), "an alarm")
    assert etcdctl("alarm", "list") == f"memberID:{member} alarm:CORRUPT \n"
    etcdctl.refused("etcdserver: corrupt cluster", "put", "a", "b")
    etcdctl.refused("etcdserver: corrupt cluster", "del", "k1")
    assert etcdctl("get", "k1") == "k1\nthe truth 1\n"
    assert victim.http_get("/health")[0] == 503
    etcdctl("member", "remove", f"{member:x}")
    honest = ",".join(node.endpoint for node in cluster.nodes[:2])
    etcdctl("alarm", "disarm", endpoints=honest)
    for node in cluster.nodes[:2]:
        assert until(lambda node=node: accepted(node), "writes, once the liar is gone")


def accepted(node: Node) -> bool:
    try:
        node.put(b"a", b"b")
    except grpc.RpcError:
        return False
    return True


def test_a_member_with_changed_data_does_not_serve(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(3)
    victim = damaged(cluster)
    honest = cluster.nodes[:2]
    cluster.start(*honest)
    for node in honest:
        node.put(b"more", b"since then")
    victim.extra.append(AT_START)
    victim.start(cluster.initial)
    assert victim.process is not None
    assert victim.process.wait(30) == 3
    victim.process = None
    (fatal,) = victim.events("corrupt")
    assert "found data inconsistency with peers: at revision " in fatal["msg"]
    assert len(victim.events("started")) == 1  # before its log was changed
    # And the others, started anew, find nothing to say against each other.
    for node in honest:
        node.extra.append(AT_START)
        node.stop(signal.SIGTERM)
        cluster.start(node)
        assert node.events("corruption-checked")[-1]["others"] == 1


def test_a_healthy_cluster_is_never_accused(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(3)
    for node in cluster.nodes:
        node.extra += ["--experimental-corrupt-check-time=5ms", AT_START, "--snapshot-count=200"]
    cluster.start()
    leader = cluster.leader()
    follower = next(node for node in cluster.nodes if node is not leader)
    writes = 0

    def compared(others: int) -> int:
        return sum(check["others"] == others for check in leader.events("corruption-checked"))

    def write_and_compact() -> None:
        nonlocal writes
        for _ in range(20):
            writes += 1
            revision = leader.put(b"k%d" % (writes % 17), b"v%d" % writes).header.revision
        leader.kv.Compact(pb.CompactionRequest(revision=revision - writes % 5), timeout=30)

    until(lambda: write_and_compact() or compared(2) >= 10, "comparisons of all three")
    cluster.kill(follower)
    for _ in range(10):
        write_and_compact()
    cluster.start(follower)  # it lags, and may get a snapshot
    so_far = compared(2)
    until(lambda: write_and_compact() or compared(2) >= so_far + 10, "comparisons with it again")
    alarms = stubs.MaintenanceStub(leader.channel).Alarm(pb.AlarmRequest(), timeout=30).alarms
    assert not alarms
    assert not leader.events("corrupt")


def test_flags_of_the_comparison_are_read(tmp_path: Path) -> None:
    from tests.node.config.test_settings import parsed

    assert parsed("").experimental_corrupt_check_time == 0
    assert parsed("--experimental-corrupt-check-time 1h").experimental_corrupt_check_time == 3600
    assert parsed("--experimental-initial-corrupt-check").experimental_initial_corrupt_check
