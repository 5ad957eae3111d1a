"""ReadIndex at the leader: linearizable reads without a log entry (thesis §6.4).

The leader records its commit index, has a majority confirm that it still led *after* that, and only
then releases the reads. One round serves all reads that were queued when it began; later ones wait
for the next round. A confirmation counts only with its round's number, which is used once: a reply
to an earlier heartbeat proves nothing about a later read.

Only as many followers are asked as a majority needs, those that replied most recently; further
replies would be discarded. If one of them has failed, the next heartbeat goes to every follower and
is a later round, which confirms these reads as well.
"""

from __future__ import annotations

from operator import attrgetter

from squall.node.raft import sending
from squall.node.raft.leadership import Leadership
from squall.node.raft.progress import Progress
from squall.node.raft.quorum import majority
from squall.node.raft.state import RaftState

_answered = attrgetter("round")


def begin_round(raft: RaftState, leadership: Leadership) -> None:
    """Begin a round for the queued reads, unless the commit index may be outdated (§8)."""
    commit = raft.log.commit
    # Before it has committed an entry of its term, a leader may not know all that is committed.
    if commit < leadership.term_start:
        return
    leadership.read_contexts = leadership.read_queue
    leadership.read_queue = []
    leadership.read_commit = commit
    sending.heartbeat_round(raft, _asked(raft, leadership))
    leadership.read_round = raft.round
    confirm(raft, leadership)


def _asked(raft: RaftState, leadership: Leadership) -> list[Progress]:
    others = [progress for progress in leadership.voters if progress.id != raft.id]
    own = len(leadership.voters) - len(others)
    others.sort(key=_answered, reverse=True)
    return others[: majority(len(leadership.voters)) - own]


def confirm(raft: RaftState, leadership: Leadership) -> None:
    """Release the reads once a majority has confirmed their round or a later one."""
    confirmed = 0
    wanted = leadership.read_round
    for progress in leadership.voters:
        confirmed += progress.round >= wanted or progress.id == raft.id
    if confirmed >= majority(len(leadership.voters)):
        index = leadership.read_commit
        raft.outbox.reads += [(index, context) for context in leadership.read_contexts]
        leadership.read_contexts = []
