"""Detects the trigger points of one node from outside.

A probe reads the node's Raft state, or inspects messages and disk operations, after the fact; it
changes nothing. Points that no trigger of the run uses are not looked for.
"""

from __future__ import annotations

from typing import Any

from squall.harness.sim.chaos.triggers import TriggerPoint, Triggers
from squall.node.raft.messages import AppendEntries, AppendReply
from squall.node.raft.quorum import agreed
from squall.node.raft.raft import Raft
from squall.node.storage.disk import Append, Create, DiskOp


class TriggerProbes:
    """Looks at one node for the points that triggers of this run wait for."""

    __slots__ = (
        "_lapsing_us",
        "_number",
        "_triggers",
        "acknowledgements",
        "configurations",
        "disk",
        "leases",
        "replication",
    )

    def __init__(self, triggers: Triggers, number: int) -> None:
        self._triggers = triggers
        self._number = number
        self._lapsing_us = 0  # when the lease that is about to expire was last renewed
        watches = triggers.watches
        self.configurations = watches(TriggerPoint.CONFIGURES)
        self.acknowledgements = watches(TriggerPoint.ACKNOWLEDGES)
        self.replication = watches(TriggerPoint.REPLICATES)
        self.leases = watches(TriggerPoint.LAPSES)
        self.disk = watches(TriggerPoint.APPENDS) or watches(TriggerPoint.SNAPSHOTS)

    def arrives(self, message: Any) -> None:
        """Check whether a message brings a configuration entry."""
        if type(message) is AppendEntries and any(entry.kind for entry in message.entries):
            self._triggers.reached(self._number, TriggerPoint.CONFIGURES)

    def acknowledged(self, raft: Raft, message: AppendReply) -> None:
        """Check whether a leader was just acknowledged entries of earlier terms only."""
        if replicates(raft, message):
            self._triggers.reached(self._number, TriggerPoint.REPLICATES)

    def writes(self, ops: tuple[DiskOp, ...]) -> None:
        """Check what a batch writes: log records, or a snapshot."""
        kinds = set(map(type, ops))
        if Append in kinds:
            self._triggers.reached(self._number, TriggerPoint.APPENDS)
        if Create in kinds and any(type(op) is Create and "snap/" in op.path for op in ops):
            self._triggers.reached(self._number, TriggerPoint.SNAPSHOTS)

    def looks_at_lease(self, raft: Raft, now_us: int) -> None:
        """Check whether a leader's lease is about to expire; reported once for each renewal."""
        heard_us = lapsing(raft, now_us)
        if heard_us and heard_us != self._lapsing_us:
            self._lapsing_us = heard_us
            self._triggers.reached(self._number, TriggerPoint.LAPSES)


def replicates(raft: Raft, message: AppendReply) -> bool:
    """Whether a leader was just acknowledged entries of earlier terms only (Raft, §5.4.2)."""
    leadership = raft.leadership
    if leadership is None or message.rejected or message.term != raft.term:
        return False
    return message.index < leadership.term_start


def lapsing(raft: Raft, now_us: int) -> int:
    """Return when a leader last reached a majority if its lease is about to expire, else 0.

    About to expire: within a quarter of an election timeout. `now_us` is the node's own time.
    """
    leadership = raft.leadership
    if leadership is None or not raft.config.check_quorum:
        return 0
    heard_us = agreed(
        [now_us if each.id == raft.id else each.contact_us for each in leadership.voters]
    )
    left_us = heard_us + raft.config.election_us - now_us
    return heard_us if 0 < left_us <= raft.config.election_us // 4 else 0
