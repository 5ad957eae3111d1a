"""Heartbeats: they maintain leadership, confirm it in numbered rounds, and detect a lost quorum.

A heartbeat carries the commit index as far as the follower is known to hold the entries. A reply
without acknowledgements is also how a leader detects that messages were lost.
"""

from __future__ import annotations

from squall.node.raft import read_index, sending
from squall.node.raft.leadership import Leadership
from squall.node.raft.messages import NOBODY, Heartbeat, HeartbeatReply
from squall.node.raft.progress import REPLICATE, SNAPSHOT
from squall.node.raft.quorum import agreed
from squall.node.raft.state import RaftState


def lost_quorum(raft: RaftState, leadership: Leadership) -> bool:
    """Whether no majority of voters has answered for an election timeout (CheckQuorum)."""
    if not raft.config.check_quorum:
        return False
    now_us = raft.now_us
    contacts = [
        now_us if progress.id == raft.id else progress.contact_us for progress in leadership.voters
    ]
    return now_us - agreed(contacts) >= raft.config.election_us


def step_down(raft: RaftState) -> None:
    """Cease to lead for want of a quorum: clients must not wait for this leader (thesis §6.2)."""
    raft.outbox.events.append(("lost-quorum", {"term": raft.term}))
    raft.become_follower(raft.term, NOBODY)


def beat(raft: RaftState, leadership: Leadership) -> None:
    """Send every follower a heartbeat of a new round."""
    leadership.heartbeat_due_us = raft.now_us + raft.config.heartbeat_us
    sending.heartbeat_round(raft, leadership.peers)


def on_heartbeat_reply(raft: RaftState, message: HeartbeatReply) -> None:
    """The follower replied, and still followed this leader after the round began."""
    leadership = raft.leadership
    progress = None if leadership is None else leadership.progress.get(message.sender)
    if leadership is None or progress is None:
        return
    now_us = raft.now_us
    progress.contact_us = now_us
    if message.round > progress.round:
        assert message.round <= raft.round, (message, raft)
        progress.round = message.round
        if leadership.read_contexts:
            read_index.confirm(raft, leadership)
    if progress.match >= raft.log.last_index:
        return
    if now_us - progress.advanced_us < raft.config.heartbeat_us:
        return
    # It replies, but has acknowledged nothing for a heartbeat interval: a message was lost.
    progress.advanced_us = now_us
    if progress.state == SNAPSHOT:
        sending.send_chunk(raft, progress)
    else:
        progress.paused = False
        if progress.state == REPLICATE and not progress.can_send():
            # The window is full of unacknowledged messages: start again from `match`.
            progress.become_probe()
        sending.send_entries(raft, leadership, progress)


def on_heartbeat(raft: RaftState, message: Heartbeat) -> None:
    """Follow the leader and its commit index, which never exceeds what was acknowledged here."""
    raft.leader_contacted(message.sender)
    commit = message.commit
    if commit > raft.log.commit:
        assert commit <= raft.log.last_index, (
            f"the leader {message.sender:x} takes {commit} to be durable here, but the log ends at "
            f"{raft.log.last_index}. Either this node's disk lost what it had acknowledged, or the "
            f"leader counts what this node never acknowledged. If the disk was damaged, exchanged "
            f"or restored: remove the member, delete its data directory and add it again. If not, "
            f"the fault is the leader's: keep both nodes' logs. {raft}"
        )
        raft.log.commit_to(commit)
    if message.round:
        raft.outbox.send_in_term(message.sender, HeartbeatReply(raft.term, raft.id, message.round))
