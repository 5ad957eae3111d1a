"""A whole simulated cluster on one event heap: nodes, network, faults, invariants.

A node runs when every fault source has released it. Several may hold it down, or frozen, at one
time (the nemesis, a trigger, a disk outage), and each releases its own hold only; so mending one
fault never undoes another, and nothing stays broken once all are mended.

`end_faults` ends the swarm's own faults: triggers are disarmed, links and disks behave well again.
What the nemesis broke is the nemesis's to mend.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Any

import msgspec

from squall.harness.cluster import NodeStatus
from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.chaos.churn import MembershipChurn
from squall.harness.sim.chaos.swarm import Swarm
from squall.harness.sim.chaos.triggers import Action, Trigger, TriggerPoint, Triggers
from squall.harness.sim.judge.invariants import Broken, Invariants
from squall.harness.sim.judge.trace import RING, Kind, Trace
from squall.harness.sim.judge.trace_format import TAGS
from squall.harness.sim.world.clock import EPOCH_NS, MILLION, NodeClock
from squall.harness.sim.world.disk import DiskFaults, SimDisk
from squall.harness.sim.world.loop import MAX_EVENTS, Loop
from squall.harness.sim.world.network import LinkProfile, Network
from squall.harness.sim.world.node import SimNode
from squall.node.raft.codec import decode, encode
from squall.node.replica import Member, ReplicaConfig

CLUSTER_ID = 0x5155414C

BROKEN = "invariant broken"
"""The loop's reason to stop when a rule did not hold."""


class FaultSource(IntFlag):
    """What holds a node down, or frozen."""

    NEMESIS = 1
    TRIGGER = 2
    BACKGROUND = 4
    LIVENESS = 8
    CHURN = 16


class SimWorld:
    """Everything that is simulated, for one run."""

    def __init__(
        self,
        seed: int,
        size: int,
        swarm: Swarm,
        *,
        max_events: int = MAX_EVENTS,
        keep: int = RING,
    ) -> None:
        self.seed = seed
        self.swarm = swarm
        self.watch_limits = swarm.watches
        self.seeds = WorldSeeds(seed)
        self.loop = Loop(max_events)
        self.trace = Trace(keep)
        self.names = tuple(f"n{number + 1}" for number in range(size))
        self.invariants = Invariants(
            self.names, lambda: self.loop.now_us - self.loop.zero_us, self._on_broken
        )
        self.triggers = Triggers(
            swarm.triggers, swarm.max_targets, self.loop, self.seeds, self, self._fired
        )
        self.injecting = False
        self._down = [FaultSource.NEMESIS] * size  # until the cluster is started
        self._frozen = [FaultSource(0)] * size
        self.clogs = self.disk_failures = 0
        self._cutting = False
        self._lying: dict[int, int] = {}  # node -> largest offset since the last reset
        self._boot = self.loop.register(self._on_boot)
        self._clog = self.loop.register(self._on_clog)
        self._disk_error = self.loop.register(self._on_disk_error)
        self._outage_over = self.loop.register(self._on_outage_over)
        self._background = self.seeds.of("weather")
        self._boots = self.seeds.of("boot")
        self.addresses = {number + 1: number for number in range(size)}
        self._ids = size  # member ids given away so far
        self.nodes = [self._make_node(number) for number in range(size)]
        self.network = Network(
            self.loop,
            self.seeds,
            [node.deliver for node in self.nodes],
            _healthy_link(swarm),
            lambda m: decode(encode(m)),
        )
        self.network.on_drop = self._dropped
        self.churn = MembershipChurn(self, swarm.churn, swarm.knobs.election_us)

    # Break and mend.

    def kill(self, number: int, source: FaultSource) -> bool:
        """End a node's process and hold it down; False if it was not running."""
        self._down[number] |= source
        self._frozen[number] &= ~source  # SIGKILL ends a frozen process too; it starts thawed
        return self.nodes[number].kill()

    def revive(self, number: int, source: FaultSource) -> None:
        """Release a node; it starts, after a boot's time, once no fault source holds it down."""
        self._down[number] &= ~source
        if not self._down[number] and not self.nodes[number].running:
            delay_us = self.swarm.boot_us + int(self._boots.random() * self.swarm.boot_us)
            self.loop.after(delay_us, self._boot, number, self.nodes[number].boots)

    def pause(self, number: int, source: FaultSource) -> None:
        """Freeze a node's process."""
        self._frozen[number] |= source
        self.nodes[number].pause()

    def resume(self, number: int, source: FaultSource) -> None:
        """Release a frozen node; it runs on once no fault source holds it."""
        self._frozen[number] &= ~source
        if not self._frozen[number]:
            self.nodes[number].resume()

    def cut(self, target: int, sources: int) -> None:
        """Let a node drop what comes from the nodes in the bit mask `sources`."""
        self.network.cut(target, sources)
        self._cutting = True
        self._note(Kind.CUT, target, sources)

    def dropped(self) -> int:
        """Count the messages that cuts have dropped since the last heal."""
        return self.network.dropped()

    def heal(self) -> dict[tuple[int, int], int] | None:
        """Drop nothing any more; returns what each link dropped, None if nothing was cut."""
        dropped = self.network.heal()
        cutting, self._cutting = self._cutting, False
        if not cutting:
            return None
        self._note(Kind.HEAL, -1, sum(dropped.values()))
        return dropped

    def jump_clock(self, number: int, offset_ns: int) -> None:
        """Set a node's wall clock off."""
        self.nodes[number].clock.jump(offset_ns)
        self._lying[number] = max(self._lying.get(number, 0), self._offset_ns(number), key=abs)
        self._note(Kind.CLOCK, number, offset_ns)

    def drift_clock(self, number: int, rate_ppm: int) -> None:
        """Make a node's clocks run at another rate."""
        self._lying[number] = max(self._lying.get(number, 0), self._offset_ns(number), key=abs)
        self.nodes[number].drift(rate_ppm)
        self._note(Kind.CLOCK, number, 0, rate_ppm)

    def clock_lies(self) -> dict[int, int]:
        """Return the largest offset in ns of each clock that was changed, by node."""
        return {
            number: max(worst_ns, self._offset_ns(number), key=abs)
            for number, worst_ns in sorted(self._lying.items())
        }

    def reset_clocks(self) -> dict[int, int]:
        """Make every clock true.

        Returns the largest offset in ns of each clock that had been changed, by node.
        """
        furthest = self.clock_lies()
        for number in furthest:
            self.nodes[number].reset_clock()
            self._note(Kind.CLOCK, number)
        self._lying.clear()
        return furthest

    def status(self, number: int) -> NodeStatus:
        """Say what a running node thinks it is."""
        node, now_us = self.nodes[number], self.loop.now_us
        assert node.replica is not None, f"{node.name} is not running"
        status = node.replica.status()
        return NodeStatus(
            node=node.name,
            reachable=True,
            role=status.role,
            term=status.term,
            leader=self.name_of(status.leader) if status.leader in self.addresses else "",
            commit=status.commit,
            applied=status.applied,
            last_index=status.last_index,
            revision=status.revision,
            digest=status.digest,
            clock_ns=node.clock.wall_ns(now_us),
            clock_offset_ns=self._offset_ns(number),
            monotonic_ns=node.clock.monotonic_us(now_us) * 1000,
        )

    def is_held_down(self, number: int) -> bool:
        """Whether any fault source keeps a node from running."""
        return bool(self._down[number])

    # The swarm's own faults.

    def begin_faults(self) -> None:
        """Begin the swarm's own faults: links, disks, triggers, timed faults, churn."""
        self.injecting = True
        self.triggers.armed = True
        self.network.set_profile(self.swarm.link)
        for node in self.nodes:
            node.disk.set_faults(self.swarm.disk)
        background = self.swarm.background
        self._note(Kind.PHASE, -1, 1, d="background faults begin")
        if background.clog_every_us:
            self._next_background(self._clog, background.clog_every_us)
        if background.disk_error_every_us:
            self._next_background(self._disk_error, background.disk_error_every_us)
        self.churn.begin_faults()

    def end_faults(self) -> None:
        """End them and mend what they broke; what the nemesis broke stays broken. Idempotent."""
        if not self.injecting:
            return
        self.injecting = False
        self._note(Kind.PHASE, -1, 2, d="background faults end")
        self.triggers.disarm()
        self.churn.end_faults()
        self.network.set_profile(_healthy_link(self.swarm))
        for number, node in enumerate(self.nodes):
            node.disk.set_faults(_healthy_disk(self.swarm))
            self.revive(number, FaultSource.TRIGGER | FaultSource.BACKGROUND)
            self.resume(number, FaultSource.TRIGGER | FaultSource.BACKGROUND)

    def _offset_ns(self, number: int) -> int:
        now_us = self.loop.now_us
        return self.nodes[number].clock.wall_ns(now_us) - EPOCH_NS - now_us * 1000

    # For triggers.

    def break_node(self, node: int, action: Action, mend_us: int) -> bool:
        """Do `action` to a node; False if it was not running."""
        if not self.nodes[node].running:
            return False
        if action is Action.CRASH:
            self.kill(node, FaultSource.TRIGGER)
        elif action is Action.PAUSE:
            self.pause(node, FaultSource.TRIGGER)
        elif action is Action.ISOLATE:
            self.network.isolate(node)
        else:
            for target in range(len(self.nodes)):
                self.network.hold_next(node, target, mend_us)
        return True

    def mend_node(self, node: int, action: Action) -> None:
        """Undo what `break_node` did."""
        if action is Action.CRASH:
            self.revive(node, FaultSource.TRIGGER)
        elif action is Action.PAUSE:
            self.resume(node, FaultSource.TRIGGER)
        elif action is Action.ISOLATE:
            self.network.rejoin(node)

    def revision(self) -> int:
        """Return the highest revision any node has applied."""
        return self.invariants.revision()

    # For churn.

    def hold(self, number: int) -> None:
        """End a node's process and keep it from running."""
        self.kill(number, FaultSource.CHURN)

    def release(self, number: int) -> None:
        """Let the node start, unless another fault source holds it down."""
        self.revive(number, FaultSource.CHURN)

    def replace(self, number: int) -> None:
        """Replace a node that does not run by an empty machine, a future member."""
        node = self.nodes[number]
        self._ids += 1
        del self.addresses[node.config.member_id]
        self.addresses[self._ids] = number
        config = msgspec.structs.replace(node.config, member_id=self._ids, initial_members=())
        node.replace(config, SimDisk(self.seeds.of("disk", number, self._ids), node.disk.faults))
        self.network.drop_in_flight(number)
        self.invariants.forget(number)
        self.note_member(number, f"wiped, to be member {self._ids}")

    def note_member(self, number: int, text: str) -> None:
        """Note in the transcript what was done to a member."""
        self._note(Kind.MEMBER, number, d=text)

    def configures(self, number: int) -> None:
        """Report that a node has just appended a configuration entry."""
        self.triggers.reached(number, TriggerPoint.CONFIGURES)

    # What happens.

    def _dropped(self, source: int, target: int, message: Any) -> None:
        tag = TAGS[type(message)]
        self._note(Kind.DROP, target, source << 8 | tag, d=message)

    def _fired(self, node: int, trigger: Trigger) -> None:
        self._note(Kind.TRIGGER, node, d=trigger)

    def _on_boot(self, number: int, boots: int) -> None:
        node = self.nodes[number]
        if node.running or node.boots != boots or self._down[number]:
            return
        if node.start() and self._frozen[number]:
            node.pause()

    def _on_clog(self, _a: None, _b: None) -> None:
        if not self.injecting:
            return
        background, random, size = self.swarm.background, self._background.random, len(self.nodes)
        source, target = int(random() * size), int(random() * size)
        until_us = self.loop.now_us + int(random() * background.clog_us)
        if source != target:
            self.network.clog(source, target, until_us)
            self.clogs += 1
            self._note(Kind.LINK, target, source, until_us)
        self._next_background(self._clog, background.clog_every_us)

    def _on_disk_error(self, _a: None, _b: None) -> None:
        if not self.injecting:
            return
        background, random = self.swarm.background, self._background.random
        number = int(random() * len(self.nodes))
        reason = ("EIO: input/output error", "ENOSPC: no space left on device")[random() < 0.5]
        if self.nodes[number].running and not self._down[number]:
            self.nodes[number].disk.fail_next_sync(reason)
            self._note(Kind.DISK, number, d=f"the next sync fails: {reason}")
        self._next_background(self._disk_error, background.disk_error_every_us)

    def disk_failed(self, number: int) -> None:
        """Hold a node down whose disk failed, until the outage is over."""
        self.disk_failures += 1
        self._down[number] |= FaultSource.BACKGROUND
        self.loop.after(self.swarm.background.outage_us, self._outage_over, number)

    def _on_outage_over(self, number: int, _b: None) -> None:
        self.revive(number, FaultSource.BACKGROUND)

    def _next_background(self, kind: int, every_us: int) -> None:
        self.loop.after(int(2 * every_us * self._background.random()), kind)

    def _on_broken(self, broken: Broken) -> None:
        self._note(Kind.INVARIANT, -1, d=broken.sentence())
        self.loop.stop(BROKEN)

    def _note(self, kind: Kind, node: int, x: int = 0, y: int = 0, d: Any = None) -> None:
        self.trace.note(self.loop.now_us, kind, node, x, y, d)

    def name_of(self, member_id: int) -> str:
        """Name the node that is a member; a member whose machine was replaced has none."""
        number = self.addresses.get(member_id)
        return self.names[number] if number is not None else f"the former member {member_id}"

    def _make_node(self, number: int) -> SimNode:
        knobs, swarm = self.swarm.knobs, self.swarm
        rng = self.seeds.of("machine", number)
        members = tuple(
            Member(id=each + 1, name=name, peer_urls=(f"http://{name}:2380",))
            for each, name in enumerate(self.names)
        )
        config = ReplicaConfig(
            cluster_id=CLUSTER_ID,
            member_id=number + 1,
            initial_members=members,
            **msgspec.structs.asdict(knobs),
        )
        rate_ppm = MILLION + int((2 * rng.random() - 1) * swarm.drift_ppm)
        clock = NodeClock(rate_ppm, started_us=int(rng.random() * 10**9))
        disk = SimDisk(self.seeds.of("disk", number), _healthy_disk(swarm))
        return SimNode(self, number, config, disk, clock)


def _healthy_link(swarm: Swarm) -> LinkProfile:
    """Return the links without faults: the same delays, but nothing is lost or reordered."""
    link = swarm.link
    return LinkProfile(delay_us=link.delay_us, tail_us=link.tail_us, codec_p=link.codec_p)


def _healthy_disk(swarm: Swarm) -> DiskFaults:
    """Return the disks without faults: as slow, but they neither stall nor fail.

    What a crash does to unsynced writes is not a fault of the disk, and stays as it was drawn.
    """
    disk = swarm.disk
    return DiskFaults(
        sync_us=disk.sync_us,
        sync_tail_us=disk.sync_tail_us,
        tear_p=disk.tear_p,
        garbage_p=disk.garbage_p,
        lose_p=disk.lose_p,
    )
