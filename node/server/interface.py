"""What the parts of the shell need of the node they serve."""

from __future__ import annotations

from typing import Protocol

from squall.node.api.backend import Backend
from squall.node.replica import Status
from squall.node.server.metrics import Metrics


class Node(Backend, Protocol):
    """A backend that has a replica, counters and names for its members."""

    metrics: Metrics

    def name_of(self, member_id: int) -> str:
        """Return a member's name; empty when it is unknown."""
        ...

    def replica_status(self) -> Status:
        """Return the replica's whole status."""
        ...
