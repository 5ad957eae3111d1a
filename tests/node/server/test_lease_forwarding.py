"""Questions about leases find the leader, and a leader that is none renews nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from squall.node.api.errors import NO_LEADER, ApiError
from squall.node.mvcc.commands import LeaseGrant, encode
from squall.node.mvcc.lease.lessor import US_PER_S, Lessor
from squall.node.mvcc.store import Store
from squall.node.raft.messages import LeaseQuery, Message
from squall.node.server.lease_forwarding import LeaseForwarder

TERM = 3


class Member:
    """A member whose leadership, clock and read barrier the test decides."""

    def __init__(self, member_id: int, network: dict[int, Member], timeout_s: float = 5.0) -> None:
        self.member_id = member_id
        self.network = network
        self.store = Store()
        self.store.apply(1, TERM, encode(LeaseGrant(7, 10)))
        self.lessor = Lessor(self.store.leases)
        self.desk = LeaseForwarder(self, nonce=member_id, timeout_s=timeout_s)
        self.known_leader = 1
        self.time_us = 0
        self.during_barrier: Callable[[], None] = lambda: None
        self.sent: list[Message] = []
        network[member_id] = self

    async def read_barrier(self) -> None:
        await asyncio.sleep(0)
        self.during_barrier()

    def leader(self) -> int:
        return self.known_leader

    def now_us(self) -> int:
        return self.time_us

    def send(self, target: int, message: Message) -> None:
        self.sent.append(message)
        if target in self.network:
            self.network[target].desk.receive(message)  # type: ignore[arg-type]


def pair() -> tuple[Member, Member]:
    network: dict[int, Member] = {}
    leader, follower = Member(1, network), Member(2, network)
    leader.lessor.set_leading_term(TERM, 0)
    return leader, follower


async def test_a_follower_asks_the_leader() -> None:
    leader, follower = pair()
    leader.time_us = 4 * US_PER_S
    view = await follower.desk.time_to_live(7)
    assert (view.ttl_s, view.granted_ttl_s) == (6, 10)
    assert await follower.desk.keep_alive(7) == 10
    assert (await leader.desk.time_to_live(7)).ttl_s == 10
    assert await follower.desk.keep_alive(8) == 0
    assert (await follower.desk.time_to_live(8)).ttl_s == -1


async def test_who_loses_its_office_while_it_confirms_it_renews_nothing() -> None:
    leader, follower = pair()

    def deposed() -> None:
        leader.lessor.set_leading_term(0, 0)
        leader.known_leader = follower.known_leader = 2
        follower.lessor.set_leading_term(TERM + 1, 0)

    leader.during_barrier = deposed
    assert await leader.desk.keep_alive(7) == 10
    assert [type(message) for message in leader.sent] == [LeaseQuery], "it asked its successor"


async def test_without_a_leader_nobody_is_told_anything() -> None:
    alone = Member(1, {}, timeout_s=0.05)
    alone.known_leader = 0
    with pytest.raises(ApiError) as refusal:
        await alone.desk.keep_alive(7)
    assert refusal.value.text == NO_LEADER


async def test_questions_that_wait_for_an_answer_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("squall.node.server.lease_forwarding.MAX_ASKING", 3)
    _, follower = pair()
    follower.network.clear()  # nobody answers
    waiting = [asyncio.ensure_future(follower.desk.keep_alive(7)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(ApiError, match="too many requests"):
        await follower.desk.keep_alive(7)
    for task in waiting:
        task.cancel()
