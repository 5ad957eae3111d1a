"""Evidence collected from the nodes, in a neutral form: the white-box input of the judges.

The harness collects it (from WALs through `squall.checkers.raft.wal`, from logs, from the nodes'
status), or the simulator records it while it runs. The nemesis skews node clocks, so nothing here
is ordered by a node's time.
"""

from __future__ import annotations

from typing import Any

import msgspec


class LogEntry(msgspec.Struct, frozen=True):
    """One entry of a node's log; `digest` identifies its content.

    `puts` are the (key, value) pairs it would write, as text, where its command could be read.
    """

    term: int
    index: int
    kind: int
    digest: str
    puts: tuple[tuple[str, str], ...] = ()


class HardState(msgspec.Struct, frozen=True):
    """A durable (term, vote, commit), in the order it was written."""

    term: int
    vote: int
    commit: int


class StateDigest(msgspec.Struct, frozen=True):
    """The state machine's digest after applying everything up to `index`."""

    index: int
    term: int
    revision: int
    digest: str


class NodeEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything collected from one node.

    `entries` is the log as its WAL has it at the end (after its own truncations); `first_index` is
    where it begins. `overwritten` counts entries that were truncated away, `overwrote_committed`
    are the indexes of those among them that the node's own hard state had covered by its commit
    index. `led_terms` are the terms in which the node logged that it became leader. `damage` is the
    reason why a WAL could not be read to its end (a torn tail is not damage). `assertions` are the
    node's failed assertions and crashes, from its log; `refusals` are its messages when it refused
    to start from its data directory. `member_id` is the id in its WAL (0: unknown). `final` is its
    last status: role, term, commit, applied, revision, hash.
    """

    node: str
    entries: tuple[LogEntry, ...] = ()
    first_index: int = 1
    overwritten: int = 0
    overwrote_committed: tuple[int, ...] = ()
    hard_states: tuple[HardState, ...] = ()
    committed: int = 0
    led_terms: tuple[int, ...] = ()
    digests: tuple[StateDigest, ...] = ()
    damage: str | None = None
    assertions: tuple[str, ...] = ()
    final: dict[str, Any] | None = None
    log_missing: bool = False
    member_id: int = 0
    refusals: tuple[str, ...] = ()


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that the simulator observed a node break, and at which it ended the run.

    `rule` is its name ("durability"), `text` continues a sentence that begins with the node's name.
    `at_ns` is on the history's clock.
    """

    rule: str
    node: str
    at_ns: int
    text: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything besides the history that a verdict may rest on.

    `trouble` lists failures of the harness or environment (an image that did not start, an exec
    that failed): each makes the run an error; none is a finding about the database, and none
    removes a violation. `recovery` is what the final phase observed: whether every node came back
    and caught up. `breaches` are rules that the simulator observed to be broken; no other backend
    reports any.
    """

    nodes: dict[str, NodeEvidence] = {}
    trouble: tuple[str, ...] = ()
    recovery: dict[str, Any] = {}
    unsupported_faults: dict[str, str] = {}
    breaches: tuple[Breach, ...] = ()
