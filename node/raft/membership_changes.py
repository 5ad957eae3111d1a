"""Membership changes at the leader: when one may begin, and etcd's checks of health."""

from __future__ import annotations

from typing import Final

from squall.node.raft.leadership import Leadership
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
from squall.node.raft.messages import CONFIGURATION, NOBODY
from squall.node.raft.quorum import majority
from squall.node.raft.state import RaftState

HEALTHY_WITHIN_US: Final = 5_000_000  # etcd's strict reconfiguration check
IN_SYNC_PERCENT: Final = 90  # of the leader's log, for a learner to be promoted, as etcd


def may_change(raft: RaftState) -> bool:
    """Whether a change may begin now; otherwise it may be tried later.

    Ongaro's note of July 2015: a leader must have committed an entry of its own term first, or two
    leaders may count disjoint majorities of two changes unknown to each other. Only one change may
    be pending, whoever appended it: an earlier leader's may be in the log uncommitted.
    """
    leadership = raft.leadership
    return (
        leadership is not None
        and leadership.transfer_target == NOBODY
        and raft.log.commit >= leadership.term_start
        and raft.configurations.index <= raft.log.commit
    )


def propose(raft: RaftState, origin: int, nonce: int, sequence: int, change: Change) -> bool:
    """Append a change, in force at once; False: not now. Raises ChangeRejectedError: invalid."""
    leadership = raft.leadership
    if leadership is None or not may_change(raft):
        return False
    configuration = changed(raft.configuration, change)
    _check_health(raft, leadership, change, configuration)
    entry = ConfigurationEntry(origin, nonce, sequence, configuration)
    raft.append_own(leadership, CONFIGURATION, encode_entry(entry))
    return True


def _check_health(
    raft: RaftState, leadership: Leadership, change: Change, configuration: Configuration
) -> None:
    if change.kind == PROMOTE:
        progress = leadership.progress[change.member.id]
        if progress.match * 100 < raft.log.last_index * IN_SYNC_PERCENT:
            raise ChangeRejectedError(
                "can only promote a learner member which is in sync with leader"
            )
    if change.kind not in (ADD, REMOVE) or not raft.config.strict_reconfig:
        return
    voters = configuration.voters()
    if change.kind == ADD and len(voters) == 2:
        # One member becomes two: the second cannot have started before it was added.
        return
    # A change that leaves too few started voters to commit it would stop the cluster.
    started = sum(
        voter == raft.id
        or (
            voter in leadership.progress
            and raft.now_us - leadership.progress[voter].contact_us < HEALTHY_WITHIN_US
        )
        for voter in voters
    )
    if started < majority(len(voters)):
        text = "re-configuration failed due to not enough started members"
        raise ChangeRejectedError(text if change.kind == REMOVE else "unhealthy cluster")
