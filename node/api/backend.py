"""What the services need of a node. The asyncio server is one; a test may bring its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from squall.node.mvcc.store import Store
from squall.node.raft.membership import Change

if TYPE_CHECKING:
    from squall.node.api.auth_interceptor import Door


class MemberView(msgspec.Struct, frozen=True):
    """A member as MemberList shows it; without a name it has not started yet."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool = False


class StatusView(msgspec.Struct, frozen=True):
    """Where this node stands. `leader` is a member id, 0 when it knows none."""

    role: str
    term: int
    leader: int
    commit: int
    applied: int
    last_index: int
    is_learner: bool = False


class LeaseView(msgspec.Struct, frozen=True):
    """A lease as the leader sees it, in seconds. `ttl_s` is -1 when it is gone."""

    ttl_s: int
    granted_ttl_s: int = 0
    keys: tuple[bytes, ...] = ()


class Leasing(Protocol):
    """Whom to ask how much time leases have."""

    async def keep_alive(self, lease_id: int) -> int:
        """Renew a lease; returns its time in seconds, 0 when it is gone. Raises ApiError."""
        ...

    async def time_to_live(self, lease_id: int) -> LeaseView:
        """Return what a lease has left, and its keys. Raises ApiError."""
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
    def leasing(self) -> Leasing:
        """Whom to ask how much time leases have."""
        ...

    @property
    def door(self) -> Door:
        """Who finds out who calls."""
        ...

    def new_lease_id(self) -> int:
        """Return an id no lease has, for all anybody knows."""
        ...

    async def propose(self, command: bytes) -> Any:
        """Take a command through the log and return its result; raises ApiError."""
        ...

    async def read_barrier(self) -> None:
        """Return once the store has everything acknowledged before the call; raises ApiError."""
        ...

    async def change_members(self, change: Change) -> Any:
        """Change the members and return the new ones; raises ApiError."""
        ...

    async def move_leader(self, target: int) -> None:
        """Return once `target` leads in this node's place; raises ApiError."""
        ...

    def new_member_id(self, peer_urls: Sequence[str]) -> int:
        """Return an id for a member that is to be added."""
        ...

    def status(self) -> StatusView:
        """Return where this node stands."""
        ...

    def members(self) -> tuple[MemberView, ...]:
        """Return the members of the cluster as this node knows them, by id."""
        ...
