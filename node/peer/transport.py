"""Messages between members: length-prefixed msgpack over TCP, as fast as they come.

Each member dials every other one and only writes on the connections it dialled; what it reads
arrives on connections others dialled. The first frame is a hello (`greetings`): whoever is not of
this cluster, or means someone else, is hung up on. A member that was removed is told so first, as
etcd answers its like with 410 Gone: it may never have heard of it.

Raft repeats what matters, so a message that cannot be sent now is dropped, never kept for later:
while there is no connection, and when the queue of a slow peer is full. Frames written in one turn
of the event loop leave in one write. Time is asyncio's; only the kernel's own timeout, which a
faked clock does not reach, decides that a silent connection is dead.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import msgspec

from squall.node.config.settings import Endpoint
from squall.node.peer.handshake import (
    LENGTH,
    MAX_FAREWELL_BYTES,
    MAX_FRAME_BYTES,
    MAX_HELLO_BYTES,
    PROTOCOL_VERSION,
    Census,
    Farewell,
    HashAsk,
    HashTold,
    Hello,
    farewell_decoder,
    first_words,
    frame,
)
from squall.node.raft import codec
from squall.node.raft.membership import Member
from squall.node.raft.messages import Message
from squall.node.server.logs import Log
from squall.node.server.tls import PeerNames

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


class Transport:
    """The connections of this member to all others. `on_message` gets what arrives, in order."""

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
        self.members: tuple[Member, ...] = ()  # for those who ask before they join
        self.on_farewell: Callable[[], None] = lambda: None  # a peer says this member was removed
        self.on_hash_ask: Callable[[int], Awaitable[HashTold]] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._removed: frozenset[int] = frozenset()
        self._peers: dict[int, _Peer] = {}
        self._servers: list[asyncio.Server] = []
        self._incoming: dict[int, _Incoming] = {}
        self._strangers: dict[_Incoming, None] = {}  # oldest first

    async def listen(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Accept peers at every endpoint; raises OSError when one is taken."""
        loop = asyncio.get_running_loop()
        for endpoint in endpoints:
            try:
                server = await loop.create_server(
                    lambda: _Incoming(self),
                    endpoint.host,
                    endpoint.port,
                    ssl=self._server_tls if endpoint.tls else None,
                    ssl_handshake_timeout=HELLO_TIMEOUT_S if endpoint.tls else None,
                )
            except OSError as error:
                raise OSError(f"cannot listen for peers: {error}") from error
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
                    endpoint,
                    hello,
                    self._client_tls if endpoint.tls else None,
                    self.log,
                    self._was_removed,
                )

    def dismiss(self, removed: frozenset[int]) -> None:
        """Tell these members, now or when they dial, that they were removed; heed them no more."""
        self._removed = removed
        for member in removed & self._incoming.keys():
            self._incoming[member].say_farewell(member)

    def _was_removed(self) -> None:
        self.on_farewell()

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
        for task in self._answering:
            task.cancel()
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
        if hello.sender in self._removed:
            incoming.say_farewell(hello.sender)
            return f"member {hello.sender:x} was removed from the cluster"
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

    def answer(self, incoming: _Incoming, ask: HashAsk) -> None:
        """Hash this member's keys for whoever asked; it stays a stranger all the while."""

        async def tell() -> None:
            assert self.on_hash_ask is not None
            incoming.tell(await self.on_hash_ask(ask.revision))

        if self.on_hash_ask is None or (ask.cluster_id, ask.target) != (
            self.cluster_id,
            self.member_id,
        ):
            incoming.hang_up()
            return
        task = asyncio.ensure_future(tell())
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

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
        self._transport: asyncio.Transport | None = None
        self.sender = 0
        self._asked = False  # a question, which is being answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # to uvloop a mere duck
        if not self._owner.names.admits(transport.get_extra_info("peercert")):
            self._refuse("its certificate is for somebody else")
            return
        self._owner.arrived(self)
        asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self._expect_greeted)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._owner.gone(self)

    def _expect_greeted(self) -> None:
        if not self.sender and not self._asked:
            self.hang_up()

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def say_farewell(self, member: int) -> None:
        self.tell(Farewell(self._owner.cluster_id, member))

    def tell(self, answer: Census | Farewell | HashTold) -> None:
        """Say this, and hang up."""
        if self._transport is not None:
            self._transport.write(frame(msgspec.msgpack.encode(answer)))
            self.hang_up()

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
        if self._asked:
            return  # who asks has nothing to add
        hello = first_words(body)
        if hello is None:
            self._refuse("it began with something that is no hello")
        elif isinstance(hello, HashAsk):
            self._asked = True
            self._owner.answer(self, hello)
        elif not hello.cluster_id and not hello.target and hello.protocol == PROTOCOL_VERSION:
            # It wants to join.
            self.tell(Census(self._owner.cluster_id, self._owner.members))
        elif reason := self._owner.welcome(self, hello):
            self._refuse(reason)
        else:
            self.sender = hello.sender

    def _refuse(self, reason: str) -> None:
        address = self._transport.get_extra_info("peername") if self._transport else None
        self._owner.log.warn(
            "peer-refused", msg=f"hung up on a peer: {reason}", address=str(address)
        )
        self._buffer.clear()
        self.hang_up()


class _Peer(asyncio.Protocol):
    """The connection to one member: dialled again and again, frames out, a farewell in."""

    def __init__(
        self,
        endpoint: Endpoint,
        hello: Hello,
        tls: ssl.SSLContext | None,
        log: Log,
        on_farewell: Callable[[], None],
    ) -> None:
        self.endpoint = endpoint
        self.connected = False
        self._hello = hello
        self._tls = tls
        self._log = log
        self._on_farewell = on_farewell
        self._heard = bytearray()
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
        """Forget a connection that was made in the very moment in which the time was up.

        uvloop closes it then and calls nobody; to write on it would be an error.
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
        transport = cast("asyncio.Transport", transport)  # to uvloop a mere duck
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
        transport.write(frame(msgspec.msgpack.encode(self._hello)))
        self._heard.clear()
        self._paused = False
        self.connected = True

    def data_received(self, data: bytes) -> None:
        if len(self._heard) + len(data) > LENGTH.size + MAX_FAREWELL_BYTES:
            return  # no farewell; what else a peer may want to say, it says on its own connection
        self._heard += data
        try:
            farewell = farewell_decoder.decode(self._heard[LENGTH.size :])
        except msgspec.MsgspecError:
            return  # not all of it has come, or it is none
        if (farewell.cluster_id, farewell.member) == (self._hello.cluster_id, self._hello.sender):
            self._on_farewell()

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
