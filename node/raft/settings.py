"""The settings of the consensus core: timers, windows and limits.

`ReplicaSettings` adds those of the parts around it, `ReplicaConfig` the identity of the member.
"""

from __future__ import annotations

from typing import Final

import msgspec

MIB: Final = 1 << 20
NEVER_US: Final = 1 << 62
"""A deadline that is never reached."""


class RaftSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times are microseconds of the member's monotonic clock, sizes are bytes."""

    heartbeat_us: int = 100_000
    election_us: int = 1_000_000  # timeouts are drawn from [1, 2) of it
    commit_notice_us: int = 5_000  # a follower learns of a commit index at the latest after this
    pre_vote: bool = True
    check_quorum: bool = True
    strict_reconfig: bool = True  # refuse a change of members that would leave no started quorum
    max_batch_entries: int = 1024  # entries in one AppendEntries
    max_batch_bytes: int = MIB  # etcd's limit of one append message
    max_inflight: int = 512  # unacknowledged AppendEntries per follower, as etcd
    max_inflight_bytes: int = 16 * MIB
    max_uncommitted_bytes: int = 64 * MIB
    snapshot_chunk_bytes: int = 256 * 1024
