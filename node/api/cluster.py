"""etcd's Cluster service: the membership and its changes.

The replica decides whether a change is allowed; here URLs are parsed and messages translated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aetcd.rpc import rpc_pb2

from squall.node.api.backend import Backend, MemberView, header
from squall.node.api.convert import Message
from squall.node.api.errors import BAD_MEMBER_URLS, MEMBER_NOT_FOUND, ApiError
from squall.node.config.endpoints import ConfigError, endpoint
from squall.node.raft.membership import ADD, ADD_LEARNER, PROMOTE, REMOVE, UPDATE, Change, Member


async def member_add(backend: Backend, message: Message) -> Message:
    """Serve Cluster.MemberAdd: a voter, or a learner."""
    urls = _urls(message.peerURLs)
    member = Member(backend.new_member_id(urls), "", urls, (), message.isLearner)
    members = await _change(backend, ADD_LEARNER if message.isLearner else ADD, member)
    return rpc_pb2.MemberAddResponse(
        header=header(backend), member=_member(member), members=_members(members)
    )


async def member_remove(backend: Backend, message: Message) -> Message:
    """Serve Cluster.MemberRemove; a node may be asked to remove itself, or the leader."""
    members = await _change(backend, REMOVE, Member(message.ID))
    return rpc_pb2.MemberRemoveResponse(header=header(backend), members=_members(members))


async def member_update(backend: Backend, message: Message) -> Message:
    """Serve Cluster.MemberUpdate: a member's peer URLs."""
    urls = _urls(message.peerURLs)
    old = next((member for member in backend.members() if member.id == message.ID), None)
    if old is None:
        # This node may not have applied its addition yet.
        await backend.read_barrier()
        old = next((member for member in backend.members() if member.id == message.ID), None)
    if old is None:
        raise ApiError(MEMBER_NOT_FOUND)
    updated = Member(old.id, old.name, urls, old.client_urls, old.is_learner)
    members = await _change(backend, UPDATE, updated)
    return rpc_pb2.MemberUpdateResponse(header=header(backend), members=_members(members))


async def member_promote(backend: Backend, message: Message) -> Message:
    """Serve Cluster.MemberPromote: a learner that has caught up becomes a voter."""
    members = await _change(backend, PROMOTE, Member(message.ID))
    return rpc_pb2.MemberPromoteResponse(header=header(backend), members=_members(members))


async def member_list(backend: Backend, message: Message) -> Message:
    """Serve Cluster.MemberList."""
    if message.linearizable:
        await backend.read_barrier()
    return rpc_pb2.MemberListResponse(header=header(backend), members=_members(backend.members()))


async def _change(backend: Backend, kind: int, member: Member) -> tuple[Member, ...]:
    members: tuple[Member, ...] = await backend.change_members(Change(kind, member))
    return members


def _urls(urls: Sequence[str]) -> tuple[str, ...]:
    try:
        for url in urls:
            endpoint(url)
    except ConfigError:
        raise ApiError(BAD_MEMBER_URLS) from None
    if not urls:
        raise ApiError(BAD_MEMBER_URLS)
    return tuple(urls)


def _member(member: Member | MemberView) -> Any:
    return rpc_pb2.Member(
        ID=member.id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    )


def _members(members: Iterable[Member | MemberView]) -> list[Any]:
    return [_member(member) for member in sorted(members, key=lambda each: each.id)]


METHODS = {
    "/etcdserverpb.Cluster/MemberAdd": (rpc_pb2.MemberAddRequest, member_add),
    "/etcdserverpb.Cluster/MemberRemove": (rpc_pb2.MemberRemoveRequest, member_remove),
    "/etcdserverpb.Cluster/MemberUpdate": (rpc_pb2.MemberUpdateRequest, member_update),
    "/etcdserverpb.Cluster/MemberPromote": (rpc_pb2.MemberPromoteRequest, member_promote),
    "/etcdserverpb.Cluster/MemberList": (rpc_pb2.MemberListRequest, member_list),
}
