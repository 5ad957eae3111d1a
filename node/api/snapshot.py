"""Maintenance.Snapshot: streams the store as a database file of etcd's.

The file is the store at one applied index: versions are immutable, and the list of them is copied
first, so writes go on meanwhile. Memory is that list, the plan of the pages and one piece of the
file; a slow client delays only its own stream. The list keeps versions alive that the store has
compacted since, so the number of streams is bounded, and one whose client does not read is ended.
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
"""Concurrent snapshots on one node; one more is refused."""
STALLED_S: Final = 60.0
"""A stream ends when its client has not taken one blob in this time."""

_in_progress: set[asyncio.Task[Any]] = set()


async def snapshot(backend: Backend, requests: AsyncIterator[Message], context: Any) -> None:
    """Serve Maintenance.Snapshot: blobs of the file, and last the SHA-256 of all before it."""
    async for _ in requests:
        break
    task = asyncio.current_task()
    assert task is not None
    if len(_in_progress) >= MAX_STREAMS:
        raise ApiError(TOO_MANY_REQUESTS)
    _in_progress.add(task)
    try:
        await _stream(backend, context)
    except TimeoutError:
        raise ApiError(TIMEOUT) from None
    finally:
        _in_progress.discard(task)


async def _stream(backend: Backend, context: Any) -> None:
    head = header(backend)
    # Measuring every version takes long and reads only immutable ones: off the event loop.
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
    """Capture the content of the file at the current applied index."""
    store = backend.store
    history = etcd_db.History(store.revision, store.compacted, store.versions())
    members = [
        Member(member.id, member.name, member.peer_urls, member.client_urls, member.is_learner)
        for member in backend.members()
    ]
    tables = etcd_db.tables(store.leases, store.alarms, store.auth.state())
    return etcd_db.buckets(history, backend.status().applied, members, tables)


def _blobs(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Split and join pieces into blobs, all of the maximal size but the last."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= BLOB_BYTES_MAX:
            yield bytes(waiting[:BLOB_BYTES_MAX])
            del waiting[:BLOB_BYTES_MAX]
    if waiting:
        yield bytes(waiting)
