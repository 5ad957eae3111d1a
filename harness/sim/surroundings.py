"""What a simulated node needs of the world around it."""

from __future__ import annotations

from typing import Protocol

from harness.sim.buffers import WatchBuffers
from harness.sim.invariants import Invariants
from harness.sim.loop import Loop
from harness.sim.network import Network
from harness.sim.streams import Streams
from harness.sim.trace import Trace
from harness.sim.triggers import Triggers


class World(Protocol):
    """What a node needs of its surroundings."""

    loop: Loop
    network: Network
    trace: Trace
    triggers: Triggers
    invariants: Invariants
    streams: Streams
    buffers: WatchBuffers

    addresses: dict[int, int]  # id of a member -> number of the node that it is

    def name_of(self, member_id: int) -> str:
        """Name the machine of a member."""
        ...

    def disk_failed(self, number: int) -> None:
        """A node's disk failed as we meant it to, and the node stopped."""
        ...
