"""etcd's six services as methods of `squall.node.rpc`, each behind the same door.

A refusal becomes its gRPC status. An assertion of our own stops the node: what it found wrong may
be what the next answer is made of. Everything unknown answers UNIMPLEMENTED.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aetcd.rpc import rpc_pb2

from squall.node.api import auth, cluster, kv, lease, maintenance, snapshot, watch
from squall.node.api.backend import Backend
from squall.node.api.convert import Message
from squall.node.api.errors import NO_LEADER, NOT_FOR_LEARNER, ApiError
from squall.node.config.settings import Config
from squall.node.mvcc.errors import RequestError
from squall.node.rpc import MAX_STREAMS, Limits, Server
from squall.node.rpc import Method as RpcMethod
from squall.node.server.http import HttpServer

Method = Callable[[Backend, Message], Awaitable[Message]]
Stream = Callable[[Backend, AsyncIterator[Message], Any], Awaitable[None]]
"""A method whose client streams, and which writes its answers to the call's context."""

GRPC_OVERHEAD_BYTES = 512 * 1024
"""What etcd lets a message have above --max-request-bytes before gRPC itself refuses it."""

LEADERLESS_TIMEOUTS = 3
"""As etcd: a stream that wants a leader ends after this many election timeouts without one."""

_METHODS: dict[str, tuple[Any, Method]] = {
    **kv.METHODS,
    **maintenance.METHODS,
    **cluster.METHODS,
    **lease.METHODS,
    **auth.METHODS,
}
_STREAMS: dict[str, tuple[Any, Stream]] = {**watch.STREAMS, **lease.STREAMS, **snapshot.STREAMS}


def limits(config: Config) -> Limits:
    """Return what the command line lets clients do."""
    return Limits(
        min(config.max_concurrent_streams, MAX_STREAMS),
        config.grpc_keepalive_min_time,
        config.grpc_keepalive_interval,
        config.grpc_keepalive_timeout,
    )


def make_server(
    backend: Backend,
    on_crash: Callable[[BaseException], None],
    limits: Limits | None = None,
    http: HttpServer | None = None,
) -> Server:
    """Return a server of all methods that listens nowhere yet.

    `on_crash` is told of an exception that must stop the node; `http` answers what
    is not gRPC.
    """
    limit = backend.max_request_bytes + GRPC_OVERHEAD_BYTES
    methods = {
        path: RpcMethod(message.FromString, _guarded(backend, path, method, on_crash), False, limit)
        for path, (message, method) in _METHODS.items()
    }
    for path, (message, stream) in _STREAMS.items():
        serve = _guarded_stream(backend, path, stream, on_crash)
        methods[path] = RpcMethod(message.FromString, serve, True, limit)
    if http is None:
        return Server(methods, limit, limits)
    return Server(methods, limit, limits, http.connection, http.page)


def _guarded(
    backend: Backend, path: str, method: Method, on_crash: Callable[[BaseException], None]
) -> Callable[[Message, Any], Awaitable[Message]]:
    async def call(message: Message, context: Any) -> Message:
        try:
            if not backend.status().leader and _wants_leader(context):
                raise ApiError(NO_LEADER)
            if backend.status().is_learner and not _may_serve_as_learner(message):
                raise ApiError(NOT_FOR_LEARNER)
            await backend.door.admit(backend, path, context)
            return await method(backend, message)
        except RequestError as refusal:
            error = ApiError(refusal.text)
        except ApiError as failure:
            error = failure
        except Exception as bug:
            on_crash(bug)
            raise
        return await context.abort(error.code, error.text)

    return call


def _guarded_stream(
    backend: Backend, path: str, stream: Stream, on_crash: Callable[[BaseException], None]
) -> Callable[[AsyncIterator[Message], Any], Awaitable[None]]:
    async def call(requests: AsyncIterator[Message], context: Any) -> None:
        try:
            if backend.status().is_learner:
                raise ApiError(NOT_FOR_LEARNER)
            await backend.door.admit(backend, path, context)
            if not _wants_leader(context):
                await stream(backend, requests, context)
                return
            if not backend.status().leader:
                raise ApiError(NO_LEADER)
            serving = asyncio.ensure_future(stream(backend, requests, context))
            leaderless = asyncio.create_task(_leaderless(backend))
            try:
                await asyncio.wait((serving, leaderless), return_when=asyncio.FIRST_COMPLETED)
                if not serving.done():
                    raise ApiError(NO_LEADER)
                await serving
            finally:
                serving.cancel()
                leaderless.cancel()
            return
        except RequestError as refusal:
            error = ApiError(refusal.text)
        except ApiError as failure:
            error = failure
        except Exception as bug:
            on_crash(bug)
            raise
        await context.abort(error.code, error.text)

    return call


async def _leaderless(backend: Backend) -> None:
    """Return when there was no leader for a while."""
    missed = 0
    while missed < LEADERLESS_TIMEOUTS:
        await asyncio.sleep(backend.election_timeout_s)
        missed = 0 if backend.status().leader else missed + 1


def _may_serve_as_learner(message: Message) -> bool:
    """As etcd: a learner tells where it stands and what it has, and nothing it must ask about."""
    if isinstance(message, rpc_pb2.RangeRequest):
        return bool(message.serializable)
    return isinstance(message, rpc_pb2.StatusRequest)


def _wants_leader(context: Any) -> bool:
    """Tell whether the client asked to be refused at once while there is no leader."""
    metadata = context.invocation_metadata() or ()
    return any(key == "hasleader" and value == "true" for key, value in metadata)
