"""Kill: SIGKILL to the node's process, a while later a restart with the data it had made durable.

Bytes that the node wrote and did not sync are lost with its process (it keeps them in its own
memory until the fsync), so a plain kill reveals a missing fsync.
"""

from __future__ import annotations

from random import Random
from typing import Any

from squall.harness.cluster import Measured
from squall.harness.nemesis import Resolved, View
from squall.harness.nemesis.cluster_state import Damage
from squall.harness.nemesis.targets import TargetSampler, candidates, describe
from squall.harness.run.context import RunContext


class Kill:
    """Kills nodes; healed by restarting them."""

    name = "kill"

    def __init__(self, random: Random, nodes: tuple[str, ...]) -> None:
        self._targets = TargetSampler(random, nodes)

    def draw(self) -> dict[str, Any]:
        """Draw scope and order of the nodes to kill."""
        return self._targets.draw()

    def resolve(self, intent: dict[str, Any], view: View) -> list[Resolved]:
        """Choose among live nodes; killing a frozen one also thaws it."""
        state = view.state
        alive = [node for node in view.nodes if node not in state.down]
        return [
            Resolved(
                targets=targets,
                detail=describe(intent, view, targets),
                damage=Damage(down=frozenset(targets)),
            )
            for targets in candidates(intent, view, alive)
        ]

    async def start(self, context: RunContext, resolved: Resolved) -> None:
        """Kill the targets as close to simultaneously as possible."""
        await context.cluster.kill(resolved.targets)
        context.kills.update(resolved.targets)

    async def stop(self, context: RunContext, resolved: Resolved) -> Measured:
        """Restart the targets."""
        return await context.cluster.restart(resolved.targets)
