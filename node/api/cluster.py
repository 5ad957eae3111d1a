"""etcd's Cluster service: who belongs to the cluster."""

from __future__ import annotations

from aetcd.rpc import rpc_pb2

from node.api.backend import Backend
from node.api.convert import Message
from node.api.headers import header


async def member_list(backend: Backend, message: Message) -> Message:
    """Serve Cluster.MemberList."""
    if message.linearizable:
        await backend.read_barrier()
    return rpc_pb2.MemberListResponse(
        header=header(backend),
        members=[
            rpc_pb2.Member(
                ID=member.id,
                name=member.name,
                peerURLs=member.peer_urls,
                clientURLs=member.client_urls,
                isLearner=member.is_learner,
            )
            for member in backend.members()
        ],
    )


METHODS = {
    "/etcdserverpb.Cluster/MemberList": (rpc_pb2.MemberListRequest, member_list),
}
