"""Lease renewals and remaining times, forwarded to the leader from any member.

Only the leader measures leases. It renews one only after a majority has confirmed, after the
request arrived, that it still leads. A later leader gives the lease its full TTL later than that,
so a renewal that was acknowledged holds under every leader. A member that does not lead asks the
leader, repeatedly, until it answers or the request times out; renewing twice is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from squall.node.api.backend import LeaseView
from squall.node.api.errors import NO_LEADER, TIMEOUT, TOO_MANY_REQUESTS, ApiError
from squall.node.mvcc.lease.lessor import Lessor
from squall.node.mvcc.store import Store
from squall.node.raft.messages import LeaseQuery, LeaseReply, Message

RETRY_S = 0.5
"""Between two requests to the leader, as etcd."""
MAX_ANSWERING = 4096
"""Requests of other members in progress; further ones are dropped, and repeated by the sender."""
MAX_ASKING = 16_384
"""Requests of own clients that wait for the leader; further ones are refused."""
GONE = -1


class LeaseNode(Protocol):
    """What forwarding needs of its node."""

    member_id: int
    store: Store
    lessor: Lessor

    async def read_barrier(self) -> None:
        """Return once the store has every write acknowledged before the call; raises ApiError."""
        ...

    def leader(self) -> int:
        """Return the leader's id; 0 while it is unknown."""
        ...

    def now_us(self) -> int:
        """Return the node's monotonic clock."""
        ...

    def send(self, target: int, message: Message) -> None:
        """Send a message to another member; it may be lost."""
        ...


class LeaseForwarder:
    """Serves lease requests of its own clients, and of other members while this one leads."""

    def __init__(self, node: LeaseNode, nonce: int, timeout_s: float) -> None:
        self._node = node
        self._nonce = nonce
        self._timeout_s = timeout_s
        self._sequence = 0
        self._pending: dict[int, asyncio.Future[LeaseView]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def keep_alive(self, lease_id: int) -> int:
        """Renew a lease; returns its TTL in seconds, 0 without one. Raises ApiError."""
        return max(0, (await self._ask(lease_id, renew=True)).ttl_s)

    async def time_to_live(self, lease_id: int) -> LeaseView:
        """Return a lease's remaining TTL and its keys. Raises ApiError."""
        return await self._ask(lease_id, renew=False)

    def receive(self, message: LeaseQuery | LeaseReply) -> None:
        """Process another member's request or answer."""
        if isinstance(message, LeaseReply):
            future = self._pending.get(message.sequence)
            if message.nonce == self._nonce and future is not None and not future.done():
                future.set_result(
                    LeaseView(message.ttl_s, message.granted_ttl_s, tuple(message.keys))
                )
        elif self._node.lessor.term and len(self._answering) < MAX_ANSWERING:
            task = asyncio.ensure_future(self._answer(message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    def close(self) -> None:
        """Cancel the requests in progress."""
        for task in self._answering:
            task.cancel()

    async def _ask(self, lease_id: int, *, renew: bool) -> LeaseView:
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    view = await self._attempt(lease_id, renew)
                    if view is not None:
                        return view
        except TimeoutError:
            raise ApiError(TIMEOUT if self._node.leader() else NO_LEADER) from None

    async def _attempt(self, lease_id: int, renew: bool) -> LeaseView | None:
        """Try once, locally or at the leader; None when there was no answer."""
        node = self._node
        if node.lessor.term:
            return await self._serve(lease_id, renew)
        leader = node.leader()
        if not leader or leader == node.member_id:
            await asyncio.sleep(RETRY_S / 10)
            return None
        if len(self._pending) >= MAX_ASKING:
            raise ApiError(TOO_MANY_REQUESTS)
        self._sequence = sequence = self._sequence + 1
        future: asyncio.Future[LeaseView] = asyncio.get_running_loop().create_future()
        self._pending[sequence] = future
        node.send(leader, LeaseQuery(node.member_id, self._nonce, sequence, lease_id, renew))
        return await _within(RETRY_S, future, lambda: self._pending.pop(sequence))

    async def _serve(self, lease_id: int, renew: bool) -> LeaseView | None:
        """Answer as the leader; None when this node no longer leads."""
        node = self._node
        term = node.lessor.term
        await node.read_barrier()
        if node.lessor.term != term:
            return None
        lease = node.store.leases.find(lease_id)
        if lease is None:
            return LeaseView(GONE)
        if renew:
            return LeaseView(node.lessor.renew(lease_id, node.now_us()))
        left_s = node.lessor.remaining_s(lease_id, node.now_us())
        return LeaseView(left_s, lease.ttl_s, tuple(node.store.leases.keys_of(lease_id)))

    async def _answer(self, ask: LeaseQuery) -> None:
        try:
            view = await self._serve(ask.lease_id, ask.renew)
        except ApiError:
            return  # the member that asked repeats its request
        if view is not None:
            me = self._node.member_id
            answer = LeaseReply(
                me, ask.nonce, ask.sequence, view.ttl_s, view.granted_ttl_s, list(view.keys)
            )
            self._node.send(ask.sender, answer)


async def _within(
    seconds: float, answer: Awaitable[LeaseView], always: Callable[[], object]
) -> LeaseView | None:
    try:
        return await asyncio.wait_for(answer, seconds)
    except TimeoutError:
        return None
    finally:
        always()
