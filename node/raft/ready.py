"""What a `Raft` is set up with, and what it gives back."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from squall.node.raft.messages import Entry, HardState, Message, Snapshot

MIB: Final = 1 << 20


class RaftSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Timers and windows of the consensus core; sizes are bytes."""

    heartbeat_us: int = 100_000
    election_us: int = 1_000_000
    commit_notice_us: int = 5_000  # a follower hears of a commit at the latest after this
    pre_vote: bool = True
    check_quorum: bool = True
    strict_reconfig: bool = True  # refuse a change of members that would leave no started quorum
    max_batch_entries: int = 1024  # entries in one AppendEntries
    max_batch_bytes: int = MIB  # etcd's limit of one append message
    max_inflight: int = 512  # unacknowledged AppendEntries per follower, as etcd
    max_inflight_bytes: int = 16 * MIB
    max_uncommitted_bytes: int = 64 * MIB
    snapshot_chunk_bytes: int = 256 * 1024


class Ready(msgspec.Struct):
    """What the owner owes; see the module's docstring. `save`: there is a batch to write."""

    messages: list[tuple[int, Message]]
    reads: list[tuple[int, Any]]  # (index, context): served once the index is applied
    save: bool = False
    snapshot: Snapshot | None = None
    entries: list[Entry] = []
    hard_state: HardState | None = None
