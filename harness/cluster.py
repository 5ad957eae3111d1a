"""A cluster of nodes that can be run, broken, healed, watched and taken apart for evidence.

One interface, two worlds: containers (`squall.harness.docker.cluster`) and the deterministic
simulation (`squall.harness.sim.cluster`). Workloads, faults, checkers and reports do not know which
they are in.

Break and heal are pairs, and every heal is idempotent: it may be called when nothing is broken.
A method that breaks something returns only when the breakage is in force; what it measured about
its effect is returned by its healing twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from squall.checkers.evidence import Evidence
from squall.checkers.history import Op
from squall.workloads.client import Answer, Kv, Put

Grudge = Mapping[str, frozenset[str]]
"""Who drops whom: node -> the nodes whose packets it drops on arrival. One-way by nature."""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node says of itself. `clock_ns` is its own wall clock, to verify skew.

    `role` is leader, follower, candidate, pre-candidate, learner or "" when unreachable.
    """

    node: str
    reachable: bool
    role: str = ""
    term: int = 0
    leader: str = ""
    commit: int = 0
    applied: int = 0
    last_index: int = 0
    revision: int = 0
    digest: str = ""
    clock_ns: int = 0
    clock_offset_ns: int = 0
    monotonic_ns: int = 0
    error: str = ""


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a fault was seen to do. `effective` None: it could not be measured."""

    effective: bool | None
    effect: str = ""
    command: str = ""
    data: dict[str, Any] = {}


class HarnessError(Exception):
    """Trouble of the harness or its surroundings; never blames the database. Exit code 3."""

    exit_code = 3


class NodeNeverReady(HarnessError):
    """A node did not answer within the start timeout; the message has its last log lines."""


class NodeDisturbed(HarnessError):
    """Somebody outside the harness took a node away. Trouble: it is evidence of nothing."""


class NodeKilled(Exception):
    """A fault found its victim dead by another fault of ours: neither evidence nor trouble."""


class NodeDied(Exception):
    """A node's process ended by itself: its own assertion, or a crash. Evidence, not trouble."""

    def __init__(self, node: str, text: str) -> None:
        super().__init__(f"{node} died by itself: {text}")
        self.node, self.text = node, text


class Client(Kv, Protocol):
    """A connection that can be closed; closing it abandons what is outstanding."""

    async def close(self) -> None:
        """Hang up. Never raises, and may be called twice."""
        ...


class Journal(Protocol):
    """Records writes that a backend makes on its own account, as those of clients are recorded."""

    def invoked(self, node: str, request: Put) -> Op:
        """Record that a write is about to be sent to a node."""
        ...

    def completed(self, invocation: Op, outcome: Answer | Exception) -> None:
        """Record its answer, or why there is none: all but Definite leaves it undecided."""
        ...


class Cluster(Protocol):
    """N nodes and everything one can do to them."""

    world: str  # "docker" or "sim"
    nodes: tuple[str, ...]
    unsupported: dict[str, str]  # fault mechanism -> why this world lacks it
    versions: dict[str, str]  # what runs: image digest, engine, node version ...
    election_timeout_ms: int  # for so long voters trust a leader that fell silent

    async def start(self) -> None:
        """Start every node from nothing and wait until all answer; raises NodeNeverReady."""
        ...

    async def stop(self) -> None:
        """Remove everything this cluster made. Never raises for what is already gone."""
        ...

    async def client(self, node: str) -> Client:
        """Open a fresh connection to one node (`await client.close()` when done)."""
        ...

    async def kill(self, nodes: tuple[str, ...]) -> None:
        """SIGKILL the nodes' processes, all as near to one instant as can be."""
        ...

    async def restart(self, nodes: tuple[str, ...]) -> Measured:
        """Start what is not running. Measured: every target was seen dead in between."""
        ...

    async def pause(self, nodes: tuple[str, ...]) -> None:
        """Freeze the processes; their sockets stay open."""
        ...

    async def resume(self, nodes: tuple[str, ...]) -> Measured:
        """Thaw them. Measured: each was seen frozen."""
        ...

    async def cut(self, grudge: Grudge) -> None:
        """Drop packets as the grudge says, established connections included."""
        ...

    async def dropped(self) -> int:
        """Count the packets that the cuts in force have dropped so far."""
        ...

    async def heal(self) -> Measured:
        """Drop nothing any more. Measured: packets that the cut rules dropped, per link."""
        ...

    async def jump_clock(self, node: str, offset_ms: int) -> None:
        """Set a node's wall clock off by `offset_ms` from true; its monotonic clock stays."""
        ...

    async def drift_clock(self, node: str, rate: float) -> None:
        """Make a node's clocks (wall and monotonic) run at `rate` times true speed."""
        ...

    async def clock_lied(self) -> bool:
        """Whether a node was seen to believe a wrong clock since the last reset."""
        ...

    async def reset_clocks(self) -> Measured:
        """Make every clock true again. Measured: offsets seen through the nodes' own status."""
        ...

    async def observe(self, node: str) -> NodeStatus:
        """Ask a node what it thinks it is; unreachable is an answer, not an exception."""
        ...

    async def begin_background_faults(self) -> None:
        """Begin the faults that are the backend's own and no nemesis injects, if it has any."""
        ...

    async def end_background_faults(self) -> None:
        """End them, and mend what they broke; what the nemesis broke stays broken. Idempotent."""
        ...

    async def prove_liveness(self, journal: Journal) -> bool:
        """Check that a bare quorum commits while every other node is down.

        It breaks nothing that healing does not mend, and every write it makes passes the journal.
        A quorum that does not commit is a finding about the database, which the backend reports as
        it does every other. False: this backend has no such phase.
        """
        ...

    async def crashed(self) -> dict[str, str]:
        """Nodes whose process ended by its own doing, with the last words of each."""
        ...

    async def disturbed(self) -> dict[str, tuple[str, ...]]:
        """What was done to nodes from outside the harness: a sentence each, with what to do."""
        ...

    async def collect(self, into: Path | None) -> Evidence:
        """Gather logs and WALs (into `into/<node>/`) and digest them into Evidence."""
        ...
