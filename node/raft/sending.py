"""The leader's messages: entries within each follower's window, heartbeats, snapshots.

A leader's messages are made here and in `transfer`. Each function that makes one asserts that this
member leads: a `Leadership` that a caller kept beyond its end must not send anything.

Messages to followers that keep up are shared: a message is never changed after it was sent.
"""

from __future__ import annotations

from collections.abc import Iterable

import crc32c

from squall.node.raft.leadership import Leadership
from squall.node.raft.log import UNKNOWN_TERM
from squall.node.raft.messages import AppendEntries, Heartbeat, InstallSnapshot
from squall.node.raft.progress import PROBE, Progress
from squall.node.raft.roles import LEADER
from squall.node.raft.settings import NEVER_US
from squall.node.raft.state import RaftState


def broadcast(raft: RaftState, leadership: Leadership) -> None:
    """Send every follower the entries it lacks, within its window."""
    leadership.replicate_due = False
    for progress in leadership.peers:
        replicate(raft, leadership, progress)


def replicate(raft: RaftState, leadership: Leadership, progress: Progress) -> None:
    """Send one follower the entries it lacks, within its window."""
    last = raft.log.last_index
    while progress.next <= last and progress.can_send():
        if not send_entries(raft, leadership, progress):
            return


def notify(raft: RaftState, progress: Progress) -> None:
    """Send one follower the commit index, as far as it is known to hold the entries.

    The rest follows when it has acknowledged them.
    """
    assert raft.role == LEADER, raft
    commit = raft.log.commit
    known = min(commit, progress.match)
    progress.commit_owed = known < commit
    if known > progress.commit_sent:
        progress.commit_sent = known
        raft.outbox.messages.append((progress.id, Heartbeat(raft.term, raft.id, known)))


def notify_all(raft: RaftState, leadership: Leadership) -> None:
    """Send the commit index to every follower that has not received it with another message."""
    leadership.notice_due_us = NEVER_US
    for progress in leadership.peers:
        notify(raft, progress)


def send_entries(raft: RaftState, leadership: Leadership, progress: Progress) -> bool:
    """Send one AppendEntries from `progress.next` on; False if it must be a snapshot instead."""
    assert raft.leadership is leadership, raft
    log = raft.log
    first = progress.next
    message = leadership.append_cache
    # Followers that keep up share one message object.
    if (
        message is None
        or message.prev_index != first - 1
        or message.commit != log.commit
        or message.prev_index + len(message.entries) != log.last_index
        or message.term != raft.term
    ):
        prev_term = log.term_at(first - 1)
        if prev_term == UNKNOWN_TERM:
            begin_snapshot(raft, progress)
            return False
        config = raft.config
        entries = (
            log.slice(first, config.max_batch_entries, config.max_batch_bytes)
            if first <= log.last_index
            else []
        )
        message = AppendEntries(raft.term, raft.id, first - 1, prev_term, log.commit, entries)
        leadership.append_cache = message
    entries = message.entries
    last = first - 1 + len(entries)
    size = len(entries[0].data) if len(entries) == 1 else sum([len(e.data) for e in entries])
    if entries or progress.state == PROBE:
        progress.sent(last, size, raft.now_us)
    known = min(message.commit, last)
    if known > progress.commit_sent:
        progress.commit_sent = known
    raft.outbox.messages.append((progress.id, message))
    return True


def heartbeat_round(raft: RaftState, followers: Iterable[Progress]) -> None:
    """Send these followers a heartbeat of a new round; no round number is used twice."""
    assert raft.role == LEADER, raft
    raft.round += 1
    commit = raft.log.commit
    message: Heartbeat | None = None
    for progress in followers:
        known = min(commit, progress.match)
        if message is None or message.commit != known:
            message = Heartbeat(raft.term, raft.id, known, raft.round)
        if known > progress.commit_sent:
            progress.commit_sent = known
        raft.outbox.messages.append((progress.id, message))


def begin_snapshot(raft: RaftState, progress: Progress) -> None:
    """Start sending the newest snapshot to a follower that needs compacted entries."""
    snapshot = raft.snapshot
    assert snapshot is not None, raft
    assert snapshot.index >= raft.log.base_index, (snapshot.index, raft)
    progress.become_snapshot(snapshot)
    raft.outbox.events.append(("snapshot-sent", {"to": progress.id, "index": snapshot.index}))
    send_chunk(raft, progress)


def send_chunk(raft: RaftState, progress: Progress) -> None:
    """Send the chunk that follows the acknowledged bytes."""
    assert raft.role == LEADER, raft
    snapshot = progress.snapshot
    assert snapshot is not None, progress
    start = progress.snapshot_offset
    data = snapshot.data[start : start + raft.config.snapshot_chunk_bytes]
    progress.advanced_us = raft.now_us
    raft.outbox.send(
        progress.id,
        InstallSnapshot(
            raft.term,
            raft.id,
            snapshot.index,
            snapshot.term,
            snapshot.configuration,
            start,
            len(snapshot.data),
            crc32c.crc32c(data),
            data,
        ),
    )
