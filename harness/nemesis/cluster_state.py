"""The faults in force, and which nodes can still be elected under them.

A `ClusterState` is a value: nodes that are down, nodes that are frozen, and the grudge in force. A
running node is electable if it has working links in both directions to enough running nodes to form
a quorum with them. The state says which nodes *can* lead, not which one does: an election takes
time.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import networkx as nx

QUORUM_LOSS_SHARE_MAX = 0.25
"""Faults may prevent a quorum for at most this share of the time, or the load exercises nothing."""


_NOBODY: frozenset[str] = frozenset()


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """What one fault takes away while it is in force."""

    down: frozenset[str] = frozenset()
    paused: frozenset[str] = frozenset()
    grudge: Mapping[str, frozenset[str]] = {}


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster under every fault that is in force."""

    nodes: tuple[str, ...]
    down: frozenset[str] = frozenset()
    paused: frozenset[str] = frozenset()
    grudge: Mapping[str, frozenset[str]] = {}

    def plus(self, damage: Damage) -> ClusterState:
        """Return the state with one more fault in force."""
        return ClusterState(
            nodes=self.nodes,
            down=self.down | damage.down,
            paused=self.paused | damage.paused,
            grudge={
                node: self.grudge.get(node, _NOBODY) | damage.grudge.get(node, _NOBODY)
                for node in self.nodes
            },
        )

    @property
    def running(self) -> tuple[str, ...]:
        """Nodes that are neither dead nor frozen."""
        return tuple(node for node in self.nodes if node not in self.down | self.paused)

    @property
    def electable(self) -> tuple[str, ...]:
        """Nodes with working links, in both directions, to a quorum (themselves included)."""
        links = mutual_links(self)
        quorum = len(self.nodes) // 2 + 1
        return tuple(node for node in self.running if links.degree(node) + 1 >= quorum)

    @property
    def expect(self) -> str:
        """`available` if some node is electable, else `unavailable`."""
        return "available" if self.electable else "unavailable"


def mutual_links(state: ClusterState) -> nx.Graph[str]:
    """Return the graph of running nodes and of links on which packets pass in both directions."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(state.running)
    grudge = state.grudge
    for at, one in enumerate(state.running):
        for other in state.running[at + 1 :]:
            if other not in grudge.get(one, ()) and one not in grudge.get(other, ()):
                graph.add_edge(one, other)
    return graph


class QuorumBudget:
    """Limits how long the faults of a run prevent a quorum (QUORUM_LOSS_SHARE_MAX)."""

    def __init__(self, begin_ns: int) -> None:
        self._begin_ns = begin_ns
        self._since_ns = begin_ns
        self._lost_ns = 0
        self._lost = False

    def note(self, now_ns: int, state: ClusterState) -> None:
        """Record the state in force from `now_ns` on."""
        self._account(now_ns)
        self._lost = not state.electable

    def admits(self, now_ns: int, state: ClusterState, duration_ns: int) -> bool:
        """Whether `state` may be in force for `duration_ns` without exceeding the budget."""
        if state.electable:
            return True
        self._account(now_ns)
        elapsed_ns = now_ns - self._begin_ns
        return self._lost_ns + duration_ns <= QUORUM_LOSS_SHARE_MAX * (elapsed_ns + duration_ns)

    def share(self, now_ns: int) -> float:
        """The fraction of time so far in which a quorum could form."""
        self._account(now_ns)
        return 1 - self._lost_ns / max(1, now_ns - self._begin_ns)

    def _account(self, now_ns: int) -> None:
        if self._lost:
            self._lost_ns += now_ns - self._since_ns
        self._since_ns = now_ns
