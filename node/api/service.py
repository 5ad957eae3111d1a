"""etcd's six gRPC services as a table of methods, each wrapped in the same checks.

Before a method runs: a client that requires a leader is refused while there is none, a learner
serves only what etcd's learner serves, and the call is authenticated. A refusal becomes its gRPC
status. Any other exception stops the node, because the state it found wrong would be the source of
later answers. A method that is not in the table answers UNIMPLEMENTED.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from aetcd.rpc import rpc_pb2

from squall.node.api import auth, cluster, kv, lease, maintenance, snapshot, watch
from squall.node.api.auth_interceptor import AuthInterceptor, CallContext
from squall.node.api.backend import Backend
from squall.node.api.convert import Message
from squall.node.api.errors import NO_LEADER, NOT_FOR_LEARNER, ApiError
from squall.node.config.settings import Config
from squall.node.mvcc.errors import RequestError
from squall.node.rpc import MAX_STREAMS, Call, Limits, Pages, Server
from squall.node.rpc import Method as RpcMethod

Method = Callable[[Backend, Message], Awaitable[Message]]
Stream = Callable[[Backend, AsyncIterator[Message], Call], Awaitable[None]]
"""A method whose client streams, and which writes its answers to the call."""

GRPC_OVERHEAD_BYTES = 512 * 1024
"""As etcd: a message this much longer than --max-request-bytes is refused by gRPC itself."""

LEADERLESS_TIMEOUTS = 3
"""As etcd: a stream that requires a leader ends after this many election timeouts without one."""

_METHODS: dict[str, tuple[Any, Method]] = {
    **kv.METHODS,
    **maintenance.METHODS,
    **cluster.METHODS,
    **lease.METHODS,
    **auth.METHODS,
}
_STREAMS: dict[str, tuple[Any, Stream]] = {**watch.STREAMS, **lease.STREAMS, **snapshot.STREAMS}


def limits(config: Config) -> Limits:
    """Return the limits on clients that the command line sets."""
    return Limits(
        min(config.max_concurrent_streams, MAX_STREAMS),
        config.grpc_keepalive_min_time,
        config.grpc_keepalive_interval,
        config.grpc_keepalive_timeout,
    )


def make_server(
    backend: Backend,
    interceptor: AuthInterceptor,
    on_crash: Callable[[BaseException], None],
    limits: Limits | None = None,
    other: Callable[[], asyncio.Protocol] | None = None,
    pages: Pages | None = None,
) -> Server:
    """Return a server of all methods that does not listen yet.

    `on_crash` is called with an exception that is no refusal and must stop the node. `other` and
    `pages` serve what is not gRPC; see `Server`.
    """
    limit = backend.max_request_bytes + GRPC_OVERHEAD_BYTES
    guard = _Guard(backend, interceptor, on_crash)
    unary = {
        path: RpcMethod(message.FromString, guard.unary(path, method), False, limit)
        for path, (message, method) in _METHODS.items()
    }
    streaming = {
        path: RpcMethod(message.FromString, guard.streaming(path, stream), True, limit)
        for path, (message, stream) in _STREAMS.items()
    }
    return Server({**unary, **streaming}, limit, limits, other, pages)


class _Guard:
    """Wraps methods in the checks that come before them and the mapping of their errors."""

    def __init__(
        self,
        backend: Backend,
        interceptor: AuthInterceptor,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._backend = backend
        self._interceptor = interceptor
        self._on_crash = on_crash

    def unary(
        self, path: str, method: Method
    ) -> Callable[[Message, Call], Coroutine[Any, Any, Message]]:
        backend, authenticate = self._backend, self._interceptor.authenticate

        async def call(message: Message, context: Call) -> Message:
            try:
                status = backend.status()
                if not status.leader and _requires_leader(context):
                    raise ApiError(NO_LEADER)
                if status.is_learner and not _may_serve_as_learner(message):
                    raise ApiError(NOT_FOR_LEARNER)
                await authenticate(backend, path, context)
                return await method(backend, message)
            except RequestError as refusal:
                error = ApiError(refusal.text)
            except ApiError as failure:
                error = failure
            except Exception as bug:
                self._on_crash(bug)
                raise
            return await context.abort(error.code, error.text)

        return call

    def streaming(
        self, path: str, stream: Stream
    ) -> Callable[[AsyncIterator[Message], Call], Coroutine[Any, Any, None]]:
        backend, authenticate = self._backend, self._interceptor.authenticate

        async def call(requests: AsyncIterator[Message], context: Call) -> None:
            try:
                if backend.status().is_learner:
                    raise ApiError(NOT_FOR_LEARNER)
                await authenticate(backend, path, context)
                if not _requires_leader(context):
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
                self._on_crash(bug)
                raise
            await context.abort(error.code, error.text)

        return call


async def _leaderless(backend: Backend) -> None:
    """Return once there was no leader for `LEADERLESS_TIMEOUTS` election timeouts."""
    missed = 0
    while missed < LEADERLESS_TIMEOUTS:
        await asyncio.sleep(backend.election_timeout_s)
        missed = 0 if backend.status().leader else missed + 1


def _may_serve_as_learner(message: Message) -> bool:
    """As etcd: a learner serves its status and serializable reads, nothing that needs a leader."""
    if isinstance(message, rpc_pb2.RangeRequest):
        return bool(message.serializable)
    return isinstance(message, rpc_pb2.StatusRequest)


def _requires_leader(context: CallContext) -> bool:
    """Return whether the client asked to be refused while there is no leader."""
    metadata = context.invocation_metadata() or ()
    return any(key == "hasleader" and value == "true" for key, value in metadata)
