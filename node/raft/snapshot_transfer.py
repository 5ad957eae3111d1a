"""Snapshots for followers whose next entries are compacted away (§7).

The data is sent in chunks, one in flight at a time. The receiver reports how much it has, so a lost
or repeated chunk costs one exchange. A complete snapshot replaces the receiver's log and state,
unless its commit index is already that high, and is acknowledged once it is durable.
"""

from __future__ import annotations

import crc32c

from squall.node.raft import sending
from squall.node.raft.messages import InstallSnapshot, Snapshot, SnapshotReply
from squall.node.raft.progress import SNAPSHOT
from squall.node.raft.state import Incoming, RaftState

MAX_SNAPSHOT_BYTES = 8 << 30  # etcd's largest advised database


def on_snapshot_reply(raft: RaftState, message: SnapshotReply) -> None:
    """Send the next chunk from where the receiver is."""
    leadership = raft.leadership
    progress = None if leadership is None else leadership.progress.get(message.sender)
    if progress is None:
        return
    progress.contact_us = raft.now_us
    snapshot = progress.snapshot
    if progress.state != SNAPSHOT or snapshot is None or message.index != snapshot.index:
        return
    if message.offset != progress.snapshot_offset and message.offset <= len(snapshot.data):
        progress.snapshot_offset = message.offset
        if message.offset < len(snapshot.data):
            sending.send_chunk(raft, progress)


def on_install(raft: RaftState, message: InstallSnapshot) -> None:
    """Store one chunk; install the snapshot when it is complete."""
    raft.leader_contacted(message.sender)
    if message.index <= raft.log.commit:
        # Stale, or the entries arrived otherwise: state never goes back (hazard B40).
        raft.incoming = None
        raft.acknowledge(raft.log.commit)
        return
    incoming = raft.incoming
    if (
        incoming is None
        or incoming.sender != message.sender
        or incoming.term != message.term
        or incoming.index != message.index
    ):
        assert message.size <= MAX_SNAPSHOT_BYTES, message.size
        incoming = raft.incoming = Incoming(
            message.sender,
            message.term,
            message.index,
            message.snapshot_term,
            message.size,
            message.configuration,
            bytearray(),
        )
    intact = crc32c.crc32c(message.data) == message.checksum
    if intact and message.offset == len(incoming.data):
        incoming.data += message.data
        if len(incoming.data) == incoming.size:
            raft.incoming = None
            _install(raft, incoming)
            return
    raft.outbox.send_in_term(
        message.sender, SnapshotReply(raft.term, raft.id, message.index, len(incoming.data))
    )


def _install(raft: RaftState, incoming: Incoming) -> None:
    log = raft.log
    if log.term_at(incoming.index) == incoming.snapshot_term:
        # The log holds these entries: keep it and commit them (§7).
        log.commit_to(incoming.index)
    else:
        # Another term at that index, or no entry: the whole log is replaced (§7).
        log.restore(incoming.index, incoming.snapshot_term)
        raft.configurations.reset(incoming.index, incoming.configuration)
        raft.configuration_changed()
        raft.outbox.snapshot = Snapshot(
            incoming.index, incoming.snapshot_term, incoming.configuration, bytes(incoming.data)
        )
        raft.outbox.events.append(
            ("snapshot-received", {"index": incoming.index, "term": incoming.snapshot_term})
        )
    raft.acknowledge(incoming.index)
