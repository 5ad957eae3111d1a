"""A whole simulated cluster: nodes, network, weather, triggers, rules, on one heap.

Several hands may hold a node down at the same time: the nemesis, a trigger, the weather. Each takes
back only its own grip, and a node starts when the last hand lets go; so an ill-timed mending never
undoes another's fault, and nothing is left broken when all have let go.

`end_storm` makes the surroundings kind: triggers disarmed, links and disks healthy. What the
nemesis did is the nemesis's to undo.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Any

import msgspec

from squall.harness.cluster import NodeStatus
from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.chaos.membership import Turnovers
from squall.harness.sim.chaos.swarm import Swarm
from squall.harness.sim.chaos.triggers import Action, Moment, Trigger, Triggers
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


class Hand(IntFlag):
    """Who holds a node down, or frozen."""

    NEMESIS = 1
    TRIGGER = 2
    WEATHER = 4
    LIVENESS = 8
    TURNOVER = 16


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
        self.buffers = swarm.watches
        self.seeds = WorldSeeds(seed)
        self.loop = Loop(max_events)
        self.trace = Trace(keep)
        self.names = tuple(f"n{number + 1}" for number in range(size))
        self.invariants = Invariants(
            self.names, lambda: self.loop.now_us - self.loop.zero_us, self._on_broken
        )
        self.triggers = Triggers(
            swarm.triggers, swarm.max_victims, self.loop, self.seeds, self, self._fired
        )
        self.storming = False
        self._down = [Hand.NEMESIS] * size  # until the cluster is started
        self._frozen = [Hand(0)] * size
        self.clogs = self.disk_failures = 0
        self._cutting = False
        self._lying: dict[int, int] = {}  # node -> the furthest it was off since the last reset
        self._boot = self.loop.register(self._on_boot)
        self._clog = self.loop.register(self._on_clog)
        self._disk_error = self.loop.register(self._on_disk_error)
        self._outage_over = self.loop.register(self._on_outage_over)
        self._weather = self.seeds.of("weather")
        self._boots = self.seeds.of("boot")
        self.addresses = {number + 1: number for number in range(size)}
        self._ids = size  # member ids given away so far
        self.nodes = [self._make_node(number) for number in range(size)]
        self.network = Network(
            self.loop,
            self.seeds,
            [node.deliver for node in self.nodes],
            _kind_link(swarm),
            lambda m: decode(encode(m)),
        )
        self.network.on_drop = self._dropped
        self.turnovers = Turnovers(self, swarm.turnover, swarm.knobs.election_us)

    # Break and mend, by hand.

    def kill(self, number: int, hand: Hand) -> bool:
        """Hold a node down; False if its process was not running."""
        self._down[number] |= hand
        self._frozen[number] &= ~hand  # SIGKILL ends a frozen process too; it starts thawed
        return self.nodes[number].kill()

    def revive(self, number: int, hand: Hand) -> None:
        """Let go of a node; it starts, after a boot's time, when nobody else holds it down."""
        self._down[number] &= ~hand
        if not self._down[number] and not self.nodes[number].running:
            delay_us = self.swarm.boot_us + int(self._boots.random() * self.swarm.boot_us)
            self.loop.after(delay_us, self._boot, number, self.nodes[number].boots)

    def pause(self, number: int, hand: Hand) -> None:
        """Hold a node frozen."""
        self._frozen[number] |= hand
        self.nodes[number].pause()

    def resume(self, number: int, hand: Hand) -> None:
        """Let go of a frozen node; it runs on when nobody else holds it."""
        self._frozen[number] &= ~hand
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
        """Say how far off, in nanoseconds, those clocks were at worst that have been touched."""
        return {
            number: max(worst_ns, self._offset_ns(number), key=abs)
            for number, worst_ns in sorted(self._lying.items())
        }

    def reset_clocks(self) -> dict[int, int]:
        """Make every clock true.

        Returns how far off, in nanoseconds, those had been at worst that had been touched.
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
        """Whether anybody keeps a node from running."""
        return bool(self._down[number])

    # The storm.

    def begin_storm(self) -> None:
        """Arm triggers and weather."""
        self.storming = True
        self.triggers.armed = True
        self.network.set_profile(self.swarm.link)
        for node in self.nodes:
            node.disk.behave(self.swarm.disk)
        weather = self.swarm.weather
        self._note(Kind.PHASE, -1, 1, d="the storm begins")
        if weather.clog_every_us:
            self._next_weather(self._clog, weather.clog_every_us)
        if weather.disk_error_every_us:
            self._next_weather(self._disk_error, weather.disk_error_every_us)
        self.turnovers.begin_storm()

    def end_storm(self) -> None:
        """Make the surroundings kind again; what the nemesis broke stays broken."""
        if not self.storming:
            return
        self.storming = False
        self._note(Kind.PHASE, -1, 2, d="the storm ends")
        self.triggers.disarm()
        self.turnovers.end_storm()
        self.network.set_profile(_kind_link(self.swarm))
        for number, node in enumerate(self.nodes):
            node.disk.behave(_kind_disk(self.swarm))
            self.revive(number, Hand.TRIGGER | Hand.WEATHER)
            self.resume(number, Hand.TRIGGER | Hand.WEATHER)

    def _offset_ns(self, number: int) -> int:
        now_us = self.loop.now_us
        return self.nodes[number].clock.wall_ns(now_us) - EPOCH_NS - now_us * 1000

    # For triggers.

    def break_node(self, node: int, action: Action, mend_us: int) -> bool:
        """Do `action` to a node; False if it was not running."""
        if not self.nodes[node].running:
            return False
        if action is Action.CRASH:
            self.kill(node, Hand.TRIGGER)
        elif action is Action.PAUSE:
            self.pause(node, Hand.TRIGGER)
        elif action is Action.ISOLATE:
            self.network.isolate(node)
        else:
            for target in range(len(self.nodes)):
                self.network.hold_next(node, target, mend_us)
        return True

    def mend_node(self, node: int, action: Action) -> None:
        """Undo what `break_node` did."""
        if action is Action.CRASH:
            self.revive(node, Hand.TRIGGER)
        elif action is Action.PAUSE:
            self.resume(node, Hand.TRIGGER)
        elif action is Action.ISOLATE:
            self.network.rejoin(node)

    def revision(self) -> int:
        """Return the highest revision any node has applied."""
        return self.invariants.revision()

    # For turnovers.

    def hold(self, number: int) -> None:
        """End a node's process and keep it from running."""
        self.kill(number, Hand.TURNOVER)

    def release(self, number: int) -> None:
        """Let the node start, if nobody else holds it."""
        self.revive(number, Hand.TURNOVER)

    def replace(self, number: int) -> None:
        """Put an empty machine, a member to be, in the place of a node that does not run."""
        node = self.nodes[number]
        self._ids += 1
        del self.addresses[node.config.member_id]
        self.addresses[self._ids] = number
        config = msgspec.structs.replace(node.config, member_id=self._ids, initial_members=())
        node.replace(config, SimDisk(self.seeds.of("disk", number, self._ids), node.disk.faults))
        self.network.hang_up(number)
        self.invariants.forget(number)
        self.tell(number, f"wiped, to be member {self._ids}")

    def tell(self, number: int, words: str) -> None:
        """Note in the transcript what was done."""
        self._note(Kind.MEMBER, number, d=words)

    def configures(self, number: int) -> None:
        """Say that a node has just appended a configuration entry."""
        self.triggers.reached(number, Moment.CONFIGURES)

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
        if not self.storming:
            return
        weather, random, size = self.swarm.weather, self._weather.random, len(self.nodes)
        source, target = int(random() * size), int(random() * size)
        until_us = self.loop.now_us + int(random() * weather.clog_us)
        if source != target:
            self.network.clog(source, target, until_us)
            self.clogs += 1
            self._note(Kind.LINK, target, source, until_us)
        self._next_weather(self._clog, weather.clog_every_us)

    def _on_disk_error(self, _a: None, _b: None) -> None:
        if not self.storming:
            return
        weather, random = self.swarm.weather, self._weather.random
        number = int(random() * len(self.nodes))
        reason = ("EIO: input/output error", "ENOSPC: no space left on device")[random() < 0.5]
        if self.nodes[number].running and not self._down[number]:
            self.nodes[number].disk.fail_next_sync(reason)
            self._note(Kind.DISK, number, d=f"the next sync fails: {reason}")
        self._next_weather(self._disk_error, weather.disk_error_every_us)

    def disk_failed(self, number: int) -> None:
        """Hold a node down whose disk failed, until the outage is over."""
        self.disk_failures += 1
        self._down[number] |= Hand.WEATHER
        self.loop.after(self.swarm.weather.outage_us, self._outage_over, number)

    def _on_outage_over(self, number: int, _b: None) -> None:
        self.revive(number, Hand.WEATHER)

    def _next_weather(self, kind: int, every_us: int) -> None:
        self.loop.after(int(2 * every_us * self._weather.random()), kind)

    def _on_broken(self, broken: Broken) -> None:
        self._note(Kind.INVARIANT, -1, d=broken.sentence())
        self.loop.stop(BROKEN)

    def _note(self, kind: Kind, node: int, x: int = 0, y: int = 0, d: Any = None) -> None:
        self.trace.note(self.loop.now_us, kind, node, x, y, d)

    def name_of(self, member_id: int) -> str:
        """Name the machine of a member; a member whose machine was replaced has none any more."""
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
        disk = SimDisk(self.seeds.of("disk", number), _kind_disk(swarm))
        return SimNode(self, number, config, disk, clock)


def _kind_link(swarm: Swarm) -> LinkProfile:
    """Return the links outside of the storm: as far apart, but nothing gets lost."""
    link = swarm.link
    return LinkProfile(delay_us=link.delay_us, tail_us=link.tail_us, codec_p=link.codec_p)


def _kind_disk(swarm: Swarm) -> DiskFaults:
    """Return the disks outside of the storm: as slow, but they neither stall nor fail.

    What a crash does to unsynced writes is no fault, but what crashes do.
    """
    disk = swarm.disk
    return DiskFaults(
        sync_us=disk.sync_us,
        sync_tail_us=disk.sync_tail_us,
        tear_p=disk.tear_p,
        garbage_p=disk.garbage_p,
        lose_p=disk.lose_p,
    )
