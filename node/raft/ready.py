"""What a `Raft` is set up with, and what it gives back."""

from __future__ import annotations

from typing import Any

import msgspec

from squall.node.raft.messages import Entry, HardState, Message, Snapshot


class RaftConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A node's identity, timers and windows; what each is for is said in `ReplicaConfig`."""

    id: int
    heartbeat_us: int = 100_000
    election_us: int = 1_000_000
    pre_vote: bool = True
    check_quorum: bool = True
    strict_reconfig: bool = True
    commit_notice_us: int = 5_000
    max_batch_entries: int = 1024
    max_batch_bytes: int = 1 << 20
    max_inflight: int = 512
    max_inflight_bytes: int = 16 << 20
    max_uncommitted_bytes: int = 64 << 20
    snapshot_chunk_bytes: int = 256 * 1024


class Ready(msgspec.Struct):
    """What the owner owes; see the module's docstring. `save`: there is a batch to write."""

    messages: list[tuple[int, Message]]
    reads: list[tuple[int, Any]]  # (index, context): served once the index is applied
    save: bool = False
    snapshot: Snapshot | None = None
    entries: list[Entry] = []
    hard_state: HardState | None = None
