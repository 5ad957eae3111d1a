"""Messages between peers, and what is stored: entries, hard state, snapshots (etcd: raftpb).

Messages are plain structs: encoded as msgpack arrays on the wire (`codec`), passed by reference in
the simulator, never changed after construction. Entries are shared by reference between a member's
log, its messages and (in the simulator) other members, so they are never changed either.

They are not declared frozen because constructing a frozen struct costs more and a run constructs
millions; `gc=False` is safe because none of them can be part of a cycle. Every message names its
sender; the receiver is given beside it. Member ids are unsigned 64-bit, 0 is NOBODY; terms and
indexes start at 1, 0 is before the first.

`Forward` and the messages after it concern requests, not consensus: the replica or the shell
handles them, `Raft.step` never receives them. Tags are part of the wire format and are never
reused.
"""

from __future__ import annotations

from typing import Final

import msgspec

from squall.node.raft.membership import Configuration

NOBODY: Final = 0  # the member id of no member

NORMAL = 0  # Entry.kind: a request (empty data: the no-op of a new leader)
CONFIGURATION = 1  # Entry.kind: the cluster's members from this index on


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One entry of the log; (term, index) identifies its content (§5.3, Log Matching)."""

    term: int
    index: int
    kind: int
    data: bytes


class HardState(msgspec.Struct, array_like=True, gc=False):
    """Term and vote, durable before any message depends on them; `commit` is a hint on restart."""

    term: int = 0
    vote: int = 0
    commit: int = 0


class Snapshot(msgspec.Struct, array_like=True, gc=False):
    """The applied state up to and including `index`, with the configuration in force there.

    `data` is opaque to Raft: the replica's sessions and its state machine.
    """

    index: int
    term: int
    configuration: Configuration
    data: bytes


class RequestVote(msgspec.Struct, array_like=True, tag=1, gc=False):
    """Request a vote in `term` (§5.2), or with `pre` a pre-vote (thesis §9.6).

    `transfer`: the leader asked the sender to campaign, so the leader lease does not apply.
    """

    term: int
    sender: int
    last_index: int
    last_term: int
    pre: bool = False
    transfer: bool = False


class VoteReply(msgspec.Struct, array_like=True, tag=2, gc=False):
    """Reply to `RequestVote`. A granted pre-vote carries the requested term, else the own term."""

    term: int
    sender: int
    granted: bool
    pre: bool = False


class AppendEntries(msgspec.Struct, array_like=True, tag=3, gc=False):
    """Entries that follow (prev_index, prev_term) in the leader's log (§5.3)."""

    term: int
    sender: int
    prev_index: int
    prev_term: int
    commit: int
    entries: list[Entry]


class AppendReply(msgspec.Struct, array_like=True, tag=4, gc=False):
    """Reply to `AppendEntries`.

    Accepted: the sender's durable log equals the leader's up to `index`. Rejected: its log does not
    match at `index` (the rejected prev_index); (hint_index, hint_term) is where to continue.
    """

    term: int
    sender: int
    index: int
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


class Heartbeat(msgspec.Struct, array_like=True, tag=5, gc=False):
    """The leader's heartbeat; `commit` never exceeds what the receiver is known to hold.

    `round` > 0 asks for a `HeartbeatReply` of the same round; 0 is a notice of the commit.
    """

    term: int
    sender: int
    commit: int
    round: int = 0


class HeartbeatReply(msgspec.Struct, array_like=True, tag=6, gc=False):
    """The sender acknowledged the leader of `term` after that leader began `round`."""

    term: int
    sender: int
    round: int


class InstallSnapshot(msgspec.Struct, array_like=True, tag=7, gc=False):
    """One chunk of a snapshot's data (§7): bytes from `offset` on, of `size` in all."""

    term: int
    sender: int
    index: int
    snapshot_term: int
    configuration: Configuration
    offset: int
    size: int
    checksum: int
    data: bytes


class SnapshotReply(msgspec.Struct, array_like=True, tag=8, gc=False):
    """The receiver has the first `offset` bytes of the snapshot at `index`."""

    term: int
    sender: int
    index: int
    offset: int


class TimeoutNow(msgspec.Struct, array_like=True, tag=9, gc=False):
    """Leader transfer: campaign at once (thesis §3.10)."""

    term: int
    sender: int


class Forward(msgspec.Struct, array_like=True, tag=10, gc=False):
    """Proposals of a member that does not lead, each the data of a normal entry.

    `again`: repeated after a timeout; the leader may have appended them already.
    """

    sender: int
    proposals: list[bytes]
    again: bool = False


class ForwardChange(msgspec.Struct, array_like=True, tag=11, gc=False):
    """A membership change requested through a member that does not lead, for the leader of `term`.

    Bound to the term so that a refusal is final: no other leader acts on a delayed copy.
    """

    term: int
    sender: int
    nonce: int
    sequence: int
    change: bytes


class ChangeRefused(msgspec.Struct, array_like=True, tag=12, gc=False):
    """The leader of `term` has not appended this change and never will."""

    term: int
    sender: int
    nonce: int
    sequence: int
    error: str


class ReadIndex(msgspec.Struct, array_like=True, tag=13, gc=False):
    """Request from the leader an index that a read begun now must see (thesis §6.4).

    (nonce, sequence) is unique over all boots of the sender: a late reply confirms nothing newer.
    """

    sender: int
    nonce: int
    sequence: int


class ReadIndexReply(msgspec.Struct, array_like=True, tag=14, gc=False):
    """Reads begun before `sequence` was sent may be served once `index` is applied."""

    sender: int
    nonce: int
    sequence: int
    index: int


class LeaseQuery(msgspec.Struct, array_like=True, tag=15, gc=False):
    """Request the remaining time of a lease, or its renewal; handled by the shell."""

    sender: int
    nonce: int
    sequence: int
    lease_id: int
    renew: bool


class LeaseReply(msgspec.Struct, array_like=True, tag=16, gc=False):
    """The leader's reply, in seconds; `ttl_s` is below 1 for a lease that has expired."""

    sender: int
    nonce: int
    sequence: int
    ttl_s: int
    granted_ttl_s: int
    keys: list[bytes]


Message = (
    RequestVote
    | VoteReply
    | AppendEntries
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | InstallSnapshot
    | SnapshotReply
    | TimeoutNow
    | Forward
    | ForwardChange
    | ChangeRefused
    | ReadIndex
    | ReadIndexReply
    | LeaseQuery
    | LeaseReply
)
