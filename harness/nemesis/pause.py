"""Pause: the node's processes freeze while their sockets stay open and the kernel keeps answering.

Unlike in a partition, the kernel acknowledges peers' packets, and the resumed process has not
noticed that time has passed. It reveals a leader that answers reads from its own state after it was
deposed.

A `relay` extends this: a minority is frozen and falls behind; then the leader is frozen, and the
minority is thawed when the election timeout of the others has expired. Its nodes campaign first,
with the least complete logs: an election they must not win (Raft, section 5.4.1).
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from squall.harness.cluster import Measured, NodeDied, NodeKilled
from squall.harness.nemesis import Resolved, View
from squall.harness.nemesis.cluster_state import Damage
from squall.harness.nemesis.targets import SCOPES, TargetSampler, candidates, describe
from squall.harness.run.context import RunContext
from squall.harness.run.options import NS_PER_MS, NS_PER_S

RELAY = "relay"
RELAY_NS = 2 * NS_PER_S
"""How long the old leader stays frozen after the laggards were thawed: time for them to be elected
and to serve."""


class Pause:
    """Freezes nodes; healed by thawing them."""

    name = "pause"

    def __init__(self, random: Random, nodes: tuple[str, ...]) -> None:
        self._targets = TargetSampler(random, nodes, (*SCOPES, RELAY, RELAY))
        self._kills_before: Counter[str] = Counter()

    def draw(self) -> dict[str, Any]:
        """Draw scope and order of the nodes to freeze."""
        return self._targets.draw()

    def resolve(self, intent: dict[str, Any], view: View) -> list[Resolved]:
        """Choose among running nodes: a dead process cannot be frozen."""
        state = view.state
        return _relays(intent, view) + [
            Resolved(
                targets=targets,
                detail=describe(intent, view, targets),
                damage=Damage(paused=frozenset(targets)),
            )
            for targets in candidates(intent, view, state.running)
        ]

    async def start(self, context: RunContext, resolved: Resolved) -> None:
        """Freeze the targets."""
        self._kills_before = Counter(context.kills)
        await context.cluster.pause(resolved.targets)

    async def stop(self, context: RunContext, resolved: Resolved) -> Measured:
        """Thaw the targets; one that was killed meanwhile is no longer frozen, which is no error.

        `pause` returns only once all are frozen, so a node that was killed afterwards had been
        frozen, even where the kill discarded the cluster's own measurement.
        """
        if resolved.data.get(RELAY):
            measured = await _relay(context, resolved.targets)
        else:
            measured = await context.cluster.resume(resolved.targets)
        killed = [
            node for node in resolved.targets if context.kills[node] > self._kills_before[node]
        ]
        if measured.effective is None and killed:
            return Measured(effective=True, effect=f"killed while frozen: {' '.join(killed)}")
        return measured


def _relays(intent: dict[str, Any], view: View) -> list[Resolved]:
    """Return the relay of the largest minority without the leader; [] if there is none."""
    running = view.state.running
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


async def _relay(context: RunContext, laggards: tuple[str, ...]) -> Measured:
    """Freeze the leader, thaw the laggards after an election timeout, then thaw the leader."""
    cluster = context.cluster
    leader = await _leader_among(context, laggards)
    if leader:
        try:
            await cluster.pause((leader,))
        except (NodeDied, NodeKilled):
            leader = ""  # another fault stopped it: the same effect
    try:
        await context.runtime.sleep_ns(cluster.election_timeout_ms * NS_PER_MS)
        measured = await cluster.resume(laggards)
        await context.runtime.sleep_ns(RELAY_NS)
    finally:
        if leader:
            await cluster.resume((leader,))
    return measured


async def _leader_among(context: RunContext, laggards: tuple[str, ...]) -> str:
    others = [node for node in context.cluster.nodes if node not in laggards]
    statuses = [await context.cluster.observe(node) for node in others]
    leaders = [status for status in statuses if status.role == "leader"]
    return max(leaders, key=lambda status: status.term).node if leaders else ""
