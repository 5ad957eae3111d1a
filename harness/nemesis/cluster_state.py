"""What is broken right now, and who may still make progress.

A `Condition` is a value: nodes that are down, nodes that are frozen, and the grudge in force. From
it follows who could lead: a running node that hears, and is heard by, enough running nodes to make
a quorum together. It says who *may*, not who does: an election takes its time.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import networkx as nx

QUORUM_LOSS_SHARE_MAX = 0.25
"""A storm may take the quorum away for at most this share of its time, or nothing is exercised."""


_NOBODY: frozenset[str] = frozenset()


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """What one fault takes away while it lasts."""

    down: frozenset[str] = frozenset()
    paused: frozenset[str] = frozenset()
    grudge: Mapping[str, frozenset[str]] = {}


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a cluster under every damage that is in force."""

    nodes: tuple[str, ...]
    down: frozenset[str] = frozenset()
    paused: frozenset[str] = frozenset()
    grudge: Mapping[str, frozenset[str]] = {}

    def plus(self, damage: Damage) -> Condition:
        """Return the condition with one more fault in force."""
        return Condition(
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
        """Nodes that neither lie dead nor frozen."""
        return tuple(node for node in self.nodes if node not in self.down | self.paused)

    @property
    def able(self) -> tuple[str, ...]:
        """Nodes that may lead: in touch, both ways, with a quorum (themselves included)."""
        links = mutual_links(self)
        quorum = len(self.nodes) // 2 + 1
        return tuple(node for node in self.running if links.degree(node) + 1 >= quorum)

    @property
    def expect(self) -> str:
        """Whether one may expect the cluster to serve in this condition."""
        return "available" if self.able else "unavailable"


def mutual_links(condition: Condition) -> nx.Graph[str]:
    """Draw the running nodes and the links on which packets pass both ways."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(condition.running)
    grudge = condition.grudge
    for at, one in enumerate(condition.running):
        for other in condition.running[at + 1 :]:
            if other not in grudge.get(one, ()) and one not in grudge.get(other, ()):
                graph.add_edge(one, other)
    return graph


class QuorumBudget:
    """How long the quorum has been away, and whether it may be taken away again."""

    def __init__(self, begin_ns: int) -> None:
        self._begin_ns = begin_ns
        self._since_ns = begin_ns
        self._lost_ns = 0
        self._lost = False

    def note(self, now_ns: int, condition: Condition) -> None:
        """Learn that the condition is this from `now_ns` on."""
        self._account(now_ns)
        self._lost = not condition.able

    def admits(self, now_ns: int, condition: Condition, duration_ns: int) -> bool:
        """Whether `condition` may be brought about for `duration_ns`."""
        if condition.able:
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
