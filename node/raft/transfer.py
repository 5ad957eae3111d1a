"""Leader transfer (thesis §3.10): bring the target up to date, then send it TimeoutNow.

Proposals are refused meanwhile, so that the target can catch up; after an election timeout the
transfer is aborted. TimeoutNow carries the term and is ignored in any other.
"""

from __future__ import annotations

from squall.node.raft.leadership import Leadership
from squall.node.raft.messages import NOBODY, TimeoutNow
from squall.node.raft.progress import REPLICATE, Progress
from squall.node.raft.state import RaftState


def begin(raft: RaftState, target: int) -> bool:
    """Start a transfer; False if this member does not lead or `target` is no other voter."""
    leadership = raft.leadership
    if leadership is None or target == raft.id or target not in raft.voter_ids:
        return False
    if leadership.transfer_target != target:
        leadership.transfer_target = target
        leadership.transfer_deadline_us = raft.now_us + raft.config.election_us
        progress = leadership.progress[target]
        if progress.match < raft.log.last_index and progress.state == REPLICATE:
            # Messages in flight may be lost; detecting it would take most of the election timeout.
            progress.become_probe()
        leadership.replicate_due = True
        progressed(raft, leadership, progress)
    return True


def progressed(raft: RaftState, leadership: Leadership, progress: Progress) -> None:
    """A follower advanced: if it is the target and up to date, have it campaign."""
    assert raft.leadership is leadership, raft
    if progress.id == leadership.transfer_target and progress.match == raft.log.last_index:
        raft.outbox.send(progress.id, TimeoutNow(raft.term, raft.id))


def abort(raft: RaftState, leadership: Leadership) -> None:
    """The target was not elected in time: accept proposals again."""
    target = leadership.transfer_target
    raft.outbox.events.append(("transfer-aborted", {"target": target, "term": raft.term}))
    leadership.transfer_target = NOBODY


def hand_over_on_removal(raft: RaftState, leadership: Leadership) -> None:
    """Have the most advanced voter campaign at once, instead of after an election timeout."""
    assert raft.leadership is leadership, raft
    if leadership.voters:
        best = max(leadership.voters, key=lambda progress: (progress.match, -progress.id))
        raft.outbox.send(best.id, TimeoutNow(raft.term, raft.id))
