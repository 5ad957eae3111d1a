"""What only the leader knows of leases, asked from any member.

A leader renews a lease only after a majority has confirmed, since the client asked, that it leads:
whoever leads after it gave the lease its full time later than that, so the promise holds there too.
A member that does not lead asks the one that does, again and again until it answers or the request
has waited too long; renewing twice does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from squall.node.api.backend import LeaseView
from squall.node.api.errors import NO_LEADER, TIMEOUT, TOO_MANY_REQUESTS, ApiError
from squall.node.mvcc.lease.lessor import Lessor
from squall.node.mvcc.store import Store
from squall.node.raft.messages import LeaseAsk, LeaseTold, Message

RETRY_S = 0.5
"""Between two attempts to ask the leader, as etcd's."""
MAX_ANSWERING = 4096
"""Other members' questions in work; more are dropped, and asked again."""
MAX_ASKING = 16_384
"""Own clients' questions that wait for the leader's answer; more are refused."""
GONE = -1


class Node(Protocol):
    """What the desk needs of its node."""

    member_id: int
    store: Store
    lessor: Lessor

    async def read_barrier(self) -> None:
        """Return once the node has everything acknowledged before; raises ApiError."""
        ...

    def leader(self) -> int:
        """Return the leader's id; 0 when it is not known."""
        ...

    def now_us(self) -> int:
        """Return the node's own monotonic clock."""
        ...

    def send(self, target: int, message: Message) -> None:
        """Send a message to another member, perhaps in vain."""
        ...


class LeaseDesk:
    """Answers questions about leases, its own clients' and other members'."""

    def __init__(self, node: Node, nonce: int, timeout_s: float) -> None:
        self._node = node
        self._nonce = nonce
        self._timeout_s = timeout_s
        self._sequence = 0
        self._asked: dict[int, asyncio.Future[LeaseView]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def keep_alive(self, lease_id: int) -> int:
        """Renew a lease; returns its time in seconds, 0 when it is gone. Raises ApiError."""
        return max(0, (await self._ask(lease_id, renew=True)).ttl_s)

    async def time_to_live(self, lease_id: int) -> LeaseView:
        """Return what a lease has left, and its keys. Raises ApiError."""
        return await self._ask(lease_id, renew=False)

    def receive(self, message: LeaseAsk | LeaseTold) -> None:
        """Take in another member's question or answer."""
        if isinstance(message, LeaseTold):
            future = self._asked.get(message.sequence)
            if message.nonce == self._nonce and future is not None and not future.done():
                future.set_result(
                    LeaseView(message.ttl_s, message.granted_ttl_s, tuple(message.keys))
                )
        elif self._node.lessor.term and len(self._answering) < MAX_ANSWERING:
            task = asyncio.ensure_future(self._answer(message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    def close(self) -> None:
        """Give up what is asked."""
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
        """Ask once, here or there; None when that came to nothing."""
        node = self._node
        if node.lessor.term:
            return await self._look(lease_id, renew)
        leader = node.leader()
        if not leader or leader == node.member_id:
            await asyncio.sleep(RETRY_S / 10)
            return None
        if len(self._asked) >= MAX_ASKING:
            raise ApiError(TOO_MANY_REQUESTS)
        self._sequence = sequence = self._sequence + 1
        future: asyncio.Future[LeaseView] = asyncio.get_running_loop().create_future()
        self._asked[sequence] = future
        node.send(leader, LeaseAsk(node.member_id, self._nonce, sequence, lease_id, renew))
        return await _within(RETRY_S, future, lambda: self._asked.pop(sequence))

    async def _look(self, lease_id: int, renew: bool) -> LeaseView | None:
        """Look as the leader; None when this node turns out to lead no longer."""
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

    async def _answer(self, ask: LeaseAsk) -> None:
        try:
            view = await self._look(ask.lease_id, ask.renew)
        except ApiError:
            return  # the member that asked will ask again
        if view is not None:
            me = self._node.member_id
            told = LeaseTold(
                me, ask.nonce, ask.sequence, view.ttl_s, view.granted_ttl_s, list(view.keys)
            )
            self._node.send(ask.sender, told)


async def _within(
    seconds: float, answer: Awaitable[LeaseView], finally_: Callable[[], object]
) -> LeaseView | None:
    try:
        return await asyncio.wait_for(answer, seconds)
    except TimeoutError:
        return None
    finally:
        finally_()
