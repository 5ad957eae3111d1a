"""Simulated nodes behind the `Cluster` interface.

Every method completes in virtual time on the simulator's runtime. The effect of a fault is counted
by the simulation: messages that a cut dropped, events that had to wait for a frozen process, a
process that did not run.

Background faults are the swarm's: lossy links, slow disks, faults triggered by events. They last as
long as the load; the controller begins and ends them, and calls the liveness phase, by name.
"""

from __future__ import annotations

import platform
from pathlib import Path

from squall.checkers.evidence import Evidence
from squall.harness.cluster import Grudge, Journal, Measured, NodeNeverReady, NodeStatus
from squall.harness.sim.chaos.liveness import Liveness, survive
from squall.harness.sim.judge.evidence import gather
from squall.harness.sim.runtime import SimRuntime
from squall.harness.sim.world.client import Exchange, SimKv
from squall.harness.sim.world.clock import MILLION
from squall.harness.sim.world.node import SimNode
from squall.harness.sim.world.world import FaultSource, SimWorld

MS = 1_000_000
READY_TIMEOUT_NS = 30_000 * MS
"""How long a node may take to boot; it takes two boot times at most unless it dies."""
POLL_NS = 5 * MS
OBSERVE_NS = 1 * MS
OBSERVE_TIMEOUT_NS = 300 * MS
"""A frozen node does not answer; the observer gives up after this."""


class SimCluster:
    """A simulated cluster: `squall.harness.cluster.Cluster`."""

    world = "sim"

    def __init__(
        self,
        simulation: SimWorld,
        runtime: SimRuntime,
        op_timeout_ns: int,
        *,
        liveness: bool = False,
        wals: bool = True,
    ) -> None:
        self.simulation = simulation
        self.nodes = simulation.names
        self.unsupported: dict[str, str] = {}
        self.versions = {
            "engine": "deterministic simulation",
            "python": platform.python_version(),
        }
        self._runtime = runtime
        self._op_timeout_ns = op_timeout_ns
        self._exchange = Exchange(simulation, runtime)
        self.election_timeout_ms = simulation.swarm.knobs.election_us // 1000
        self.liveness: Liveness | None = None
        self._holds_liveness = liveness
        self._wals = wals
        self._killed: set[str] = set()
        self._frozen: dict[str, int] = {}

    # Life.

    async def start(self) -> None:
        """Start every node and wait until all run; raises NodeNeverReady."""
        for node in self._all():
            self.simulation.revive(node.number, FaultSource.NEMESIS)
        await self._until_running(self.nodes)

    async def stop(self) -> None:
        """Nothing outlives the process: there is nothing to remove."""

    async def client(self, node: str) -> SimKv:
        """Open a connection to one node."""
        return self._exchange.client(self._node(node), self._op_timeout_ns)

    # Kill and restart.

    async def kill(self, nodes: tuple[str, ...]) -> None:
        """End the nodes' processes at one instant; what was not synced may be lost or torn."""
        for name in nodes:
            self.simulation.kill(self._node(name).number, FaultSource.NEMESIS)
            self._killed.add(name)

    async def restart(self, nodes: tuple[str, ...]) -> Measured:
        """Start what is not running and wait until it runs."""
        dead = [name for name in nodes if not self._node(name).running]
        for name in nodes:
            self.simulation.revive(self._node(name).number, FaultSource.NEMESIS)
        killed = sorted(self._killed.intersection(nodes))
        self._killed.difference_update(nodes)
        await self._until_running(tuple(dead))
        if not killed:
            return Measured(effective=None, effect="nothing had been killed")
        seen = [name for name in killed if name in dead]
        return Measured(
            effective=len(seen) == len(killed),
            effect=f"{len(seen)} of {len(killed)} seen dead before the restart",
            data={"dead": seen},
        )

    # Pause and resume.

    async def pause(self, nodes: tuple[str, ...]) -> None:
        """Freeze the processes; what is sent to them waits."""
        for name in nodes:
            node = self._node(name)
            self.simulation.pause(node.number, FaultSource.NEMESIS)
            if node.paused:
                self._frozen.setdefault(name, node.frozen)

    async def resume(self, nodes: tuple[str, ...]) -> Measured:
        """Let the processes run on, and measure how many events had waited for each."""
        counts: dict[str, int] = {}
        for name in nodes:
            node = self._node(name)
            if name in self._frozen:
                counts[name] = node.frozen - self._frozen.pop(name)
            self.simulation.resume(node.number, FaultSource.NEMESIS)
        if not counts:
            return Measured(effective=None, effect="nothing had been frozen")
        waited = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        return Measured(
            effective=True, effect=f"seen frozen, while events waited: {waited}", data=dict(counts)
        )

    # Cut and heal.

    async def cut(self, grudge: Grudge) -> None:
        """Drop messages on arrival as the grudge says, also those under way."""
        numbers = {name: number for number, name in enumerate(self.nodes)}
        for name, dropped in grudge.items():
            mask = sum(1 << numbers[source] for source in dropped)
            self.simulation.cut(numbers[name], mask)

    async def dropped(self) -> int:
        """Count the messages that the cuts in force have dropped so far."""
        return self.simulation.dropped()

    async def heal(self) -> Measured:
        """Drop nothing any more."""
        dropped = self.simulation.heal()
        if dropped is None:
            return Measured(effective=None, effect="nothing was cut")
        links = {f"{self.nodes[s]}>{self.nodes[t]}": n for (s, t), n in sorted(dropped.items())}
        total = sum(links.values())
        return Measured(effective=total > 0, effect=f"{total:,} messages dropped", data=links)

    # Clocks.

    async def jump_clock(self, node: str, offset_ms: int) -> None:
        """Set a node's wall clock off by `offset_ms` from true."""
        self.simulation.jump_clock(self._node(node).number, offset_ms * MS)

    async def drift_clock(self, node: str, rate: float) -> None:
        """Make a node's clocks run at `rate` times true speed."""
        self.simulation.drift_clock(self._node(node).number, round(rate * MILLION))

    async def clock_lied(self) -> bool:
        """Whether a clock that was touched is off, or was."""
        return any(abs(ns) >= MS for ns in self.simulation.clock_lies().values())

    async def reset_clocks(self) -> Measured:
        """Make every clock true again; measured by what the nodes' own clocks showed."""
        offsets = self.simulation.reset_clocks()
        if not offsets:
            return Measured(effective=None, effect="no clock had been touched")
        words = ", ".join(f"{self.nodes[n]} {ns / 1e6:+,.1f} ms" for n, ns in offsets.items())
        return Measured(
            effective=any(abs(ns) >= MS for ns in offsets.values()),
            effect=f"clocks were off: {words}",
            data={self.nodes[n]: ns for n, ns in offsets.items()},
        )

    # Watch.

    async def observe(self, node: str) -> NodeStatus:
        """Ask a node what it thinks it is; a dead or frozen one is unreachable."""
        await self._runtime.sleep_ns(OBSERVE_NS)
        it = self._node(node)
        if it.paused:
            await self._runtime.sleep_ns(OBSERVE_TIMEOUT_NS)
            return NodeStatus(node=node, reachable=False, error="no answer in time")
        if it.replica is None:
            return NodeStatus(node=node, reachable=False, error="connection refused")
        return self.simulation.status(it.number)

    async def crashed(self) -> dict[str, str]:
        """Return nodes whose process ended by itself, with the reason; disk faults excepted."""
        last = {node.name: (*node.refusals, *node.deaths) for node in self._all()}
        return {name: words[-1] for name, words in last.items() if words}

    async def disturbed(self) -> dict[str, tuple[str, ...]]:
        """Return nothing: only the simulation acts on a simulated node."""
        return {}

    async def collect(self, into: Path | None) -> Evidence:
        """Gather every node's log lines, WAL and state."""
        return gather(self.simulation, into, wals=self._wals)

    # Background faults, and the liveness phase after them.

    async def begin_background_faults(self) -> None:
        """Begin the swarm's own faults."""
        self.simulation.begin_faults()

    async def end_background_faults(self) -> None:
        """End them, and mend what they broke; what the nemesis broke stays broken."""
        self.simulation.end_faults()

    async def prove_liveness(self, journal: Journal) -> bool:
        """Run the liveness phase, if this run has one; `liveness` says how it ended."""
        if not self._holds_liveness:
            return False
        self.liveness = await survive(self.simulation, self._runtime, journal)
        return True

    def _all(self) -> list[SimNode]:
        return self.simulation.nodes

    def _node(self, name: str) -> SimNode:
        return self.simulation.nodes[self.nodes.index(name)]

    async def _until_running(self, names: tuple[str, ...]) -> None:
        """Wait until each node runs, is held down by another fault source, or has exited."""
        deadline_ns = self._runtime.now_ns() + READY_TIMEOUT_NS
        waiting = [self._node(name) for name in names]
        while waiting := [node for node in waiting if not self._settled(node)]:
            if self._runtime.now_ns() >= deadline_ns:
                missing = " ".join(node.name for node in waiting)
                raise NodeNeverReady(f"{missing} did not start within 30 s of simulated time")
            await self._runtime.sleep_ns(POLL_NS)

    def _settled(self, node: SimNode) -> bool:
        held = self.simulation.is_held_down(node.number)
        return node.running or held or node.exit_text is not None
