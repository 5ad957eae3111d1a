"""Messages between members: length-prefixed msgpack over TCP, as fast as they come.

Each member dials every other one and only writes on the connections it dialled; what it reads
arrives on connections others dialled. The first frame is a hello (protocol, cluster id, sender,
target): whoever is not of this cluster, or means someone else, is hung up on.

Raft repeats what matters, so a message that cannot be sent now is dropped, never kept for later:
while there is no connection, and when the queue of a slow peer is full. Frames written in one turn
of the event loop leave in one write. Time is asyncio's; only the kernel's own timeout, which a
faked clock does not reach, decides that a silent connection is dead.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Mapping

import msgspec

from node.config import Endpoint
from node.logs import Log
from node.raft import codec
from node.raft.membership import Member
from node.raft.messages import Message

PROTOCOL_VERSION = 1

MAX_FRAME_BYTES = 64 << 20
"""Far above the largest message Raft builds; more is garbage or an attack."""
MAX_HELLO_BYTES = 256
MAX_STRANGERS = 64
"""Connections that have not said hello yet. One more, and the oldest is hung up on: a member says
hello at once."""
MAX_INCOMING = 64
"""Members with a connection to this one, many times what a cluster has."""
MAX_QUEUED_BYTES = 32 << 20
"""What waits for a slow peer before messages to it are dropped: twice Raft's bytes in flight."""
WRITE_BUFFER_BYTES = 1 << 20

CONNECT_TIMEOUT_S = 1.0
HELLO_TIMEOUT_S = 5.0
"""Whoever connects and says nothing is hung up on after this."""
BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 0.5
"""A healed link is used again within this and a connect timeout."""
UNACKNOWLEDGED_MS_MAX = 2000
"""TCP_USER_TIMEOUT. After a cut of some seconds the kernel would retransmit only every ten or more,
and the link would stay dead that long after it was healed: a new connection is quicker."""

_LENGTH = struct.Struct("!I")


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The first frame of a connection, from whoever dialled."""

    protocol: int
    cluster_id: int
    sender: int
    target: int


class Census(msgspec.Struct, frozen=True, array_like=True):
    """What a node that is to join is told when its hello names no cluster: who is there."""

    cluster_id: int
    members: tuple[Member, ...]


_hello_decoder = msgspec.msgpack.Decoder(Hello)


def frame(body: bytes) -> bytes:
    """Return a body with its length before it."""
    return _LENGTH.pack(len(body)) + body


class Transport:
    """The connections of this member to all others. `on_message` gets what arrives, in order."""

    def __init__(
        self,
        cluster_id: int,
        member_id: int,
        on_message: Callable[[Message], None],
        log: Log,
        tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    ) -> None:
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.on_message = on_message
        self.log = log
        self._server_tls = tls[0] if tls else None
        self._client_tls = tls[1] if tls else None
        self.members: tuple[Member, ...] = ()  # for those who ask before they join
        self._peers: dict[int, _Peer] = {}
        self._servers: list[asyncio.Server] = []
        self._incoming: dict[int, _Incoming] = {}
        self._strangers: dict[_Incoming, None] = {}  # oldest first

    async def listen(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Accept peers at every endpoint; raises OSError when one is taken."""
        loop = asyncio.get_running_loop()
        for endpoint in endpoints:
            server = await loop.create_server(
                lambda: _Incoming(self),
                endpoint.host,
                endpoint.port,
                ssl=self._server_tls if endpoint.tls else None,
                ssl_handshake_timeout=HELLO_TIMEOUT_S if endpoint.tls else None,
            )
            self._servers.append(server)

    def set_peers(self, peers: Mapping[int, Endpoint]) -> None:
        """Dial these members and no others."""
        for member, peer in list(self._peers.items()):
            if peers.get(member) != peer.endpoint:
                peer.close()
                del self._peers[member]
        for member, endpoint in peers.items():
            if member not in self._peers:
                hello = Hello(PROTOCOL_VERSION, self.cluster_id, self.member_id, member)
                self._peers[member] = _Peer(
                    endpoint, hello, self._client_tls if endpoint.tls else None, self.log
                )

    def connected(self) -> list[int]:
        """Return the members there is a connection to."""
        return [member for member, peer in self._peers.items() if peer.connected]

    def send(self, target: int, message: Message) -> None:
        """Queue a message until `flush`; dropped when it cannot be sent now."""
        peer = self._peers.get(target)
        if peer is not None and peer.connected:
            peer.queue(codec.encode(message))

    def flush(self) -> None:
        """Write out what `send` queued."""
        for peer in self._peers.values():
            peer.flush()

    async def close(self) -> None:
        """Hang up on everybody and stop listening."""
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()
        for server in self._servers:
            server.close()
        for incoming in (*self._incoming.values(), *self._strangers):
            incoming.hang_up()

    def arrived(self, incoming: _Incoming) -> None:
        """Note a connection that has not said hello yet."""
        if len(self._strangers) >= MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            self._forget_stranger(oldest)
            oldest.hang_up()
        self._strangers[incoming] = None

    def _forget_stranger(self, incoming: _Incoming) -> None:
        self._strangers.pop(incoming, None)

    def welcome(self, incoming: _Incoming, hello: Hello) -> str:
        """Judge a hello; returns why it is refused, or nothing."""
        if hello.protocol != PROTOCOL_VERSION:
            return f"it speaks protocol {hello.protocol}, we speak {PROTOCOL_VERSION}"
        if hello.cluster_id != self.cluster_id:
            return f"it belongs to cluster {hello.cluster_id:x}, we to {self.cluster_id:x}"
        if hello.target != self.member_id:
            return f"it means member {hello.target:x}, we are {self.member_id:x}"
        if hello.sender not in self._incoming and len(self._incoming) >= MAX_INCOMING:
            return f"{MAX_INCOMING} members have connections already"
        previous = self._incoming.get(hello.sender)
        if previous is not None:
            previous.hang_up()  # it dialled anew: nothing more will come on the old connection
        self._forget_stranger(incoming)
        self._incoming[hello.sender] = incoming
        peer = self._peers.get(hello.sender)
        if peer is not None:
            peer.hurry()
        return ""

    def gone(self, incoming: _Incoming) -> None:
        """Forget a connection that ended."""
        self._forget_stranger(incoming)
        if self._incoming.get(incoming.sender) is incoming:
            del self._incoming[incoming.sender]


class _Incoming(asyncio.Protocol):
    """A connection that a peer dialled: frames in, nothing out."""

    def __init__(self, owner: Transport) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._transport: asyncio.BaseTransport | None = None
        self.sender = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._owner.arrived(self)
        asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self._expect_greeted)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._owner.gone(self)

    def _expect_greeted(self) -> None:
        if not self.sender:
            self.hang_up()

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start, end = 0, len(buffer)
        while self._transport is not None and end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > (MAX_FRAME_BYTES if self.sender else MAX_HELLO_BYTES):
                self._refuse(f"it sent a frame of {length} bytes")
                return
            if end - start < _LENGTH.size + length:
                break
            start += _LENGTH.size
            self._frame(bytes(buffer[start : start + length]))
            start += length
        del buffer[:start]

    def _frame(self, body: bytes) -> None:
        if not self.sender:
            self._greeted(body)
            return
        try:
            message = codec.decode(body)
        except codec.MalformedMessageError as error:
            self._refuse(str(error))
            return
        if message.sender != self.sender:
            self._refuse(f"it speaks for member {message.sender:x}")
            return
        self._owner.on_message(message)

    def _greeted(self, body: bytes) -> None:
        try:
            hello = _hello_decoder.decode(body)
        except msgspec.MsgspecError:
            self._refuse("it began with something that is no hello")
            return
        if not hello.cluster_id and not hello.target and hello.protocol == PROTOCOL_VERSION:
            self._count_members()
        elif reason := self._owner.welcome(self, hello):
            self._refuse(reason)
        else:
            self.sender = hello.sender

    def _count_members(self) -> None:
        """Tell a node that wants to join who is there, and hang up."""
        census = Census(self._owner.cluster_id, self._owner.members)
        assert isinstance(self._transport, asyncio.WriteTransport)
        self._transport.write(frame(msgspec.msgpack.encode(census)))
        self.hang_up()

    def _refuse(self, reason: str) -> None:
        address = self._transport.get_extra_info("peername") if self._transport else None
        self._owner.log.warn(
            "peer-refused", msg=f"hung up on a peer: {reason}", address=str(address)
        )
        self._buffer.clear()
        self.hang_up()


class _Peer(asyncio.Protocol):
    """The connection to one member: dialled again and again, frames out, nothing in."""

    def __init__(
        self, endpoint: Endpoint, hello: Hello, tls: ssl.SSLContext | None, log: Log
    ) -> None:
        self.endpoint = endpoint
        self.connected = False
        self._hello = hello
        self._tls = tls
        self._log = log
        self._transport: asyncio.Transport | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._paused = False
        self._changed = asyncio.Event()  # the connection ended, or dialling should not wait
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    def close(self) -> None:
        self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def hurry(self) -> None:
        """The peer is up: dial now."""
        if not self.connected:
            self._changed.set()

    def queue(self, body: bytes) -> None:
        if self._pending_bytes + len(body) <= MAX_QUEUED_BYTES:
            self._pending.append(_LENGTH.pack(len(body)))
            self._pending.append(body)
            self._pending_bytes += len(body)

    def flush(self) -> None:
        if self._pending and not self._paused and self._transport is not None:
            self._transport.write(b"".join(self._pending))
            self._drop_pending()

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        backoff_s = BACKOFF_S_MIN
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await loop.create_connection(
                        lambda: self, self.endpoint.host, self.endpoint.port, ssl=self._tls
                    )
            except (OSError, TimeoutError) as error:
                self._log.debug(
                    "peer-unreachable", member=f"{self._hello.target:x}", error=str(error)
                )
                await self._pause(backoff_s)
                backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)
                continue
            backoff_s = BACKOFF_S_MIN
            while self.connected:
                self._changed.clear()
                await self._changed.wait()
            await self._pause(backoff_s)

    async def _pause(self, seconds: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
        transport.write(frame(msgspec.msgpack.encode(self._hello)))
        self._paused = False
        self.connected = True

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.connected = False
        self._transport = None
        self._drop_pending()
        self._changed.set()

    def _drop_pending(self) -> None:
        self._pending.clear()
        self._pending_bytes = 0

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()
