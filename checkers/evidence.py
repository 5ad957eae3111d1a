"""What the nodes themselves left behind, in neutral form: the white-box half of the evidence.

The harness collects it (from WALs through `checkers.wal`, from logs, from the nodes' status) or the
simulator records it as it happens. Node clocks are lied to by the nemesis, so nothing here orders
anything by a node's time.
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
    """All that one node left behind.

    `entries` is the log as its WAL has it at the end (after its own truncations); `first_index` is
    where it begins. `overwritten` counts entries that were truncated away, `overwrote_committed`
    are the indexes of those among them that its own hard state had called committed. `led_terms`
    are the terms in which this node says it became leader. `damage` says why a WAL could not be
    read to its end (a torn tail is not damage). `assertions` are the node's own failed assertions
    and crashes, from its log; `refusals` are its words when it would not start from its own disk.
    `member_id` is under which id it writes its log (0: unknown). `final` is its last status: role,
    term, commit, applied, revision, hash.
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
    """A rule that the simulator saw a node break while it ran, and at which it ended the run.

    `rule` names it ("durability"), `text` continues a sentence that begins with the node's name.
    `at_ns` is on the history's clock.
    """

    rule: str
    node: str
    at_ns: int
    text: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything beside the history that a verdict may rest on.

    `trouble` lists failures of the harness or environment (an image that did not start, an exec
    that failed): each makes the run an error, none blames the database, none erases a violation.
    `recovery` is what the final phase saw: did every node come back and catch up. `breaches` are
    rules that the simulator itself saw broken; no other world has any.
    """

    nodes: dict[str, NodeEvidence] = {}
    trouble: tuple[str, ...] = ()
    recovery: dict[str, Any] = {}
    unsupported_faults: dict[str, str] = {}
    breaches: tuple[Breach, ...] = ()
