"""etcd's Lease service: grants and revocations go through the log, the leader measures time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aetcd.rpc import rpc_pb2

from squall.node.api.auth_interceptor import caller
from squall.node.api.backend import Backend, header
from squall.node.api.convert import Message
from squall.node.api.errors import ApiError
from squall.node.api.proposing import apply
from squall.node.mvcc.auth.store import PermissionKind
from squall.node.mvcc.commands import LeaseGrant, LeaseRevoke
from squall.node.mvcc.errors import LEASE_TTL_TOO_LARGE
from squall.node.mvcc.lease.table import MAX_TTL_S
from squall.node.mvcc.results import LeaseResult


async def grant(backend: Backend, message: Message) -> Message:
    """Serve Lease.LeaseGrant; id 0 lets the node choose one, a short TTL is raised."""
    if message.TTL > MAX_TTL_S:
        raise ApiError(LEASE_TTL_TOO_LARGE)
    lease_id = message.ID or backend.new_lease_id()
    command = LeaseGrant(lease_id, max(message.TTL, backend.min_lease_ttl_s))
    result = await apply(backend, command, LeaseResult)
    return rpc_pb2.LeaseGrantResponse(
        header=header(backend, result.revision), ID=result.id, TTL=result.ttl_s
    )


async def revoke(backend: Backend, message: Message) -> Message:
    """Serve Lease.LeaseRevoke."""
    result = await apply(backend, LeaseRevoke(message.ID), LeaseResult)
    return rpc_pb2.LeaseRevokeResponse(header=header(backend, result.revision))


async def time_to_live(backend: Backend, message: Message) -> Message:
    """Serve Lease.LeaseTimeToLive; an unknown lease is no error but has -1 to live."""
    view = await backend.lease_forwarder.time_to_live(message.ID)
    if message.keys and backend.store.auth.enabled:
        for key in view.keys:
            backend.store.auth.require(caller(), PermissionKind.READ, key)
    return rpc_pb2.LeaseTimeToLiveResponse(
        header=header(backend),
        ID=message.ID,
        TTL=view.ttl_s,
        grantedTTL=view.granted_ttl_s,
        keys=view.keys if message.keys and view.ttl_s >= 0 else (),
    )


async def leases(backend: Backend, message: Message) -> Message:
    """Serve Lease.LeaseLeases from what this node has applied."""
    del message
    return rpc_pb2.LeaseLeasesResponse(
        header=header(backend),
        leases=[rpc_pb2.LeaseStatus(ID=lease.id) for lease in backend.store.leases],
    )


async def keep_alive(backend: Backend, requests: AsyncIterator[Message], context: Any) -> None:
    """Serve Lease.LeaseKeepAlive: one answer a request; an unknown lease has 0 left."""
    async for message in requests:
        # Taken before the renewal: the keys of an expired lease were deleted at this revision or
        # earlier, or a later header has the revision.
        before = header(backend)
        ttl_s = await backend.lease_forwarder.keep_alive(message.ID)
        await context.write(rpc_pb2.LeaseKeepAliveResponse(header=before, ID=message.ID, TTL=ttl_s))


METHODS = {
    "/etcdserverpb.Lease/LeaseGrant": (rpc_pb2.LeaseGrantRequest, grant),
    "/etcdserverpb.Lease/LeaseRevoke": (rpc_pb2.LeaseRevokeRequest, revoke),
    "/etcdserverpb.Lease/LeaseTimeToLive": (rpc_pb2.LeaseTimeToLiveRequest, time_to_live),
    "/etcdserverpb.Lease/LeaseLeases": (rpc_pb2.LeaseLeasesRequest, leases),
}
STREAMS = {
    "/etcdserverpb.Lease/LeaseKeepAlive": (rpc_pb2.LeaseKeepAliveRequest, keep_alive),
}
