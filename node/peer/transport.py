"""Connections between members: length-prefixed msgpack frames over TCP.

Each member dials every other one and only writes on the connections it dialled; what it reads
arrives on connections that others dialled. The first frame is a hello (see `handshake`): a peer of
another cluster, or one that means another member, is disconnected. A removed member gets a notice.

Raft repeats what matters, so a message that cannot be sent now is dropped, never kept for later:
while there is no connection, and when the queue of a slow peer is full. Frames queued in one turn
of the event loop leave in one write. All timeouts are asyncio's except one: that a silent
connection is dead is decided by the kernel, which a faked clock does not reach.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import msgspec

from squall.node.config.endpoints import Endpoint
from squall.node.logs import Log
from squall.node.peer.handshake import (
    LENGTH,
    MAX_FRAME_BYTES,
    MAX_HELLO_BYTES,
    MAX_REMOVAL_NOTICE_BYTES,
    PROTOCOL_VERSION,
    HashReply,
    HashRequest,
    Hello,
    MemberList,
    PeerNames,
    RemovalNotice,
    decode_first,
    frame,
    removal_notice_decoder,
)
from squall.node.raft import codec
from squall.node.raft.membership import Member
from squall.node.raft.messages import Message

MAX_UNIDENTIFIED = 64
"""Connections without a hello yet. The oldest is closed for one more: a member sends its hello at
once."""
MAX_INBOUND = 64
"""Members connected to this one: many times what a cluster has."""
MAX_QUEUED_BYTES = 32 << 20
"""Queued for a slow peer before messages to it are dropped: twice Raft's bytes in flight."""
WRITE_BUFFER_BYTES = 1 << 20

CONNECT_TIMEOUT_S = 1.0
HELLO_TIMEOUT_S = 5.0
"""A connection without a hello is closed after this."""
BACKOFF_S_MIN = 0.05
BACKOFF_S_MAX = 0.5
"""Bounds, with the connect timeout, how long a healed link stays unused."""
UNACKNOWLEDGED_MS_MAX = 2000
"""TCP_USER_TIMEOUT. After a partition of some seconds the kernel retransmits only every ten seconds
or more, so the link would stay dead that long after it was healed; a new connection is quicker."""


class Transport:
    """The connections of this member. `on_message` is called with each message, in order."""

    def __init__(
        self,
        cluster_id: int,
        member_id: int,
        on_message: Callable[[Message], None],
        log: Log,
        tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
        names: PeerNames | None = None,
    ) -> None:
        self.names = names or PeerNames()
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.on_message = on_message
        self.log = log
        self._server_tls = tls[0] if tls else None
        self._client_tls = tls[1] if tls else None
        self.members: tuple[Member, ...] = ()  # sent to nodes that are to join
        self.on_removal_notice: Callable[[], None] = lambda: (
            None
        )  # a peer says that this member was removed
        self.on_hash_request: Callable[[int], Awaitable[HashReply]] | None = None
        self._replying: set[asyncio.Task[None]] = set()
        self._removed: frozenset[int] = frozenset()
        self._peers: dict[int, _OutboundConnection] = {}
        self._servers: list[asyncio.Server] = []
        self._inbound: dict[int, _InboundConnection] = {}
        self._unidentified: dict[_InboundConnection, None] = {}  # oldest first

    async def listen(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Listen at every endpoint; raises OSError when one is taken."""
        loop = asyncio.get_running_loop()
        for endpoint in endpoints:
            try:
                server = await loop.create_server(
                    lambda: _InboundConnection(self),
                    endpoint.host,
                    endpoint.port,
                    ssl=self._server_tls if endpoint.tls else None,
                    ssl_handshake_timeout=HELLO_TIMEOUT_S if endpoint.tls else None,
                )
            except OSError as error:
                raise OSError(f"cannot listen for peers: {error}") from error
            self._servers.append(server)

    def set_peers(self, peers: Mapping[int, Endpoint]) -> None:
        """Keep connections to these members, by id, and to no others."""
        for member, peer in list(self._peers.items()):
            if peers.get(member) != peer.endpoint:
                peer.close()
                del self._peers[member]
        for member, endpoint in peers.items():
            if member not in self._peers:
                hello = Hello(PROTOCOL_VERSION, self.cluster_id, self.member_id, member)
                self._peers[member] = _OutboundConnection(
                    endpoint,
                    hello,
                    self._client_tls if endpoint.tls else None,
                    self.log,
                    self._on_notice,
                )

    def set_removed(self, removed: frozenset[int]) -> None:
        """Notify these members that they were removed, now or when they dial, and refuse them."""
        self._removed = removed
        for member in removed & self._inbound.keys():
            self._inbound[member].send_removal_notice(member)

    def _on_notice(self) -> None:
        self.on_removal_notice()

    def connected(self) -> list[int]:
        """Return the ids of the members that a connection to exists."""
        return [member for member, peer in self._peers.items() if peer.connected]

    def send(self, target: int, message: Message) -> None:
        """Queue a message until `flush`; it is dropped when it cannot be sent now."""
        peer = self._peers.get(target)
        if peer is not None and peer.connected:
            peer.queue(codec.encode(message))

    def flush(self) -> None:
        """Write what `send` queued."""
        for peer in self._peers.values():
            peer.flush()

    async def close(self) -> None:
        """Close all connections and stop listening."""
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()
        for server in self._servers:
            server.close()
        for task in self._replying:
            task.cancel()
        for inbound in (*self._inbound.values(), *self._unidentified):
            inbound.close()

    def opened(self, inbound: _InboundConnection) -> None:
        """Register a connection that has sent no hello yet."""
        if len(self._unidentified) >= MAX_UNIDENTIFIED:
            oldest = next(iter(self._unidentified))
            self._forget_unidentified(oldest)
            oldest.close()
        self._unidentified[inbound] = None

    def _forget_unidentified(self, inbound: _InboundConnection) -> None:
        self._unidentified.pop(inbound, None)

    def admit(self, inbound: _InboundConnection, hello: Hello) -> str:
        """Check a hello; returns why it is refused, or an empty text."""
        if hello.protocol != PROTOCOL_VERSION:
            return f"it speaks protocol {hello.protocol}, we speak {PROTOCOL_VERSION}"
        if hello.cluster_id != self.cluster_id:
            return f"it belongs to cluster {hello.cluster_id:x}, we to {self.cluster_id:x}"
        if hello.target != self.member_id:
            return f"it means member {hello.target:x}, we are {self.member_id:x}"
        if hello.sender in self._removed:
            inbound.send_removal_notice(hello.sender)
            return f"member {hello.sender:x} was removed from the cluster"
        if hello.sender not in self._inbound and len(self._inbound) >= MAX_INBOUND:
            return f"{MAX_INBOUND} members have connections already"
        previous = self._inbound.get(hello.sender)
        if previous is not None:
            previous.close()  # it dialled again: the old connection is dead
        self._forget_unidentified(inbound)
        self._inbound[hello.sender] = inbound
        peer = self._peers.get(hello.sender)
        if peer is not None:
            peer.dial_now()
        return ""

    def answer(self, inbound: _InboundConnection, request: HashRequest) -> None:
        """Answer a hash request; the connection stays unidentified meanwhile."""

        async def reply() -> None:
            assert self.on_hash_request is not None
            inbound.reply(await self.on_hash_request(request.revision))

        if self.on_hash_request is None or (request.cluster_id, request.target) != (
            self.cluster_id,
            self.member_id,
        ):
            inbound.close()
            return
        task = asyncio.ensure_future(reply())
        self._replying.add(task)
        task.add_done_callback(self._replying.discard)

    def closed(self, inbound: _InboundConnection) -> None:
        """Remove a connection that ended."""
        self._forget_unidentified(inbound)
        if self._inbound.get(inbound.sender) is inbound:
            del self._inbound[inbound.sender]


class _InboundConnection(asyncio.Protocol):
    """A connection that a peer dialled: only received on, except for one answer."""

    def __init__(self, owner: Transport) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.sender = 0
        self._requested = False  # a hash, which is being computed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is duck-typed
        if not self._owner.names.admits(transport.get_extra_info("peercert")):
            self._refuse("its certificate is for somebody else")
            return
        self._owner.opened(self)
        asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self._expect_hello)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._owner.closed(self)

    def _expect_hello(self) -> None:
        if not self.sender and not self._requested:
            self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def send_removal_notice(self, member: int) -> None:
        self.reply(RemovalNotice(self._owner.cluster_id, member))

    def reply(self, answer: MemberList | RemovalNotice | HashReply) -> None:
        """Send one frame and close."""
        if self._transport is not None:
            self._transport.write(frame(msgspec.msgpack.encode(answer)))
            self.close()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start, end = 0, len(buffer)
        while self._transport is not None and end - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, start)
            if length > (MAX_FRAME_BYTES if self.sender else MAX_HELLO_BYTES):
                self._refuse(f"it sent a frame of {length} bytes")
                return
            if end - start < LENGTH.size + length:
                break
            start += LENGTH.size
            self._frame(bytes(buffer[start : start + length]))
            start += length
        del buffer[:start]

    def _frame(self, body: bytes) -> None:
        if not self.sender:
            self._first_frame(body)
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

    def _first_frame(self, body: bytes) -> None:
        if self._requested:
            return  # nothing may follow a hash request
        hello = decode_first(body)
        if hello is None:
            self._refuse("it began with something that is no hello")
        elif isinstance(hello, HashRequest):
            self._requested = True
            self._owner.answer(self, hello)
        elif not hello.cluster_id and not hello.target and hello.protocol == PROTOCOL_VERSION:
            # A node that is to join.
            self.reply(MemberList(self._owner.cluster_id, self._owner.members))
        elif reason := self._owner.admit(self, hello):
            self._refuse(reason)
        else:
            self.sender = hello.sender

    def _refuse(self, reason: str) -> None:
        address = self._transport.get_extra_info("peername") if self._transport else None
        self._owner.log.warn(
            "peer-refused", msg=f"hung up on a peer: {reason}", address=str(address)
        )
        self._buffer.clear()
        self.close()


class _OutboundConnection(asyncio.Protocol):
    """The connection to one member: redialled when it ends; only sent on, except for a notice."""

    def __init__(
        self,
        endpoint: Endpoint,
        hello: Hello,
        tls: ssl.SSLContext | None,
        log: Log,
        on_removal_notice: Callable[[], None],
    ) -> None:
        self.endpoint = endpoint
        self.connected = False
        self._hello = hello
        self._tls = tls
        self._log = log
        self._on_removal_notice = on_removal_notice
        self._notice = bytearray()
        self._transport: asyncio.Transport | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._paused = False
        self._changed = asyncio.Event()  # the connection ended, or `dial_now` was called
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    def close(self) -> None:
        self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def dial_now(self) -> None:
        """Dial without backoff: the peer has just connected to this member."""
        if not self.connected:
            self._changed.set()

    def queue(self, body: bytes) -> None:
        if self._pending_bytes + len(body) <= MAX_QUEUED_BYTES:
            self._pending.append(LENGTH.pack(len(body)))
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
                self._abandon()
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

    def _abandon(self) -> None:
        """Drop a connection that was made at the moment of the timeout.

        uvloop closes it without calling `connection_lost`; writing to it would be an error.
        """
        if self._transport is not None:
            self._transport.abort()
            self.connection_lost(None)

    async def _pause(self, seconds: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's transport is duck-typed
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
        transport.write(frame(msgspec.msgpack.encode(self._hello)))
        self._notice.clear()
        self._paused = False
        self.connected = True

    def data_received(self, data: bytes) -> None:
        if len(self._notice) + len(data) > LENGTH.size + MAX_REMOVAL_NOTICE_BYTES:
            return  # no notice; a peer sends everything else on the connection it dialled
        self._notice += data
        try:
            notice = removal_notice_decoder.decode(self._notice[LENGTH.size :])
        except msgspec.MsgspecError:
            return  # incomplete, or not a notice
        if (notice.cluster_id, notice.member) == (self._hello.cluster_id, self._hello.sender):
            self._on_removal_notice()

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
