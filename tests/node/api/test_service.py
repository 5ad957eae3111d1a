"""The gRPC front over a node without Raft: statuses, refusals, and what stops the node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from node.api.backend import StatusView
from node.api.errors import TIMEOUT, ApiError
from node.api.service import make_server
from tests.node.api.alone import Alone


class Front:
    """A served node, a channel to it, and the crashes it was told of."""

    def __init__(self) -> None:
        self.node = Alone()
        self.crashes: list[BaseException] = []
        self.server = make_server(self.node, self.crashes.append)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.channel: Any = None

    @property
    def kv(self) -> Any:
        return stubs.KVStub(self.channel)

    @property
    def maintenance(self) -> Any:
        return stubs.MaintenanceStub(self.channel)


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    front = Front()
    await front.server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel:
        front.channel = channel
        yield front
    await front.server.stop(None)


async def failure(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value.code(), refusal.value.details()


async def test_a_header_tells_who_answers_and_where_the_store_stands(front: Front) -> None:
    put = await front.kv.Put(pb.PutRequest(key=b"k", value=b"v"))
    assert put.header == pb.ResponseHeader(cluster_id=7, member_id=1, revision=2, raft_term=2)
    status = await front.maintenance.Status(pb.StatusRequest())
    assert status.header.revision == 2
    assert status.version == "3.5.0"
    assert status.leader == 1
    assert status.dbSize > 0
    assert not status.errors


async def test_only_a_linearizable_read_waits_for_a_barrier(front: Front) -> None:
    read = pb.RequestOp(request_range=pb.RangeRequest(key=b"k", serializable=True))
    await front.kv.Range(pb.RangeRequest(key=b"k", serializable=True))
    await front.kv.Txn(pb.TxnRequest(success=[read]))
    assert front.node.barriers == 0
    await front.kv.Range(pb.RangeRequest(key=b"k"))
    read.request_range.serializable = False
    await front.kv.Txn(pb.TxnRequest(success=[read]))
    assert front.node.barriers == 2
    assert front.node.index == 0, "a transaction that only reads is no log entry"


async def test_an_outcome_nobody_knows_is_unavailable(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def propose(command: bytes) -> Any:
        raise ApiError(TIMEOUT)

    monkeypatch.setattr(front.node, "propose", propose)
    code, text = await failure(front.kv.Put(pb.PutRequest(key=b"k")))
    assert code == grpc.StatusCode.UNAVAILABLE
    assert text == "etcdserver: request timed out"


async def test_a_client_that_requires_a_leader_is_told_at_once(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = StatusView("follower", 2, 0, 0, 0, 0)
    monkeypatch.setattr(front.node, "status", lambda: lost)
    call = front.kv.Put(pb.PutRequest(key=b"k"), metadata=(("hasleader", "true"),))
    assert await failure(call) == (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
    assert front.node.index == 0
    status = await front.maintenance.Status(pb.StatusRequest())
    assert list(status.errors) == ["etcdserver: no leader"]


async def test_an_assertion_of_our_own_stops_the_node(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def propose(command: bytes) -> Any:
        raise AssertionError("broken")

    monkeypatch.setattr(front.node, "propose", propose)
    code, _ = await failure(front.kv.Put(pb.PutRequest(key=b"k")))
    assert code == grpc.StatusCode.UNKNOWN
    assert [str(crash) for crash in front.crashes] == ["broken"]


async def test_what_is_not_there_yet_is_unimplemented(front: Front) -> None:
    lease = stubs.LeaseStub(front.channel).LeaseGrant(pb.LeaseGrantRequest(TTL=9))
    assert (await failure(lease))[0] == grpc.StatusCode.UNIMPLEMENTED
    alarm = front.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE))
    assert (await failure(alarm))[0] == grpc.StatusCode.UNIMPLEMENTED
    assert not (await front.maintenance.Alarm(pb.AlarmRequest())).alarms


async def test_members_are_listed_with_their_urls(front: Front) -> None:
    answer = await stubs.ClusterStub(front.channel).MemberList(pb.MemberListRequest())
    assert answer.members == [
        pb.Member(ID=1, name="n1", peerURLs=["http://h:2380"], clientURLs=["http://h:2379"])
    ]
