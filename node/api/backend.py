"""What the services need of a node. The asyncio server is one; a test may bring its own."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from node.mvcc.store import Store


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


class Backend(Protocol):
    """A running node."""

    cluster_id: int
    member_id: int
    max_txn_ops: int
    max_request_bytes: int
    election_timeout_s: float
    progress_notify_s: float
    store: Store

    async def propose(self, command: bytes) -> Any:
        """Take a command through the log and return its result; raises ApiError."""
        ...

    async def read_barrier(self) -> None:
        """Return once the store has everything acknowledged before the call; raises ApiError."""
        ...

    def status(self) -> StatusView:
        """Return where this node stands."""
        ...

    def members(self) -> tuple[MemberView, ...]:
        """Return the members of the cluster as this node knows them, by id."""
        ...
