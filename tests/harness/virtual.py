"""Virtual time for tests of the harness: the simulator's runtime, without a simulated cluster."""

from __future__ import annotations

from squall.harness.sim.runtime import SimRuntime
from squall.harness.sim.world.loop import Loop


def virtual_runtime() -> SimRuntime:
    """Return a runtime whose clock moves only when no task can run: hours pass in no time."""
    return SimRuntime(Loop())
