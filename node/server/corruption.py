"""Whether the members' data is the same: compared at a start, and by the leader now and then.

The log makes every member's history the same, so two that have applied it up to one revision, and
compacted it at one, have one hash; where they have not, there is nothing to compare, and who lags
or has compacted further is no suspect. What differs all the same was changed behind the log's back:
by a disk, by memory, by a bug. As etcd, a member that finds this out before it serves does not
serve, and a leader that finds it out raises the alarm CORRUPT.

etcd 3.4 blames whoever differs from the leader. Here a hash that most members have is taken for the
right one, the leader's own or not; only where there is none does the leader's count.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from squall.node.api.backend import Backend
from squall.node.api.errors import ApiError
from squall.node.mvcc.alarms import AlarmKind, Raised
from squall.node.mvcc.commands import Alarm, AlarmAction, encode
from squall.node.mvcc.errors import RequestError
from squall.node.peer.endpoints import endpoint
from squall.node.peer.handshake import HashAsk, HashTold, ask
from squall.node.raft.quorum import majority
from squall.node.raft.roles import LEADER, ROLE_NAMES
from squall.node.replica import Member, Status
from squall.node.server.logs import Log

ASK_TIMEOUT_S = 7.0
"""For one member to hash its keys and say so: as long as etcd lets a request take."""


class CorruptError(Exception):
    """The data of a member is not what the others have. Says what to do."""


class Host(Backend, Protocol):
    """The node whose data is compared."""

    def replica_status(self) -> Status:
        """Return everything the replica knows of itself."""
        ...


class Comparison:
    """Compares a node's data with the other members'. `hash` is its answer to their questions."""

    def __init__(self, node: Host, log: Log, tls: ssl.SSLContext | None = None) -> None:
        self._node = node
        self._log = log
        self._tls = tls
        self._one_at_a_time = asyncio.Lock()  # however many ask
        self._task: asyncio.Task[None] | None = None

    async def hash(self, revision: int) -> HashTold:
        """Hash this member's keys up to a revision (0: now), off the event loop."""
        node = self._node
        async with self._one_at_a_time:
            try:
                hasher = node.store.hasher(revision)
            except RequestError as refusal:
                return HashTold(
                    node.cluster_id,
                    node.member_id,
                    node.store.revision,
                    node.store.compacted,
                    refusal=refusal.text,
                )
            found = await asyncio.to_thread(hasher)
        return HashTold(
            node.cluster_id,
            node.member_id,
            found.revision,
            found.compact_revision,
            found.hash_revision,
            found.hash,
        )

    async def check_at_start(self) -> None:
        """Compare with whoever answers, before this node serves; raises CorruptError."""
        mine = await self.hash(0)
        others = await self._others(mine.revision)
        for other in others:
            if is_comparable(mine, other) and mine.hash != other.hash:
                raise CorruptError(
                    f"{mine.member:x} found data inconsistency with peers: at revision "
                    f"{mine.revision} its keys hash to {mine.hash}, those of {other.member:x} to "
                    f"{other.hash}. If it is this member that is wrong: remove it (etcdctl member "
                    "remove), delete its data directory, and add it anew. etcdctl endpoint hashkv "
                    "compares all members"
                )
        self._say_checked(mine, others)

    def _say_checked(self, mine: HashTold, others: Sequence[HashTold]) -> None:
        compared = sum(is_comparable(mine, other) for other in others)
        self._log.info("corruption-checked", revision=mine.revision, others=compared)

    def begin(self, every_s: float) -> None:
        """Compare every so often while this node leads; 0 for never."""
        if every_s:
            self._task = asyncio.ensure_future(self._watch(every_s))

    def close(self) -> None:
        """Compare no more."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            if self._leads():
                try:
                    await self._check()
                except ApiError as error:
                    self._log.warn("corruption-unchecked", msg=error.text)

    def _leads(self) -> bool:
        return self._node.status().role == ROLE_NAMES[LEADER]

    async def _check(self) -> None:
        node = self._node
        mine = await self.hash(0)
        others = await self._others(mine.revision)
        # Nobody has applied more than the leader has, once it knows that it still leads.
        await node.read_barrier()
        if not self._leads():
            return
        size = len(node.replica_status().members)
        limit = (node.store.revision, node.store.compacted)
        self._say_checked(mine, others)
        standing = set(node.store.alarms)
        for member in who_differs(mine, others, limit, size):
            self._log.error(
                "corrupt",
                msg="a member's data differs from what the others have",
                member=f"{member:x}",
                revision=mine.revision,
                hashes={f"{each.member:x}": each.hash for each in (mine, *others)},
            )
            if Raised(member, AlarmKind.CORRUPT) not in standing:
                await node.propose(encode(Alarm(AlarmAction.ACTIVATE, member, AlarmKind.CORRUPT)))

    async def _others(self, revision: int) -> list[HashTold]:
        """Ask every other member at once; those that do not answer are left out."""
        node = self._node
        members = [m for m in node.replica_status().members.values() if m.id != node.member_id]
        told = await asyncio.gather(*(self._ask(member, revision) for member in members))
        return [
            answer
            for member, answer in zip(members, told, strict=True)
            if answer and (answer.cluster_id, answer.member) == (node.cluster_id, member.id)
        ]

    async def _ask(self, member: Member, revision: int) -> HashTold | None:
        question = HashAsk(self._node.cluster_id, member.id, revision)
        for url in member.peer_urls:
            told = await ask(endpoint(url), question, HashTold, self._tls, ASK_TIMEOUT_S)
            if told is not None:
                return told
        return None


def is_comparable(mine: HashTold, other: HashTold) -> bool:
    """Tell whether two hashes are of the same revision behind the same compaction."""
    return not other.refusal and (mine.hash_revision, mine.compact_revision) == (
        other.hash_revision,
        other.compact_revision,
    )


def who_differs(
    mine: HashTold, others: Sequence[HashTold], limit: tuple[int, int], size: int
) -> list[int]:
    """Return the members whose data is wrong, in order, as the leader of `size` members sees it.

    `limit` is the leader's revision and compaction after everybody has answered.
    """
    revision, compacted = limit
    wrong = {
        other.member
        for other in others
        if other.revision > revision or other.compact_revision > compacted
    }
    compared = [mine, *(other for other in others if is_comparable(mine, other))]
    common, votes = Counter(each.hash for each in compared).most_common(1)[0]
    right = common if votes >= majority(size) else mine.hash
    return sorted(wrong.union(each.member for each in compared if each.hash != right))
