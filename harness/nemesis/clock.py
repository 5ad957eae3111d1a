"""Clock: a node's clock lies. It jumps, it strobes, it runs fast or slow.

    jump     the wall clock is off by a quarter second to five minutes, either way
    strobe   the wall clock leaps there and back several times a second
    drift    wall and monotonic clock run at the wrong speed

The controller's own clock stamps the history, so a node's clock has no influence on what is
recorded. A fault counts as effective only if the node itself reported the wrong time.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from squall.harness.cluster import Measured
from squall.harness.nemesis import Resolved, View
from squall.harness.nemesis.cluster_state import Damage
from squall.harness.nemesis.sampling import WithoutReplacement
from squall.harness.run.context import RunContext
from squall.harness.run.options import NS_PER_MS
from squall.harness.run.runtime import Event, Task

VARIANTS = ("jump", "strobe", "drift")
JUMP_MS = (250, 300_000)
"""Jumps are log-uniform between these; smaller ones resemble a slow response."""
RATES = (0.5, 0.8, 1.25, 2.0)
OFFSET_SEEN_NS_MIN = 120 * NS_PER_MS
"""An offset below this could be a slow answer; the smallest jump is twice as large."""
SKEW_SEEN_NS_MAX = 1_500 * NS_PER_MS
OBSERVE_EVERY_NS = 100 * NS_PER_MS
"""The slowest drift reaches the offset above in little more than half a second."""
STROBE_EVERY_MS = (100, 400)
UNSEEN_NS_MAX = 5_000 * NS_PER_MS
"""How much longer than drawn a skew lasts while no node has reported it yet."""


class Clock:
    """Skews clocks; healed by resetting every clock."""

    name = "clock"

    def __init__(
        self, random: Random, nodes: tuple[str, ...], variants: tuple[str, ...] = VARIANTS
    ) -> None:
        self._random = random
        self._nodes = nodes
        self._variants = WithoutReplacement(random, variants)
        self._rates = WithoutReplacement(random, RATES)
        self._strobe_over: Event
        self._seen = ""
        self._strobe_task: Task[None] | None = None

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
        """Choose among running nodes: only they can report their clock."""
        running = [node for node in intent["order"] if node in view.state.running]
        targets = tuple(sorted(running[: intent["count"]]))
        if not targets:
            return []
        if intent["variant"] == "drift":
            size = f"x{intent['rate']}"
        else:
            size = f"{intent['offset_ms']:+} ms"
        detail = f"{intent['variant']} {size}: {' '.join(targets)}"
        return [Resolved(targets=targets, detail=detail, damage=Damage(), data=dict(intent))]

    async def start(self, context: RunContext, resolved: Resolved) -> None:
        """Skew the clocks, and wait until a node reports the skew.

        No other fault starts during the wait: a node that is killed a moment later can no longer be
        observed. A strobe keeps moving the clocks until it is stopped.
        """
        for node in resolved.targets:
            if resolved.data["variant"] == "drift":
                await context.cluster.drift_clock(node, resolved.data["rate"])
            else:
                await context.cluster.jump_clock(node, resolved.data["offset_ms"])
        self._seen = await self._await_skew(context, resolved.targets)
        if resolved.data["variant"] == "strobe":
            self._strobe_over = context.runtime.event()
            self._strobe_task = context.runtime.spawn(self._strobe(context, resolved), "strobe")

    async def _await_skew(self, context: RunContext, targets: tuple[str, ...]) -> str:
        give_up_ns = context.runtime.now_ns() + SKEW_SEEN_NS_MAX
        while context.runtime.now_ns() < give_up_ns:
            for node in targets:
                offset_ns = (await context.cluster.observe(node)).clock_offset_ns
                if abs(offset_ns) >= OFFSET_SEEN_NS_MIN:
                    return f"{node}'s clock was seen {offset_ns / NS_PER_MS:+,.0f} ms off"
            await context.runtime.sleep_ns(OBSERVE_EVERY_NS)
        return ""

    async def _strobe(self, context: RunContext, resolved: Resolved) -> None:
        away = True
        while not await self._strobe_over.wait(resolved.data["every_ms"] * NS_PER_MS):
            away = not away
            for node in resolved.targets:
                await context.cluster.jump_clock(node, resolved.data["offset_ms"] if away else 0)

    async def stop(
        self,
        context: RunContext,
        resolved: Resolved,  # noqa: ARG002 - one clock fault at a time: all clocks are set right
    ) -> Measured:
        """Reset every clock, once a skew was observed or UNSEEN_NS_MAX have passed.

        Nodes may not answer for other reasons: they are booting, or frozen by a pause. The final
        measurement may find nothing: a strobe may be at zero offset, a drifting node may have been
        killed. An effect that was observed earlier counts.
        """
        give_up_ns = context.runtime.now_ns() + UNSEEN_NS_MAX
        while not self._seen and not await context.cluster.clock_lied():
            if context.runtime.now_ns() >= give_up_ns or await context.load_over.wait(
                OBSERVE_EVERY_NS
            ):
                break
        strobe, self._strobe_task = self._strobe_task, None
        if strobe is not None:
            self._strobe_over.set()
            await strobe.join()
        measured = await context.cluster.reset_clocks()
        if not measured.effective and self._seen:
            return msgspec.structs.replace(measured, effective=True, effect=self._seen)
        return measured
