"""A replica: Raft, its WAL and its state machine tied together, still sans-IO.

Two thin shells drive it: asyncio with real sockets and files, and the simulator. The shell does

    replica.receive(message, now_us)      a peer's message arrived
    replica.tick(now_us)                  now_us >= replica.deadline_us
    replica.propose(ticket, command, now_us)
    replica.read_barrier(ticket, now_us)
    replica.propose_membership(ticket, change, now_us)
    replica.transfer_leadership(ticket, target, now_us)
    replica.persisted(batch_id, now_us)   the disk batch it was given is durable
    replica.disk_failed(error)            ... or is not, and never will be

and after any of them (or after several) `out = replica.take()`: it sends `out.messages`, executes
`out.batch` (one at a time, in order), delivers `out.replies` and logs `out.events`. The replica
determines the order (persist, then send what depends on it, then apply, then answer): everything in
`out` may be done at once and in any order.

Construction recovers from the disk: it reads and writes `disk` directly and may raise
`squall.node.storage.recovery.DamagedError` (refuse to start; the text says what to do) or
`DiskError`. Entries that were known to be committed are applied when the constructor returns.

Tickets are numbers chosen by the shell, each used once; every ticket gets exactly one `Reply`. Time
is integer microseconds of the node's monotonic clock; randomness comes from the `Random` passed in.
An AssertionError out of any call means that this node is broken: log it and exit with code 2.
"""

from squall.node.raft.membership import (
    ADD,
    ADD_LEARNER,
    PROMOTE,
    REMOVE,
    UPDATE,
    Change,
    Configuration,
    Member,
)
from squall.node.replica.interface import (
    NOTHING,
    Event,
    Outcome,
    Output,
    PendingSnapshot,
    ReplicaConfig,
    Reply,
    StateMachine,
    Status,
)
from squall.node.replica.replica import Replica

__all__ = [
    "ADD",
    "ADD_LEARNER",
    "NOTHING",
    "PROMOTE",
    "REMOVE",
    "UPDATE",
    "Change",
    "Configuration",
    "Event",
    "Member",
    "Outcome",
    "Output",
    "PendingSnapshot",
    "Replica",
    "ReplicaConfig",
    "Reply",
    "StateMachine",
    "Status",
]
