"""The listening side: a table of methods by path, served at any number of ports."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from squall.node.rpc.call import Aborted, Call, Method
from squall.node.rpc.connection import Connection
from squall.node.rpc.keepalive import HELLO_TIMEOUT_S
from squall.node.rpc.limits import Limits
from squall.node.rpc.pages import Pages


async def _unimplemented(message: Any, call: Call) -> Any:
    del message, call
    raise Aborted(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


class Server:
    """Serves `methods` on every connection it accepts.

    `other` makes a protocol for a connection that does not begin with HTTP/2's preface; `pages`
    answers requests over HTTP/2 with TLS that are not gRPC.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        max_message_bytes: int,
        limits: Limits | None = None,
        other: Callable[[], asyncio.Protocol] | None = None,
        pages: Pages | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.other = other
        self.pages = pages
        self.connections: set[Connection] = set()
        self.max_message_bytes = max_message_bytes
        self._methods = dict(methods)
        self._unknown = Method(bytes, _unimplemented, True, max_message_bytes)
        self._servers: list[asyncio.Server] = []
        self._stopping: asyncio.Event | None = None

    def method(self, path: str) -> Method:
        """Return how a path is served; an unknown one answers UNIMPLEMENTED."""
        return self._methods.get(path, self._unknown)

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen at an address and return its port; raises OSError when it is taken."""
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self),
                host,
                port,
                ssl=tls,
                ssl_handshake_timeout=HELLO_TIMEOUT_S if tls else None,
            )
        except OSError as error:
            raise OSError(f"cannot listen for clients: {error}") from error
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls; close when those in progress have ended, at most after `grace_s`."""
        for server in self._servers:
            server.close()
        for connection in self.connections:
            connection.go_away()
        self._stopping = asyncio.Event()
        try:
            async with asyncio.timeout(grace_s):
                while any(connection.calls for connection in self.connections):
                    self._stopping.clear()
                    await self._stopping.wait()
        except TimeoutError:
            pass
        for connection in list(self.connections):
            connection.abort()

    def served(self) -> None:
        """Note that a call has ended."""
        if self._stopping is not None:
            self._stopping.set()
