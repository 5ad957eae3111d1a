"""etcd's Maintenance service: status, hashes, alarms and leadership transfer of one node."""

from __future__ import annotations

import asyncio

from aetcd.rpc import rpc_pb2
from crc32c import crc32c

from squall.node.api.backend import Backend, header
from squall.node.api.convert import Message
from squall.node.api.errors import NO_LEADER
from squall.node.api.proposing import apply
from squall.node.bootstrap.etcd_db import about_bytes
from squall.node.config.settings import VERSION
from squall.node.mvcc.alarms import AlarmKind, Raised
from squall.node.mvcc.commands import Alarm, AlarmAction
from squall.node.mvcc.results import AlarmResult


async def status(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.Status, from this node's point of view alone."""
    del message
    at = backend.status()
    size = about_bytes(backend.store)
    return rpc_pb2.StatusResponse(
        header=header(backend),
        version=VERSION,
        dbSize=size,
        dbSizeInUse=size,
        leader=at.leader,
        raftIndex=at.commit,
        raftTerm=at.term,
        raftAppliedIndex=at.applied,
        errors=_errors(backend),
        isLearner=at.is_learner,
    )


def _errors(backend: Backend) -> list[str]:
    """Return etcd's texts for what is wrong: no leader, and every alarm."""
    alarms = [
        f"memberID:{raised.member_id} alarm:{AlarmKind(raised.kind).name} "
        for raised in backend.store.alarms
    ]
    return alarms if backend.status().leader else [NO_LEADER, *alarms]


async def hash_(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.Hash: a checksum of everything this node stores."""
    del message
    checksum = 0
    head = header(backend)
    for piece in backend.store.pieces():
        checksum = crc32c(piece, checksum)
        await asyncio.sleep(0)  # lets other tasks run
    return rpc_pb2.HashResponse(header=head, hash=checksum)


async def hash_kv(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.HashKV."""
    # Takes long for a large store, and reads only immutable versions: off the event loop.
    result = await asyncio.to_thread(backend.store.hasher(message.revision))
    return rpc_pb2.HashKVResponse(
        header=header(backend, result.revision),
        hash=result.hash,
        compact_revision=result.compact_revision,
    )


async def defragment(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.Defragment: the store has no file to defragment."""
    del message
    return rpc_pb2.DefragmentResponse(header=header(backend))


async def alarm(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.Alarm: list, raise or clear; returns the alarms that changed."""
    wanted = AlarmKind(message.alarm)
    if message.action == AlarmAction.GET:
        await backend.read_barrier()
        alarms = tuple(
            raised for raised in backend.store.alarms if wanted in (AlarmKind.NONE, raised.kind)
        )
    else:
        command = Alarm(message.action, message.memberID, wanted)
        alarms = (await apply(backend, command, AlarmResult)).changed
    return rpc_pb2.AlarmResponse(header=header(backend), alarms=map(_alarm_member, alarms))


async def move_leader(backend: Backend, message: Message) -> Message:
    """Serve Maintenance.MoveLeader; only the leader does."""
    await backend.move_leader(message.targetID)
    return rpc_pb2.MoveLeaderResponse(header=header(backend))


def _alarm_member(raised: Raised) -> Message:
    return rpc_pb2.AlarmMember(memberID=raised.member_id, alarm=raised.kind)


METHODS = {
    "/etcdserverpb.Maintenance/Status": (rpc_pb2.StatusRequest, status),
    "/etcdserverpb.Maintenance/Hash": (rpc_pb2.HashRequest, hash_),
    "/etcdserverpb.Maintenance/HashKV": (rpc_pb2.HashKVRequest, hash_kv),
    "/etcdserverpb.Maintenance/Defragment": (rpc_pb2.DefragmentRequest, defragment),
    "/etcdserverpb.Maintenance/Alarm": (rpc_pb2.AlarmRequest, alarm),
    "/etcdserverpb.Maintenance/MoveLeader": (rpc_pb2.MoveLeaderRequest, move_leader),
}
