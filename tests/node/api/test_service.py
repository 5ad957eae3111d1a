"""The gRPC front over a node without Raft: statuses, refusals, and what stops the node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from squall.node.api import snapshot
from squall.node.api.backend import StatusView
from squall.node.api.errors import TIMEOUT, ApiError
from squall.node.api.service import make_server
from squall.node.mvcc.commands import Put, encode
from tests.node.api.alone import Alone


class Front:
    """A served node, a channel to it, and the crashes it was told of."""

    def __init__(self) -> None:
        self.node = Alone()
        self.crashes: list[BaseException] = []
        self.server = make_server(self.node, self.node.interceptor, self.crashes.append)
        self.port = 0
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
    front.port = await front.server.listen("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel:
        front.channel = channel
        yield front
    await front.server.stop(0)


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


async def test_what_etcd_has_and_this_node_has_not_is_unimplemented(front: Front) -> None:
    downgrade = front.maintenance.Downgrade(pb.DowngradeRequest())
    assert (await failure(downgrade))[0] == grpc.StatusCode.UNIMPLEMENTED


async def test_a_lease_is_made_longer_than_an_election_and_refused_when_endless(
    front: Front,
) -> None:
    leases = stubs.LeaseStub(front.channel)
    made = await leases.LeaseGrant(pb.LeaseGrantRequest(TTL=1, ID=7))
    assert (made.ID, made.TTL) == (7, 2)
    assert await failure(leases.LeaseGrant(pb.LeaseGrantRequest(TTL=9, ID=7))) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "etcdserver: lease already exists",
    )
    assert await failure(leases.LeaseGrant(pb.LeaseGrantRequest(TTL=9_000_000_001))) == (
        grpc.StatusCode.OUT_OF_RANGE,
        "etcdserver: too large lease TTL",
    )
    assert await failure(leases.LeaseRevoke(pb.LeaseRevokeRequest(ID=8))) == (
        grpc.StatusCode.NOT_FOUND,
        "etcdserver: requested lease not found",
    )
    assert [each.ID for each in (await leases.LeaseLeases(pb.LeaseLeasesRequest())).leases] == [7]


async def test_a_full_store_raises_an_alarm_and_still_reads_and_deletes(front: Front) -> None:
    front.node.quota_bytes = 100
    full = (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
    await front.kv.Put(pb.PutRequest(key=b"a"))
    assert await failure(front.kv.Put(pb.PutRequest(key=b"b", value=b"x" * 100))) == full
    front.node.quota_bytes = 1 << 20
    assert await failure(front.kv.Put(pb.PutRequest(key=b"b"))) == full, "the alarm stands"
    assert (await front.kv.Range(pb.RangeRequest(key=b"a"))).count == 1
    assert (await front.kv.DeleteRange(pb.DeleteRangeRequest(key=b"a"))).deleted == 1
    (alarm,) = (await front.maintenance.Alarm(pb.AlarmRequest())).alarms
    assert (alarm.memberID, alarm.alarm) == (1, pb.NOSPACE)
    status = await front.maintenance.Status(pb.StatusRequest())
    assert status.errors == ["memberID:1 alarm:NOSPACE "]
    clear = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=1, alarm=pb.NOSPACE)
    assert len((await front.maintenance.Alarm(clear)).alarms) == 1
    await front.kv.Put(pb.PutRequest(key=b"b"))


async def test_a_corrupt_cluster_is_still_read_and_no_longer_written(front: Front) -> None:
    lease = (await stubs.LeaseStub(front.channel).LeaseGrant(pb.LeaseGrantRequest(TTL=60, ID=7))).ID
    mark = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=1, alarm=pb.CORRUPT)
    await front.maintenance.Alarm(mark)
    corrupt = (grpc.StatusCode.DATA_LOSS, "etcdserver: corrupt cluster")
    write = pb.RequestOp(request_put=pb.PutRequest(key=b"a"))
    for refused in (
        front.kv.Put(pb.PutRequest(key=b"a")),
        front.kv.DeleteRange(pb.DeleteRangeRequest(key=b"a")),
        front.kv.Txn(pb.TxnRequest(success=[write])),
        front.kv.Compact(pb.CompactionRequest(revision=1)),
        stubs.LeaseStub(front.channel).LeaseGrant(pb.LeaseGrantRequest(TTL=60, ID=8)),
        stubs.LeaseStub(front.channel).LeaseRevoke(pb.LeaseRevokeRequest(ID=lease)),
    ):
        assert await failure(refused) == corrupt
    assert (await front.kv.Range(pb.RangeRequest(key=b"a"))).count == 0
    read = pb.RequestOp(request_range=pb.RangeRequest(key=b"a"))
    await front.kv.Txn(pb.TxnRequest(success=[read]))
    await stubs.AuthStub(front.channel).UserAdd(pb.AuthUserAddRequest(name="alice", password="p"))


async def test_a_watch_is_a_stream_of_confirmations_and_events(front: Front) -> None:
    calls = stubs.WatchStub(front.channel).Watch()
    await calls.write(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
    assert (await calls.read()).created
    await front.kv.Put(pb.PutRequest(key=b"a", value=b"1"))
    (event,) = (await calls.read()).events
    assert (event.kv.key, event.kv.value, event.kv.mod_revision) == (b"a", b"1", 2)
    await calls.write(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
    progress = await calls.read()
    assert (progress.watch_id, progress.header.revision) == (-1, 2)
    await calls.write(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=0)))
    assert (await calls.read()).canceled
    assert front.node.store.watches.count == 0
    await calls.done_writing()
    assert await calls.read() == grpc.aio.EOF


async def test_a_stream_that_requires_a_leader_ends_when_there_is_none(front: Front) -> None:
    front.node.election_timeout_s = 0.001
    leaderless = (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
    stub = stubs.WatchStub(front.channel)
    wish = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a"))
    demanding = stub.Watch(metadata=(("hasleader", "true"),))
    patient = stub.Watch()
    for calls in (demanding, patient):
        await calls.write(wish)
        assert (await calls.read()).created
    front.node.status = lambda: StatusView("follower", 2, 0, 0, 0, 0)  # type: ignore[method-assign]
    assert await failure(demanding.read()) == leaderless
    assert await failure(stub.Watch(metadata=(("hasleader", "true"),)).read()) == leaderless
    front.node.store.apply(1, 1, encode(Put(b"a")))
    assert len((await patient.read()).events) == 1
    patient.cancel()


async def test_members_are_listed_with_their_urls(front: Front) -> None:
    answer = await stubs.ClusterStub(front.channel).MemberList(pb.MemberListRequest())
    assert answer.members == [
        pb.Member(ID=1, name="n1", peerURLs=["http://h:2380"], clientURLs=["http://h:2379"])
    ]


class Unread:
    """A call whose client takes no answer."""

    async def write(self, message: Any) -> None:
        await asyncio.Event().wait()


async def one_request() -> AsyncIterator[Any]:
    yield pb.SnapshotRequest()


async def test_snapshots_in_progress_are_few_and_one_nobody_reads_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Alone()
    streams = [
        asyncio.create_task(snapshot.snapshot(node, one_request(), Unread()))
        for _ in range(snapshot.MAX_STREAMS)
    ]
    while len(snapshot._in_progress) < snapshot.MAX_STREAMS:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0)
    with pytest.raises(ApiError, match="too many requests"):
        await snapshot.snapshot(node, one_request(), Unread())
    for stream in streams:
        stream.cancel()
    await asyncio.wait(streams)
    monkeypatch.setattr("squall.node.api.snapshot.STALLED_S", 0.0)
    with pytest.raises(ApiError, match="request timed out"):
        await snapshot.snapshot(node, one_request(), Unread())
    assert not snapshot._in_progress
