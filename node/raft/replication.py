"""Replication: entries to followers, acknowledgements back, and what is committed by them.

A leader sends entries at once, pipelined within each follower's window; entries that accumulate
while the window is full are sent in one batch. A loss shows as a rejection, or as a heartbeat reply
while acknowledgements are missing.
"""

from __future__ import annotations

from squall.node.raft import sending, transfer
from squall.node.raft.leadership import Leadership
from squall.node.raft.membership import decode_entry
from squall.node.raft.messages import CONFIGURATION, NOBODY, AppendEntries, AppendReply, Entry
from squall.node.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from squall.node.raft.quorum import agreed
from squall.node.raft.state import RaftState

# The leader's side.


def on_append_reply(raft: RaftState, message: AppendReply) -> None:
    """Update a follower's progress from an acknowledgement or a rejection."""
    leadership = raft.leadership
    progress = None if leadership is None else leadership.progress.get(message.sender)
    if leadership is None or progress is None:
        return
    progress.contact_us = raft.now_us
    if message.rejected:
        if _fall_back(raft, progress, message):
            sending.replicate(raft, leadership, progress)
        return
    assert message.index <= raft.log.last_index, (
        f"{message.sender:x} holds index {message.index}, committed under an earlier leader, but "
        f"the log of this leader of term {raft.term} ends at {raft.log.last_index}: it was elected "
        f"without all committed entries (Raft, section 5.4.1). {raft}"
    )
    news = progress.acknowledged(message.index, raft.now_us)
    if progress.state == PROBE and (news or message.index >= progress.next - 1):
        progress.become_replicate()
    elif progress.snapshot is not None and (
        progress.match >= min(raft.log.base_index, progress.snapshot.index)
    ):
        # It has what the snapshot was sent for. If the log was compacted further meanwhile, the
        # next attempt to send entries starts another snapshot.
        progress.become_replicate()
    if not news:
        if progress.next <= raft.log.last_index:
            sending.replicate(raft, leadership, progress)
        return
    if message.index > raft.log.commit:
        maybe_commit(raft, leadership)
        if raft.leadership is None:
            return
    transfer.progressed(raft, leadership, progress)
    if not leadership.replicate_due:
        sending.replicate(raft, leadership, progress)
    if progress.commit_owed:
        sending.notify(raft, progress)


def _fall_back(raft: RaftState, progress: Progress, message: AppendReply) -> bool:
    """Move `next` back to where the logs may agree; False for a stale rejection."""
    if progress.state == SNAPSHOT or message.index <= progress.match:
        return False
    if progress.state == REPLICATE:
        progress.become_probe()
        return True
    if message.index != progress.next - 1:
        return False
    # §5.3's optimisation: skip all terms that the follower's log at the hint cannot hold.
    conflict = raft.log.find_not_after(message.hint_index, message.hint_term)
    progress.next = max(progress.match + 1, min(message.index, conflict + 1))
    progress.paused = False
    return True


def own_entries_saved(raft: RaftState, leadership: Leadership) -> None:
    """The leader's own log is durable further: count it for the commit."""
    own = leadership.progress.get(raft.id)
    if own is not None and own.acknowledged(raft.log.durable, raft.now_us):
        maybe_commit(raft, leadership)


def maybe_commit(raft: RaftState, leadership: Leadership) -> None:
    """Commit what a majority holds durably (§5.3)."""
    log = raft.log
    index = agreed([progress.match for progress in leadership.voters])
    # §5.4.2: only entries of the current term commit by counting; earlier ones along with them.
    if index <= log.commit or log.term_at(index) != raft.term:
        return
    for entry in log.entries[log.commit - log.base_index : index - log.base_index]:
        leadership.uncommitted_bytes -= len(entry.data)
    assert leadership.uncommitted_bytes >= 0, raft
    log.commit_to(index)
    # The commit index is sent with the next entries or heartbeat; a message of its own is sent only
    # when neither is sent soon.
    due_us = raft.now_us + raft.config.commit_notice_us
    leadership.notice_due_us = min(leadership.notice_due_us, due_us)
    if raft.configurations.index <= index and not raft.is_voter:
        # Thesis §4.2.2: a leader that is not in the committed configuration steps down, but not
        # before. The commit is announced, and the most advanced voter is told to campaign.
        sending.broadcast(raft, leadership)
        sending.notify_all(raft, leadership)
        transfer.hand_over_on_removal(raft, leadership)
        raft.become_follower(raft.term, NOBODY)


# The follower's side.


def on_append(raft: RaftState, message: AppendEntries) -> None:
    """Make this log equal to the leader's up to the last entry of the message (§5.3)."""
    raft.leader_contacted(message.sender)
    log = raft.log
    prev = message.prev_index
    entries = message.entries
    if prev == log.last_index and message.prev_term == log.last_term:
        if entries:
            _append(raft, entries)
    elif prev >= log.commit:
        if log.term_at(prev) != message.prev_term:
            _reject(raft, message)
            return
        _merge(raft, entries)
    else:
        # Committed entries are in every later leader's log (Leader Completeness), so they are not
        # compared: here they may be compacted.
        _merge(raft, entries[log.commit - prev :])
    matched = max(prev + len(entries), log.commit)
    # Only up to what this message proved equal: entries after it may be another leader's.
    commit = min(message.commit, prev + len(entries))
    if commit > log.commit:
        log.commit_to(commit)
    raft.acknowledge(matched)


def _merge(raft: RaftState, entries: list[Entry]) -> None:
    """Append new entries; truncate at the first conflicting entry, and only there."""
    log = raft.log
    for position, entry in enumerate(entries):
        if entry.index > log.last_index:
            _append(raft, entries[position:])
            return
        if log.term_at(entry.index) != entry.term:
            # Never truncate without a conflict: an old, short message must not undo a newer one.
            log.truncate(entry.index)
            if raft.configurations.truncate(entry.index):
                raft.configuration_changed()
            _append(raft, entries[position:])
            return


def _append(raft: RaftState, entries: list[Entry]) -> None:
    raft.log.append(entries)
    for entry in entries:
        if entry.kind == CONFIGURATION:
            raft.configurations.append(entry.index, decode_entry(entry.data).configuration)
            raft.configuration_changed()


def _reject(raft: RaftState, message: AppendEntries) -> None:
    log = raft.log
    hint = log.find_not_after(min(message.prev_index, log.last_index), message.prev_term)
    raft.outbox.send_in_term(
        message.sender,
        AppendReply(raft.term, raft.id, message.prev_index, True, hint, max(log.term_at(hint), 0)),
    )
