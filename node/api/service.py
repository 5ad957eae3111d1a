"""The gRPC front: one generic handler that finds a method by its path.

A refusal becomes its gRPC status. An assertion of our own stops the node: what it found wrong may
be what the next answer is made of. Everything unknown answers UNIMPLEMENTED.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from aetcd.rpc import rpc_pb2

from node.api import auth, cluster, kv, lease, maintenance, snapshot, watch
from node.api.backend import Backend
from node.api.convert import Message
from node.api.errors import NO_LEADER, NOT_FOR_LEARNER, ApiError
from node.config import Endpoint
from node.mvcc.errors import RequestError

Method = Callable[[Backend, Message], Awaitable[Message]]
Stream = Callable[[Backend, AsyncIterator[Message], Any], Awaitable[None]]
"""A method whose client streams, and which writes its answers to the call's context."""

GRPC_OVERHEAD_BYTES = 512 * 1024
"""What etcd lets a message have above --max-request-bytes before gRPC itself refuses it."""

KEEPALIVE_INTERVAL_MS_MIN = 5000
"""As etcd: clients that ping more often are hung up on, those that keep to it are not."""

LEADERLESS_TIMEOUTS = 3
"""As etcd: a stream that wants a leader ends after this many election timeouts without one."""

UNLIMITED = -1

_METHODS: dict[str, tuple[Any, Method]] = {
    **kv.METHODS,
    **maintenance.METHODS,
    **cluster.METHODS,
    **lease.METHODS,
    **auth.METHODS,
}
_STREAMS: dict[str, tuple[Any, Stream]] = {**watch.STREAMS, **lease.STREAMS, **snapshot.STREAMS}


class Services(grpc.GenericRpcHandler):  # type: ignore[misc]
    """All methods of a node. `on_crash` is told of an exception that must stop the node."""

    def __init__(self, backend: Backend, on_crash: Callable[[BaseException], None]) -> None:
        self._handlers = {
            path: grpc.unary_unary_rpc_method_handler(
                _guarded(backend, path, method, on_crash),
                request_deserializer=message.FromString,
                response_serializer=_serialize,
            )
            for path, (message, method) in _METHODS.items()
        }
        self._handlers |= {
            path: grpc.stream_stream_rpc_method_handler(
                _guarded_stream(backend, path, stream, on_crash),
                request_deserializer=message.FromString,
                response_serializer=_serialize,
            )
            for path, (message, stream) in _STREAMS.items()
        }

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a call; None answers UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)


def make_server(backend: Backend, on_crash: Callable[[BaseException], None]) -> grpc.aio.Server:
    """Return a server that has no port yet and is not started."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", backend.max_request_bytes + GRPC_OVERHEAD_BYTES),
            ("grpc.max_send_message_length", UNLIMITED),
            ("grpc.so_reuseport", 0),  # a second node on the same port must fail, not share it
            ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_INTERVAL_MS_MIN),
        ]
    )
    server.add_generic_rpc_handlers((Services(backend, on_crash),))
    return server


def bind(
    server: grpc.aio.Server, where: Endpoint, credentials: grpc.ServerCredentials | None
) -> None:
    """Bind a gRPC port; raises OSError when it is taken."""
    host = f"[{where.host}]" if ":" in where.host else where.host
    try:
        if where.tls:
            server.add_secure_port(f"{host}:{where.port}", credentials)
        else:
            server.add_insecure_port(f"{host}:{where.port}")
    except RuntimeError as error:
        raise OSError(f"cannot listen for clients: {error}") from error


def _serialize(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data


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
        except grpc.aio.UsageError:
            return  # the client went away in the middle of an answer
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
