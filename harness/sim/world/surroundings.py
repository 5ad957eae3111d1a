"""What a simulated node needs of the world around it."""

from __future__ import annotations

from typing import Protocol

from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.chaos.triggers import Triggers
from squall.harness.sim.judge.invariants import Invariants
from squall.harness.sim.judge.trace import Trace
from squall.harness.sim.world.loop import Loop
from squall.harness.sim.world.network import Network
from squall.harness.sim.world.watch_limits import WatchBuffers


class World(Protocol):
    """What a node needs of its surroundings."""

    loop: Loop
    network: Network
    trace: Trace
    triggers: Triggers
    invariants: Invariants
    seeds: WorldSeeds
    buffers: WatchBuffers

    addresses: dict[int, int]  # id of a member -> number of the node that it is

    def name_of(self, member_id: int) -> str:
        """Name the machine of a member."""
        ...

    def disk_failed(self, number: int) -> None:
        """A node's disk failed as we meant it to, and the node stopped."""
        ...
