"""What the faults of a run were measured to do.

A fault that was drawn has had no effect yet: a lossy link may carry no message, a trigger may wait
for a point that is never reached. So a sweep counts effects, and a run without any is not a pass.
"""

from __future__ import annotations

from squall.checkers.faults import fault_windows
from squall.checkers.history import History
from squall.harness.sim.world.world import SimWorld

Effects = dict[str, int]
"""What happened -> how often; nothing that did not happen."""


def effects(world: SimWorld, history: History) -> Effects:
    """Count what faults did in a run."""
    network = world.network.totals()
    found = {
        "timed faults": sum(bool(window.effective) for window in fault_windows(history)),
        "messages lost": network["lost"],
        "messages doubled": network["duplicated"],
        "messages overtaken": network["overtook"],
        "messages held back": network["held"],
        "links clogged": world.clogs,
        "disks failed": world.disk_failures,
    }
    for trigger, fired in zip(world.triggers.triggers, world.triggers.fired, strict=True):
        what = f"{trigger.action} at a moment"
        found[what] = found.get(what, 0) + fired
    found |= {step.value: count for step, count in world.churn.done.items()}
    return {what: count for what, count in found.items() if count}


def words(found: Effects) -> str:
    """Put effects into one line."""
    return ", ".join(f"{count:,} {what}" for what, count in found.items()) or "no effect"
