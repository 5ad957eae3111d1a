"""Partition: packets between nodes are dropped, in shapes that hurt in different ways.

    halves           a minority and a majority that cannot talk at all
    isolate-one      one follower alone
    isolate-leader   the leader alone: it must step down, its reads must stop
    bridge           two sides that share one node, which sees both
    majorities-ring  every node sees a majority, and no two see the same one
    one-way          a side (or the leader) is heard and does not hear, or hears and is not heard

A shape is a grudge: who drops whose packets on arrival. Clients still reach every node. Whether the
cluster can serve in that shape follows from the links left over
(`squall.harness.nemesis.cluster_state`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import networkx as nx

from squall.harness.cluster import Grudge, Measured
from squall.harness.nemesis import UNREACHABLE, Resolved, View
from squall.harness.nemesis.cluster_state import Condition, Damage, mutual_links
from squall.harness.nemesis.sampling import Deck
from squall.harness.run.context import RunContext
from squall.harness.run.options import NS_PER_MS, NS_PER_S

SHAPES = ("halves", "isolate-one", "isolate-leader", "bridge", "majorities-ring", "one-way")
ONE_WAYS = ("leader-unheard", "leader-deaf", "minority-unheard", "minority-deaf")
RING_NODES_MIN = 5
"""With three nodes every majority is nearly everybody: such a ring cuts nothing cleanly."""


SILENCE_NS_MAX = 5 * NS_PER_S
"""How much longer than drawn a cut may last in which nobody has spoken yet."""
POLL_NS = 200 * NS_PER_MS


class Partition:
    """Cuts links between nodes; its healing twin drops nothing any more."""

    name = "partition"

    def __init__(self, random: Random, nodes: tuple[str, ...]) -> None:
        self._random = random
        self._nodes = nodes
        few = len(nodes) < RING_NODES_MIN
        self._shapes = Deck(random, [s for s in SHAPES if not (few and s == "majorities-ring")])
        self._ways = Deck(random, ONE_WAYS)

    def draw(self) -> dict[str, Any]:
        """Draw a shape, and the order in which nodes take their places in it."""
        shape = self._shapes.draw()
        intent: dict[str, Any] = {"shape": shape}
        if shape == "one-way":
            intent["way"] = self._ways.draw()
        intent["order"] = self._random.sample(self._nodes, len(self._nodes))
        return intent

    def resolve(self, intent: dict[str, Any], view: View) -> list[Resolved]:
        """Place the nodes so that the cut parts some who are talking; milder shapes come after."""
        meant = [intent | {"order": order} for order in _turns(intent["order"])]
        milder = [{"shape": "isolate-one", "order": order} for order in _turns(intent["order"])]
        found = []
        for attempt in meant + milder:
            grudge = grudge_of(attempt, view.leader)
            if not _bites(grudge, view):
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
        """Cut."""
        await context.cluster.cut(resolved.data["grudge"])

    async def stop(
        self,
        context: RunContext,
        resolved: Resolved,  # noqa: ARG002 - one partition at a time: healing is of all
    ) -> Measured:
        """Let everything through again, once somebody has been cut short or waiting is vain.

        The nodes may be silent for other reasons: they boot, or a pause holds whoever would speak.
        """
        give_up_ns = context.runtime.now_ns() + SILENCE_NS_MAX
        while not await context.cluster.dropped() and context.runtime.now_ns() < give_up_ns:
            if await context.load_over.wait(POLL_NS):
                break
        return await context.cluster.heal()


def grudge_of(intent: Mapping[str, Any], leader: str) -> Grudge:
    """Return who drops whom for a shape whose places are taken in `order`.

    Where a shape has a place for the leader and one is known, it takes it; where the shape would
    have no effect with the leader in some place (a bridge that leads cuts nobody off), it leaves
    it.
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


def _turns(order: Sequence[str]) -> list[list[str]]:
    return [[*order[at:], *order[:at]] for at in range(len(order))]


def _drops(deaf: Sequence[str], unheard: Sequence[str]) -> Grudge:
    return {node: frozenset(unheard) for node in deaf}


def _apart(one: Sequence[str], other: Sequence[str]) -> Grudge:
    return {**_drops(one, other), **_drops(other, one)}


def _ring(order: Sequence[str]) -> Grudge:
    count = len(order)
    reach = (count // 2 + 1) // 2  # neighbours on each side: a majority with the node itself
    return {
        node: frozenset(order) - {order[(at + step) % count] for step in range(-reach, reach + 1)}
        for at, node in enumerate(order)
    }


def _bites(grudge: Grudge, view: View) -> bool:
    """Whether the grudge stops packets that flow: from and to a leader, not among followers.

    A frozen node still has a kernel that receives, so only the dead are out of the question; one
    that just boots says nothing yet. Without a known leader everybody canvasses everybody.
    """
    alive = [node for node in view.nodes if node not in view.condition.down]
    awake = [node for node in view.condition.running if view.roles.get(node) != UNREACHABLE]
    talkers = [view.leader] if view.leader in awake else awake
    return any(
        (other in grudge.get(talker, ())) or (talker in grudge.get(other, ()))
        for talker in talkers
        for other in alive
        if other != talker
    )


def describe(nodes: tuple[str, ...], grudge: Grudge) -> str:
    """Draw a grudge in a line: `n4 n5 | n1 n2 n3`, `n1 n2 -x> n3`, `n1 -x- n3, ...`."""
    links = mutual_links(Condition(nodes=nodes, grudge=grudge))
    mutual = {node: {other for other in nodes if node in grudge.get(other, ())} for node in nodes}
    if any(mutual[node] != set(grudge.get(node, ())) for node in nodes):
        deaf = [node for node in nodes if grudge.get(node)]
        unheard = sorted(set().union(*(grudge[node] for node in deaf)))
        return f"{' '.join(unheard)} -x> {' '.join(deaf)}"
    parts = sorted((sorted(part) for part in nx.connected_components(links)), key=len)
    if len(parts) > 1:
        return " | ".join(" ".join(part) for part in parts)
    return ", ".join(
        f"{one} -x- {other}"
        for one in nodes
        for other in sorted(grudge.get(one, ()))
        if one < other
    )
