"""The simulated disk: what was synced survives every crash, and nothing else is promised."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall.harness.sim.world.disk import DiskFaults, SimDisk
from squall.node.storage.disk import (
    Append,
    Create,
    DiskError,
    Remove,
    Rename,
    Sync,
    SyncDir,
    Truncate,
)


def disk(seed: int = 1, **faults: float) -> SimDisk:
    return SimDisk(Random(seed), DiskFaults(**faults))


DURABLE = (Create("d/f", 8), Append("d/f", 0, b"abcd"), Sync("d/f"), SyncDir("d"))


def test_a_node_reads_what_it_wrote_synced_or_not():
    it = disk()
    it.execute((Create("d/f", 4), Append("d/f", 2, b"xyz")))
    assert it.read("d/f") == b"\0\0xyz"
    assert it.listdir("d") == ["f"]
    assert it.listdir("") == ["d"]
    assert it.listdir("nowhere") == []


@pytest.mark.parametrize("seed", range(20))
def test_what_was_synced_with_its_directory_survives(seed):
    it = disk(seed)
    it.execute((*DURABLE, Append("d/f", 4, b"efgh")))
    it.crash()
    content = it.read("d/f")
    assert content[:4] == b"abcd"
    assert content[4:] in {b"efgh"[:i] + bytes(4 - i) for i in range(5)}


def test_every_fate_of_an_unsynced_write_comes_up():
    fates = set()
    for seed in range(200):
        it = disk(seed)
        it.execute((*DURABLE, Append("d/f", 4, b"ef")))
        it.crash()
        fates.add(it.read("d/f")[4:6])
    assert fates == {b"\0\0", b"e\0", b"ef"}


def test_behind_a_tear_is_what_was_there_before_or_garbage():
    def torn(garbage_p: float) -> list[bytes]:
        faults = DiskFaults(tear_p=1.0, lose_p=0.0, garbage_p=garbage_p)
        found = []
        for seed in range(60):
            disk = SimDisk(Random(seed), faults)
            disk.execute((Create("f", 8), Append("f", 0, b"oldoldol"), Sync("f"), SyncDir("")))
            disk.execute((Append("f", 0, b"NEWNEWNE"),))
            disk.crash()
            found.append(disk.files()["f"])
        return found

    ends = [content.lstrip(b"NEW") for content in torn(0.0)]
    assert all(b"oldoldol".endswith(end) for end in ends)
    assert any(not b"oldoldol".endswith(content.lstrip(b"NEW")) for content in torn(1.0))


def test_a_file_whose_directory_was_not_synced_may_be_gone_and_may_be_there():
    seen = set()
    for seed in range(50):
        it = disk(seed)
        it.execute((Create("d/f", 4), Sync("d/f")))
        it.crash()
        seen.add(tuple(it.listdir("d")))
    assert seen == {(), ("f",)}


def test_a_rename_is_atomic_and_needs_its_directory_synced():
    seen = set()
    for seed in range(50):
        it = disk(seed)
        it.execute((*DURABLE, Rename("d/f", "d/g")))
        assert it.listdir("d") == ["g"]
        it.crash()
        seen.add(tuple(it.listdir("d")))
    assert seen == {("f",), ("g",)}
    it.execute((SyncDir("d"),))
    assert len(it.listdir("d")) == 1


def test_a_removed_file_may_come_back_until_its_directory_is_synced():
    seen = set()
    for seed in range(50):
        it = disk(seed)
        it.execute((*DURABLE, Remove("d/f"), Remove("d/never was")))
        it.crash()
        seen.add(tuple(it.listdir("d")))
    assert seen == {(), ("f",)}


def test_a_batch_in_flight_is_done_up_to_some_point():
    kept = set()
    batch = (Append("d/f", 4, b"e"), Sync("d/f"), Append("d/f", 5, b"f"), Sync("d/f"))
    for seed in range(100):
        it = disk(seed)
        it.execute(DURABLE)
        it.crash(in_flight=batch)
        kept.add(it.read("d/f")[4:6])
    assert kept == {b"\0\0", b"e\0", b"ef"}


def test_truncation_is_volatile_until_synced():
    it = disk()
    it.execute((*DURABLE, Truncate("d/f", 2)))
    assert it.read("d/f") == b"ab"
    it.execute((Sync("d/f"), SyncDir("d")))
    it.crash()
    assert it.read("d/f") == b"ab"


def test_a_failed_sync_stops_the_disk_until_the_node_restarts():
    it = disk()
    it.execute(DURABLE)
    it.fail_next_sync("EIO: input/output error")
    for _ in range(2):
        with pytest.raises(DiskError, match="EIO"):
            it.execute((Append("d/f", 4, b"e"), Sync("d/f")))
    it.crash()
    it.execute((Append("d/f", 4, b"e"), Sync("d/f")))
    assert it.read("d/f")[4:5] == b"e"


def test_a_full_disk_refuses_to_grow_and_not_to_overwrite():
    it = disk(capacity_bytes=10)
    it.execute(DURABLE)
    it.execute((Append("d/f", 0, b"ABCD"), Sync("d/f")))
    with pytest.raises(DiskError, match="ENOSPC"):
        it.execute((Create("d/g", 8),))


def test_rot_flips_one_durable_bit():
    it = disk()
    it.execute(DURABLE)
    it.rot("d/f", 0, 1)
    assert it.read("d/f")[:4] == b"cbcd"


OPS = st.lists(
    st.one_of(
        st.builds(Append, st.just("d/f"), st.integers(0, 12), st.binary(max_size=5)),
        st.just(Sync("d/f")),
        st.builds(Truncate, st.just("d/f"), st.integers(0, 12)),
    ),
    max_size=12,
)


@given(OPS, st.integers(0, 2**32))
def test_without_a_crash_it_is_an_ordinary_file_and_synced_content_is_kept_in_one(ops, seed):
    it, plain = disk(seed), bytearray(8)
    it.execute((Create("d/f", 8), Sync("d/f"), SyncDir("d")))
    for op in (*ops, Sync("d/f")):
        it.execute((op,))
        if isinstance(op, Append):
            plain.extend(bytes(max(0, op.offset - len(plain))))
            plain[op.offset : op.offset + len(op.data)] = op.data
        elif isinstance(op, Truncate):
            plain.extend(bytes(max(0, op.size - len(plain))))
            del plain[op.size :]
    assert it.read("d/f") == plain
    it.crash()
    assert it.read("d/f") == plain
