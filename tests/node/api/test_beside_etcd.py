"""The services beside a real etcd: the same requests, the same answers, to the last field.

Everything is compared: values, counts, revisions in headers and inside transactions, error codes
and texts, and HashKV.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from aetcd.rpc import rpc_pb2 as pb

from squall.node.config import settings
from tests.node.api.alone import Alone
from tests.node.ports import free_ports
from tests.node.real_etcd import Etcd
from tests.patience import PATIENCE_S

RESPONSES = {
    "Range": pb.RangeResponse,
    "Put": pb.PutResponse,
    "DeleteRange": pb.DeleteRangeResponse,
    "Txn": pb.TxnResponse,
    "Compact": pb.CompactionResponse,
    "HashKV": pb.HashKVResponse,
}
SERVICES = {"HashKV": "Maintenance"}


class Pair:
    """One real etcd and one store of ours, asked side by side."""

    def __init__(self, channel: grpc.Channel, peer_url: str) -> None:
        self.channel = channel
        self.peer_url = peer_url
        self.ours = Alone()

    def ask(self, method: str, request: Any) -> tuple[Any, Any]:
        """Return (etcd's answer, ours), each a response or (code, text)."""
        path = f"/etcdserverpb.{SERVICES.get(method, 'KV')}/{method}"
        call = self.channel.unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=RESPONSES[method].FromString,
        )
        try:
            theirs = without_identity(call(request, timeout=PATIENCE_S))
        except grpc.RpcError as error:
            theirs = (error.code(), error.details())
        response, code, text = asyncio.run(self.ours.call(path, request))
        return theirs, without_identity(response) if response is not None else (code, text)

    def agree(self, method: str, request: Any) -> Any:
        theirs, ours = self.ask(method, request)
        assert ours == theirs, f"{method} {request}"
        return theirs


def without_identity(response: Any) -> Any:
    response.header.ClearField("cluster_id")
    response.header.ClearField("member_id")
    response.header.ClearField("raft_term")
    return response


@pytest.fixture
def pair(program: Any, tmp_path: Path) -> Iterator[Pair]:
    (peer,) = free_ports(1)
    etcd = Etcd(program("etcd"), tmp_path / "etcd", peer, "--unsafe-no-fsync")
    try:
        etcd.wait_ready()
        with grpc.insecure_channel(etcd.endpoint) as channel:
            yield Pair(channel, f"http://127.0.0.1:{peer}")
    finally:
        etcd.stop()


class Requests:
    """Random requests over few keys, from a seed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.revision = 1

    def key(self) -> bytes:
        return self.rng.choice([b"a", b"b", b"b\0", b"c", b"cc", b"d"])

    def end(self) -> bytes:
        return self.rng.choice([b"", b"", b"\0", b"b", b"c", b"z"])

    def near(self) -> int:
        return self.rng.choice([0, 0, max(0, self.revision - self.rng.randrange(12))])

    def put(self) -> Any:
        flags = self.rng.random()
        if flags < 0.1:
            return pb.PutRequest(key=self.key(), ignore_value=True, prev_kv=True)
        if flags < 0.15:
            return pb.PutRequest(key=self.key(), value=b"v", lease=5)
        if flags < 0.2:
            return pb.PutRequest(key=self.key(), value=b"v", ignore_value=True)
        value = self.rng.choice([b"", b"1", b"2", b"long" * 50])
        return pb.PutRequest(key=self.key(), value=value, prev_kv=flags < 0.6)

    def delete(self) -> Any:
        return pb.DeleteRangeRequest(
            key=self.key(), range_end=self.end(), prev_kv=self.rng.random() < 0.5
        )

    def range(self) -> Any:
        rng = self.rng
        # Ties have no defined order in etcd unless the sort is by key.
        order = rng.choice([0, 1, 2])
        return pb.RangeRequest(
            key=self.key(),
            range_end=self.end(),
            limit=rng.choice([0, 1, 2]),
            revision=rng.choice([0, 0, 0, self.revision, self.near(), self.revision + 5]),
            sort_order=order,
            sort_target=0,
            keys_only=rng.random() < 0.2,
            count_only=rng.random() < 0.2,
            serializable=rng.random() < 0.5,
            min_mod_revision=self.near(),
            max_mod_revision=self.near(),
            min_create_revision=self.near(),
            max_create_revision=self.near(),
        )

    def compare(self) -> Any:
        target = self.rng.randrange(5)
        compare = pb.Compare(
            key=self.key(), range_end=self.end(), target=target, result=self.rng.randrange(4)
        )
        number = self.rng.choice([0, 1, 2, self.near()])
        if target == pb.Compare.VALUE:
            compare.value = self.rng.choice([b"", b"1", b"2"])
        elif target == pb.Compare.VERSION:
            compare.version = number
        elif target == pb.Compare.CREATE:
            compare.create_revision = number
        elif target == pb.Compare.MOD:
            compare.mod_revision = number
        else:
            compare.lease = 0
        return compare

    def operation(self, depth: int) -> Any:
        kind = self.rng.randrange(4 if depth else 3)
        if kind == 0:
            return pb.RequestOp(request_put=self.put())
        if kind == 1:
            return pb.RequestOp(request_delete_range=self.delete())
        if kind == 2:
            return pb.RequestOp(request_range=self.range())
        return pb.RequestOp(request_txn=self.txn(depth - 1))

    def txn(self, depth: int = 2) -> Any:
        rng = self.rng
        return pb.TxnRequest(
            compare=[self.compare() for _ in range(rng.randrange(3))],
            success=[self.operation(depth) for _ in range(rng.randrange(4))],
            failure=[self.operation(depth) for _ in range(rng.randrange(4))],
        )

    def any(self) -> tuple[str, Any]:
        draw = self.rng.random()
        if draw < 0.3:
            return "Put", self.put()
        if draw < 0.4:
            return "DeleteRange", self.delete()
        if draw < 0.6:
            return "Range", self.range()
        if draw < 0.95:
            return "Txn", self.txn()
        return "Compact", pb.CompactionRequest(
            revision=self.rng.choice([self.near(), self.revision + 3]), physical=True
        )


def test_random_requests_get_etcds_own_answers(pair: Pair) -> None:
    requests = Requests(random.Random(20))
    refused = 0
    for _ in range(1500):
        method, request = requests.any()
        answer = pair.agree(method, request)
        refused += isinstance(answer, tuple)
        requests.revision = pair.ours.store.revision
        if requests.rng.random() < 0.05:
            pair.agree("HashKV", pb.HashKVRequest(revision=requests.near()))
    assert requests.revision > 300, "too little was written to mean anything"
    assert 50 < refused < 1000, "too few or too many refusals to mean anything"
    pair.agree("HashKV", pb.HashKVRequest())


REFUSED = [
    ("Range", pb.RangeRequest()),
    ("Put", pb.PutRequest()),
    ("DeleteRange", pb.DeleteRangeRequest()),
    ("Put", pb.PutRequest(key=b"k", value=b"v", ignore_value=True)),
    ("Put", pb.PutRequest(key=b"k", lease=1, ignore_lease=True)),
    ("Put", pb.PutRequest(key=b"k", ignore_lease=True)),
    ("Put", pb.PutRequest(key=b"k", lease=99)),
    ("Put", pb.PutRequest(key=b"k", value=b"x" * 1_572_865)),
    ("Range", pb.RangeRequest(key=b"k", revision=99)),
    ("Compact", pb.CompactionRequest(revision=99)),
    ("HashKV", pb.HashKVRequest(revision=99)),
    ("Txn", pb.TxnRequest(compare=[pb.Compare()])),
    ("Txn", pb.TxnRequest(success=[pb.RequestOp()])),
    (
        "Txn",
        pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"k"))] * 129),
    ),
    (
        "Txn",
        pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"k"))] * 2),
    ),
]


def test_a_refusal_has_etcds_code_and_text(pair: Pair) -> None:
    for method, request in REFUSED:
        answer = pair.agree(method, request)
        assert isinstance(answer, tuple), (method, request)


def test_members_and_clusters_have_etcds_ids(pair: Pair) -> None:
    get = pair.channel.unary_unary(
        "/etcdserverpb.KV/Range",
        request_serializer=pb.RangeRequest.SerializeToString,
        response_deserializer=pb.RangeResponse.FromString,
    )
    header = get(pb.RangeRequest(key=b"x"), timeout=PATIENCE_S).header
    member = settings.member_id([pair.peer_url], "etcd-cluster")
    assert header.member_id == member
    assert header.cluster_id == settings.cluster_id([member])


def test_an_empty_store_is_equal_too(pair: Pair) -> None:
    pair.agree("HashKV", pb.HashKVRequest())
    pair.agree("Range", pb.RangeRequest(key=b"\0", range_end=b"\0"))
    pair.agree("Txn", pb.TxnRequest())
    pair.agree("Compact", pb.CompactionRequest(revision=0))
    pair.agree("Compact", pb.CompactionRequest(revision=0))
