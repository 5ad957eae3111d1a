"""What was promised is found again; what was not may be cut; what is damaged is refused."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall.node.raft.membership import Configuration, Member
from squall.node.raft.messages import NORMAL, Entry, HardState, Snapshot
from squall.node.storage import frames, recovery, snapshot, wal
from squall.node.storage.disk import Append, Create, Sync, Truncate
from tests.node.storage.memory_disk import MemoryDisk

CLUSTER, MEMBER = 7, 1


class Writer:
    """A WAL on a disk in memory, and what it ought to hold."""

    def __init__(self, segment_bytes: int = 4096) -> None:
        self.disk = MemoryDisk()
        self.segment_bytes = segment_bytes
        self.wal = wal.Wal(CLUSTER, MEMBER, segment_bytes)
        self.entries: list[Entry] = []
        self.state = HardState()

    def save(self, entries: list[Entry], state: HardState) -> None:
        for entry in entries:
            del self.entries[entry.index - 1 :]
            self.entries.append(entry)
        self.state = state
        self.disk.execute(tuple(self.wal.save(entries, state, None, len(self.entries))))

    def found(self) -> recovery.Recovered:
        return recovery.recover(self.disk, CLUSTER, MEMBER, self.segment_bytes, 0)

    def last_segment(self) -> str:
        return f"{wal.DIRECTORY}/{self.disk.listdir(wal.DIRECTORY)[-1]}"


def entry(index: int, term: int = 1, size: int = 10) -> Entry:
    return Entry(term, index, NORMAL, bytes([index % 251]) * size)


def filled(count: int = 10, segment_bytes: int = 4096) -> Writer:
    writer = Writer(segment_bytes)
    for index in range(1, count + 1):
        writer.save([entry(index)], HardState(1, 2, index - 1))
    return writer


def test_what_was_saved_is_found_again() -> None:
    """Entries and the last hard state survive a crash."""
    writer = filled()
    writer.disk.crash()
    found = writer.found()
    assert found.log.entries == writer.entries
    assert found.hard_state == HardState(1, 2, 9)
    assert found.log.durable == found.log.last_index == 10


def test_a_new_segment_is_durable_with_its_name() -> None:
    """Segments roll when they are full, and a crash right after the roll loses nothing."""
    writer = filled(40, segment_bytes=256)
    assert len(writer.disk.listdir(wal.DIRECTORY)) > 5
    writer.disk.crash()
    assert writer.found().log.entries == writer.entries


def test_an_entry_larger_than_a_segment_gets_one_of_its_own_size() -> None:
    """No entry is too large for the log."""
    writer = Writer(segment_bytes=128)
    writer.save([entry(1), entry(2, size=5000), entry(3)], HardState(1, 0, 0))
    writer.disk.crash()
    assert writer.found().log.entries == writer.entries


def test_an_overwritten_tail_is_replaced() -> None:
    """An entry replaces everything from its index on."""
    writer = filled(5)
    writer.state = HardState(1, 2, 3)
    writer = Writer()
    writer.save([entry(index) for index in range(1, 6)], HardState(1, 2, 2))
    writer.save([entry(3, term=2)], HardState(2, 3, 2))
    found = writer.found()
    assert [(each.index, each.term) for each in found.log.entries] == [(1, 1), (2, 1), (3, 2)]


@given(cut=st.integers(min_value=1, max_value=200), noise=st.binary(max_size=8))
def test_a_torn_tail_is_cut_at_the_last_whole_record(cut: int, noise: bytes) -> None:
    """However much of the last batch reached the disk, what was durable before is found."""
    writer = filled(5)
    path = writer.last_segment()
    before = writer.disk.names[path].content
    end = len(bytes(before).rstrip(b"\0"))
    end += -end % 8
    record = b"".join(frames.encode(frames.ENTRY, each, 12345)[0] for each in [entry(6, size=300)])
    torn = record[: min(cut, len(record) - 9)] + noise
    before[end : end + len(torn)] = torn
    found = writer.found()
    assert found.log.entries == writer.entries
    # Written on and read again: the remains of the torn record are gone.
    writer.wal = found.wal
    writer.save([entry(6), entry(7)], HardState(1, 2, 5))
    writer.disk.crash()
    assert writer.found().log.entries == writer.entries


def test_every_prefix_of_a_batch_is_a_consistent_state() -> None:
    """A crash may keep any prefix of the last write: recovery gives a prefix of the entries."""
    for length in range(0, 400, 7):
        writer = filled(3)
        path = writer.last_segment()
        operations = writer.wal.save(
            [entry(index, term=2) for index in range(4, 9)], HardState(2, 0, 3), None, 8
        )
        appended = operations[0]
        content = writer.disk.names[path].content
        part = appended.data[:length]  # type: ignore[union-attr]
        content[appended.offset : appended.offset + len(part)] = part  # type: ignore[union-attr]
        found = writer.found()
        assert found.log.last_index >= 3
        # A term is never younger than the entries: no vote can have been given in it.
        assert found.hard_state.term >= found.log.last_term
        assert found.hard_state.vote == (2 if found.hard_state.term == 1 else 0)
        assert found.hard_state.commit <= found.log.last_index


@given(where=st.floats(min_value=0, max_value=1), bit=st.integers(min_value=0, max_value=7))
def test_a_flipped_bit_in_the_middle_is_refused(where: float, bit: int) -> None:
    """Damage before the last record is never taken for a torn tail."""
    writer = filled(10)
    content = writer.disk.names[writer.last_segment()].content
    offset = crc = 0
    starts = []
    while (record := frames.body_at(bytes(content), offset, crc)) is not None:
        starts.append(offset)
        _, crc, offset = record
    last = starts[-1]
    padding = {
        start + 8 + frames.frame_at(bytes(content), start)[0] + k  # type: ignore[index]
        for start in starts
        for k in range(8)
    }
    position = int(where * (last - 1))
    while position in padding and position not in starts:
        position -= 1
    content[position] ^= 1 << bit
    with pytest.raises(recovery.DamagedError, match="remove this member"):
        writer.found()


def test_damage_in_an_earlier_segment_is_refused() -> None:
    """Only the last segment can have a torn tail."""
    writer = filled(40, segment_bytes=256)
    first = f"{wal.DIRECTORY}/{writer.disk.listdir(wal.DIRECTORY)[0]}"
    content = writer.disk.names[first].content
    end = len(bytes(content).rstrip(b"\0"))
    content[end - 1] ^= 255
    with pytest.raises(recovery.DamagedError, match=first.rsplit("/", maxsplit=1)[-1]):
        writer.found()


def test_two_segments_of_one_number_are_refused_as_what_they_are() -> None:
    """None is missing: one is not of this log."""
    writer = filled(40, segment_bytes=256)
    name = writer.disk.listdir(wal.DIRECTORY)[2]
    number = name.partition("-")[0]
    copy = f"{wal.DIRECTORY}/{number}-{'f' * 16}.wal"
    writer.disk.names[copy] = writer.disk.names[f"{wal.DIRECTORY}/{name}"]
    with pytest.raises(recovery.DamagedError, match="both have the sequence number 2"):
        writer.found()


def test_an_entry_that_was_never_written_is_not_told_as_a_missing_segment() -> None:
    """Every segment is there; what the log lacks is an entry."""
    writer = filled(3)
    writer.save([entry(4)], HardState(1, 2, 3))
    writer.disk.execute(tuple(writer.wal.save([entry(6)], None, None, 6)))
    with pytest.raises(recovery.DamagedError) as refusal:
        writer.found()
    assert "entry 6 does not follow the log, which holds 1 to 4, although no segment" in str(
        refusal.value
    )
    assert "a segment is missing" not in str(refusal.value)


def test_a_missing_segment_is_refused() -> None:
    """A gap in the sequence numbers is damage."""
    writer = filled(40, segment_bytes=256)
    del writer.disk.names[f"{wal.DIRECTORY}/{writer.disk.listdir(wal.DIRECTORY)[2]}"]
    with pytest.raises(recovery.DamagedError, match="no segment with sequence number 2"):
        writer.found()


def test_another_members_directory_is_refused() -> None:
    """Nobody takes on another's promises by a wrong --data-dir."""
    writer = filled()
    with pytest.raises(recovery.DamagedError, match="--data-dir"):
        recovery.recover(writer.disk, CLUSTER, MEMBER + 1, 4096, 0)


def test_what_was_read_is_synced_before_anything_rests_on_it() -> None:
    """A record that survived in a cache alone becomes durable at start-up."""
    writer = filled(3)
    operations = writer.wal.save([entry(4)], HardState(1, 2, 3), None, 4)
    writer.disk.do(operations[0])  # written, and the process dies before the sync
    assert writer.found().log.last_index == 4
    writer.disk.crash()
    assert writer.found().log.last_index == 4


def _snapshot(index: int, term: int = 1) -> Snapshot:
    state = snapshot.State(snapshot.msgspec.Raw(b"\x90"), b"state %d" % index)
    configuration = Configuration((Member(1, "n1"),))
    return Snapshot(index, term, configuration, snapshot.encode_state(state))


def test_a_snapshot_is_there_whole_or_not_at_all() -> None:
    """A crash between any two of its operations leaves the older state or the newer one."""
    taken = _snapshot(5)
    operations = snapshot.save(taken)
    for done in range(len(operations) + 1):
        writer = filled(10)
        for operation in operations[:done]:
            writer.disk.do(operation)
        writer.disk.crash()
        found = writer.found()
        assert found.snapshot is None or found.snapshot == taken
        assert found.log.last_index == 10
        assert done < len(operations) or found.snapshot == taken


def test_a_snapshot_written_in_the_background_is_there_whole_or_not_at_all() -> None:
    """Its content is durable under a temporary name; publishing it is a rename that is synced."""
    taken = _snapshot(5)
    content = snapshot.encode_file(taken)
    path = snapshot.path_of(taken.term, taken.index)
    operations = snapshot.publish(taken.term, taken.index)
    for done in range(len(operations) + 1):
        writer = filled(10)
        temporary = path + snapshot.TEMPORARY
        writer.disk.execute((Create(temporary), Append(temporary, 0, content), Sync(temporary)))
        for operation in operations[:done]:
            writer.disk.do(operation)
        writer.disk.crash()
        found = writer.found()
        assert found.snapshot == (taken if done == len(operations) else None)
        assert found.log.last_index == 10


def test_a_damaged_snapshot_is_passed_over_where_the_log_suffices() -> None:
    """An older snapshot and the entries behind it give the same state."""
    writer = filled(10)
    for index in (3, 7):
        writer.disk.execute(tuple(snapshot.save(_snapshot(index))))
    writer.disk.names[snapshot.path_of(1, 7)].content[20] ^= 1
    found = writer.found()
    assert found.snapshot is not None
    assert found.snapshot.index == 3


def test_a_damaged_snapshot_is_refused_where_the_log_does_not_suffice() -> None:
    """What lies between is missing: no state may be made up."""
    writer = filled(10)
    taken = _snapshot(20)
    writer.disk.execute(tuple(snapshot.save(taken)))
    writer.disk.execute(tuple(writer.wal.save([entry(21)], HardState(1, 2, 20), (20, 1), 21)))
    assert writer.found().log.base_index == 20
    writer.disk.names[snapshot.path_of(1, 20)].content[20] ^= 1
    with pytest.raises(recovery.DamagedError, match="missing or damaged"):
        writer.found()


def test_an_installed_snapshot_replaces_a_shorter_log() -> None:
    """The log goes on behind the snapshot, before and after the WAL has heard of it."""
    writer = filled(10)
    writer.disk.execute(tuple(snapshot.save(_snapshot(20, term=3))))
    found = writer.found()
    assert found.unmarked
    assert (found.log.base_index, found.log.last_index, found.hard_state.term) == (20, 20, 3)
    writer.disk.execute(
        tuple(found.wal.save([entry(21, term=3)], HardState(3, 0, 20), (20, 3), 21))
    )
    found = writer.found()
    assert not found.unmarked
    assert (found.log.base_index, found.log.last_index) == (20, 21)


def test_purging_keeps_what_is_needed() -> None:
    """Old segments go; the log behind the snapshot stays whole."""
    writer = filled(60, segment_bytes=256)
    taken = _snapshot(50)
    writer.wal._max_wals = 2
    writer.disk.execute(tuple(snapshot.save(taken)))
    writer.disk.execute(tuple(writer.wal.save([], HardState(1, 2, 59), (50, 1), 60)))
    before = len(writer.disk.listdir(wal.DIRECTORY))
    writer.disk.execute(tuple(writer.wal.purge(45)))
    assert len(writer.disk.listdir(wal.DIRECTORY)) < before
    found = writer.found()
    assert found.log.base_index <= 45
    assert found.log.last_index == 60


def test_random_crashes_lose_nothing_that_was_synced() -> None:
    """Many boots, torn writes each time: the synced prefix is always there."""
    rng = Random(1)
    writer = Writer(segment_bytes=512)
    synced = 0
    for boot in range(1, 60):
        for _ in range(rng.randrange(6)):
            index = len(writer.entries) + 1
            writer.save([entry(index, term=boot)], HardState(boot, 0, synced))
            synced = index
        operations = writer.wal.save(
            [entry(synced + 1, term=boot)], HardState(boot, 0, synced), None, synced + 1
        )
        for operation in operations[: rng.randrange(len(operations))]:
            writer.disk.do(operation)
        writer.disk.crash(rng)
        found = writer.found()
        assert found.log.entries[:synced] == writer.entries[:synced]
        writer.entries = list(found.log.entries)
        synced = len(writer.entries)
        writer.wal = found.wal
        assert not any(isinstance(each, Truncate) for each in writer.wal.save([], None, None, 0))
