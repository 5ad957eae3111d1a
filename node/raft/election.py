"""Elections: terms, votes, pre-votes, and the leader lease under which votes are refused.

A vote is sent only when it is durable (`Outbox.send_in_term`). Granting a pre-vote changes no
state: neither term nor vote nor timer.
"""

from __future__ import annotations

from typing import Final

from squall.node.raft.messages import (
    NOBODY,
    AppendEntries,
    AppendReply,
    Heartbeat,
    InstallSnapshot,
    Message,
    RequestVote,
    TimeoutNow,
    VoteReply,
)
from squall.node.raft.quorum import majority
from squall.node.raft.roles import CANDIDATE, FOLLOWER, LEADER, PRE_CANDIDATE
from squall.node.raft.state import RaftState

_FROM_LEADER: Final = frozenset({AppendEntries, Heartbeat, InstallSnapshot})
"""Messages that only the leader of their term sends."""


def compare_terms(raft: RaftState, message: Message) -> bool:
    """Handle the difference of a message's term (§5.1); returns whether to process it further."""
    kind = type(message)
    term: int = message.term  # type: ignore[union-attr]
    if term > raft.term:
        if kind is RequestVote:
            if in_lease(raft) and not message.transfer:  # type: ignore[union-attr]
                return False
            if message.pre:  # type: ignore[union-attr]
                return True
        elif kind is VoteReply and message.pre and message.granted:  # type: ignore[union-attr]
            # Carries the term it was requested for, which has not begun.
            return True
        raft.become_follower(term, message.sender if kind in _FROM_LEADER else NOBODY)
        return True
    if kind in _FROM_LEADER:
        # The sender learns the newer term. Without this, a member that returned with a higher term
        # would ignore the leader, and the leader's lease would make all others ignore the member.
        raft.outbox.send_in_term(message.sender, AppendReply(raft.term, raft.id, 0))
    elif kind is RequestVote:
        raft.outbox.send_in_term(message.sender, VoteReply(raft.term, raft.id, False, message.pre))  # type: ignore[union-attr]
    return False


def in_lease(raft: RaftState) -> bool:
    """Whether a leader is known to be active: then votes are refused (§6, thesis §4.2.3)."""
    if not raft.config.check_quorum or raft.leader == NOBODY:
        return False
    # A leader that lost its quorum steps down by itself within an election timeout.
    return raft.role == LEADER or raft.now_us - raft.leader_contact_us < raft.config.election_us


def timed_out(raft: RaftState) -> None:
    """The election timeout elapsed without a message of a leader."""
    if not raft.may_campaign:
        raft.reset_election_timer()
    elif raft.config.pre_vote:
        raft.become_pre_candidate()
        _ask(raft, raft.term + 1, pre=True, transfer=False)
        _count(raft)
    else:
        campaign(raft, transfer=False)


def campaign(raft: RaftState, transfer: bool) -> None:
    """Start an election in a new term (§5.2)."""
    raft.become_candidate()
    _ask(raft, raft.term, pre=False, transfer=transfer)


def own_vote_saved(raft: RaftState) -> None:
    """The candidate's own vote is durable: count it."""
    if raft.id not in raft.votes:
        raft.votes[raft.id] = True
        _count(raft)


def on_request_vote(raft: RaftState, message: RequestVote) -> None:
    """Grant a vote at most once a term, and only to a log at least as complete (§5.2, §5.4.1)."""
    sender = message.sender
    log = raft.log
    # A learner, or a member outside its own configuration, must vote when it is asked: the
    # candidate may know a newer configuration in which it is a voter.
    free = raft.vote == sender or (raft.vote == NOBODY and raft.leader == NOBODY)
    up_to_date = (message.last_term, message.last_index) >= (log.last_term, log.last_index)
    if message.pre:
        granted = up_to_date and (free or message.term > raft.term)
        term = message.term if granted else raft.term
        raft.outbox.send_in_term(sender, VoteReply(term, raft.id, granted, True))
        return
    granted = free and up_to_date
    if granted:
        if raft.role == PRE_CANDIDATE:
            raft.become_follower(raft.term, NOBODY)
        raft.record_vote(sender)
        raft.reset_election_timer()
        raft.outbox.events.append(("granted-vote", {"term": raft.term, "candidate": sender}))
    raft.outbox.send_in_term(sender, VoteReply(raft.term, raft.id, granted))


def on_vote_reply(raft: RaftState, message: VoteReply) -> None:
    """Count one vote for each voter (a duplicate counts once)."""
    if raft.role == PRE_CANDIDATE:
        if not message.pre or (message.granted and message.term != raft.term + 1):
            return
    elif raft.role != CANDIDATE or message.pre:
        return
    raft.votes.setdefault(message.sender, message.granted)
    _count(raft)


def on_timeout_now(raft: RaftState, message: TimeoutNow) -> None:
    """Campaign at once, without a pre-vote, on the leader's request (thesis §3.10)."""
    if raft.role == FOLLOWER and raft.leader == message.sender and raft.is_voter:
        campaign(raft, transfer=True)


def _ask(raft: RaftState, term: int, pre: bool, transfer: bool) -> None:
    log = raft.log
    request = RequestVote(term, raft.id, log.last_index, log.last_term, pre, transfer)
    for voter in raft.voter_ids:
        if voter != raft.id:
            # RequestVote waits for the own vote to be durable; a pre-vote only for the term.
            raft.outbox.send_in_term(voter, request)


def _count(raft: RaftState) -> None:
    granted = rejected = 0
    for voter in raft.voter_ids:
        vote = raft.votes.get(voter)
        if vote is not None:
            granted += vote
            rejected += not vote
    needed = majority(len(raft.voter_ids))
    if granted >= needed:
        if raft.role == PRE_CANDIDATE:
            campaign(raft, transfer=False)
        else:
            raft.become_leader()
    elif rejected >= needed:
        raft.become_follower(raft.term, NOBODY)
