"""What a node tells over HTTP: /health, /version and /metrics as etcd, and /debug/status.

Four fixed GETs need no web framework. A connection carries one request and is closed. Everything
is answered to whoever can connect, as etcd does: TLS with client certificates keeps others out.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any, Protocol, cast
from urllib.parse import parse_qs, urlsplit

import msgspec

from squall.node.api.backend import Backend, MemberView
from squall.node.api.errors import ApiError
from squall.node.config.settings import VERSION, Endpoint
from squall.node.mvcc.alarms import AlarmKind
from squall.node.replica import Status
from squall.node.server.metrics import Metrics

REQUEST_BYTES_MAX = 16 * 1024
REQUEST_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 256
"""At once; one more, and the oldest is hung up on: a request takes milliseconds."""
HEALTH_TIMEOUT_S = 5.0

_JSON = "application/json"
_UNAVAILABLE = 503
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    _UNAVAILABLE: "Service Unavailable",
}


class Node(Backend, Protocol):
    """What is told about: a backend with its counters."""

    metrics: Metrics

    def name_of(self, member_id: int) -> str:
        """Return a member's name; empty when nobody knows it."""
        ...

    def replica_status(self) -> Status:
        """Return everything the replica knows of itself."""
        ...


class HttpServer:
    """Answers a node's pages, at endpoints of its own and on connections others hand over.

    `hosts` are the names a request without TLS may call this node by; empty allows all. A browser
    that was lured to a name which somebody pointed here cannot read what the node tells then.
    """

    def __init__(self, node: Node, hosts: frozenset[str] = frozenset()) -> None:
        self._node = node
        self._hosts = hosts - {"*"} if "*" not in hosts else frozenset()
        self._servers: list[asyncio.Server] = []
        self._connections: dict[_Connection, None] = {}  # oldest first

    async def listen(
        self, endpoints: tuple[Endpoint, ...], tls: ssl.SSLContext | None = None
    ) -> None:
        """Serve at every endpoint; raises OSError when one is taken."""
        loop = asyncio.get_running_loop()
        for endpoint in endpoints:
            server = await loop.create_server(
                self.connection,
                endpoint.host,
                endpoint.port,
                ssl=tls if endpoint.tls else None,
            )
            self._servers.append(server)

    def connection(self) -> asyncio.Protocol:
        """Return a protocol for one connection, for whoever found HTTP/1.1 on it."""
        return _Connection(self)

    async def close(self) -> None:
        """Stop listening, and hang up."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.hang_up()

    def arrived(self, connection: _Connection) -> None:
        """Note a connection; the oldest gives way to one too many."""
        if len(self._connections) >= MAX_CONNECTIONS:
            next(iter(self._connections)).hang_up()
        self._connections[connection] = None

    def gone(self, connection: _Connection) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)

    async def answer(self, head: bytes, *, secure: bool) -> bytes:
        """Return the whole answer to a request's head."""
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3:
            status, kind, body = 400, "text/plain", b"malformed request line\n"
        elif not secure and self._hosts and _host(lines[1:]) not in self._hosts:
            status, kind, body = 421, "text/plain", b"unknown host; see --host-whitelist\n"
        else:
            status, kind, body = await self.page(words[0], words[1])
        allow = "Allow: GET\r\n" if status == 405 else ""
        return (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\n{allow}Content-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode() + body

    async def page(self, method: str, target: str) -> tuple[int, str, bytes]:
        """Return status, content type and body."""
        if method != "GET":
            return 405, "text/plain", b"only GET\n"
        url = urlsplit(target)
        if url.path == "/health":
            query = parse_qs(url.query)
            excluded = frozenset(query.get("exclude", ()))
            return await self._health(query.get("serializable") == ["true"], excluded)
        if url.path == "/version":
            version = {"etcdserver": VERSION, "etcdcluster": f"{VERSION.rsplit('.', 1)[0]}.0"}
            return 200, _JSON, msgspec.json.encode(version)
        if url.path == "/metrics":
            node = self._node
            text = node.metrics.exposition(node.replica_status(), node.store, node.quota_bytes)
            return 200, "text/plain; version=0.0.4", text.encode()
        if url.path == "/debug/status":
            return 200, _JSON, msgspec.json.encode(describe(self._node))
        return 404, "text/plain", b"404 page not found\n"

    async def _health(self, serializable: bool, excluded: frozenset[str]) -> tuple[int, str, bytes]:
        """Healthy: no alarm but the excluded, a leader and, unless `serializable`, a read."""
        reason = ""
        alarms = {AlarmKind(raised.kind).name for raised in self._node.store.alarms} - excluded
        if alarms:
            reason = f"ALARM {min(alarms)}"
        elif not self._node.status().leader:
            reason = "RAFT NO LEADER"
        elif not serializable:
            try:
                async with asyncio.timeout(HEALTH_TIMEOUT_S):
                    await self._node.read_barrier()
            except (ApiError, TimeoutError) as error:
                reason = f"RANGE ERROR:{error}"
        if reason:
            return _UNAVAILABLE, _JSON, msgspec.json.encode({"health": "false", "reason": reason})
        return 200, _JSON, msgspec.json.encode({"health": "true", "reason": ""})


class _Connection(asyncio.Protocol):
    """A connection with one request on it."""

    def __init__(self, owner: HttpServer) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._head = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is a mere duck
        self._timer = asyncio.get_running_loop().call_later(REQUEST_TIMEOUT_S, self.hang_up)
        self._owner.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._owner.gone(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._answering is not None:
            self._answering.cancel()

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answering is not None or self._transport is None:
            return  # what follows the first request is not read
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end >= 0:
            head = bytes(self._head[:end])
            self._answering = asyncio.ensure_future(self._answer(self._transport, head))
        elif len(self._head) > REQUEST_BYTES_MAX:
            self._transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n")
            self._transport.close()

    async def _answer(self, transport: asyncio.Transport, head: bytes) -> None:
        secure = transport.get_extra_info("sslcontext") is not None
        transport.write(await self._owner.answer(head, secure=secure))
        transport.close()


def _host(headers: list[str]) -> str:
    """Return the name by which a request calls this node, without its port."""
    for header in headers:
        name, _, value = header.partition(":")
        if name.strip().lower() == "host":
            return urlsplit(f"//{value.strip()}").hostname or ""
    return ""


def describe(node: Node) -> dict[str, Any]:
    """Return everything this node says of itself, its two clocks included."""
    status = node.replica_status()
    return {
        "name": node.name_of(node.member_id),
        "member_id": f"{status.member_id:x}",
        "role": status.role,
        "term": status.term,
        "leader": node.name_of(status.leader),
        "leader_id": f"{status.leader:x}" if status.leader else "",
        "commit": status.commit,
        "applied": status.applied,
        "last_index": status.last_index,
        "revision": status.revision,
        "digest": status.digest,
        "wall_ns": time.time_ns(),
        "monotonic_ns": time.monotonic_ns(),
        "members": [_member(member) for member in node.members()],
    }


def _member(member: MemberView) -> dict[str, Any]:
    return {
        "id": f"{member.id:x}",
        "name": member.name,
        "peer_urls": member.peer_urls,
        "client_urls": member.client_urls,
        "is_learner": member.is_learner,
    }
