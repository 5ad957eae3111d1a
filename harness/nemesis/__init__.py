"""The nemesis: injects faults into the cluster while clients use it.

One file a kind of fault. A kind has two effects, `start` and `stop`, where `stop` heals what
`start` broke, and two pure decisions: `draw` an intent from the kind's own random stream, and
`resolve` it against the roles and the cluster state of that moment.
`squall.harness.nemesis.scheduler` runs the kinds concurrently.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from squall.harness.cluster import Measured
from squall.harness.nemesis.cluster_state import ClusterState, Damage
from squall.harness.run.context import RunContext


class Executed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One fault of schedule.json as it was executed; contains what is needed to repeat it.

    `intent` is what was drawn, `targets` and `detail` what it was resolved to. Times are
    nanoseconds of the controller's clock since the start of the load.
    """

    id: str
    kind: str
    intent: dict[str, Any]
    from_ns: int
    until_ns: int | None = None
    targets: tuple[str, ...] = ()
    detail: str = ""
    outcome: str = "installed"


class Nemesis(Protocol):
    """Injects faults for the duration of the load."""

    kinds: tuple[str, ...]

    async def run(self, context: RunContext) -> None:
        """Inject and heal faults until `context.load_over` is set; heals all of its own faults."""
        ...

    def executed(self) -> tuple[Executed, ...]:
        """Every fault so far, in order of its start."""
        ...

    def quorum_share(self) -> float | None:
        """The fraction of the fault phase in which a quorum could form; None without faults."""
        ...


UNREACHABLE = "unreachable"
"""The role of a node that does not answer."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What an intent is resolved against: the nodes' roles and the faults already in force."""

    nodes: tuple[str, ...]
    roles: dict[str, str]
    leader: str
    state: ClusterState


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A resolved intent: its targets, and what it takes away from the cluster while in force.

    `data` belongs to the kind (a grudge, offsets).
    """

    targets: tuple[str, ...]
    detail: str
    damage: Damage
    data: dict[str, Any] = {}


class Kind(Protocol):
    """One kind of fault."""

    name: str

    def draw(self) -> dict[str, Any]:
        """Draw the next intent, from this kind's own random stream only."""
        ...

    def resolve(self, intent: dict[str, Any], view: View) -> list[Resolved]:
        """Return ways to carry out the intent now: the intended one first, then milder ones."""
        ...

    async def start(self, context: RunContext, resolved: Resolved) -> None:
        """Inject the fault; returns once it is in force."""
        ...

    async def stop(self, context: RunContext, resolved: Resolved) -> Measured:
        """Heal the fault and return its measured effect."""
        ...
