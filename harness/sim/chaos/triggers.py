"""Faults at the worst moment: when x becomes leader, crash it.

Timers almost never hit the few microseconds in which a protocol is vulnerable; a trigger waits for
the moment itself and then acts with some probability, a little later. Each trigger draws from a
stream of its own. What it broke it mends after a while, whatever else is going on; at most
`max_targets` nodes suffer from triggers at a time, so that a run still gets somewhere.
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
"""Firings of restless triggers, all together, within which somebody's write must get through."""
ROUND_WRITES = 20
"""Writes that must have got through meanwhile; if not, even restless triggers rest."""
ROUND_COOLDOWN = 10
"""How long they rest then, in times of `mend_us`."""


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
    """What is done to it then."""

    CRASH = "crash"
    ISOLATE = "isolate"
    PAUSE = "pause"
    DELAY = "delay its next messages"


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """When a node is at `moment`, with probability `p`, do `action` to it after up to `after_us`.

    It is mended after at least `mend_us` and at most four times that. Afterwards the trigger rests
    for as long as its victim suffered, or the run would be spent on elections alone; unless it is
    `without_cooldown`: some failures need the same fault twice in a row. Those all pause together
    when a round of them let hardly any write through.
    """

    point: TriggerPoint
    action: Action
    p: float
    after_us: int = 1_000
    mend_us: int = 300_000
    without_cooldown: bool = False


class TriggerTargets(Protocol):
    """The cluster as triggers see it: break and mend, by number of node."""

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
    """The triggers of one run: `armed` while the storm lasts."""

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
        self._round = 0  # firings of restless triggers since the revision was last looked at ...
        self._revision = 0  # ... and what it was then
        self._broken: dict[int, Action] = {}
        self._fire = loop.register(self._on_time)
        self._mend = loop.register(self._on_mend)
        self._random = [seeds.of("trigger", number).random for number in range(len(triggers))]
        self._by_point: dict[TriggerPoint, list[int]] = {}
        for number, trigger in enumerate(triggers):
            self._by_point.setdefault(trigger.point, []).append(number)

    def watches(self, point: TriggerPoint) -> bool:
        """Whether any trigger waits for this moment."""
        return point in self._by_point

    def reached(self, node: int, point: TriggerPoint) -> None:
        """Tell that a node has just reached a moment."""
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
        """Fire no more, and mend every victim now."""
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
