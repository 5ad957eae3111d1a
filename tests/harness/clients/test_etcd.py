"""What an error of gRPC proves about a write, and what a client really does on the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from aetcd.rpc import rpc_pb2

from squall.harness.clients.etcd import GrpcKv, classify
from squall.workloads.client import Compact, Compare, Definite, Delete, Indefinite, Put, Range, Txn
from tests.patience import PATIENCE_S

TABLE = """
definite    UNAVAILABLE          etcdserver: no leader
definite    UNAVAILABLE          etcdserver: rpc not supported for learner
definite    UNAVAILABLE          failed to connect to all addresses; last error: Connection refused
definite    INVALID_ARGUMENT     etcdserver: key is not provided
definite    FAILED_PRECONDITION  etcdserver: not leader
definite    OUT_OF_RANGE         etcdserver: mvcc: required revision has been compacted
definite    NOT_FOUND            etcdserver: requested lease not found
definite    PERMISSION_DENIED    etcdserver: permission denied
definite    UNAUTHENTICATED      etcdserver: invalid auth token
definite    RESOURCE_EXHAUSTED   etcdserver: too many requests
definite    UNIMPLEMENTED        unknown service
indefinite  RESOURCE_EXHAUSTED   Received message larger than max (5000000 vs. 4194304)
indefinite  INVALID_ARGUMENT     something of gRPC's own
indefinite  UNAVAILABLE          etcdserver: request timed out
indefinite  UNAVAILABLE          etcdserver: request timed out, possibly due to connection lost
indefinite  UNAVAILABLE          etcdserver: leader changed
indefinite  UNAVAILABLE          etcdserver: server stopped
indefinite  UNAVAILABLE          etcdserver: unhealthy cluster
indefinite  UNAVAILABLE          Socket closed
indefinite  UNAVAILABLE          recvmsg:Connection reset by peer
indefinite  UNAVAILABLE          GOAWAY received
indefinite  UNAVAILABLE          keepalive watchdog timeout
indefinite  DEADLINE_EXCEEDED    Deadline Exceeded
indefinite  CANCELLED            Channel closed!
indefinite  UNKNOWN              anything
indefinite  INTERNAL             anything
indefinite  DATA_LOSS            etcdserver: corrupt cluster
indefinite  ABORTED              anything
"""


@pytest.mark.parametrize("line", [line for line in TABLE.splitlines() if line])
def test_only_what_certainly_had_no_effect_is_definite(line: str):
    """The table of errors, read aloud."""
    meaning, code, text = line.split(None, 2)
    found = classify(grpc.StatusCode[code], text)
    assert type(found) is (Definite if meaning == "definite" else Indefinite)
    assert text in str(found)


class Recorded(grpc.GenericRpcHandler):
    """A server that keeps every request and answers with what it was given."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.requests: list[bytes] = []
        self.arrived = asyncio.Event()
        self.answers = answers

    def service(self, details: Any) -> Any:
        async def handle(request: bytes, context: Any) -> bytes:
            self.requests.append(request)
            self.arrived.set()
            answer = self.answers[details.method.rpartition("/")[2]]
            if isinstance(answer, tuple):
                await context.abort(*answer)
            if answer is None:
                await asyncio.sleep(60)
            return answer.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(handle)


class Served:
    """A server on a free port, and one client of it."""

    def __init__(self, answers: dict[str, Any], timeout_s: float = PATIENCE_S) -> None:
        self.handler = Recorded(answers)
        self.timeout_s = timeout_s

    async def __aenter__(self) -> tuple[GrpcKv, Recorded]:
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers((self.handler,))
        port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        self.client = GrpcKv("n1", f"127.0.0.1:{port}", self.timeout_s)
        return self.client, self.handler

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.server.stop(None)


HEADER = {"revision": 7, "raft_term": 3}


async def test_a_read_brings_the_values_with_their_revisions():
    """What etcd says arrives as plain data."""
    kv = {"key": b"a", "value": b"1", "create_revision": 2, "mod_revision": 5, "version": 3}
    answer = rpc_pb2.RangeResponse(header=HEADER, kvs=[kv], count=1)
    async with Served({"Range": answer}) as (client, server):
        found = await client.call(Range(b"a", serializable=True))
    (held,) = found.kvs
    assert (held.value, held.create_revision, held.mod_revision, held.version) == (b"1", 2, 5, 3)
    assert (found.revision, found.term, found.count) == (7, 3, 1)
    assert rpc_pb2.RangeRequest.FromString(server.requests[0]).serializable


async def test_a_transaction_carries_its_guards_and_both_branches():
    """And its answer says which branch ran, with that branch's answers."""
    inner = rpc_pb2.ResponseOp(response_range=rpc_pb2.RangeResponse(count=0))
    answer = rpc_pb2.TxnResponse(header=HEADER, succeeded=False, responses=[inner])
    txn = Txn(
        compares=(Compare(b"a", "value", "=", b"1"), Compare(b"b", "create", ">", 0)),
        success=(Put(b"a", b"2"), Delete(b"b")),
        failure=(Range(b"a"),),
    )
    async with Served({"Txn": answer}) as (client, server):
        found = await client.call(txn)
    assert not found.succeeded
    assert found.answers[0].kvs == ()
    sent = rpc_pb2.TxnRequest.FromString(server.requests[0])
    assert (sent.compare[0].value, sent.compare[0].target) == (b"1", 3)
    assert (sent.compare[1].create_revision, sent.compare[1].result) == (0, 1)
    assert sent.success[0].request_put.value == b"2"
    assert sent.success[1].request_delete_range.key == b"b"


async def test_puts_deletes_and_compactions_speak_etcd():
    """Each goes to its own method and comes back with the store's revision."""
    answers = {
        "Put": rpc_pb2.PutResponse(header=HEADER),
        "DeleteRange": rpc_pb2.DeleteRangeResponse(header=HEADER, deleted=2),
        "Compact": rpc_pb2.CompactionResponse(header=HEADER),
    }
    async with Served(answers) as (client, _):
        assert (await client.call(Put(b"a", b"1"))).revision == 7
        assert (await client.call(Delete(b"a", b"b"))).deleted == 2
        assert (await client.call(Compact(5))).term == 3


async def test_a_request_is_sent_once_even_when_the_answer_invites_a_retry():
    """Nothing is retried behind the history's back."""
    unavailable = (grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out")
    async with Served({"Put": unavailable}) as (client, server):
        with pytest.raises(Indefinite, match="request timed out"):
            await client.call(Put(b"a", b"1"))
    assert len(server.requests) == 1


async def test_no_answer_within_the_deadline_is_indefinite():
    """The request may still be on its way."""
    async with Served({"Put": None}, timeout_s=0.2) as (client, _):
        with pytest.raises(Indefinite, match="DEADLINE_EXCEEDED"):
            await client.call(Put(b"a", b"1"))


async def test_hanging_up_in_mid_request_is_indefinite():
    """Closing the connection leaves the outcome of an outstanding request unknown."""
    async with Served({"Put": None}) as (client, server):
        call = asyncio.create_task(client.call(Put(b"a", b"1")))
        await server.arrived.wait()
        await client.close()
        with pytest.raises(Indefinite):
            await call
        with pytest.raises(Indefinite):
            await client.call(Put(b"a", b"1"))


async def test_a_refused_connection_is_definite():
    """Nothing listens at the address, so nothing was sent."""
    client = GrpcKv("n1", "127.0.0.1:1")
    with pytest.raises(Definite, match="failed to connect"):
        await client.call(Put(b"a", b"1"))
    await client.close()
