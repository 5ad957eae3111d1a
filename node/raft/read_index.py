"""ReadIndex: linearizable reads without a log entry (thesis §6.4).

A leader notes its commit index, has a majority confirm that it still led *after* that, and only
then lets the reads go that waited. One round serves all reads that had gathered when it began;
those that come during a round wait for the next. A confirmation counts only with its round's
number, which is used once: an answer to an earlier heartbeat proves nothing about a later read.

No more followers are asked than a majority needs, those who answered last: the others' answers
would be thrown away. Should one of them be gone, the next heartbeat, which everybody is sent, is a
later round and serves as well.
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
    """Begin a round for the reads that wait, if this leader knows what is committed."""
    commit = raft.log.commit
    # §8: before it has committed an entry of its own term it may not know all that is committed.
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
    """Let the reads go once a majority has acknowledged their round or a later one."""
    confirmed = 0
    wanted = leadership.read_round
    for progress in leadership.voters:
        confirmed += progress.round >= wanted or progress.id == raft.id
    if confirmed >= majority(len(leadership.voters)):
        index = leadership.read_commit
        raft.outbox.reads += [(index, context) for context in leadership.read_contexts]
        leadership.read_contexts = []
