"""Membership churn: members are removed, wiped and added again; some because a bit on disk flipped.

One machine at a time is the target. Its member is removed (alive, and often unaware of it for a
while), the machine is wiped, joins as a new member with a new id, as a learner or directly as a
voter, and a learner is promoted. Proposals go to the leader as an operator's would; their outcome
is read from a configuration that is certain: that of a leader which may change it again.

Bit rot begins with a power failure: one bit of a synced file is flipped while the node is down. A
node that detects damage must refuse to start with its own message, and is then replaced; one that
starts because nothing it reads was hit is checked by every invariant as usual, and replaced later.
The last record of the log is not flipped: no log of this kind can tell rot there from a torn write.

One target at a time is a minority of three or more members; the others are a majority of every
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

NO_TARGET = -1
PROPOSAL_TIMEOUTS = 3
"""Election timeouts until a proposal without visible outcome is made again."""
SEEN_WITHIN = 5
"""How often the cluster is looked at in an election timeout."""
USED_P = 0.9
"""Probability that rot hits written bytes, not the preallocated zeros behind them."""


class Churn(msgspec.Struct, frozen=True, kw_only=True):
    """How often members are replaced: the mean time between two beginnings; 0 is never.

    With `rot_p` a replacement begins with bit rot, else with a removal; a removed member keeps
    running for up to `linger_us`. With `learner_p` a machine joins as a learner first.
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
    """What churn needs of the simulated cluster."""

    loop: Loop
    seeds: WorldSeeds
    nodes: list[SimNode]

    def hold(self, number: int) -> None:
        """End a node's process and keep it from running."""
        ...

    def release(self, number: int) -> None:
        """Let the node start, unless another fault source holds it down."""
        ...

    def replace(self, number: int) -> None:
        """Replace a node that does not run by an empty machine, a future member."""
        ...

    def note_member(self, number: int, text: str) -> None:
        """Note in the transcript what was done."""
        ...

    def configures(self, number: int) -> None:
        """Say that a node has just appended a configuration entry."""
        ...


class MembershipChurn:
    """The replacements of one run. `target`: the machine being replaced, or NO_TARGET.

    They `happen` with three nodes or more only: the majority of two is both.
    """

    def __init__(self, cluster: ReplaceableNodes, churn: Churn, election_us: int) -> None:
        self.happen = churn.every_us > 0 and len(cluster.nodes) >= 3
        self.target = NO_TARGET
        self.fresh = False  # whether the target has been wiped
        self.done = dict.fromkeys(Step, 0)
        self._cluster = cluster
        self._churn = churn
        self._proposal_timeout_us = PROPOSAL_TIMEOUTS * election_us
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
        """Begin replacements from now on."""
        if self.happen:
            self._injecting = True
            self._next()

    def end_faults(self) -> None:
        """Begin no further replacement; the one in progress is completed."""
        self._injecting = False

    def begin(self, number: int, *, rot: bool) -> None:
        """Begin to replace a machine; no other replacement may be in progress."""
        assert self.target == NO_TARGET, self.target
        random, churn = self._random.random, self._churn
        self.target, self.fresh, self._gone, self._asked = number, False, False, None
        self._joins_as = ADD_LEARNER if random() < churn.learner_p else ADD
        self._spared_until_us = self._cluster.loop.now_us
        if rot:
            self._rot(number)
            self._linger()
        self._cluster.loop.after(self._pace_us, self._look)

    def progress(self) -> tuple[Any, ...]:
        """Return a value that changes whenever the replacement makes progress."""
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
        """Say what the replacement in progress waits for."""
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
        if self.target == NO_TARGET:
            self.begin(number, rot=rot)
        self._next()

    def _on_look(self, _a: None, _b: None) -> None:
        if self.target == NO_TARGET:
            return
        leader = self._certain_leader()
        if leader is not None and self._cluster.loop.now_us >= self._spared_until_us:
            self._advance(leader)
        if self.target != NO_TARGET:
            self._cluster.loop.after(self._pace_us, self._look)

    def _certain_leader(self) -> SimNode | None:
        """Find a leader whose configuration is committed for certain."""
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
        """Take the next step, given the leader's configuration."""
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
            self.target = NO_TARGET

    def _wipe(self) -> None:
        node = self._cluster.nodes[self.target]
        if node.refused:
            self._count(Step.REFUSED, "had refused to start")
        self._cluster.hold(self.target)
        self._cluster.replace(self.target)
        self.fresh, self._gone, self._asked = True, False, None

    def _propose(self, leader: SimNode, kind: int, member: Member) -> None:
        """Propose a change to the leader, unless the same was proposed a moment ago."""
        change, now_us = Change(kind, member), self._cluster.loop.now_us
        if self._asked is not None and self._asked[0] == change and now_us < self._asked[1]:
            return
        timeout_us = self._pace_us if kind == PROMOTE else self._proposal_timeout_us
        self._asked = (change, now_us + timeout_us)
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

    def _count(self, step: Step, text: str) -> None:
        self.done[step] += 1
        self._cluster.note_member(self.target, text)


def choose_bit(disk: SimDisk, rng: Random) -> tuple[str, int, int] | None:
    """Draw (path, offset, bit) on the disk of a stopped node; None if nothing on it may rot.

    Any byte of any log segment or snapshot, except the last record of the log.
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
