"""Maintenance.Snapshot: the store as a database file of etcd's, streamed as it is made.

What is streamed is the store at one applied index: the versions are immutable, and the list of them
is copied before anything else happens, so writes go on meanwhile. Beside that list no more is held
than the plan of the pages and one piece of the file; a slow client slows only its own stream. But
that list keeps alive what the store has compacted since: so only a few streams may be under way at
once, and one whose client has stopped reading is ended.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final

from aetcd.rpc import rpc_pb2

from squall.node.api.backend import Backend, header
from squall.node.api.convert import Message
from squall.node.api.errors import TIMEOUT, TOO_MANY_REQUESTS, ApiError
from squall.node.bootstrap import etcd_db
from squall.node.bootstrap.bolt import writing
from squall.node.bootstrap.bolt.writing import Bucket
from squall.node.raft.membership import Member

BLOB_BYTES_MAX: Final = 32 * 1024
"""As etcd's."""
MAX_STREAMS: Final = 8
"""Snapshots under way at once on one node; one more is refused."""
STALLED_S: Final = 60.0
"""A client that has not taken one blob in this time will not take the rest."""

_under_way: set[asyncio.Task[Any]] = set()


async def snapshot(backend: Backend, requests: AsyncIterator[Message], context: Any) -> None:
    """Serve Maintenance.Snapshot: blobs of the file, and last the SHA-256 of all before it."""
    async for _ in requests:
        break
    task = asyncio.current_task()
    assert task is not None
    if len(_under_way) >= MAX_STREAMS:
        raise ApiError(TOO_MANY_REQUESTS)
    _under_way.add(task)
    try:
        await _stream(backend, context)
    except TimeoutError:
        raise ApiError(TIMEOUT) from None
    finally:
        _under_way.discard(task)


async def _stream(backend: Backend, context: Any) -> None:
    head = header(backend)
    # Measuring every version takes a while and needs nothing that changes: off the event loop.
    planned = await asyncio.to_thread(writing.plan, _buckets(backend))
    remaining = planned.size_bytes
    checksum = hashlib.sha256()
    for blob in _blobs(writing.pages(planned)):
        checksum.update(blob)
        remaining -= len(blob)
        async with asyncio.timeout(STALLED_S):
            await context.write(
                rpc_pb2.SnapshotResponse(header=head, remaining_bytes=remaining, blob=blob)
            )
    assert remaining == 0, remaining
    await context.write(rpc_pb2.SnapshotResponse(header=head, blob=checksum.digest()))


STREAMS = {
    "/etcdserverpb.Maintenance/Snapshot": (rpc_pb2.SnapshotRequest, snapshot),
}


def _buckets(backend: Backend) -> list[Bucket]:
    """Take hold of everything the file will say, now."""
    store = backend.store
    history = etcd_db.History(store.revision, store.compacted, store.versions())
    members = [
        Member(member.id, member.name, member.peer_urls, member.client_urls, member.is_learner)
        for member in backend.members()
    ]
    tables = etcd_db.tables(store.leases, store.alarms, store.auth.state())
    return etcd_db.buckets(history, backend.status().applied, members, tables)


def _blobs(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut and join pieces into blobs, all as large as may be but the last."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= BLOB_BYTES_MAX:
            yield bytes(waiting[:BLOB_BYTES_MAX])
            del waiting[:BLOB_BYTES_MAX]
    if waiting:
        yield bytes(waiting)
