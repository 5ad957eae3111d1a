"""Replication: entries to followers, acknowledgements back, and what is committed by them.

A leader sends what it has as soon as it has it, several messages deep; what queues up while the
window is full goes in one batch. It learns of a loss from a rejection, or when a heartbeat is
answered while acknowledgements stay out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.raft import installation, reading, roles, transfer
from node.raft.log import UNKNOWN_TERM
from node.raft.membership import decode_entry
from node.raft.messages import (
    CONFIGURATION,
    AppendEntries,
    AppendReply,
    Entry,
    Heartbeat,
    HeartbeatReply,
)
from node.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from node.raft.quorum import agreed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from node.raft.raft import Raft


# The leader's side.


def append_own(raft: Raft, kind: int, data: bytes) -> int:
    """Append an entry of the own term to the own log; gives its index."""
    index = raft.log.last_index + 1
    if kind == CONFIGURATION:
        # In force from here on, committed or not (§6); a new member is sent this entry first.
        raft.configurations.append(index, decode_entry(data).configuration)
        raft.configuration_changed()
    raft.log.append([Entry(raft.term, index, kind, data)])
    raft.uncommitted_bytes += len(data)
    raft.replicate_due = True
    return index


def track_members(raft: Raft) -> None:
    """Keep a progress for each member of the configuration in force, and for nobody else."""
    window = (raft.config.max_inflight, raft.config.max_inflight_bytes)
    previous = raft.progress
    raft.progress = {}
    for member in raft.configuration.members:
        known = previous.get(member.id)
        if known is None:
            first = raft.log.last_index + 1
            known = Progress(member.id, member.is_learner, first, raft.now_us, window)
            if member.id == raft.id:
                known.match = raft.log.durable
        known.is_learner = member.is_learner
        raft.progress[member.id] = known
    raft.peers = [known for known in raft.progress.values() if known.id != raft.id]
    raft.voters = [raft.progress[voter] for voter in raft.voter_ids]
    raft.replicate_due = True


def broadcast(raft: Raft) -> None:
    """Send every follower what it lacks, as far as its window allows."""
    raft.replicate_due = False
    for progress in raft.peers:
        replicate(raft, progress)


def replicate(raft: Raft, progress: Progress) -> None:
    """Send one follower the entries it lacks, as far as its window allows."""
    last = raft.log.last_index
    while progress.next <= last and progress.can_send():
        if not send_entries(raft, progress):
            return


def notify(raft: Raft, progress: Progress) -> None:
    """Tell one follower of the commit index, as far as it is known to hold the entries.

    One that has not acknowledged them all is told the rest when it does.
    """
    commit = raft.log.commit
    known = min(commit, progress.match)
    progress.commit_owed = known < commit
    if known > progress.commit_sent:
        progress.commit_sent = known
        raft.messages.append((progress.id, Heartbeat(raft.term, raft.id, known)))


def notify_all(raft: Raft) -> None:
    """Tell those who have not heard of the commit index with something else meanwhile."""
    raft.notice_due_us = roles.NEVER_US
    for progress in raft.peers:
        notify(raft, progress)


def send_entries(raft: Raft, progress: Progress) -> bool:
    """Send one AppendEntries from `progress.next` on; False if it must be a snapshot instead."""
    log = raft.log
    first = progress.next
    message = raft.append_cache
    # Followers that keep up are sent the same message: messages are never changed.
    if (
        message is None
        or message.prev_index != first - 1
        or message.commit != log.commit
        or message.prev_index + len(message.entries) != log.last_index
        or message.term != raft.term
    ):
        prev_term = log.term_at(first - 1)
        if prev_term == UNKNOWN_TERM:
            installation.begin(raft, progress)
            return False
        config = raft.config
        entries = (
            log.slice(first, config.max_batch_entries, config.max_batch_bytes)
            if first <= log.last_index
            else []
        )
        message = AppendEntries(raft.term, raft.id, first - 1, prev_term, log.commit, entries)
        raft.append_cache = message
    entries = message.entries
    last = first - 1 + len(entries)
    size = len(entries[0].data) if len(entries) == 1 else sum([len(e.data) for e in entries])
    if entries or progress.state == PROBE:
        progress.sent(last, size, raft.now_us)
    known = min(message.commit, last)
    if known > progress.commit_sent:
        progress.commit_sent = known
    raft.messages.append((progress.id, message))
    return True


def beat(raft: Raft) -> None:
    """Send heartbeats; step down first if no quorum has answered for an election timeout."""
    now_us = raft.now_us
    raft.heartbeat_due_us = now_us + raft.config.heartbeat_us
    if raft.config.check_quorum:
        contacts = [
            now_us if progress.id == raft.id else progress.contact_us for progress in raft.voters
        ]
        # Thesis §6.2: a leader that cannot reach a majority must not keep clients waiting.
        if now_us - agreed(contacts) >= raft.config.election_us:
            raft.events.append(("lost-quorum", {"term": raft.term}))
            raft.become_follower(raft.term, roles.NOBODY)
            return
    heartbeat_round(raft, raft.peers)


def heartbeat_round(raft: Raft, followers: Iterable[Progress]) -> None:
    """Send these followers a heartbeat of a new round. No number is used twice in a term."""
    raft.round += 1
    commit = raft.log.commit
    message: Heartbeat | None = None
    for progress in followers:
        known = min(commit, progress.match)
        if message is None or message.commit != known:
            message = Heartbeat(raft.term, raft.id, known, raft.round)
        if known > progress.commit_sent:
            progress.commit_sent = known
        raft.messages.append((progress.id, message))


def on_append_reply(raft: Raft, message: AppendReply) -> None:
    """Learn how far a follower agrees, or where it does not."""
    progress = raft.progress.get(message.sender)
    if raft.role != roles.LEADER or progress is None:
        return
    progress.contact_us = raft.now_us
    if message.rejected:
        if _fall_back(raft, progress, message):
            replicate(raft, progress)
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
            replicate(raft, progress)
        return
    if message.index > raft.log.commit:
        maybe_commit(raft)
        if raft.role != roles.LEADER:
            return
    transfer.progressed(raft, progress)
    if not raft.replicate_due:
        replicate(raft, progress)
    if progress.commit_owed:
        notify(raft, progress)


def _fall_back(raft: Raft, progress: Progress, message: AppendReply) -> bool:
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


def own_entries_saved(raft: Raft) -> None:
    """The leader's own log is durable further: now it counts itself."""
    own = raft.progress.get(raft.id)
    if own is not None and own.acknowledged(raft.log.durable, raft.now_us):
        maybe_commit(raft)


def maybe_commit(raft: Raft) -> None:
    """Commit what a majority holds durably (§5.3)."""
    log = raft.log
    index = agreed([progress.match for progress in raft.voters])
    # §5.4.2: only entries of the current term commit by counting; earlier ones along with them.
    if index <= log.commit or log.term_at(index) != raft.term:
        return
    for entry in log.entries[log.commit - log.base_index : index - log.base_index]:
        raft.uncommitted_bytes -= len(entry.data)
    assert raft.uncommitted_bytes >= 0, raft
    log.commit_to(index)
    # The news rides on the next entries or heartbeat; only when nothing goes out soon does it cost
    # a message of its own.
    raft.notice_due_us = min(raft.notice_due_us, raft.now_us + raft.config.commit_notice_us)
    if raft.configurations.index <= index and not raft.is_voter:
        # Thesis §4.2.2: a leader that is not in the committed configuration steps down, but not
        # before; its successors need to hear of the commit, and who it is that knows most.
        broadcast(raft)
        notify_all(raft)
        transfer.hand_over_on_removal(raft)
        raft.become_follower(raft.term, roles.NOBODY)


def on_heartbeat_reply(raft: Raft, message: HeartbeatReply) -> None:
    """A follower is there, and still followed this leader after the round began."""
    progress = raft.progress.get(message.sender)
    if raft.role != roles.LEADER or progress is None:
        return
    now_us = raft.now_us
    progress.contact_us = now_us
    if message.round > progress.round:
        assert message.round <= raft.round, (message, raft)
        progress.round = message.round
        if raft.read_contexts:
            reading.confirm(raft)
    if progress.match >= raft.log.last_index:
        return
    if now_us - progress.moved_us < raft.config.heartbeat_us:
        return
    # It answers, but nothing was acknowledged for a while: something got lost.
    progress.moved_us = now_us
    if progress.state == SNAPSHOT:
        installation.send_chunk(raft, progress)
    else:
        progress.paused = False
        if progress.state == REPLICATE and not progress.can_send():
            # The window is full of what nobody acknowledges: begin again at what is known.
            progress.become_probe()
        send_entries(raft, progress)


# The follower's side.


def on_append(raft: Raft, message: AppendEntries) -> None:
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
    acknowledge(raft, matched)


def acknowledge(raft: Raft, index: int) -> None:
    """Tell the leader that this log equals its own up to `index`, once that is durable."""
    reply = AppendReply(raft.term, raft.id, index)
    if index <= raft.log.durable and not (raft.hard_dirty or raft.hard_flight):
        raft.messages.append((raft.leader, reply))
        return
    held = raft.held
    if held:
        # One acknowledgement a batch: a later one of the same term vouches for more.
        target, last = held[-1]
        if (
            type(last) is AppendReply
            and not last.rejected
            and last.term == reply.term
            and target == raft.leader
        ):
            reply.index = max(index, last.index)
            held.pop()
    held.append((raft.leader, reply))


def on_heartbeat(raft: Raft, message: Heartbeat) -> None:
    """The leader is alive; it never announces a commit beyond what this node acknowledged."""
    raft.heard_leader(message.sender)
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
        raft.send_in_term(message.sender, HeartbeatReply(raft.term, raft.id, message.round))


def _merge(raft: Raft, entries: list[Entry]) -> None:
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


def _append(raft: Raft, entries: list[Entry]) -> None:
    raft.log.append(entries)
    for entry in entries:
        if entry.kind == CONFIGURATION:
            raft.configurations.append(entry.index, decode_entry(entry.data).configuration)
            raft.configuration_changed()


def _reject(raft: Raft, message: AppendEntries) -> None:
    log = raft.log
    hint = log.find_not_after(min(message.prev_index, log.last_index), message.prev_term)
    raft.send_in_term(
        message.sender,
        AppendReply(raft.term, raft.id, message.prev_index, True, hint, max(log.term_at(hint), 0)),
    )
