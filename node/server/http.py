"""The node's pages over HTTP/1.1: /health, /version and /metrics as etcd's, and /debug/status.

Four fixed GETs need no web framework; h11 parses requests and writes responses. A connection serves
one request and is closed. Pages are served to whoever can connect, as etcd does: TLS with client
certificates restricts that.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import h11
import msgspec

from squall.node.api.backend import MemberView
from squall.node.api.errors import ApiError
from squall.node.config.endpoints import Endpoint
from squall.node.config.settings import VERSION
from squall.node.mvcc.alarms import AlarmKind
from squall.node.server.interface import Node

REQUEST_BYTES_MAX = 16 * 1024
"""Request line and header fields together."""
REQUEST_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 256
"""At once; the oldest is closed for one more, since a request takes milliseconds."""
HEALTH_TIMEOUT_S = 5.0

_JSON = "application/json"
_TEXT = "text/plain"
_UNAVAILABLE = 503


class HttpServer:
    """Serves a node's pages, at endpoints of its own and on connections that others accepted.

    `hosts` are the names by which a request without TLS may address this node; empty allows all.
    This is a defence against DNS rebinding: a page loaded from a foreign name that resolves to this
    node cannot read its answers.
    """

    def __init__(self, node: Node, hosts: frozenset[str] = frozenset()) -> None:
        self._node = node
        self._hosts = hosts - {"*"} if "*" not in hosts else frozenset()
        self._servers: list[asyncio.Server] = []
        self._connections: dict[_Connection, None] = {}  # oldest first

    async def listen(
        self, endpoints: tuple[Endpoint, ...], tls: ssl.SSLContext | None = None
    ) -> None:
        """Listen at every endpoint; raises OSError when one is taken."""
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
        """Return a protocol for one connection on which HTTP/1.1 was found."""
        return _Connection(self)

    async def close(self) -> None:
        """Stop listening and close all connections."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.abort()

    def opened(self, connection: _Connection) -> None:
        """Register a connection; closes the oldest one beyond `MAX_CONNECTIONS`."""
        if len(self._connections) >= MAX_CONNECTIONS:
            next(iter(self._connections)).abort()
        self._connections[connection] = None

    def closed(self, connection: _Connection) -> None:
        """Remove a connection."""
        self._connections.pop(connection, None)

    async def respond(self, request: h11.Request, *, secure: bool) -> tuple[int, str, bytes]:
        """Return (status, content type, body) of a request; `secure`: it came over TLS."""
        if not secure and self._hosts and _host(request) not in self._hosts:
            return 421, _TEXT, b"unknown host; see --host-whitelist\n"
        return await self.page(request.method.decode("ascii"), request.target.decode("latin-1"))

    async def page(self, method: str, target: str) -> tuple[int, str, bytes]:
        """Return (status, content type, body) of a request; `target` is a path with a query."""
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
            return 200, "text/plain; version=0.0.4", text
        if url.path == "/debug/status":
            return 200, _JSON, msgspec.json.encode(describe(self._node))
        return 404, "text/plain", b"404 page not found\n"

    async def _health(self, serializable: bool, excluded: frozenset[str]) -> tuple[int, str, bytes]:
        """Healthy: no alarm that is not excluded, a leader, and a read unless `serializable`."""
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
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=REQUEST_BYTES_MAX)
        self._responding: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is duck-typed
        self._timer = asyncio.get_running_loop().call_later(REQUEST_TIMEOUT_S, self.abort)
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._owner.closed(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._responding is not None:
            self._responding.cancel()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._responding is not None or self._transport is None:
            return  # a body or a second request: neither is read
        self._http.receive_data(data)
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            self._send(None, status, _TEXT, b"" if status == 431 else b"malformed request\n")
            return
        if isinstance(event, h11.Request):
            self._responding = asyncio.ensure_future(self._respond(self._transport, event))

    async def _respond(self, transport: asyncio.Transport, request: h11.Request) -> None:
        secure = transport.get_extra_info("sslcontext") is not None
        status, kind, body = await self._owner.respond(request, secure=secure)
        self._send(request, status, kind, body)

    def _send(self, request: h11.Request | None, status: int, kind: str, body: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        fields = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            fields.insert(0, ("Allow", "GET"))
        response = h11.Response(
            status_code=status,
            headers=[*fields, ("Connection", "close")],
            reason=HTTPStatus(status).phrase,
        )
        out = [self._http.send(response)]
        if body and not (request is not None and request.method == b"HEAD"):
            out.append(self._http.send(h11.Data(data=body)))
        transport.write(b"".join(piece for piece in out if piece))
        transport.close()


def _host(request: h11.Request) -> str:
    """Return the name by which a request addresses this node, without its port."""
    for name, value in request.headers:
        if name == b"host":
            return urlsplit(f"//{value.decode('latin-1').strip()}").hostname or ""
    return ""


def describe(node: Node) -> dict[str, Any]:
    """Return the content of /debug/status: the Raft state, both clocks, the members."""
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
