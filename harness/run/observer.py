"""The observer: reads every node's status several times a second.

Its readings become `observe` events of the history, so that leaders and terms can be shown over the
same time axis as operations and faults. They prove no order: their time is the controller's at the
moment of recording. A node that does not answer has no role, term or index in them. The observer
also detects nodes whose process ended without a fault, and nodes that were stopped from outside the
harness.
"""

from __future__ import annotations

from typing import Any

from squall.checkers.history import OBSERVER
from squall.harness.cluster import NodeStatus
from squall.harness.run.context import RunContext
from squall.harness.run.options import NS_PER_MS, NS_PER_S
from squall.harness.run.runtime import Event

RECORD_EVERY_NS = NS_PER_S
"""At least this often a reading is recorded, whether or not a role or term changed."""
STALE_NS = 3 * NS_PER_S // 2
"""A node that has not answered for this long counts as unreachable (its answer may be stuck)."""
CRASH_POLL_NS = NS_PER_S
FAILURES_MAX = 3
"""Consecutive polls without an answer of the engine after which the load ends."""


class Observer:
    """Polls until told to stop. None of its failures fails the run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._statuses: dict[str, NodeStatus] = {}
        self._answered_ns: dict[str, int] = {}
        self.crashes: dict[str, str] = {}

    async def watch(self, over: Event) -> None:
        """Poll and record until the event `over` is set."""
        context = self._context
        for node in context.cluster.nodes:
            context.runtime.spawn(self._poll(node, over), f"observe {node}")
        context.runtime.spawn(self._poll_crashes(over), "observe crashes")
        last_ns, last = -RECORD_EVERY_NS, None
        while not await over.wait(context.options.observe_every_ns):
            now_ns = context.runtime.now_ns()
            reading = {node: self._reading(node, now_ns) for node in context.cluster.nodes}
            changed_part = [
                (r.get("role"), r.get("term"), r["reachable"]) for r in reading.values()
            ]
            if changed_part != last or now_ns - last_ns >= RECORD_EVERY_NS:
                last, last_ns = changed_part, now_ns
                context.progress.op(context.recorder.note(OBSERVER, "observe", reading))

    async def _poll(self, node: str, over: Event) -> None:
        context = self._context
        while not over.is_set():
            try:
                status = await context.cluster.observe(node)
            except Exception as error:  # noqa: BLE001 - any failure means unreachable
                status = NodeStatus(node=node, reachable=False, error=str(error))
            self._statuses[node] = status
            self._answered_ns[node] = context.runtime.now_ns()
            await over.wait(context.options.observe_every_ns)

    async def _poll_crashes(self, over: Event) -> None:
        """Poll for nodes that ended by themselves, and for interference from outside the harness.

        Either ends the load: a crash is proved already, and measurements on a cluster with
        interference would prove nothing.
        """
        context = self._context
        failures = 0
        while not await over.wait(CRASH_POLL_NS):
            try:
                crashes = await context.cluster.crashed()
                await note_disturbances(context)
            except Exception as error:  # noqa: BLE001 - trouble of the harness, noted once
                failures += 1
                if failures == FAILURES_MAX:
                    context.note_trouble(f"could not ask which nodes crashed: {error}")
                    context.stop.set()
                continue
            failures = 0
            for node, words in crashes.items():
                if node not in self.crashes:
                    self.crashes[node] = words
                    last = words.strip()[-200:]
                    context.progress.say(
                        f"✗ {node} ended, which no fault did; its last words: {last}"
                    )
                    context.stop.set()  # the crash is proved; further load adds nothing

    def _reading(self, node: str, now_ns: int) -> dict[str, Any]:
        status = self._statuses.get(node)
        fresh = status is not None and now_ns - self._answered_ns[node] <= STALE_NS
        if status is None or not fresh or not status.reachable:
            return {"reachable": False}  # its role, term and indexes are unknown, not zero
        return {
            **status.position(),
            "reachable": True,
            "clock_offset_ms": round(status.clock_offset_ns / NS_PER_MS),
        }


async def note_disturbances(context: RunContext) -> None:
    """Record interference from outside the harness as trouble, which ends the load."""
    for found in (await context.cluster.disturbed()).values():
        for text in found:
            context.note_trouble(text)
            context.stop.set()
