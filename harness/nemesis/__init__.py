"""The nemesis: whoever breaks the cluster while clients use it.

One file a kind of fault. A kind is a pair that travels together, `start` and `stop`, plus two pure
decisions: `draw` an intent from the kind's own stream of chance, and `resolve` it against the roles
and the condition of that moment. `squall.harness.nemesis.scheduler` runs the kinds side by side.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from squall.harness.cluster import Measured
from squall.harness.nemesis.cluster_state import Condition, Damage
from squall.harness.run.context import RunContext


class Executed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One fault of schedule.json, as it happened: enough to do it again by hand or by machine.

    `intent` is what was drawn, `targets` and `detail` what it came to. Times are of the
    controller's clock, from the start of the run.
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
    """Anything that makes faults for the length of a run."""

    kinds: tuple[str, ...]

    async def run(self, context: RunContext) -> None:
        """Inject and heal faults until `context.load_over` is set; heals all of its own faults."""
        ...

    def executed(self) -> tuple[Executed, ...]:
        """Every fault so far, in order of its start."""
        ...

    def quorum_share(self) -> float | None:
        """The fraction of the storm in which a quorum could form; None if there was no storm."""
        ...


UNREACHABLE = "unreachable"
"""The role of a node that does not answer."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What an intent is resolved against: who plays which role, and what is broken already."""

    nodes: tuple[str, ...]
    roles: dict[str, str]
    leader: str
    condition: Condition


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """An intent come true: whom it hits, and what it takes away from the cluster while it lasts.

    `data` is the kind's own (a grudge, offsets).
    """

    targets: tuple[str, ...]
    detail: str
    damage: Damage
    data: dict[str, Any] = {}


class Kind(Protocol):
    """One kind of fault."""

    name: str

    def draw(self) -> dict[str, Any]:
        """Draw what to try next, from this kind's own stream and nothing else."""
        ...

    def resolve(self, intent: dict[str, Any], view: View) -> list[Resolved]:
        """Ways to make the intent true now, the one meant first, milder ones after it."""
        ...

    async def start(self, context: RunContext, resolved: Resolved) -> None:
        """Break it; returns when the breakage is in force."""
        ...

    async def stop(self, context: RunContext, resolved: Resolved) -> Measured:
        """Heal it, and say what it was seen to do."""
        ...
