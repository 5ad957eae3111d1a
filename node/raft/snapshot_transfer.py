"""Snapshots for followers whose next entries are compacted away (§7).

The data goes in chunks, one on its way at a time; the receiver says how much it has, so a lost or
repeated chunk costs one exchange. What is complete and checks out replaces the receiver's log and
state unless the receiver is already that far, and is acknowledged once it is durable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import crc32c
import msgspec

from squall.node.raft import replication, roles
from squall.node.raft.membership import Configuration
from squall.node.raft.messages import InstallSnapshot, Snapshot, SnapshotReply
from squall.node.raft.progress import SNAPSHOT

if TYPE_CHECKING:
    from squall.node.raft.progress import Progress
    from squall.node.raft.raft import Raft

MAX_SNAPSHOT_BYTES = 8 << 30  # etcd's largest advised database


class Incoming(msgspec.Struct):
    """A snapshot that is being received: which one, from whom, and what of it is here."""

    sender: int
    term: int
    index: int
    snapshot_term: int
    size: int
    configuration: Configuration
    data: bytearray


def begin(raft: Raft, progress: Progress) -> None:
    """Start to send the newest snapshot to a follower that needs entries compacted away."""
    snapshot = raft.snapshot
    assert snapshot is not None, raft
    assert snapshot.index >= raft.log.base_index, (snapshot.index, raft)
    progress.become_snapshot(snapshot)
    raft.events.append(("snapshot-sent", {"to": progress.id, "index": snapshot.index}))
    send_chunk(raft, progress)


def send_chunk(raft: Raft, progress: Progress) -> None:
    """Send the chunk after what is acknowledged."""
    snapshot = progress.snapshot
    assert snapshot is not None, progress
    start = progress.snapshot_offset
    data = snapshot.data[start : start + raft.config.snapshot_chunk_bytes]
    progress.moved_us = raft.now_us
    raft.send(
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


def on_snapshot_reply(raft: Raft, message: SnapshotReply) -> None:
    """Go on from where the receiver is."""
    progress = raft.progress.get(message.sender)
    if raft.role != roles.LEADER or progress is None:
        return
    progress.contact_us = raft.now_us
    snapshot = progress.snapshot
    if progress.state != SNAPSHOT or snapshot is None or message.index != snapshot.index:
        return
    if message.offset != progress.snapshot_offset and message.offset <= len(snapshot.data):
        progress.snapshot_offset = message.offset
        if message.offset < len(snapshot.data):
            send_chunk(raft, progress)


def oldest_needed(raft: Raft) -> int:
    """How far the log may be compacted without starving a follower that receives a snapshot.

    A follower that stopped answering is not waited for.
    """
    oldest = roles.NEVER_US
    for progress in raft.peers:
        snapshot = progress.snapshot
        if snapshot is not None and raft.now_us - progress.contact_us < raft.config.election_us:
            oldest = min(oldest, snapshot.index)
    return oldest


def on_install(raft: Raft, message: InstallSnapshot) -> None:
    """Take in one chunk; install the snapshot when it is complete."""
    raft.heard_leader(message.sender)
    if message.index <= raft.log.commit:
        # Stale, or fetched elsewhere meanwhile: never go back (B40).
        raft.incoming = None
        replication.acknowledge(raft, raft.log.commit)
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
    raft.send_in_term(
        message.sender, SnapshotReply(raft.term, raft.id, message.index, len(incoming.data))
    )


def _install(raft: Raft, incoming: Incoming) -> None:
    log = raft.log
    if log.term_at(incoming.index) == incoming.snapshot_term:
        # The log holds all of it and perhaps more: keep that, it is only to be committed (§7).
        log.commit_to(incoming.index)
    else:
        # An entry of another term there, or nothing at all: the whole log gives way.
        log.restore(incoming.index, incoming.snapshot_term)
        raft.configurations.reset(incoming.index, incoming.configuration)
        raft.configuration_changed()
        raft.snapshot_unsaved = Snapshot(
            incoming.index, incoming.snapshot_term, incoming.configuration, bytes(incoming.data)
        )
        raft.events.append(
            ("snapshot-received", {"index": incoming.index, "term": incoming.snapshot_term})
        )
    replication.acknowledge(raft, incoming.index)
