"""Kill: SIGKILL to the node's process, a while later a restart with the data it had made durable.

What the node had written and not synced is lost with its process (it keeps unsynced bytes in its
own memory), so a plain kill finds a missing fsync.
"""

from __future__ import annotations

from random import Random
from typing import Any

from squall.harness.cluster import Measured
from squall.harness.nemesis import Resolved, View
from squall.harness.nemesis.cluster_state import Damage
from squall.harness.nemesis.targets import Victims, candidates, describe
from squall.harness.run.context import RunContext


class Kill:
    """Kills nodes; its healing twin is their restart."""

    name = "kill"

    def __init__(self, random: Random, nodes: tuple[str, ...]) -> None:
        self._victims = Victims(random, nodes)

    def draw(self) -> dict[str, Any]:
        """Draw whom to kill."""
        return self._victims.draw()

    def resolve(self, intent: dict[str, Any], view: View) -> list[Resolved]:
        """Choose among nodes that live; a frozen one may be killed too, which thaws it."""
        condition = view.condition
        alive = [node for node in view.nodes if node not in condition.down]
        return [
            Resolved(
                targets=targets,
                detail=describe(intent, view, targets),
                damage=Damage(down=frozenset(targets)),
            )
            for targets in candidates(intent, view, alive)
        ]

    async def start(self, context: RunContext, resolved: Resolved) -> None:
        """Kill them all as near to one instant as can be."""
        await context.cluster.kill(resolved.targets)
        context.kills.update(resolved.targets)

    async def stop(self, context: RunContext, resolved: Resolved) -> Measured:
        """Start them again."""
        return await context.cluster.restart(resolved.targets)
