"""One batch holds everything that came up, in an order in which any part of it is consistent."""

from __future__ import annotations

import msgspec
import pytest

from squall.node.raft.membership import Configuration, Member
from squall.node.raft.messages import NORMAL, Entry, HardState, Snapshot
from squall.node.raft.raft import Ready
from squall.node.replica import ReplicaConfig
from squall.node.replica.persistence import Persistence
from squall.node.storage import snapshot
from squall.node.storage.snapshot import State
from tests.node.storage.memory_disk import MemoryDisk

MEMBERS = (Member(1, "n1"), Member(2, "n2"), Member(3, "n3"))


def started(disk: MemoryDisk, segment_bytes: int = 4096) -> Persistence:
    config = ReplicaConfig(
        cluster_id=7, member_id=1, initial_members=MEMBERS, segment_bytes=segment_bytes
    )
    return Persistence(config, disk)


def entry(index: int, term: int) -> Entry:
    return Entry(term, index, NORMAL, b"entry %d of term %d" % (index, term))


def taken_at(index: int, term: int) -> Snapshot:
    data = snapshot.encode_state(State(msgspec.Raw(b"\x90"), b"state at %d" % index))
    return Snapshot(index, term, Configuration(MEMBERS), data)


def with_log(segment_bytes: int) -> tuple[MemoryDisk, Persistence]:
    """A member with a vote in term 2 and three entries behind its bootstrap entry."""
    disk = MemoryDisk()
    persistence = started(disk, segment_bytes)
    ready = Ready([], [], True, None, [entry(k, 2) for k in (2, 3, 4)], HardState(2, 3, 1))
    disk.execute(persistence.batch(ready).ops)
    persistence.persisted(1)
    return disk, persistence


@pytest.mark.parametrize("segment_bytes", [4096, 64], ids=["same-segment", "new-segment"])
def test_any_part_of_a_batch_with_a_snapshot_is_a_consistent_state(segment_bytes: int) -> None:
    """The batch holds a received snapshot, the entries behind it, and term and vote.

    A crash at any point leaves the old state or the new one; at the end all of the new one.
    """
    received, following = taken_at(20, 5), [entry(21, 5), entry(22, 5)]
    ready = Ready([], [], True, received, following, HardState(5, 2, 20))
    total = len(with_log(segment_bytes)[1].batch(ready).ops)
    for done in range(total + 1):
        disk, persistence = with_log(segment_bytes)
        for operation in persistence.batch(ready).ops[:done]:
            disk.do(operation)
        disk.crash()
        found = started(disk, segment_bytes).found
        log, state = found.log, found.hard_state
        assert found.snapshot in (None, received)
        assert log.base_index == (20 if found.snapshot else 0)
        assert state.term >= log.last_term
        assert log.base_index <= state.commit <= log.last_index
        if found.snapshot is None:
            assert (log.last_index, state.term, state.vote) == (4, 2, 3)
        elif log.entries:
            assert (log.entries, state) == (following, HardState(5, 2, 20))
        if done == total:
            assert log.entries == following


def test_an_own_snapshot_and_entries_share_a_batch() -> None:
    """Whatever part of it survives, no entry and no vote that was durable before is lost."""
    own = taken_at(3, 2)
    ready = Ready([], [], True, None, [entry(5, 2)], HardState(2, 3, 4))
    for done in range(100):
        disk, persistence = with_log(4096)
        persistence.add_own(own)
        operations = persistence.batch(ready).ops
        for operation in operations[:done]:
            disk.do(operation)
        disk.crash()
        found = started(disk).found
        assert found.snapshot in (None, own)
        assert found.log.last_index in (4, 5)
        assert (found.hard_state.term, found.hard_state.vote) == (2, 3)
        if done >= len(operations):
            assert found.snapshot == own
            assert found.log.last_index == 5
            return
    raise AssertionError("no batch is that long")


def test_what_comes_up_during_a_batch_waits_for_the_next() -> None:
    """At most one batch is outstanding."""
    _, persistence = with_log(4096)
    persistence.batch(Ready([], [], True, None, [entry(5, 2)], HardState(2, 3, 4)))
    with pytest.raises(AssertionError):
        persistence.batch(Ready([], []))
