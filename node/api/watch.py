"""etcd's Watch service: requests of a client in, events of all its watches out, on one stream.

The next response is built only when flow control has let the previous one go, so a slow client
bounds its own memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aetcd.rpc import kv_pb2, rpc_pb2

from squall.node.api import convert
from squall.node.api.auth_interceptor import caller
from squall.node.api.backend import Backend, header
from squall.node.api.convert import Message
from squall.node.mvcc.auth.store import Caller, PermissionKind
from squall.node.mvcc.errors import RequestError
from squall.node.mvcc.watch.stream import WatchAnswer, WatchStream
from squall.node.mvcc.watch.watchers import Event, Interest

DENIED = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
"""The cancel reason of a refused watch; etcd's server quotes its own gRPC status."""


async def watch(backend: Backend, requests: AsyncIterator[Message], context: Any) -> None:
    """Serve Watch.Watch until the client closes its side."""
    wake, room = asyncio.Event(), asyncio.Event()
    stream = WatchStream(backend.store.watches, backend.max_request_bytes, wake.set)
    reader = asyncio.create_task(_read(backend, requests, stream, room))
    reader.add_done_callback(lambda _: wake.set())
    notifier = asyncio.create_task(_notify(stream, backend.progress_notify_s))
    try:
        while True:
            wake.clear()
            while (answer := stream.take()) is not None:
                await context.write(_response(backend, answer))
                room.set()
            if reader.done():
                break
            await wake.wait()
        await reader  # raises what ended it
    finally:
        reader.cancel()
        notifier.cancel()
        stream.close()


async def _notify(stream: WatchStream, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        stream.notify_progress()


async def _read(
    backend: Backend, requests: AsyncIterator[Message], stream: WatchStream, room: asyncio.Event
) -> None:
    async for message in requests:
        while stream.is_full:
            room.clear()
            await room.wait()
        _accept(backend, stream, message)


def _accept(backend: Backend, stream: WatchStream, message: Message) -> None:
    kind = message.WhichOneof("request_union")
    if kind == "create_request":
        request = message.create_request
        interest = _interest(request)
        if not _is_permitted(backend, interest):
            stream.refuse(DENIED)
            return
        stream.create(
            interest,
            watch_id=request.watch_id,
            fragment=request.fragment,
            progress_notify=request.progress_notify,
        )
    elif kind == "cancel_request":
        stream.cancel(message.cancel_request.watch_id)
    elif kind == "progress_request":
        stream.request_progress()


def _is_permitted(backend: Backend, interest: Interest) -> bool:
    """Return whether the user may read the range under the current permissions."""
    auth = backend.store.auth
    if not auth.enabled:
        return True
    try:
        # The stream may be older than the last change of permissions: only its user is used.
        now = Caller(caller().user, auth.revision)
        auth.require(now, PermissionKind.READ, interest.key, interest.range_end)
    except RequestError:
        return False
    return True


def _interest(request: Message) -> Interest:
    filters = frozenset(request.filters)
    return Interest(
        key=request.key or b"\0",  # as etcd: no key is the smallest one
        range_end=request.range_end,
        start_revision=max(request.start_revision, 0),
        no_put=rpc_pb2.WatchCreateRequest.NOPUT in filters,
        no_delete=rpc_pb2.WatchCreateRequest.NODELETE in filters,
        prev_kv=request.prev_kv,
    )


def _response(backend: Backend, answer: WatchAnswer) -> Message:
    return rpc_pb2.WatchResponse(
        header=header(backend, answer.revision),
        watch_id=answer.watch_id,
        created=answer.created,
        canceled=answer.canceled,
        compact_revision=answer.compact_revision,
        cancel_reason=answer.cancel_reason,
        fragment=answer.fragment,
        events=[_event(event) for event in answer.events],
    )


def _event(event: Event) -> Message:
    kv, previous = event.kv, event.previous
    if kv.version:
        message = kv_pb2.Event(type=kv_pb2.Event.PUT, kv=convert.key_value(kv))
    else:
        # A delete has only the key and the revision at which it was deleted.
        gone = kv_pb2.KeyValue(key=kv.key, mod_revision=kv.mod_revision)
        message = kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=gone)
    if previous is not None:
        message.prev_kv.CopyFrom(convert.key_value(previous))
    return message


STREAMS = {
    "/etcdserverpb.Watch/Watch": (rpc_pb2.WatchRequest, watch),
}
