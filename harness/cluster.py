"""The interface of a cluster under test: start, inject and heal faults, observe, collect evidence.

Two backends implement it: containers (`squall.harness.docker.cluster`) and the deterministic
simulation (`squall.harness.sim.cluster`). Workloads, faults, checkers and reports do not depend on
which of them is used.

Methods that inject a fault and methods that heal it are pairs. Every healing method is idempotent:
it may be called when nothing is broken. An injecting method returns only when the fault is in
force; the healing method returns the measured effect.
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
    """A node's report of its own state. `clock_ns` is its own wall clock, to verify skew.

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

    def position(self) -> dict[str, Any]:
        """Return the role and how far the node is, as histories and evidence hold it."""
        return {
            "role": self.role,
            "term": self.term,
            "commit": self.commit,
            "applied": self.applied,
            "revision": self.revision,
        }


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The measured effect of a fault. `effective` None: it could not be measured.

    `effect` is one phrase for people, `command` what was run, `data` the figures behind `effect`.
    """

    effective: bool | None
    effect: str = ""
    command: str = ""
    data: dict[str, Any] = {}


class HarnessError(Exception):
    """Failure of the harness or its environment, not of the database. Exit code 3."""

    exit_code = 3


class NodeNeverReady(HarnessError):
    """A node did not answer within the start timeout; the message has its last log lines."""


class NodeDisturbed(HarnessError):
    """A node was stopped or cut off from outside the harness: trouble, and no evidence."""


class NodeKilled(Exception):
    """The target of a fault was killed by another fault: neither evidence nor trouble."""


class NodeDied(Exception):
    """A node's process ended by itself (a failed assertion, a crash): evidence, not trouble."""

    def __init__(self, node: str, text: str) -> None:
        super().__init__(f"{node} died by itself: {text}")
        self.node, self.text = node, text


class Client(Kv, Protocol):
    """A connection to one node; closing it abandons outstanding requests."""

    async def close(self) -> None:
        """Close the connection. Never raises, and may be called twice."""
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
    """N nodes, and every operation on them."""

    nodes: tuple[str, ...]
    unsupported: dict[str, str]  # fault mechanism -> why the backend lacks it
    versions: dict[str, str]  # what runs: image digest, engine, node version ...
    election_timeout_ms: int  # how long voters wait for a silent leader

    async def start(self) -> None:
        """Start every node with empty data and wait until all answer; raises NodeNeverReady."""
        ...

    async def stop(self) -> None:
        """Remove everything this cluster created. Never raises for what is already gone."""
        ...

    async def client(self, node: str) -> Client:
        """Open a fresh connection to one node (`await client.close()` when done)."""
        ...

    async def kill(self, nodes: tuple[str, ...]) -> None:
        """SIGKILL the nodes' processes, as close to simultaneously as possible."""
        ...

    async def restart(self, nodes: tuple[str, ...]) -> Measured:
        """Start nodes that are not running. Measured: which of them the harness had killed."""
        ...

    async def pause(self, nodes: tuple[str, ...]) -> None:
        """Freeze the processes; their sockets stay open."""
        ...

    async def resume(self, nodes: tuple[str, ...]) -> Measured:
        """Thaw the processes. Measured: which of them were observed frozen."""
        ...

    async def cut(self, grudge: Grudge) -> None:
        """Drop packets as the grudge says, those of established connections included."""
        ...

    async def dropped(self) -> int:
        """Return how many packets the cuts in force have dropped so far."""
        ...

    async def heal(self) -> Measured:
        """Restore all links. Measured: packets that were dropped, per link."""
        ...

    async def jump_clock(self, node: str, offset_ms: int) -> None:
        """Set a node's wall clock off by `offset_ms` from true time; its monotonic clock stays."""
        ...

    async def drift_clock(self, node: str, rate: float) -> None:
        """Let a node's clocks (wall and monotonic) run at `rate` times true speed."""
        ...

    async def clock_lied(self) -> bool:
        """Whether a node reported a skewed clock since the last reset."""
        ...

    async def reset_clocks(self) -> Measured:
        """Reset every clock. Measured: the offsets that the nodes themselves reported."""
        ...

    async def observe(self, node: str) -> NodeStatus:
        """Return a node's status; an unreachable node is a result, not an exception."""
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
        """Return nodes whose process ended by itself, with the end of the output of each."""
        ...

    async def disturbed(self) -> dict[str, tuple[str, ...]]:
        """Return what was done to nodes from outside the harness, as sentences with a remedy."""
        ...

    async def collect(self, into: Path | None) -> Evidence:
        """Copy logs and WALs into `into/<node>/` and extract Evidence from them."""
        ...
