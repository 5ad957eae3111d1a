"""What a node tells over HTTP: /health, /version and /metrics as etcd, and /debug/status.

Four fixed GETs need no web framework. A connection carries one request and is closed.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec

from node.api.backend import Backend, MemberView
from node.api.errors import ApiError
from node.config import VERSION, Endpoint
from node.metrics import Metrics
from node.mvcc.alarms import AlarmKind
from node.replica import Status

REQUEST_BYTES_MAX = 16 * 1024
REQUEST_TIMEOUT_S = 10.0
HEALTH_TIMEOUT_S = 5.0

_JSON = "application/json"
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}
_UNAVAILABLE = 503


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
    """Serves the four pages of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._servers: list[asyncio.Server] = []

    async def listen(
        self, endpoints: tuple[Endpoint, ...], tls: ssl.SSLContext | None = None
    ) -> None:
        """Serve at every endpoint; raises OSError when one is taken."""
        for endpoint in endpoints:
            server = await asyncio.start_server(
                self._connection,
                endpoint.host,
                endpoint.port,
                limit=REQUEST_BYTES_MAX,
                ssl=tls if endpoint.tls else None,
            )
            self._servers.append(server)

    async def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(head.split(b"\r\n", 1)[0].decode("latin-1"))
                reason = _REASONS.get(status, "Service Unavailable")
                writer.write(
                    f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away or never finished its request: nobody to tell
        finally:
            writer.close()

    async def _answer(self, request_line: str) -> tuple[int, str, bytes]:
        words = request_line.split(" ")
        if len(words) != 3:
            return 400, "text/plain", b"malformed request line\n"
        if words[0] != "GET":
            return 405, "text/plain", b"only GET\n"
        url = urlsplit(words[1])
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
