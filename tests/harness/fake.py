"""A cluster in memory: one linearizable store that n nodes serve, and variants that are broken.

A node that is dead refuses, one that is frozen or without a quorum never answers. Broken variants:
`stale` (serves reads from a copy that lags), `lossy` (acknowledges some writes and drops them).
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec

from squall.checkers.evidence import Evidence, HardState, LogEntry, NodeEvidence, StateDigest
from squall.harness.cluster import HarnessError, Journal, Measured, NodeStatus
from squall.harness.nemesis.cluster_state import ClusterState
from squall.workloads import liveness
from squall.workloads.client import (
    Definite,
    Indefinite,
    Put,
    Range,
    Request,
)
from tests.workloads.one_store import OneStore

MS = 1_000_000


class Door:
    """A client of one node."""

    def __init__(self, cluster: FakeCluster, node: str) -> None:
        self.cluster, self.node, self.closed = cluster, node, False

    async def call(self, request: Request) -> Any:
        cluster = self.cluster
        if self.node in cluster.down:
            raise Definite("connection refused")
        await cluster.runtime.sleep_ns(cluster.random.randint(1, 4) * MS)
        await cluster.until_served(self.node, request)
        answer = cluster.apply(request)
        await cluster.runtime.sleep_ns(cluster.random.randint(1, 4) * MS)
        await cluster.until_served(self.node, request)
        return answer

    async def close(self) -> None:
        self.closed = True


class FakeCluster:
    """Five doors to one store."""

    def __init__(self, runtime: Any, *, nodes: int = 5, broken: str = "", seed: int = 1) -> None:
        self.runtime, self.broken = runtime, broken
        self.random = Random(seed)
        self.nodes = tuple(f"n{at + 1}" for at in range(nodes))
        self.unsupported: dict[str, str] = {}
        self.versions = {"node": "fake"}
        self.election_timeout_ms = 1000
        self.reigns: list[str] = []
        self.silence_ns = self.cut_at_ns = self.turned_at_ns = 0
        self.down: set[str] = set()
        self.frozen: set[str] = set()
        self.grudge: dict[str, frozenset[str]] = {}
        self.offset_ms: dict[str, int] = {}
        self.store = OneStore()
        self.stopped = False
        self.live = False  # whether it has a liveness phase
        self.calls: list[str] = []
        self.failing: set[str] = set()
        self.ends_by_itself: dict[str, str] = {}
        self.outside: dict[str, tuple[str, ...]] = {}
        self.doors: list[Door] = []

    async def start(self) -> None:
        self._note("start")

    async def stop(self) -> None:
        self.stopped = True
        self._note("stop")

    async def client(self, node: str) -> Door:
        self.doors.append(Door(self, node))
        return self.doors[-1]

    @property
    def state(self) -> ClusterState:
        return ClusterState(
            nodes=self.nodes,
            down=frozenset(self.down),
            paused=frozenset(self.frozen),
            grudge=self.grudge,
        )

    @property
    def leader(self) -> str:
        return next(iter(self.state.electable), "")

    async def until_served(self, node: str, request: Request) -> None:
        serializable = isinstance(request, Range) and request.serializable
        while node in self.down | self.frozen or (
            not serializable and node not in self.state.electable
        ):
            await self.runtime.sleep_ns(20 * MS)

    def apply(self, request: Request) -> Any:
        store = self.store
        if self.broken == "stale" and isinstance(request, Range) and self.random.random() < 0.05:
            for kv in store.apply(request).kvs:
                return store.at(kv.mod_revision - 1, request)
        before = store.past[-1]
        answer = store.apply(request)
        if self.broken == "lossy" and isinstance(request, Put) and self.random.random() < 0.02:
            store.past[-1] = before
        return answer

    @property
    def revision(self) -> int:
        return self.store.revision

    def _note(self, name: str, *about: Any) -> None:
        self.calls.append(" ".join([name, *map(str, about)]))
        if name in self.failing:
            raise HarnessError(f"the engine refused to {name}")

    async def kill(self, nodes: tuple[str, ...]) -> None:
        self._note("kill", *nodes)
        self.down |= set(nodes)
        self.frozen -= set(nodes)

    async def restart(self, nodes: tuple[str, ...]) -> Measured:
        self._note("restart", *nodes)
        await self.runtime.sleep_ns(300 * MS)
        self.down -= set(nodes)
        return Measured(effective=True, effect="seen dead")

    async def pause(self, nodes: tuple[str, ...]) -> None:
        self._note("pause", *nodes)
        self.frozen |= set(nodes)

    async def resume(self, nodes: tuple[str, ...]) -> Measured:
        self._note("resume", *nodes)
        self.frozen -= set(nodes)
        return Measured(effective=True, effect="seen frozen")

    async def cut(self, grudge: Any) -> None:
        self._note("cut", *sorted(grudge))
        self.grudge = dict(grudge)
        self.cut_at_ns = self.runtime.now_ns()

    async def dropped(self) -> int:
        spoken = self.runtime.now_ns() - self.cut_at_ns >= self.silence_ns
        return 42 if self.grudge and spoken else 0

    async def heal(self) -> Measured:
        self._note("heal")
        self.grudge = {}
        return Measured(effective=True, effect="42 packets dropped")

    async def jump_clock(self, node: str, offset_ms: int) -> None:
        self._note("jump", node)
        self.turned_at_ns = self.runtime.now_ns()
        self.offset_ms[node] = offset_ms

    async def drift_clock(self, node: str, rate: float) -> None:
        self._note("drift", node)
        self.turned_at_ns = self.runtime.now_ns()
        self.offset_ms[node] = round(1000 * rate)

    def _tells_time(self) -> bool:
        return self.runtime.now_ns() - self.turned_at_ns >= self.silence_ns

    async def clock_lied(self) -> bool:
        return bool(self.offset_ms) and self._tells_time()

    async def reset_clocks(self) -> Measured:
        self._note("reset")
        lied = await self.clock_lied()
        self.offset_ms.clear()
        return Measured(effective=lied and self.silence_ns > 0, effect="")

    async def observe(self, node: str) -> NodeStatus:
        if node in self.down | self.frozen:
            return NodeStatus(node=node, reachable=False)
        return NodeStatus(
            node=node,
            reachable=True,
            role="leader" if node == self.leader else "follower",
            term=self._term(),
            leader=self.leader,
            commit=self.revision,
            applied=self.revision,
            revision=self.revision,
            digest=str(self.revision),
            clock_offset_ns=self.offset_ms.get(node, 0) * MS if self._tells_time() else 0,
        )

    def _term(self) -> int:
        """A new leader has a term of its own."""
        if self.leader and (not self.reigns or self.reigns[-1] != self.leader):
            self.reigns.append(self.leader)
        return len(self.reigns)

    async def begin_background_faults(self) -> None:
        self._note("begin background faults")

    async def end_background_faults(self) -> None:
        self._note("end background faults")

    async def prove_liveness(self, journal: Journal) -> bool:
        """Write once through the journal, as a backend that has this phase does."""
        self._note("prove liveness")
        if self.live:
            request = liveness.write(self.revision)
            op = journal.invoked(self.leader or self.nodes[0], request)
            journal.completed(op, self.apply(request) if self.leader else Indefinite("no leader"))
        return self.live

    async def crashed(self) -> dict[str, str]:
        return self.ends_by_itself

    async def disturbed(self) -> dict[str, tuple[str, ...]]:
        return self.outside

    async def collect(self, into: Path | None) -> Evidence:
        self._note("collect")
        return Evidence(nodes={node: await self._left_behind(node) for node in self.nodes})

    async def _left_behind(self, node: str) -> NodeEvidence:
        """Return what a node that did everything right would leave: one log, one leader."""
        status = await self.observe(node)
        entries = tuple(LogEntry(1, at, 0, str(at)) for at in range(1, self.revision + 1))
        return NodeEvidence(
            node=node,
            entries=entries,
            hard_states=(HardState(1, 1, self.revision),),
            committed=self.revision,
            led_terms=tuple(at for at, one in enumerate(self.reigns, 1) if one == node),
            digests=(StateDigest(self.revision, 1, self.revision, "same"),),
            final=msgspec.structs.asdict(status),
        )
