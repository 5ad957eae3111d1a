"""Detects members whose data differs, at a start and periodically on the leader.

Members that have applied the log up to the same revision, and compacted at the same one, have the
same hash of their keys. Hashes at different revisions or compactions are not compared, so a member
that lags is not suspected. A difference that remains did not come through the log: a disk, memory
or a bug changed the data. As in etcd, a member that finds one before it serves does not start
(--experimental-initial-corrupt-check), and a leader that finds one raises the alarm CORRUPT
(--experimental-corrupt-check-time).

etcd 3.4 blames every member that differs from the leader. Here a hash that a majority has is taken
as right, whether it is the leader's or not; without one, the leader's is.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Sequence

from squall.node.api.errors import ApiError
from squall.node.config.endpoints import endpoint
from squall.node.logs import Log
from squall.node.mvcc.alarms import AlarmKind, Raised
from squall.node.mvcc.commands import Alarm, AlarmAction, encode
from squall.node.mvcc.errors import RequestError
from squall.node.peer.handshake import HashReply, HashRequest, ask
from squall.node.raft.quorum import majority
from squall.node.raft.roles import LEADER, ROLE_NAMES
from squall.node.replica import Member
from squall.node.server.interface import Node

ASK_TIMEOUT_S = 7.0
"""For one member to hash its keys and answer; as etcd's request timeout."""


class CorruptError(Exception):
    """The data of this member differs from another's. The text says what to do."""


class CorruptionCheck:
    """Compares this member's data with the others'. `hash` answers their requests."""

    def __init__(self, node: Node, log: Log, tls: ssl.SSLContext | None = None) -> None:
        self._node = node
        self._log = log
        self._tls = tls
        self._one_at_a_time = asyncio.Lock()  # requests are served one at a time
        self._task: asyncio.Task[None] | None = None

    async def hash(self, revision: int) -> HashReply:
        """Hash this member's keys up to a revision (0: now), off the event loop."""
        node = self._node
        async with self._one_at_a_time:
            try:
                hasher = node.store.hasher(revision)
            except RequestError as refusal:
                return HashReply(
                    node.cluster_id,
                    node.member_id,
                    node.store.revision,
                    node.store.compacted,
                    refusal=refusal.text,
                )
            found = await asyncio.to_thread(hasher)
        return HashReply(
            node.cluster_id,
            node.member_id,
            found.revision,
            found.compact_revision,
            found.hash_revision,
            found.hash,
        )

    async def check_at_start(self) -> None:
        """Compare with the members that answer, before this one serves; raises CorruptError."""
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
        self._log_checked(mine, others)

    def _log_checked(self, mine: HashReply, others: Sequence[HashReply]) -> None:
        compared = sum(is_comparable(mine, other) for other in others)
        self._log.info("corruption-checked", revision=mine.revision, others=compared)

    def begin(self, every_s: float) -> None:
        """Compare every `every_s` seconds while this node leads; 0 for never."""
        if every_s:
            self._task = asyncio.ensure_future(self._watch(every_s))

    def close(self) -> None:
        """Stop comparing."""
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
        # Once the leader has confirmed that it leads, no member has applied more than it has.
        await node.read_barrier()
        if not self._leads():
            return
        size = len(node.replica_status().members)
        limit = (node.store.revision, node.store.compacted)
        self._log_checked(mine, others)
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

    async def _others(self, revision: int) -> list[HashReply]:
        """Ask all other members concurrently; those that do not answer are left out."""
        node = self._node
        members = [m for m in node.replica_status().members.values() if m.id != node.member_id]
        answers = await asyncio.gather(*(self._ask(member, revision) for member in members))
        return [
            answer
            for member, answer in zip(members, answers, strict=True)
            if answer and (answer.cluster_id, answer.member) == (node.cluster_id, member.id)
        ]

    async def _ask(self, member: Member, revision: int) -> HashReply | None:
        request = HashRequest(self._node.cluster_id, member.id, revision)
        for url in member.peer_urls:
            reply = await ask(endpoint(url), request, HashReply, self._tls, ASK_TIMEOUT_S)
            if reply is not None:
                return reply
        return None


def is_comparable(mine: HashReply, other: HashReply) -> bool:
    """Return whether two hashes are of the same revision and the same compaction."""
    return not other.refusal and (mine.hash_revision, mine.compact_revision) == (
        other.hash_revision,
        other.compact_revision,
    )


def who_differs(
    mine: HashReply, others: Sequence[HashReply], limit: tuple[int, int], size: int
) -> list[int]:
    """Return the ids of members whose data is wrong, sorted, for a cluster of `size` members.

    `mine` is the leader's hash; `limit` its revision and compaction after all have answered.
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
