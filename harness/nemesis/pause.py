"""Pause: the node's processes freeze while their sockets stay open and the kernel keeps answering.

Not a partition: peers' packets are acknowledged, and the node wakes up believing no time has
passed. A leader that wakes and still answers reads from its own state is what this fault is for.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from harness.cluster import Measured
from harness.nemesis import Resolved, View
from harness.nemesis.condition import Damage
from harness.nemesis.victims import Victims, candidates, describe
from harness.scene import Scene


class Pause:
    """Freezes nodes; its healing twin is their thawing."""

    name = "pause"

    def __init__(self, random: Random, nodes: tuple[str, ...]) -> None:
        self._victims = Victims(random, nodes)
        self._kills_before: Counter[str] = Counter()

    def draw(self) -> dict[str, Any]:
        """Draw whom to freeze."""
        return self._victims.draw()

    def resolve(self, intent: dict[str, Any], view: View) -> list[Resolved]:
        """Choose among nodes that run: the dead cannot freeze."""
        condition = view.condition
        return [
            Resolved(
                targets=targets,
                detail=describe(intent, view, targets),
                damage=Damage(paused=frozenset(targets)),
            )
            for targets in candidates(intent, view, condition.running)
        ]

    async def start(self, scene: Scene, resolved: Resolved) -> None:
        """Freeze them."""
        self._kills_before = Counter(scene.kills)
        await scene.cluster.pause(resolved.targets)

    async def stop(self, scene: Scene, resolved: Resolved) -> Measured:
        """Thaw them; one that was killed meanwhile is no longer frozen, which is no error.

        `pause` returns only once they are frozen, so a node that was killed after that had been:
        the kill may have taken the cluster's own measurement with it.
        """
        measured = await scene.cluster.resume(resolved.targets)
        killed = [node for node in resolved.targets if scene.kills[node] > self._kills_before[node]]
        if measured.effective is None and killed:
            return Measured(effective=True, effect=f"killed while frozen: {' '.join(killed)}")
        return measured
