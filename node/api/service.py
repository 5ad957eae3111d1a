"""The gRPC front: one generic handler that finds a method by its path.

A refusal becomes its gRPC status. An assertion of our own stops the node: what it found wrong may
be what the next answer is made of. Everything unknown answers UNIMPLEMENTED.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from node.api import cluster, kv, maintenance
from node.api.backend import Backend
from node.api.convert import Message
from node.api.errors import NO_LEADER, ApiError
from node.mvcc.errors import RequestError

Method = Callable[[Backend, Message], Awaitable[Message]]

GRPC_OVERHEAD_BYTES = 512 * 1024
"""What etcd lets a message have above --max-request-bytes before gRPC itself refuses it."""

KEEPALIVE_INTERVAL_MS_MIN = 5000
"""As etcd: clients that ping more often are hung up on, those that keep to it are not."""

UNLIMITED = -1

_METHODS: dict[str, tuple[Any, Method]] = {
    **kv.METHODS,
    **maintenance.METHODS,
    **cluster.METHODS,
}


class Services(grpc.GenericRpcHandler):  # type: ignore[misc]
    """All methods of a node. `on_crash` is told of an exception that must stop the node."""

    def __init__(self, backend: Backend, on_crash: Callable[[BaseException], None]) -> None:
        self._handlers = {
            path: grpc.unary_unary_rpc_method_handler(
                _guarded(backend, method, on_crash),
                request_deserializer=message.FromString,
                response_serializer=_serialize,
            )
            for path, (message, method) in _METHODS.items()
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


def _serialize(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _guarded(
    backend: Backend, method: Method, on_crash: Callable[[BaseException], None]
) -> Callable[[Message, Any], Awaitable[Message]]:
    async def call(message: Message, context: Any) -> Message:
        try:
            if not backend.status().leader and _wants_leader(context):
                raise ApiError(NO_LEADER)
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


def _wants_leader(context: Any) -> bool:
    """Tell whether the client asked to be refused at once while there is no leader."""
    metadata = context.invocation_metadata() or ()
    return any(key == "hasleader" and value == "true" for key, value in metadata)
