"""Clock: a node's clock lies. It jumps, it strobes, it runs fast or slow.

    jump     the wall clock is off by a quarter second to five minutes, either way
    strobe   the wall clock leaps there and back several times a second
    drift    wall and monotonic clock run at the wrong speed

The controller's own clock stamps the history, so a lying node cannot disturb what is recorded. A
lie counts only if the node itself was seen to believe it.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from harness.cluster import Measured
from harness.nemesis import Resolved, View
from harness.nemesis.condition import Damage
from harness.nemesis.deck import Deck
from harness.options import NS_PER_MS
from harness.runtime import Event, Task
from harness.scene import Scene

VARIANTS = ("jump", "strobe", "drift")
JUMP_MS = (250, 300_000)
"""Jumps are log-uniform between these; a smaller one could not be told from a slow answer."""
RATES = (0.5, 0.8, 1.25, 2.0)
OFFSET_SEEN_NS_MIN = 150 * NS_PER_MS
"""An offset below this could be a slow answer; the smallest jump is well above it."""
STROBE_EVERY_MS = (100, 400)


class Clock:
    """Makes clocks lie; its healing twin makes every clock true again."""

    name = "clock"

    def __init__(
        self, random: Random, nodes: tuple[str, ...], variants: tuple[str, ...] = VARIANTS
    ) -> None:
        self._random = random
        self._nodes = nodes
        self._variants = Deck(random, variants)
        self._rates = Deck(random, RATES)
        self._still: Event
        self._strobing: Task[None] | None = None

    def draw(self) -> dict[str, Any]:
        """Draw a variant with its size, and the order in which nodes are preferred."""
        variant = self._variants.draw()
        intent: dict[str, Any] = {"variant": variant}
        if variant == "drift":
            intent["rate"] = self._rates.draw()
        else:
            low, high = JUMP_MS
            size_ms = round(low * (high / low) ** self._random.random())
            intent["offset_ms"] = size_ms * self._random.choice((-1, 1))
        if variant == "strobe":
            intent["every_ms"] = self._random.randint(*STROBE_EVERY_MS)
        intent["count"] = self._random.randint(1, len(self._nodes))
        intent["order"] = self._random.sample(self._nodes, len(self._nodes))
        return intent

    def resolve(self, intent: dict[str, Any], view: View) -> list[Resolved]:
        """Choose among running nodes: only they can be seen to believe it."""
        running = [node for node in intent["order"] if node in view.condition.running]
        targets = tuple(sorted(running[: intent["count"]]))
        if not targets:
            return []
        if intent["variant"] == "drift":
            size = f"x{intent['rate']}"
        else:
            size = f"{intent['offset_ms']:+} ms"
        detail = f"{intent['variant']} {size}: {' '.join(targets)}"
        return [Resolved(targets=targets, detail=detail, damage=Damage(), data=dict(intent))]

    async def start(self, scene: Scene, resolved: Resolved) -> None:
        """Set the clocks wrong; a strobe goes on swinging them until it is stopped."""
        for node in resolved.targets:
            scene.clock_offset_ns.pop(node, None)
            if resolved.data["variant"] == "drift":
                await scene.cluster.drift_clock(node, resolved.data["rate"])
            else:
                await scene.cluster.jump_clock(node, resolved.data["offset_ms"])
        if resolved.data["variant"] == "strobe":
            self._still = scene.runtime.event()
            self._strobing = scene.runtime.spawn(self._strobe(scene, resolved), "strobe")

    async def _strobe(self, scene: Scene, resolved: Resolved) -> None:
        away = True
        while not await self._still.wait(resolved.data["every_ms"] * NS_PER_MS):
            away = not away
            for node in resolved.targets:
                await scene.cluster.jump_clock(node, resolved.data["offset_ms"] if away else 0)

    async def stop(self, scene: Scene, resolved: Resolved) -> Measured:
        """Make every clock true again.

        The cluster measures what it saw itself; a strobe may be at rest just then, so what the
        observer saw meanwhile counts as well.
        """
        strobing, self._strobing = self._strobing, None
        if strobing is not None:
            self._still.set()
            await strobing.join()
        measured = await scene.cluster.reset_clocks()
        seen_ns = max((scene.clock_offset_ns.get(node, 0) for node in resolved.targets), default=0)
        if not measured.effective and seen_ns >= OFFSET_SEEN_NS_MIN:
            effect = f"clock seen {seen_ns // NS_PER_MS:,} ms off"
            return msgspec.structs.replace(measured, effective=True, effect=effect)
        return measured
