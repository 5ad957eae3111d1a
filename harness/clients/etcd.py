"""A gRPC client of one node: one attempt, one address, and errors classified by their effect.

There are no hidden retries: gRPC's are disabled, and each client has a connection of its own (gRPC
would otherwise share one between clients of the same address, and a process that replaces one with
a broken connection would get the same connection again).

An error is `Definite` only if the request certainly had no effect: the node refused it before it
proposed anything, or there never was a connection. Every other error is `Indefinite`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any
from weakref import WeakSet

import grpc
import grpc.aio

from squall.harness.clients.messages import (
    METHODS,
    WATCH,
    decode,
    decode_watch,
    encode,
    encode_progress,
    encode_watch,
)
from squall.workloads.client import Answer, Definite, Indefinite, Request, Watch, WatchAnswer

CALL_TIMEOUT_S = 30.0
"""Deadline of a call. The interpreter's is much shorter and takes effect first; this one bounds
calls that are made without an interpreter."""

CHANNEL_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),  # also how long one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 1000),
)

SERVER_PREFIX = "etcdserver: "
"""Prefix of the node's own errors; gRPC's library uses the same codes for errors of its own."""

DEFINITE_CODES = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
"""With SERVER_PREFIX these mean that the request was refused and had no effect."""

DEFINITE_UNAVAILABLE = (
    "etcdserver: no leader",
    "etcdserver: not capable",
    "etcdserver: rpc not supported for learner",
)
"""Checked by the node before it proposes. After any other `unavailable` it may have proposed."""

NEVER_CONNECTED = "failed to connect to all addresses"
"""gRPC's text if there was no connection to send the request on."""


def classify(code: Any, details: str) -> Definite | Indefinite:
    """Classify a gRPC status by whether the request certainly had no effect."""
    words = f"{code.name}: {details}"
    if code is grpc.StatusCode.UNAVAILABLE:
        refused = details.startswith(DEFINITE_UNAVAILABLE) or NEVER_CONNECTED in details
        return Definite(words) if refused else Indefinite(words)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Definite(words)
    if code in DEFINITE_CODES and details.startswith(SERVER_PREFIX):
        return Definite(words)
    return Indefinite(words)


class GrpcKv:
    """One connection to one node, for one logical process of the history."""

    def __init__(self, node: str, address: str, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self.node = node
        self._timeout_s = timeout_s
        self._closed = False
        self._streams: WeakSet[GrpcStream] = WeakSet()
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._calls = {
            kind: self._channel.unary_unary(
                path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=answer.FromString,
            )
            for kind, (path, answer) in METHODS.items()
        }
        path, answer = WATCH
        self._watch = self._channel.stream_stream(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    async def call(self, request: Request) -> Answer:
        """Send one request and await its response; raises Definite or Indefinite."""
        message = encode(request)
        try:
            reply = await self._calls[type(request)](message, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise classify(error.code(), error.details() or "") from None
        except asyncio.CancelledError:
            if self._closed:  # closed by `close` while the request was outstanding
                raise Indefinite("the connection was closed by its own side") from None
            raise
        except grpc.aio.UsageError as error:
            raise Indefinite(f"the connection was closed before the call: {error}") from None
        return decode(request, reply)

    async def watch(self, request: Watch) -> GrpcStream:
        """Open a watch on a stream of its own; raises Definite or Indefinite."""
        begun_ns = time.monotonic_ns()
        try:
            call = self._watch()
            await call.write(encode_watch(request))
        except _BROKEN as error:
            raise _classify_error(error) from None
        stream = GrpcStream(call, begun_ns)
        self._streams.add(stream)
        return stream

    async def close(self) -> None:
        """Close the connection, abandoning outstanding requests.

        Not every version of gRPC ends the streams of a closed channel, so they are closed here.
        """
        if not self._closed:
            self._closed = True
            for stream in list(self._streams):
                await stream.close()
            await self._channel.close(None)


_BROKEN = (
    grpc.aio.AioRpcError,
    grpc.aio.UsageError,
    asyncio.InvalidStateError,
)
"""What gRPC raises if a stream has ended, or never began."""


class GrpcStream:
    """An open watch: one stream, never reopened. Implements `squall.workloads.client.WatchStream`.

    One response is read at a time; further ones wait within HTTP/2's flow control window, and at
    the node.
    """

    def __init__(self, call: Any, begun_ns: int) -> None:
        self._call = call
        self._begun_ns = begun_ns
        self._reading: asyncio.Task[Any] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._broken: Exception | None = None

    @property
    def elapsed_ns(self) -> int:
        """Nanoseconds since the watch was requested."""
        return time.monotonic_ns() - self._begun_ns

    async def next(self, timeout_ns: int) -> WatchAnswer | None:
        """Await the next response; None after `timeout_ns`."""
        if self._broken is not None:
            raise self._broken
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
        # Cancelling a read would cancel the stream, so a pending read is awaited again next time.
        await asyncio.wait({self._reading}, timeout=max(timeout_ns, 0) / 1e9)
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        answer = reading.result()
        if isinstance(answer, Exception):
            self._broken = answer
            raise answer
        return decode_watch(answer)

    async def ask_progress(self) -> None:
        """Request a progress notification, unless the previous request is still being sent."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())

    async def rest(self, duration_ns: int) -> None:
        """Read no response for `duration_ns`."""
        await asyncio.sleep(duration_ns / 1e9)

    async def close(self) -> None:
        """End the watch."""
        self._call.cancel()
        for task in (self._reading, self._asking):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        if self._broken is None:
            self._broken = Indefinite("the watch was closed by its own side")

    async def _read(self) -> Any:
        """Return the next message, or the error that ended the stream."""
        try:
            message = await self._call.read()
        except _BROKEN as error:
            return _classify_error(error)
        except asyncio.CancelledError:  # the channel was closed under it, or this is `close`
            return Indefinite("the connection was closed by its own side")
        if message is grpc.aio.EOF:
            return Indefinite("the node ended the stream")
        return message

    async def _ask(self) -> None:
        with contextlib.suppress(*_BROKEN, asyncio.CancelledError):
            await self._call.write(encode_progress())


def _classify_error(error: Exception) -> Exception:
    if isinstance(error, grpc.aio.AioRpcError):
        return classify(error.code(), error.details() or "")
    return Indefinite(f"the stream is over: {error}")
