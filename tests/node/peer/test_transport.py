"""Peers over real sockets: who is let in, what is dropped, and that a link comes back."""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from squall.node.config.endpoints import Endpoint
from squall.node.logs import Log
from squall.node.peer.transport import CONNECT_TIMEOUT_S, Transport, _OutboundConnection, frame
from squall.node.raft.messages import Heartbeat, Message
from tests.node.ports import free_ports
from tests.patience import PATIENCE_S, eventually

CLUSTER = 77


async def until(condition: Callable[[], Any]) -> None:
    await eventually(condition, 0)


class Peer:
    """A transport, its port, and what arrived."""

    def __init__(self, member: int, cluster: int = CLUSTER) -> None:
        self.got: list[Message] = []
        self.lines = io.StringIO()
        log = Log()
        log._streams = [self.lines]
        self.transport = Transport(cluster, member, self.got.append, log)
        self.port = 0

    async def listen(self, port: int = 0) -> Endpoint:
        await self.transport.listen((Endpoint("127.0.0.1", port),))
        self.port = self.transport._servers[0].sockets[0].getsockname()[1]
        return Endpoint("127.0.0.1", self.port)

    def connected(self, member: int) -> bool:
        return self.transport._peers[member].connected

    def send(self, target: int, message: Message) -> None:
        self.transport.send(target, message)
        self.transport.flush()


async def pair() -> tuple[Peer, Peer]:
    one, two = Peer(1), Peer(2)
    where = await two.listen()
    one.transport.set_peers({2: where})
    await until(lambda: one.connected(2))
    return one, two


async def test_messages_arrive_in_order() -> None:
    one, two = await pair()
    sent = [Heartbeat(term=3, sender=1, commit=n) for n in range(2000)]
    for message in sent:
        one.transport.send(2, message)
    one.transport.flush()
    await until(lambda: len(two.got) == len(sent))
    assert two.got == sent
    await one.transport.close()
    await two.transport.close()


async def test_a_message_without_a_connection_is_dropped_not_kept() -> None:
    one = Peer(1)
    one.transport.set_peers({2: Endpoint("127.0.0.1", 1)})
    one.send(2, Heartbeat(1, 1, 0))
    assert not one.transport._peers[2]._pending
    one.send(9, Heartbeat(1, 1, 0))  # nobody's number
    await one.transport.close()


async def test_a_peer_that_comes_back_is_dialled_again() -> None:
    one, two = Peer(1), Peer(2)
    (port,) = free_ports(1)  # nobody's while it is dialled in vain
    one.transport.set_peers({2: await two.listen(port)})
    await until(lambda: one.connected(2))
    await two.transport.close()
    await until(lambda: not one.connected(2))
    again = Peer(2)
    await again.listen(port)
    await until(lambda: one.connected(2))
    one.send(2, Heartbeat(9, 1, 0))
    await until(lambda: again.got)
    assert again.got == [Heartbeat(9, 1, 0)]
    await one.transport.close()
    await again.transport.close()


async def test_a_connection_made_when_the_time_is_just_up_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = Peer(1), Peer(2)
    where = await two.listen()
    limits: list[asyncio.Timeout] = []
    timeout, made = asyncio.timeout, _OutboundConnection.connection_made

    def limited(seconds: float) -> asyncio.Timeout:
        limit = timeout(seconds)
        if seconds == CONNECT_TIMEOUT_S:
            limits.append(limit)
        return limit

    def made_at_the_last_moment(
        peer: _OutboundConnection, transport: asyncio.BaseTransport
    ) -> None:
        made(peer, transport)
        if len(limits) == 1:
            limits[0].reschedule(0)

    monkeypatch.setattr(asyncio, "timeout", limited)
    monkeypatch.setattr(_OutboundConnection, "connection_made", made_at_the_last_moment)
    one.transport.set_peers({2: where})
    await until(lambda: limits and limits[0].expired())
    one.send(2, Heartbeat(1, 1, 0))  # to nobody yet
    await until(lambda: len(limits) > 1 and one.connected(2))
    one.send(2, Heartbeat(1, 1, 1))
    await until(lambda: two.got)
    assert two.got == [Heartbeat(1, 1, 1)]
    await one.transport.close()
    await two.transport.close()


async def hung_up_on(peer: Peer, data: bytes) -> str:
    """Send bytes to a peer as a stranger and return what it logged when it hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
    writer.write(data)
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    return peer.lines.getvalue()


def hello(*fields: int) -> bytes:
    return frame(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (hello(2, CLUSTER, 1, 2), "it speaks protocol 2, we speak 1"),
        (hello(1, 78, 1, 2), "it belongs to cluster 4e, we to 4d"),
        (hello(1, CLUSTER, 1, 3), "it means member 3, we are 2"),
        (b"GET / HTTP/1.1\r\n\r\n", "it sent a frame of"),
        (frame(b"\xff\xff"), "it began with something that is no hello"),
        (hello(1, CLUSTER, 1, 2) + frame(b"\x93\x63\x01\x01"), "a peer sent no valid message"),
        (
            hello(1, CLUSTER, 1, 2) + frame(msgspec.msgpack.encode(Heartbeat(1, 5, 0))),
            "it speaks for member 5",
        ),
        (hello(1, CLUSTER, 1, 2) + struct.pack("!I", 1 << 31), "it sent a frame of"),
    ],
)
async def test_a_stranger_is_hung_up_on_with_a_reason(data: bytes, reason: str) -> None:
    two = Peer(2)
    await two.listen()
    assert reason in await hung_up_on(two, data)
    assert not two.got
    await two.transport.close()


async def test_a_slow_peer_costs_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squall.node.peer.transport.MAX_QUEUED_BYTES", 1000)
    one, two = await pair()
    peer = one.transport._peers[2]
    peer.pause_writing()
    for n in range(1000):
        one.send(2, Heartbeat(1, 1, n))
    assert 0 < peer._pending_bytes <= 1000
    peer.resume_writing()
    await until(lambda: two.got)
    assert two.got[0] == Heartbeat(1, 1, 0)
    await one.transport.close()
    await two.transport.close()


async def test_a_removed_member_is_told_when_it_dials_and_while_it_is_connected() -> None:
    one, two = await pair()
    farewells: list[int] = []
    one.transport.on_removal_notice = lambda: farewells.append(1)
    two.transport.set_removed(frozenset({1}))
    await until(lambda: len(farewells) >= 2)  # at once, and when it had dialled again
    assert "member 1 was removed from the cluster" in two.lines.getvalue()
    one.send(2, Heartbeat(1, 1, 0))
    assert not two.got
    await one.transport.close()
    await two.transport.close()


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request", b"x" * 1000, frame(b"\x93\xa8farewell\x01\x01")]
)
async def test_only_a_farewell_to_this_member_of_this_cluster_counts(said: bytes) -> None:
    one = Peer(1)
    one.transport.on_removal_notice = lambda: pytest.fail("taken for a farewell")

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        one.transport.set_peers({2: Endpoint("127.0.0.1", port)})
        await until(lambda: one.connected(2))
        await until(lambda: not one.connected(2))
    await one.transport.close()
