"""Pause: the node's processes freeze while their sockets stay open and the kernel keeps answering.

Not a partition: peers' packets are acknowledged, and the node wakes up believing no time has
passed. A leader that wakes and still answers reads from its own state is what this fault is for.

A `relay` goes one step further: a minority freezes and falls behind; then the leader freezes, and
the laggards wake just when the others' trust in it has run out. They are the first to campaign,
with the least complete logs: an election that must not be won (Raft, section 5.4.1).
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from squall.harness.cluster import Measured, NodeDied, NodeKilled
from squall.harness.nemesis import Resolved, View
from squall.harness.nemesis.cluster_state import Damage
from squall.harness.nemesis.targets import SCOPES, Victims, candidates, describe
from squall.harness.run.context import RunContext
from squall.harness.run.options import NS_PER_MS, NS_PER_S

RELAY = "relay"
REIGN_NS = 2 * NS_PER_S
"""How long a leader of the laggards' choice is left alone with the damage it may do."""


class Pause:
    """Freezes nodes; its healing twin is their thawing."""

    name = "pause"

    def __init__(self, random: Random, nodes: tuple[str, ...]) -> None:
        self._victims = Victims(random, nodes, (*SCOPES, RELAY, RELAY))
        self._kills_before: Counter[str] = Counter()

    def draw(self) -> dict[str, Any]:
        """Draw whom to freeze."""
        return self._victims.draw()

    def resolve(self, intent: dict[str, Any], view: View) -> list[Resolved]:
        """Choose among nodes that run: the dead cannot freeze."""
        condition = view.condition
        return _relays(intent, view) + [
            Resolved(
                targets=targets,
                detail=describe(intent, view, targets),
                damage=Damage(paused=frozenset(targets)),
            )
            for targets in candidates(intent, view, condition.running)
        ]

    async def start(self, context: RunContext, resolved: Resolved) -> None:
        """Freeze them."""
        self._kills_before = Counter(context.kills)
        await context.cluster.pause(resolved.targets)

    async def stop(self, context: RunContext, resolved: Resolved) -> Measured:
        """Thaw them; one that was killed meanwhile is no longer frozen, which is no error.

        `pause` returns only once they are frozen, so a node that was killed after that had been:
        the kill may have taken the cluster's own measurement with it.
        """
        if resolved.data.get(RELAY):
            measured = await _hand_over(context, resolved.targets)
        else:
            measured = await context.cluster.resume(resolved.targets)
        killed = [
            node for node in resolved.targets if context.kills[node] > self._kills_before[node]
        ]
        if measured.effective is None and killed:
            return Measured(effective=True, effect=f"killed while frozen: {' '.join(killed)}")
        return measured


def _relays(intent: dict[str, Any], view: View) -> list[Resolved]:
    """Let the largest minority without the leader fall behind, if a relay is meant and can be."""
    running = view.condition.running
    if intent["scope"] != RELAY or view.leader not in running:
        return []
    order = [node for node in intent["order"] if node in running and node != view.leader]
    laggards = tuple(sorted(order[: (len(view.nodes) - 1) // 2]))
    if not laggards:
        return []
    return [
        Resolved(
            targets=laggards,
            detail=f"relay: {' '.join(laggards)} fall behind, then the leader freezes",
            damage=Damage(paused=frozenset(laggards)),
            data={RELAY: True},
        )
    ]


async def _hand_over(context: RunContext, laggards: tuple[str, ...]) -> Measured:
    """Freeze whoever leads, wake the laggards when trust in it has run out, then wake it too."""
    cluster = context.cluster
    leader = await _leader_among(context, laggards)
    if leader:
        try:
            await cluster.pause((leader,))
        except (NodeDied, NodeKilled):
            leader = ""  # another fault took it away: as good
    try:
        await context.runtime.sleep_ns(cluster.election_timeout_ms * NS_PER_MS)
        measured = await cluster.resume(laggards)
        await context.runtime.sleep_ns(REIGN_NS)
    finally:
        if leader:
            await cluster.resume((leader,))
    return measured


async def _leader_among(context: RunContext, laggards: tuple[str, ...]) -> str:
    others = [node for node in context.cluster.nodes if node not in laggards]
    statuses = [await context.cluster.observe(node) for node in others]
    leaders = [status for status in statuses if status.role == "leader"]
    return max(leaders, key=lambda status: status.term).node if leaders else ""
