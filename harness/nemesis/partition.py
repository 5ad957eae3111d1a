"""Partition: packets between nodes are dropped, in shapes that break different assumptions.

    halves           a minority and a majority without any link between them
    isolate-one      one follower alone
    isolate-leader   the leader alone: it must step down, its reads must stop
    bridge           two sides that share one node, which sees both
    majorities-ring  every node sees a majority, and no two see the same one
    one-way          a side (or the leader) drops what it receives, or has dropped what it sends

A shape is a grudge: which node drops whose packets on arrival. Clients still reach every node.
Whether the cluster can serve follows from the remaining links
(`squall.harness.nemesis.cluster_state`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import networkx as nx

from squall.harness.cluster import Grudge, Measured
from squall.harness.nemesis import UNREACHABLE, Resolved, View
from squall.harness.nemesis.cluster_state import ClusterState, Damage, mutual_links
from squall.harness.nemesis.sampling import WithoutReplacement
from squall.harness.run.context import RunContext
from squall.harness.run.options import NS_PER_MS, NS_PER_S

SHAPES = ("halves", "isolate-one", "isolate-leader", "bridge", "majorities-ring", "one-way")
ONE_WAYS = ("leader-unheard", "leader-deaf", "minority-unheard", "minority-deaf")
RING_NODES_MIN = 5
"""With three nodes a majority is all but one node, so the ring has no distinct majorities."""

SILENCE_NS_MAX = 5 * NS_PER_S
"""How much longer than drawn a cut lasts while it has not dropped a packet yet."""
POLL_NS = 200 * NS_PER_MS


class Partition:
    """Cuts links between nodes; healed by restoring all of them."""

    name = "partition"

    def __init__(self, random: Random, nodes: tuple[str, ...]) -> None:
        self._random = random
        self._nodes = nodes
        few = len(nodes) < RING_NODES_MIN
        self._shapes = WithoutReplacement(
            random, [s for s in SHAPES if not (few and s == "majorities-ring")]
        )
        self._ways = WithoutReplacement(random, ONE_WAYS)

    def draw(self) -> dict[str, Any]:
        """Draw a shape, and the order in which nodes are assigned to its places."""
        shape = self._shapes.draw()
        intent: dict[str, Any] = {"shape": shape}
        if shape == "one-way":
            intent["way"] = self._ways.draw()
        intent["order"] = self._random.sample(self._nodes, len(self._nodes))
        return intent

    def resolve(self, intent: dict[str, Any], view: View) -> list[Resolved]:
        """Place the nodes so that the cut affects links in use; milder shapes come last."""
        meant = [intent | {"order": order} for order in _rotations(intent["order"])]
        milder = [{"shape": "isolate-one", "order": order} for order in _rotations(intent["order"])]
        found = []
        for attempt in meant + milder:
            grudge = grudge_of(attempt, view.leader)
            if not _has_effect(grudge, view):
                continue
            name = attempt.get("way") or attempt["shape"]
            found.append(
                Resolved(
                    targets=tuple(node for node in view.nodes if grudge.get(node)),
                    detail=f"{name}: {describe(view.nodes, grudge)}",
                    damage=Damage(grudge=grudge),
                    data={"grudge": grudge},
                )
            )
        return found

    async def start(self, context: RunContext, resolved: Resolved) -> None:
        """Install the grudge."""
        await context.cluster.cut(resolved.data["grudge"])

    async def stop(
        self,
        context: RunContext,
        resolved: Resolved,  # noqa: ARG002 - one partition at a time: healing is of all
    ) -> Measured:
        """Restore all links, once a packet was dropped or SILENCE_NS_MAX have passed.

        The nodes may send nothing for other reasons: they are booting, or frozen by a pause.
        """
        give_up_ns = context.runtime.now_ns() + SILENCE_NS_MAX
        while not await context.cluster.dropped() and context.runtime.now_ns() < give_up_ns:
            if await context.load_over.wait(POLL_NS):
                break
        return await context.cluster.heal()


def grudge_of(intent: Mapping[str, Any], leader: str) -> Grudge:
    """Return the grudge of a shape whose places are assigned in `order`.

    A known leader is put in the place that the shape has for it, and kept out of a place in which
    the shape would have no effect (a bridge that leads is cut off from no node).
    """
    order: list[str] = list(intent["order"])
    shape, way = intent["shape"], intent.get("way", "")
    few = len(order) // 2
    if "leader" in (shape + way) and leader in order:
        order.remove(leader)
        order.insert(0, leader)
    elif shape in ("isolate-one", "bridge") and leader in order:
        order.remove(leader)
        order.append(leader)
    if shape in ("isolate-one", "isolate-leader"):
        return _apart(order[:1], order[1:])
    if shape == "halves":
        return _apart(order[:few], order[few:])
    if shape == "bridge":
        return _apart(order[:few], order[few + 1 :])
    if shape == "majorities-ring":
        return _ring(order)
    side = order[:1] if way.startswith("leader") else order[:few]
    rest = order[len(side) :]
    return _drops(side, rest) if way.endswith("deaf") else _drops(rest, side)


def _rotations(order: Sequence[str]) -> list[list[str]]:
    return [[*order[at:], *order[:at]] for at in range(len(order))]


def _drops(receivers: Sequence[str], senders: Sequence[str]) -> Grudge:
    return {node: frozenset(senders) for node in receivers}


def _apart(one: Sequence[str], other: Sequence[str]) -> Grudge:
    return {**_drops(one, other), **_drops(other, one)}


def _ring(order: Sequence[str]) -> Grudge:
    count = len(order)
    reach = (count // 2 + 1) // 2  # neighbours on each side: a majority with the node itself
    return {
        node: frozenset(order) - {order[(at + step) % count] for step in range(-reach, reach + 1)}
        for at, node in enumerate(order)
    }


def _has_effect(grudge: Grudge, view: View) -> bool:
    """Whether the grudge drops packets that are sent: those from and to a leader.

    A frozen node's kernel still receives, so only dead receivers are excluded; a booting node sends
    nothing yet. Without a known leader every node requests votes of every other.
    """
    alive = [node for node in view.nodes if node not in view.state.down]
    awake = [node for node in view.state.running if view.roles.get(node) != UNREACHABLE]
    senders = [view.leader] if view.leader in awake else awake
    return any(
        (other in grudge.get(sender, ())) or (sender in grudge.get(other, ()))
        for sender in senders
        for other in alive
        if other != sender
    )


def describe(nodes: tuple[str, ...], grudge: Grudge) -> str:
    """Return a grudge as one line: `n4 n5 | n1 n2 n3`, `n1 n2 -x> n3`, `n1 -x- n3, ...`."""
    links = mutual_links(ClusterState(nodes=nodes, grudge=grudge))
    mutual = {node: {other for other in nodes if node in grudge.get(other, ())} for node in nodes}
    if any(mutual[node] != set(grudge.get(node, ())) for node in nodes):
        receivers = [node for node in nodes if grudge.get(node)]
        senders = sorted(set().union(*(grudge[node] for node in receivers)))
        return f"{' '.join(senders)} -x> {' '.join(receivers)}"
    parts = sorted((sorted(part) for part in nx.connected_components(links)), key=len)
    if len(parts) > 1:
        return " | ".join(" ".join(part) for part in parts)
    return ", ".join(
        f"{one} -x- {other}"
        for one in nodes
        for other in sorted(grudge.get(one, ()))
        if one < other
    )
