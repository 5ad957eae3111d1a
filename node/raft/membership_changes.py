"""Membership changes on the leader: when one may begin, and what it must not endanger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from squall.node.raft import replication, roles
from squall.node.raft.membership import (
    ADD,
    PROMOTE,
    REMOVE,
    Change,
    ChangeRejectedError,
    Configuration,
    ConfigurationEntry,
    changed,
    encode_entry,
)
from squall.node.raft.messages import CONFIGURATION
from squall.node.raft.quorum import majority

if TYPE_CHECKING:
    from squall.node.raft.raft import Raft

HEALTHY_WITHIN_US: Final = 5_000_000  # etcd's strict reconfiguration check
IN_SYNC_PERCENT: Final = 90  # of the leader's log, for a learner to be promoted, as etcd


def may_change(raft: Raft) -> bool:
    """Whether a change may begin now; else it may later.

    Ongaro's note of July 2015: a leader must have committed an entry of its own term first, or two
    leaders may count disjoint majorities of two changes neither knows of the other. And only one at
    a time, wherever the pending one came from: an earlier leader's may sit in the log uncommitted.
    """
    return (
        raft.role == roles.LEADER
        and raft.transfer_target == roles.NOBODY
        and raft.log.commit >= raft.term_start
        and raft.configurations.index <= raft.log.commit
    )


def propose(raft: Raft, origin: int, nonce: int, sequence: int, change: Change) -> bool:
    """Append a change, in force at once; False: not now. Raises ChangeRejectedError: never so."""
    if not may_change(raft):
        return False
    configuration = changed(raft.configuration, change)
    _check_health(raft, change, configuration)
    entry = ConfigurationEntry(origin, nonce, sequence, configuration)
    replication.append_own(raft, CONFIGURATION, encode_entry(entry))
    return True


def _check_health(raft: Raft, change: Change, configuration: Configuration) -> None:
    if change.kind == PROMOTE:
        progress = raft.progress[change.member.id]
        if progress.match * 100 < raft.log.last_index * IN_SYNC_PERCENT:
            raise ChangeRejectedError(
                "can only promote a learner member which is in sync with leader"
            )
    if change.kind not in (ADD, REMOVE) or not raft.config.strict_reconfig:
        return
    voters = configuration.voters()
    if change.kind == ADD and len(voters) == 2:
        # One member becomes two: the second cannot be there before it was added.
        return
    # A change that leaves too few to commit it would stop the cluster for good.
    started = sum(
        voter == raft.id
        or (
            voter in raft.progress
            and raft.now_us - raft.progress[voter].contact_us < HEALTHY_WITHIN_US
        )
        for voter in voters
    )
    if started < majority(len(voters)):
        text = "re-configuration failed due to not enough started members"
        raise ChangeRejectedError(text if change.kind == REMOVE else "unhealthy cluster")
