"""etcd's Maintenance service: what an operator asks of one node."""

from __future__ import annotations

import grpc
from aetcd.rpc import rpc_pb2
from crc32c import crc32c

from node.api.backend import Backend
from node.api.convert import Message
from node.api.errors import NO_LEADER, ApiError
from node.api.headers import header
from node.config import VERSION


async def status(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.Status, from this node's point of view alone."""
    del message
    at = backend.status()
    size = backend.store.size_bytes
    this = next((m for m in backend.members() if m.id == backend.member_id), None)
    return rpc_pb2.StatusResponse(
        header=header(backend),
        version=VERSION,
        dbSize=size,
        dbSizeInUse=size,
        leader=at.leader,
        raftIndex=at.commit,
        raftTerm=at.term,
        raftAppliedIndex=at.applied,
        errors=[] if at.leader else [NO_LEADER],
        isLearner=this is not None and this.is_learner,
    )


async def hash_(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.Hash: a checksum of everything this node stores."""
    del message
    return rpc_pb2.HashResponse(header=header(backend), hash=crc32c(backend.store.snapshot()))


async def hash_kv(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.HashKV."""
    result = backend.store.hash_kv(message.revision)
    return rpc_pb2.HashKVResponse(
        header=header(backend, result.revision),
        hash=result.hash,
        compact_revision=result.compact_revision,
    )


async def defragment(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.Defragment: the store has no file with holes in it, so this is done."""
    del message
    return rpc_pb2.DefragmentResponse(header=header(backend))


async def alarm(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.Alarm: none can be raised yet, so none is listed."""
    if message.action != rpc_pb2.AlarmRequest.GET:
        raise ApiError("alarms can only be listed", grpc.StatusCode.UNIMPLEMENTED)
    return rpc_pb2.AlarmResponse(header=header(backend))


METHODS = {
    "/etcdserverpb.Maintenance/Status": (rpc_pb2.StatusRequest, status),
    "/etcdserverpb.Maintenance/Hash": (rpc_pb2.HashRequest, hash_),
    "/etcdserverpb.Maintenance/HashKV": (rpc_pb2.HashKVRequest, hash_kv),
    "/etcdserverpb.Maintenance/Defragment": (rpc_pb2.DefragmentRequest, defragment),
    "/etcdserverpb.Maintenance/Alarm": (rpc_pb2.AlarmRequest, alarm),
}
