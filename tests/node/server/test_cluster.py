"""Three real processes on loopback: what clients are promised holds through kill -9."""

from __future__ import annotations

import copy
import json
import shutil
import signal
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from tests.node.server.processes import Cluster, Node
from tests.patience import PATIENCE_S, until

MakeCluster = Callable[[int], Cluster]


def test_a_write_through_any_node_is_read_through_every_node(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(3)
    cluster.start()
    for writer in cluster.nodes:
        answer = writer.put(b"k", writer.name.encode())
        for reader in cluster.nodes:
            found = reader.get(b"k")
            assert found.kvs[0].value == writer.name.encode()
            assert found.header.revision >= answer.header.revision
            assert found.header.cluster_id == answer.header.cluster_id
            assert found.header.raft_term > 0
    ids = {node.get(b"k").header.member_id for node in cluster.nodes}
    assert len(ids) == 3


def test_what_was_acknowledged_survives_kill_9_of_everybody(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(3)
    cluster.start()
    for number in range(50):
        cluster.nodes[number % 3].put(b"k%d" % number, b"v%d" % number)
    last = cluster.nodes[0].put(b"last", b"x").header.revision
    before = cluster.nodes[0].kv.Range(pb.RangeRequest(key=b"\0", range_end=b"\0"))
    cluster.kill(*cluster.nodes)
    cluster.start()
    for node in cluster.nodes:
        after = node.get(b"\0", range_end=b"\0")
        assert after.kvs == before.kvs
        assert after.header.revision == last
    hashes = {
        stubs.MaintenanceStub(node.channel).HashKV(pb.HashKVRequest(revision=last)).hash
        for node in cluster.nodes
    }
    assert len(hashes) == 1


def test_a_killed_leader_is_replaced_and_catches_up_when_it_returns(
    cluster_of: MakeCluster,
) -> None:
    cluster = cluster_of(3)
    cluster.start()
    old = cluster.leader()
    old.put(b"a", b"1")
    cluster.kill(old)
    survivor = cluster.running[0]
    assert until(lambda: acknowledged(survivor, b"b"), "a write without the old leader")
    cluster.start(old)
    assert old.get(b"b").kvs[0].value == b"1"
    statuses = settled(cluster)
    assert len({status["digest"] for status in statuses}) == 1


def acknowledged(node: Any, key: bytes) -> bool:
    try:
        node.put(key, b"1")
    except grpc.RpcError:
        return False
    return True


def settled(cluster: Cluster) -> list[dict[str, Any]]:
    """Wait until every node has applied the same index and return what each then says."""

    def same() -> list[dict[str, Any]]:
        statuses = [node.status() for node in cluster.running]
        return statuses if len({status.get("applied") for status in statuses}) == 1 else []

    return until(same, "one applied index everywhere")


def test_a_member_that_lost_its_data_does_not_come_back_as_the_same(
    cluster_of: MakeCluster,
) -> None:
    cluster = cluster_of(3)
    cluster.start()
    node, *others = cluster.nodes
    until(lambda: all(heard_of(each, node) for each in others), "the others know it has run")
    until(lambda: refused_without_data(node, cluster), "its refusal")
    assert "remove the member" in node.events("cannot-join")[0]["msg"]


def refused_without_data(node: Node, cluster: Cluster) -> bool:
    """Start a node that has lost everything; it asks the others, and waits a second for them."""
    node.stop(signal.SIGKILL)
    shutil.rmtree(node.directory / node.name)
    before = len(node.events("started"))
    node.start(cluster.initial)
    assert node.process is not None
    until(
        lambda: node.process.poll() is not None or len(node.events("started")) > before, "a start"
    )
    if node.process.poll() is None:
        return False
    assert node.ended() == 3
    return True


def heard_of(node: Node, other: Node) -> bool:
    """Whether a node has learnt from another one where its clients find it."""
    members = node.status()["members"]
    return any(member["name"] == other.name and member["client_urls"] for member in members)


def test_a_member_that_never_ran_is_known_by_the_name_in_initial_cluster(
    cluster_of: MakeCluster,
) -> None:
    """As etcd: what operators see does not depend on who was quick to make its name known."""
    cluster = cluster_of(3)
    cluster.start(*cluster.nodes[:2])
    channel = cluster.nodes[0].channel
    members = (
        stubs.ClusterStub(channel).MemberList(pb.MemberListRequest(), timeout=PATIENCE_S).members
    )
    assert sorted(member.name for member in members) == ["n1", "n2", "n3"]
    absent = next(member for member in members if member.name == "n3")
    assert list(absent.clientURLs) == []


def test_a_minority_answers_no_write_and_no_linearizable_read(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(3)
    cluster.start()
    cluster.nodes[0].put(b"k", b"1")
    alone = cluster.nodes[0]
    until(lambda: alone.get(b"k", serializable=True).kvs, "the key everywhere")
    cluster.kill(*cluster.nodes[1:])
    with pytest.raises(grpc.RpcError):
        alone.kv.Put(pb.PutRequest(key=b"k", value=b"2"), timeout=1)
    with pytest.raises(grpc.RpcError):
        alone.kv.Range(pb.RangeRequest(key=b"k"), timeout=1)
    assert alone.get(b"k", serializable=True).kvs[0].value == b"1"
    until(lambda: not alone.status()["leader"], "a minority that knows of no leader")
    assert alone.http_get("/health")[0] == 503
    with pytest.raises(grpc.RpcError) as refusal:
        alone.kv.Put(pb.PutRequest(key=b"k", value=b"2"), metadata=(("hasleader", "true"),))
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
    assert refusal.value.details() == "etcdserver: no leader"


def test_a_lone_node_serves_and_tells_about_itself(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    cluster.start()
    node.put(b"k", b"v")
    assert json.loads(node.http_get("/health")[1])["health"] == "true"
    assert json.loads(node.http_get("/version")[1]) == {
        "etcdserver": "3.5.0",
        "etcdcluster": "3.5.0",
    }
    metrics = node.http_get("/metrics")[1]
    assert "\netcd_server_has_leader 1\n" in metrics
    assert "\netcd_server_is_leader 1\n" in metrics
    assert "etcd_disk_wal_fsync_duration_seconds_count" in metrics
    assert node.http_get("/nowhere")[0] == 404
    # It makes its own name known, by an entry of its own.
    status = until(lambda: standstill(node), "nothing left to commit")
    assert status["role"] == "leader"
    assert status["leader"] == status["name"] == "n1"
    assert status["revision"] == 2
    names = [line["event"] for line in node.log()]
    assert names.index("started") < names.index("ready")
    assert "became-leader" in names


def standstill(node: Node) -> dict[str, Any] | None:
    status = node.status()
    return status if status["applied"] == status["commit"] == status["last_index"] else None


def test_a_node_told_to_stop_hands_over_and_exits_with_0(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(3)
    cluster.start()
    cluster.leader().put(b"k", b"v")
    until(lambda: hands_over(cluster), "a leader that goes as its heir's follower")
    assert cluster.running[0].get(b"k").kvs[0].value == b"v"


def hands_over(cluster: Cluster) -> bool:
    """Stop the leader, and say whether nobody had to wait for an election timeout.

    An heir that is not heard of within a second is not waited for; then all begin anew.
    """
    leader = cluster.leader()
    assert leader.stop(signal.SIGTERM) == 0
    assert leader.log()[-1]["event"] == "stopped"
    led, follows = leader.events("became-leader")[-1], leader.events("became-follower")[-1:]
    if follows and follows[0]["leader"] and follows[0]["term"] == led["term"] + 1:
        return True
    cluster.start(leader)
    return False


def test_two_nodes_cannot_share_a_data_directory_or_a_port(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    cluster.start()
    second = copy.copy(cluster.nodes[0])
    second.log_path = second.log_path.with_suffix(".second")
    cluster.nodes.append(second)
    second.start(cluster.initial)
    assert second.ended() == 3
    assert "another node uses the data directory" in second.log()[-1]["msg"]
    second.directory = second.directory / "other"
    second.start(cluster.initial)
    assert second.ended() == 3
    assert second.log()[-1]["event"] == "cannot-start"
    assert "cannot listen" in second.log()[-1]["msg"]


def test_a_data_directory_of_another_cluster_is_refused(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    cluster.start()
    node = cluster.nodes[0]
    node.put(b"k", b"v")
    cluster.kill(node)
    node.extra = ["--initial-cluster-token", "another"]
    node.start(cluster.initial)
    assert node.ended() == 3
    assert "belongs to member" in node.log()[-1]["msg"]


def test_requests_beyond_the_limits_are_refused(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    node.extra = ["--max-txn-ops", "2", "--max-request-bytes", "1000"]
    cluster.start()
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"k"))
    with pytest.raises(grpc.RpcError) as refusal:
        node.kv.Txn(pb.TxnRequest(success=[put] * 3))
    assert refusal.value.details() == "etcdserver: too many operations in txn request"
    with pytest.raises(grpc.RpcError) as refusal:
        node.put(b"k", b"v" * 1000)
    assert refusal.value.details() == "etcdserver: request is too large"
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as refusal:
        node.put(b"k", b"v" * 1_000_000)
    assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_what_is_not_served_says_so(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    cluster.start()
    with pytest.raises(grpc.RpcError) as refusal:
        stubs.MaintenanceStub(cluster.nodes[0].channel).Downgrade(pb.DowngradeRequest())
    assert refusal.value.code() == grpc.StatusCode.UNIMPLEMENTED


BROKEN = """
import squall.node.server.shell, squall.node.__main__, {module}
real = {module}.{target}.{method}
def broken(self, *arguments):
    if b"poison" in repr(arguments).encode():
        raise {error}
    return real(self, *arguments)
{module}.{target}.{method} = broken
squall.node.__main__.main()
"""


@pytest.mark.parametrize(
    ("module", "target", "method", "error"),
    [
        ("squall.node.mvcc.store", "Store", "apply", 'AssertionError("the state is wrong")'),
        (
            "squall.node.storage.real",
            "RealDisk",
            "execute",
            'squall.node.storage.disk.DiskError("no space left")',
        ),
    ],
)
def test_a_node_that_finds_itself_broken_says_why_and_exits_without_an_answer(
    cluster_of: MakeCluster, module: str, target: str, method: str, error: str
) -> None:
    cluster = cluster_of(1)
    node = cluster.nodes[0]
    script = BROKEN.format(module=module, target=target, method=method, error=error)
    node.program = ["-c", script]
    cluster.start()
    node.put(b"k", b"sound")
    with pytest.raises(grpc.RpcError) as failure:
        node.put(b"k", b"poison")
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
    assert node.ended() == 2
    (line,) = node.events("fatal")
    assert line["error"] == error.removeprefix("squall.node.storage.disk.").replace('"', "'")
    assert "Traceback" in line["traceback"]
    assert node.log()[-1] == line
