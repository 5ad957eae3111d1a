"""Triggered faults: when a node reaches a point at which the protocol is vulnerable, break it.

Timers hardly ever hit the few microseconds that matter ("becomes leader", "has appended and not
synced"). A trigger acts at the point itself, with some probability and a short delay, and mends
what it broke after a while. Each trigger draws from a stream of its own. At most `max_targets`
nodes are broken by triggers at a time, so that the run still makes progress.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.world.loop import Loop

MAX_FIRINGS = 200
"""Firings of one trigger in one run."""

ROUND = 20
"""Firings of triggers without cooldown, all together, after which progress is checked."""
ROUND_WRITES = 20
"""Writes that must have been applied in a round; if not, these triggers cool down as well."""
ROUND_COOLDOWN = 10
"""How long, in multiples of `mend_us`."""


class TriggerPoint(StrEnum):
    """What a node has just done."""

    LEADS = "becomes leader"
    APPENDS = "has appended and not synced"
    VOTES = "grants a vote"
    SNAPSHOTS = "begins to save a snapshot"
    CONFIGURES = "has appended a configuration entry"
    ACKNOWLEDGES = "acknowledges entries"
    RESTARTS = "has restarted"
    LAPSES = "leads, and its lease is about to expire"
    REPLICATES = "leads, and what is acknowledged is of earlier terms"


class Action(StrEnum):
    """What is done to the node then."""

    CRASH = "crash"
    ISOLATE = "isolate"
    PAUSE = "pause"
    DELAY = "delay its next messages"


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """When a node is at `point`, with probability `p`, do `action` to it after up to `after_us`.

    It is mended after at least `mend_us` and at most four times that. The trigger then cools down
    for as long as the node was broken, or the run would be spent on elections alone; unless it is
    `without_cooldown`: some failures need the same fault twice in a row. Those all cool down
    together when a round of their firings let hardly any write through.
    """

    point: TriggerPoint
    action: Action
    p: float
    after_us: int = 1_000
    mend_us: int = 300_000
    without_cooldown: bool = False


class TriggerTargets(Protocol):
    """What triggers need of the cluster: break and mend, by number of node."""

    def break_node(self, node: int, action: Action, mend_us: int) -> bool:
        """Do `action` to a node; False if that was not possible now."""
        ...

    def mend_node(self, node: int, action: Action) -> None:
        """Undo what `break_node` did; idempotent."""
        ...

    def revision(self) -> int:
        """Return the highest revision any node has applied."""
        ...


class Triggers:
    """The triggers of one run; they fire only while `armed`."""

    def __init__(
        self,
        triggers: tuple[Trigger, ...],
        max_targets: int,
        loop: Loop,
        seeds: WorldSeeds,
        targets: TriggerTargets,
        on_fire: Callable[[int, Trigger], None],
    ) -> None:
        self.armed = False
        self.fired = [0] * len(triggers)
        self.triggers = triggers
        self._max_targets = max_targets
        self._loop = loop
        self._targets = targets
        self._on_fire = on_fire
        self._cooldown_until_us = [0] * len(triggers)
        self._round = 0  # firings without cooldown since the revision was last looked at ...
        self._revision = 0  # ... and what it was then
        self._broken: dict[int, Action] = {}
        self._fire = loop.register(self._on_time)
        self._mend = loop.register(self._on_mend)
        self._random = [seeds.of("trigger", number).random for number in range(len(triggers))]
        self._by_point: dict[TriggerPoint, list[int]] = {}
        for number, trigger in enumerate(triggers):
            self._by_point.setdefault(trigger.point, []).append(number)

    def watches(self, point: TriggerPoint) -> bool:
        """Whether any trigger waits for this point."""
        return point in self._by_point

    def reached(self, node: int, point: TriggerPoint) -> None:
        """Report that a node has just reached a point."""
        if not self.armed:
            return
        for number in self._by_point.get(point, ()):
            trigger, random = self.triggers[number], self._random[number]
            if random() >= trigger.p or self.fired[number] >= MAX_FIRINGS:
                continue
            if self._loop.now_us < self._cooldown_until_us[number]:
                continue
            self._loop.after(int(random() * trigger.after_us), self._fire, number, node)

    def disarm(self) -> None:
        """Stop firing, and mend every broken node now."""
        self.armed = False
        for node, action in sorted(self._broken.items()):
            self._targets.mend_node(node, action)
        self._broken.clear()

    def _on_time(self, number: int, node: int) -> None:
        if not self.armed or node in self._broken:
            return
        if len(self._broken) >= self._max_targets:
            return
        trigger = self.triggers[number]
        mend_us = int(trigger.mend_us * (1 + 3 * self._random[number]()))
        if not self._targets.break_node(node, trigger.action, mend_us):
            return
        self.fired[number] += 1
        if trigger.without_cooldown:
            self._count_round(trigger)
        else:
            self._cooldown_until_us[number] = self._loop.now_us + 2 * mend_us
        self._broken[node] = trigger.action
        self._on_fire(node, trigger)
        self._loop.after(mend_us, self._mend, node, trigger.action)

    def _count_round(self, trigger: Trigger) -> None:
        self._round += 1
        if self._round < ROUND:
            return
        revision, self._round = self._targets.revision(), 0
        stuck, self._revision = revision < self._revision + ROUND_WRITES, revision
        if stuck:
            until_us = self._loop.now_us + ROUND_COOLDOWN * trigger.mend_us
            for number, each in enumerate(self.triggers):
                if each.without_cooldown:
                    self._cooldown_until_us[number] = until_us

    def _on_mend(self, node: int, action: Action) -> None:
        if self._broken.get(node) is action:
            del self._broken[node]
            self._targets.mend_node(node, action)
