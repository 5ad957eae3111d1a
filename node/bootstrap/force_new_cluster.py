"""--force-new-cluster: turns one member of a lost cluster into a cluster of its own.

One entry is appended to its log as if it were committed: a configuration with this member alone,
all others removed. All entries before it count as committed, too. etcd truncates the entries that
the member does not know to be committed; but they may have been acknowledged, and no other member
is left to decide.
"""

from __future__ import annotations

import msgspec

from squall.node.bootstrap.identity import Identity
from squall.node.raft.membership import (
    MAX_REMOVED,
    Configuration,
    ConfigurationEntry,
    Member,
    decode_entry,
    encode_entry,
)
from squall.node.raft.messages import CONFIGURATION, Entry, HardState
from squall.node.replica import ReplicaConfig
from squall.node.storage import recovery
from squall.node.storage.disk import Disk


def force_single_member(disk: Disk, who: Identity, peer_urls: tuple[str, ...]) -> tuple[int, ...]:
    """Make this member the only one, durably; returns the ids of the removed members.

    `peer_urls` are its own, should its cluster have removed it.
    """
    bounds = ReplicaConfig(cluster_id=who.cluster_id, member_id=who.member_id)
    found = recovery.recover(disk, bounds.cluster_id, bounds.member_id, bounds.segment_bytes, 0)
    last = _newest_configuration(found)
    me = last.find(who.member_id) or Member(who.member_id, "", peer_urls)
    others = tuple(member.id for member in last.members if member.id != me.id)
    gone = tuple(one for one in (*last.removed, *others) if one != me.id)[-MAX_REMOVED:]
    alone = Configuration((msgspec.structs.replace(me, is_learner=False),), gone)
    index = found.log.last_index + 1
    # A new term: no other member can have an entry of this term at this index.
    term = found.hard_state.term + 1
    data = encode_entry(ConfigurationEntry(0, 0, 0, alone))
    entry = Entry(term, index, CONFIGURATION, data)
    taken = found.snapshot
    mark = (taken.index, taken.term) if found.unmarked and taken is not None else None
    promise = HardState(term, who.member_id, index)
    disk.execute(tuple(found.wal.save([entry], promise, mark, index)))
    return others


def _newest_configuration(found: recovery.Recovered) -> Configuration:
    for entry in reversed(found.log.entries):
        if entry.kind == CONFIGURATION:
            return decode_entry(entry.data).configuration
    return found.snapshot.configuration if found.snapshot is not None else Configuration()
