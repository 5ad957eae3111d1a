"""Members that were removed: told by the others, gone for good, and no trouble to anybody."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from squall.node.logs import Log
from squall.node.peer.removal import RemovedError, RemovedMembers
from squall.node.peer.transport import Transport
from tests.node.server.processes import Cluster, Node
from tests.patience import PATIENCE_S, until

MakeCluster = Callable[[int], Cluster]


def remove(through: Node, member: str) -> Any:
    request = pb.MemberRemoveRequest(ID=int(member, 16))
    return stubs.ClusterStub(through.channel).MemberRemove(request, timeout=PATIENCE_S)


def test_a_member_that_was_away_when_it_was_removed_is_told_and_disturbs_nobody(
    cluster_of: MakeCluster,
) -> None:
    cluster = cluster_of(3)
    cluster.start()
    leader = cluster.leader()
    away = next(node for node in cluster.nodes if node is not leader)
    member = away.status()["member_id"]
    cluster.kill(away)
    remove(leader, member)
    leader.put(b"k", b"after")
    stood_before = len(away.events("became-candidate"))  # when the cluster began, perhaps
    away.start(cluster.initial)
    assert away.ended() == 0
    (line,) = away.events("removed")
    assert "delete its data directory" in line["msg"]
    # Not that the leader stays the same: on a busy machine it may change for reasons of its own.
    stood = len(away.events("became-candidate")) - stood_before
    assert not stood, "no term was begun that the others must follow"
    for node in cluster.running:
        until(lambda node=node: len(node.status()["members"]) == 2, "two members")
    # The others know it after a restart of theirs, too.
    for node in cluster.running:
        node.stop(signal.SIGKILL)
    cluster.start(*(node for node in cluster.nodes if node is not away))
    away.start(cluster.initial)
    assert away.ended() == 0
    assert len(away.events("removed")) == 2


def test_a_member_that_hears_of_its_removal_stops_and_does_not_start_again(
    cluster_of: MakeCluster,
) -> None:
    cluster = cluster_of(3)
    cluster.start()
    leader = cluster.leader()
    remove(leader, leader.status()["member_id"])
    assert leader.ended() == 0
    assert leader.log()[-1]["event"] == "stopped"
    assert cluster.leader() is not leader
    # Whether its own log tells it or another member depends on what it had saved by then.
    leader.start(cluster.initial)
    assert leader.ended() in (0, 3)
    assert leader.events("cannot-join") or len(leader.events("removed")) == 2


def test_a_member_answers_whoever_asks_it_for_its_own_removal(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(3)
    cluster.start()
    leader = cluster.leader()
    leaving = next(node for node in cluster.nodes if node is not leader)
    member = leaving.status()["member_id"]
    answer = remove(leaving, member)  # it is the others who know; its own log will never say so
    assert int(member, 16) not in [each.ID for each in answer.members]
    assert len(answer.members) == 2
    assert leaving.ended() == 0
    leader.put(b"k", b"after")


def test_a_member_whose_own_log_holds_its_removal_does_not_start() -> None:
    removed_members = RemovedMembers(
        7, Transport(1, 7, print, Log()), Log(), on_removed=print, stop=print
    )
    removed_members.begin((6, 8))
    with pytest.raises(RemovedError, match="delete its data directory"):
        removed_members.begin((6, 7))
