"""Snapshots of real processes: written beside the log, read from their files by others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aetcd.rpc import rpc_pb2 as pb

from squall.node.bootstrap.identity import Identity
from squall.node.raft.membership import Member
from squall.node.server.shell import replica_config
from tests.node.config.test_settings import parsed
from tests.node.server.processes import Cluster, Node, until

MakeCluster = Callable[[int], Cluster]
MORE_THAN_IS_KEPT = 5_600
"""Entries behind a snapshot are kept for slow followers: 5000 of them."""


def fill(node: Node, puts: int) -> None:
    begun = [
        node.kv.Put.future(pb.PutRequest(key=b"k%d" % (number % 99), value=b"%d" % number))
        for number in range(puts)
    ]
    for call in begun:
        call.result(timeout=60)


def test_a_member_far_behind_gets_the_snapshot_from_its_file(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(3)
    for node in cluster.nodes:
        node.extra = ["--snapshot-count=500", "--max-snapshots=1"]
    cluster.start()
    leader = cluster.leader()
    absent = next(node for node in cluster.nodes if node is not leader)
    leader.put(b"first", b"1")
    cluster.kill(absent)
    fill(leader, MORE_THAN_IS_KEPT)
    until(lambda: leader.put(b"more", b"") and newest(leader) > 5_200, "a snapshot of most of it")
    cluster.start(absent)
    until(lambda: absent.events("snapshot-installed"), "a snapshot from the leader")
    until(lambda: digests(cluster) == 1, "one state everywhere")
    # What was written in pieces is what everybody starts from again.
    cluster.kill(*cluster.nodes)
    cluster.start()
    until(lambda: digests(cluster) == 1, "one state everywhere")
    assert leader.get(b"first").kvs[0].value == b"1"
    for node in cluster.nodes:
        assert not list((node.directory / node.name / "member/snap").glob("*.tmp"))
        kept = list((node.directory / node.name / "member/snap").glob("*.snap"))
        assert len(kept) <= 2


def newest(node: Node) -> int:
    """Return the index of the last snapshot a node saved."""
    saved = node.events("snapshot-saved")
    return saved[-1]["index"] if saved else 0


def digests(cluster: Cluster) -> int:
    """Return how many states there are; 0 while members are at different indexes."""
    told = [node.status() for node in cluster.nodes]
    if len({status["applied"] for status in told}) != 1:
        return 0
    return len({status["digest"] for status in told})


@pytest.mark.parametrize("members", [1, 3, 5])
def test_members_take_turns(members: int) -> None:
    """No two of a new cluster begin their snapshots at one index, and none later than asked."""
    everyone = tuple(Member(number) for number in range(1, members + 1))
    config = parsed("--snapshot-count 10000")
    ahead = [
        replica_config(config, Identity(9, member.id, everyone)).snapshot_ahead
        for member in everyone
    ]
    assert len(set(ahead)) == members
    assert all(0 <= each <= 5000 for each in ahead)
    assert 0 <= replica_config(config, Identity(9, 1 << 60)).snapshot_ahead <= 5000
