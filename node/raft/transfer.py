"""Leader transfer (thesis §3.10): bring the target up to date, then have it campaign at once.

Proposals are refused meanwhile, so that the target can catch up; after an election timeout the
leader takes up its work again. The order to campaign names a term and is worth nothing in another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from squall.node.raft import election, roles
from squall.node.raft.messages import TimeoutNow
from squall.node.raft.progress import REPLICATE

if TYPE_CHECKING:
    from squall.node.raft.progress import Progress
    from squall.node.raft.raft import Raft


def begin(raft: Raft, target: int) -> bool:
    """Start handing over to `target`; False if this node cannot, or `target` is no other voter."""
    if raft.role != roles.LEADER or target == raft.id or target not in raft.voter_ids:
        return False
    if raft.transfer_target != target:
        raft.transfer_target = target
        raft.transfer_deadline_us = raft.now_us + raft.config.election_us
        progress = raft.progress[target]
        if progress.match < raft.log.last_index and progress.state == REPLICATE:
            # What is on its way may be lost; waiting to find out would use up the time there is.
            progress.become_probe()
        raft.replicate_due = True
        progressed(raft, progress)
    return True


def progressed(raft: Raft, progress: Progress) -> None:
    """A follower caught up further; if it is the target and has everything, let it campaign."""
    if progress.id == raft.transfer_target and progress.match == raft.log.last_index:
        raft.send(progress.id, TimeoutNow(raft.term, raft.id))


def abort(raft: Raft) -> None:
    """The target did not take over in time."""
    raft.events.append(("transfer-aborted", {"target": raft.transfer_target, "term": raft.term}))
    raft.transfer_target = roles.NOBODY


def hand_over_on_removal(raft: Raft) -> None:
    """Let the voter that knows most campaign at once, instead of after an election timeout."""
    if raft.voters:
        best = max(raft.voters, key=lambda progress: (progress.match, -progress.id))
        raft.send(best.id, TimeoutNow(raft.term, raft.id))


def on_timeout_now(raft: Raft, message: TimeoutNow) -> None:
    """Campaign at once, without asking first; the leader itself wants it."""
    if raft.role == roles.FOLLOWER and raft.leader == message.sender and raft.is_voter:
        election.campaign(raft, transfer=True)
