"""The interface between etcd's services and a node, and the views they show of it.

`squall.node.server.shell.Server` implements `Backend`; tests bring a store without Raft.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from aetcd.rpc import rpc_pb2

from squall.node.api.convert import Message
from squall.node.api.passwords import Passwords
from squall.node.mvcc.store import Store
from squall.node.raft.membership import Change


class MemberView(msgspec.Struct, frozen=True):
    """A member as MemberList shows it; without a name it has not started yet."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool = False


class StatusView(msgspec.Struct, frozen=True):
    """The Raft state of a node. `leader` is a member id, 0 while it is unknown."""

    role: str
    term: int
    leader: int
    commit: int
    applied: int
    last_index: int
    is_learner: bool = False


class LeaseView(msgspec.Struct, frozen=True):
    """A lease as the leader sees it, in seconds. `ttl_s` is -1 when there is no such lease."""

    ttl_s: int
    granted_ttl_s: int = 0
    keys: tuple[bytes, ...] = ()


class LeaseForwarding(Protocol):
    """Lease requests that only the leader can answer, made on any member."""

    async def keep_alive(self, lease_id: int) -> int:
        """Renew a lease; returns its TTL in seconds, 0 without one. Raises ApiError."""
        ...

    async def time_to_live(self, lease_id: int) -> LeaseView:
        """Return a lease's remaining TTL and its keys. Raises ApiError."""
        ...


class Backend(Protocol):
    """A running node."""

    cluster_id: int
    member_id: int
    max_txn_ops: int
    max_request_bytes: int
    election_timeout_s: float
    progress_notify_s: float
    quota_bytes: int
    min_lease_ttl_s: int
    store: Store

    @property
    def lease_forwarder(self) -> LeaseForwarding:
        """Renewals and remaining times of leases."""
        ...

    @property
    def passwords(self) -> Passwords:
        """Hashing and checking of users' passwords."""
        ...

    def new_lease_id(self) -> int:
        """Return a random id for a lease; a grant under an id in use is refused."""
        ...

    async def propose(self, command: bytes) -> Any:
        """Commit a command and return the result of applying it; raises ApiError."""
        ...

    async def read_barrier(self) -> None:
        """Return once the store has every write acknowledged before the call; raises ApiError."""
        ...

    async def change_members(self, change: Change) -> Any:
        """Change the members and return the new ones; raises ApiError."""
        ...

    async def move_leader(self, target: int) -> None:
        """Transfer leadership; returns once member `target` leads. Raises ApiError."""
        ...

    def new_member_id(self, peer_urls: Sequence[str]) -> int:
        """Return an id for a member that is to be added."""
        ...

    def status(self) -> StatusView:
        """Return this node's Raft state."""
        ...

    def members(self) -> tuple[MemberView, ...]:
        """Return the applied membership, ordered by id."""
        ...


def header(backend: Backend, revision: int | None = None) -> Message:
    """Return the ResponseHeader of an answer by this node; `revision` defaults to the store's."""
    return rpc_pb2.ResponseHeader(
        cluster_id=backend.cluster_id,
        member_id=backend.member_id,
        revision=backend.store.revision if revision is None else revision,
        raft_term=backend.status().term,
    )
