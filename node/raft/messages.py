"""What Raft peers say to each other, and what they write down.

Messages are plain structs: encoded as msgpack arrays on the wire, passed by reference in the
simulator, never changed after they were built. Entries are shared by reference between a node's
log, its messages and (in the simulator) other nodes, so they too are never changed.

They are not declared frozen because building a frozen struct costs more and a run builds millions;
`gc=False` is right because none of them can be part of a cycle. Every message names its sender;
the receiver is known to whoever carries it. Member ids are unsigned 64-bit, 0 means nobody; terms
and indexes start at 1, 0 means before the beginning.

`Forward` and what follows it concern requests, not consensus: the replica handles them and
`Raft.step` never sees them. Tags are part of the wire format; a number is never used again for
something else.
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
    """What must be durable before a node speaks in a term; `commit` is only a hint on restart."""

    term: int = 0
    vote: int = 0
    commit: int = 0


class Snapshot(msgspec.Struct, array_like=True, gc=False):
    """The applied state up to and including `index`, with the configuration then in force.

    `data` is opaque to Raft: the replica's sessions and its state machine.
    """

    index: int
    term: int
    configuration: Configuration
    data: bytes


class RequestVote(msgspec.Struct, array_like=True, tag=1, gc=False):
    """Ask for a vote in `term` (§5.2), or with `pre` whether it would be given (thesis §9.6).

    `transfer`: the leader itself told the sender to campaign, so a lease does not stand against it.
    """

    term: int
    sender: int
    last_index: int
    last_term: int
    pre: bool = False
    transfer: bool = False


class VoteReply(msgspec.Struct, array_like=True, tag=2, gc=False):
    """Answer to `RequestVote`. A granted pre-vote carries the term asked for, else the own term."""

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
    """Answer to `AppendEntries`.

    Accepted: the sender's durable log equals the leader's up to `index`. Rejected: it holds nothing
    equal at `index` (the prev_index refused); it suggests to go on at (hint_index, hint_term).
    """

    term: int
    sender: int
    index: int
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


class Heartbeat(msgspec.Struct, array_like=True, tag=5, gc=False):
    """Leader's sign of life; `commit` never exceeds what the receiver is known to hold.

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
    """The leader hands over: campaign at once (thesis §3.10)."""

    term: int
    sender: int


class Forward(msgspec.Struct, array_like=True, tag=10, gc=False):
    """Proposals of a member that does not lead, each the data of a normal entry.

    `again`: the sender waited for them in vain before; the leader may have them already.
    """

    sender: int
    proposals: list[bytes]
    again: bool = False


class ForwardChange(msgspec.Struct, array_like=True, tag=11, gc=False):
    """A membership change of a member that does not lead, meant for the leader of `term` alone.

    Bound to the term so that a refusal is final: no other leader will act on a late copy.
    """

    term: int
    sender: int
    nonce: int
    sequence: int
    change: bytes


class ChangeRefused(msgspec.Struct, array_like=True, tag=12, gc=False):
    """The leader of `term` did not and will not append this change."""

    term: int
    sender: int
    nonce: int
    sequence: int
    error: str


class ReadIndex(msgspec.Struct, array_like=True, tag=13, gc=False):
    """Ask the leader for an index that a read begun now must see (thesis §6.4).

    (nonce, sequence) is unique over all boots of the sender: a late answer confirms nothing newer.
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


class LeaseAsk(msgspec.Struct, array_like=True, tag=15, gc=False):
    """Ask the leader what a lease has left, or to renew it; the shell answers, not the replica."""

    sender: int
    nonce: int
    sequence: int
    lease_id: int
    renew: bool


class LeaseTold(msgspec.Struct, array_like=True, tag=16, gc=False):
    """The leader's answer, in seconds; `ttl_s` is below 1 for a lease that is gone."""

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
    | LeaseAsk
    | LeaseTold
)
