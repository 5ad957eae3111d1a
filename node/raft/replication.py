"""Replication: entries to followers, acknowledgements back, and what is committed by them.

A leader sends what it has as soon as it has it, several messages deep; what queues up while the
window is full goes in one batch. It learns of a loss from a rejection, or when a heartbeat is
answered while acknowledgements stay out.
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
    """Learn how far a follower agrees, or where it does not."""
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
        # It has what the snapshot was for, wherever from; if the log was compacted further in the
        # meantime, the next attempt to send entries begins another snapshot.
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
    """Go back to where the logs may agree; False for a stale rejection."""
    if progress.state == SNAPSHOT or message.index <= progress.match:
        return False
    if progress.state == REPLICATE:
        progress.become_probe()
        return True
    if message.index != progress.next - 1:
        return False
    # §5.3's optimisation: skip all of our terms that its log at the hint cannot hold.
    conflict = raft.log.find_not_after(message.hint_index, message.hint_term)
    progress.next = max(progress.match + 1, min(message.index, conflict + 1))
    progress.paused = False
    return True


def own_entries_saved(raft: RaftState, leadership: Leadership) -> None:
    """The leader's own log is durable further: now it counts itself."""
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
    # The news rides on the next entries or heartbeat; only when nothing goes out soon does it cost
    # a message of its own.
    due_us = raft.now_us + raft.config.commit_notice_us
    leadership.notice_due_us = min(leadership.notice_due_us, due_us)
    if raft.configurations.index <= index and not raft.is_voter:
        # Thesis §4.2.2: a leader that is not in the committed configuration steps down, but not
        # before; its successors need to hear of the commit, and who it is that knows most.
        sending.broadcast(raft, leadership)
        sending.notify_all(raft, leadership)
        transfer.hand_over_on_removal(raft, leadership)
        raft.become_follower(raft.term, NOBODY)


# The follower's side.


def on_append(raft: RaftState, message: AppendEntries) -> None:
    """Make the own log equal to the leader's as far as the message goes (§5.3)."""
    raft.heard_leader(message.sender)
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
        # What is committed here is in every later leader's log (Leader Completeness), compacted or
        # not: go on from there.
        _merge(raft, entries[log.commit - prev :])
    matched = max(prev + len(entries), log.commit)
    # Only up to what this message proved equal: behind it may lie another leader's entries.
    commit = min(message.commit, prev + len(entries))
    if commit > log.commit:
        log.commit_to(commit)
    raft.acknowledge(matched)


def _merge(raft: RaftState, entries: list[Entry]) -> None:
    """Append what is new; drop what conflicts, and nothing but what conflicts."""
    log = raft.log
    for position, entry in enumerate(entries):
        if entry.index > log.last_index:
            _append(raft, entries[position:])
            return
        if log.term_at(entry.index) != entry.term:
            # Never cut without a conflict: an old, short message must not undo a newer, longer one.
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
