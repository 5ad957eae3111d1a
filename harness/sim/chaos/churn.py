"""Members come and go while the storm goes on, and some because a bit of their disk rotted.

One machine at a time is the target. Its member is removed (alive, and often for a while unaware of
it), the machine is wiped, joins as a new member with a new id, as a learner or at once as a voter,
and a learner is promoted. Proposals are made to the leader like an operator's; what came of them is
read from a configuration that is certain: that of a leader which may change it again.

Rot begins with a power failure: one bit of a synced file flips while the node is down. A node that
finds damage must refuse to start, with its own message, and is then replaced; one that starts
because nothing it needs was hit is watched by every rule as if nothing had happened, and replaced
later. The last record of the log is spared: no log of this kind can tell its rot from a torn write.

One target at a time is a minority of three members or more; the others are a majority of every
configuration that may be in force meanwhile.
"""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Any, Protocol

import msgspec

from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.world.disk import SimDisk
from squall.harness.sim.world.loop import Loop
from squall.harness.sim.world.node import SimNode
from squall.node.raft import membership_changes
from squall.node.raft.membership import ADD, ADD_LEARNER, PROMOTE, REMOVE, Change, Member
from squall.node.raft.roles import LEADER
from squall.node.storage import frames, wal

NOBODY = -1
PATIENCE = 3
"""Election timeouts until a proposal of which nothing was seen is made again."""
SEEN_WITHIN = 5
"""Looks at the cluster in an election timeout."""
USED_P = 0.9
"""How often rot hits what was written, not the zeros behind it."""


class Churn(msgspec.Struct, frozen=True, kw_only=True):
    """How often members are replaced: the mean time between two beginnings; 0 is never.

    With `rot_p` it begins with rot, else with a removal; a member that was removed lives on for up
    to `linger_us`. With `learner_p` a machine joins as a learner first.
    """

    every_us: int = 0
    linger_us: int = 0
    rot_p: float = 0.0
    learner_p: float = 1.0


class Step(StrEnum):
    """What was done, counted over the run."""

    ROTTEN = "bits rotted"
    REFUSED = "refusals to start for it"
    REMOVED = "members removed"
    ADDED = "members joined"
    PROMOTED = "learners promoted"


class ReplaceableNodes(Protocol):
    """The cluster as turnovers see it."""

    loop: Loop
    seeds: WorldSeeds
    nodes: list[SimNode]

    def hold(self, number: int) -> None:
        """End a node's process and keep it from running."""
        ...

    def release(self, number: int) -> None:
        """Let the node start, if nobody else holds it."""
        ...

    def replace(self, number: int) -> None:
        """Put an empty machine, a member to be, in the place of a node that does not run."""
        ...

    def tell(self, number: int, words: str) -> None:
        """Note in the transcript what was done."""
        ...

    def configures(self, number: int) -> None:
        """Say that a node has just appended a configuration entry."""
        ...


class MembershipChurn:
    """The turnovers of one run. `target` is the number of the machine under way, or NOBODY.

    They never `happen` to fewer than three nodes: a majority of two is all of them.
    """

    def __init__(self, cluster: ReplaceableNodes, churn: Churn, election_us: int) -> None:
        self.happen = churn.every_us > 0 and len(cluster.nodes) >= 3
        self.target = NOBODY
        self.fresh = False  # whether the target has been wiped
        self.done = dict.fromkeys(Step, 0)
        self._cluster = cluster
        self._churn = churn
        self._patience_us = PATIENCE * election_us
        self._pace_us = max(1, election_us // SEEN_WITHIN)
        self._random = cluster.seeds.of("turnover")
        self._injecting = False
        self._joins_as = ADD_LEARNER
        self._spared_until_us = 0  # the target is not removed, then not wiped, before
        self._gone = False  # its removal was seen
        self._asked: tuple[Change, int] | None = None
        self._due = cluster.loop.register(self._on_due)
        self._look = cluster.loop.register(self._on_look)

    def begin_faults(self) -> None:
        """Begin turnovers from now on."""
        if self.happen:
            self._injecting = True
            self._next()

    def end_faults(self) -> None:
        """Begin none any more; the one under way goes on."""
        self._injecting = False

    def begin(self, number: int, *, rot: bool) -> None:
        """Begin to replace a machine; there must be no other under way."""
        assert self.target == NOBODY, self.target
        random, churn = self._random.random, self._churn
        self.target, self.fresh, self._gone, self._asked = number, False, False, None
        self._joins_as = ADD_LEARNER if random() < churn.learner_p else ADD
        self._spared_until_us = self._cluster.loop.now_us
        if rot:
            self._rot(number)
            self._linger()
        self._cluster.loop.after(self._pace_us, self._look)

    def progress(self) -> tuple[Any, ...]:
        """Return what changes whenever the turnover under way gets on, a little or much."""
        node = self._cluster.nodes[self.target]
        raft = node.replica.raft if node.replica is not None else None
        incoming = raft.incoming if raft is not None else None
        return (
            self.target,
            *self.done.values(),
            node.boots,
            raft.log.commit if raft is not None else 0,
            len(incoming.data) if incoming is not None else 0,
        )

    def stage(self) -> str:
        """Say what the turnover under way waits for."""
        name = self._cluster.nodes[self.target].name
        if not self.fresh:
            return f"{name} is not removed"
        return f"{name} has not become a voter again"

    # How.

    def _next(self) -> None:
        delay_us = int(2 * self._churn.every_us * self._random.random())
        self._cluster.loop.after(delay_us, self._due)

    def _on_due(self, _a: None, _b: None) -> None:
        if not self._injecting:
            return
        random = self._random.random
        number, rot = int(random() * len(self._cluster.nodes)), random() < self._churn.rot_p
        if self.target == NOBODY:
            self.begin(number, rot=rot)
        self._next()

    def _on_look(self, _a: None, _b: None) -> None:
        if self.target == NOBODY:
            return
        leader = self._certain_leader()
        if leader is not None and self._cluster.loop.now_us >= self._spared_until_us:
            self._advance(leader)
        if self.target != NOBODY:
            self._cluster.loop.after(self._pace_us, self._look)

    def _certain_leader(self) -> SimNode | None:
        """Find a leader whose configuration is committed, and is so for ever."""
        best, term = None, -1
        for node in self._cluster.nodes:
            if node.replica is None or node.paused:
                continue
            raft = node.replica.raft
            if raft.role == LEADER and raft.term > term:
                best, term = node, raft.term
        if (
            best is None
            or best.replica is None
            or not membership_changes.may_change(best.replica.raft)
        ):
            return None
        return best

    def _advance(self, leader: SimNode) -> None:
        """Do what is next, seeing what the configuration is."""
        assert leader.replica is not None
        cluster, node = self._cluster, self._cluster.nodes[self.target]
        configuration = leader.replica.raft.configuration
        wanted = {each.config.member_id for each in cluster.nodes if each is not node or self.fresh}
        stray = [each for each in configuration.members if each.id not in wanted]
        if stray:
            self._propose(leader, REMOVE, stray[0])
        elif not self.fresh:
            if not self._gone:
                self._gone = True
                self._count(Step.REMOVED, "is no member any more")
                self._linger()
                return
            self._wipe()
        elif (member := configuration.find(node.config.member_id)) is None:
            member = Member(node.config.member_id, node.name, (f"http://{node.name}:2380",))
            self._propose(leader, self._joins_as, member)
        else:
            self._settle_in(leader, node, member)

    def _settle_in(self, leader: SimNode, node: SimNode, member: Member) -> None:
        if not self._gone:  # it is a member: it may start
            self._gone = True
            self._count(Step.ADDED, "is a member and may start")
            self._cluster.release(node.number)
        elif member.is_learner:
            self._propose(leader, PROMOTE, member)
        elif node.replica is not None and node.replica.raft.is_voter:
            if self._joins_as == ADD_LEARNER:
                self._count(Step.PROMOTED, "is promoted")
            self.target = NOBODY

    def _wipe(self) -> None:
        node = self._cluster.nodes[self.target]
        if node.refused:
            self._count(Step.REFUSED, "had refused to start")
        self._cluster.hold(self.target)
        self._cluster.replace(self.target)
        self.fresh, self._gone, self._asked = True, False, None

    def _propose(self, leader: SimNode, kind: int, member: Member) -> None:
        """Ask the leader for a change, unless that was done a moment ago."""
        change, now_us = Change(kind, member), self._cluster.loop.now_us
        if self._asked is not None and self._asked[0] == change and now_us < self._asked[1]:
            return
        patience_us = self._pace_us if kind == PROMOTE else self._patience_us
        self._asked = (change, now_us + patience_us)
        if leader.change_members(change):
            self._cluster.configures(leader.number)

    def _linger(self) -> None:
        linger_us = int(self._random.random() * self._churn.linger_us)
        self._spared_until_us = self._cluster.loop.now_us + linger_us

    def _rot(self, number: int) -> None:
        cluster, node = self._cluster, self._cluster.nodes[number]
        cluster.hold(number)
        place = choose_bit(node.disk, self._random)
        if place is not None:
            path, offset, bit = place
            node.disk.rot(path, offset, bit)
            node.rotten = True
            self._count(Step.ROTTEN, f"bit {bit} of byte {offset} of {path} rots")
        cluster.release(number)

    def _count(self, step: Step, words: str) -> None:
        self.done[step] += 1
        self._cluster.tell(self.target, words)


def choose_bit(disk: SimDisk, rng: Random) -> tuple[str, int, int] | None:
    """Draw (path, offset, bit) on the disk of a dead node; None if nothing on it may rot.

    Any byte of any log segment or snapshot, but for the last record of the log.
    """
    files = disk.files()
    segments = [path for path in files if path.startswith(wal.DIRECTORY)]
    last = segments[-1] if segments else ""
    sizes = {}
    for path, content in files.items():
        used = _before_last_record(content) if path == last else len(content.rstrip(b"\0"))
        size = len(content) if path != last and rng.random() >= USED_P else used
        if size:
            sizes[path] = size
    if not sizes:
        return None
    path = list(sizes)[int(rng.random() * len(sizes))]
    return path, int(rng.random() * sizes[path]), int(rng.random() * 8)


def _before_last_record(content: bytes) -> int:
    """Return where the last record of a segment begins."""
    begins = offset = crc = 0
    while (record := frames.body_at(content, offset, crc)) is not None:
        begins = offset
        _, crc, offset = record
    return begins
