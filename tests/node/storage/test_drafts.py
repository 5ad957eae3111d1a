"""A snapshot in pieces is the snapshot: in its file, and where Raft slices it for a follower."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall.node.mvcc.commands import Compact, LeaseGrant, Put, encode
from squall.node.mvcc.revisions import PIECE_RECORDS
from squall.node.mvcc.store import Store
from squall.node.raft.membership import Configuration, Member
from squall.node.raft.messages import Snapshot
from squall.node.storage import snapshot
from squall.node.storage.disk import DiskError
from squall.node.storage.real import SYNC_EVERY_BYTES, RealDisk
from squall.node.storage.snapshot import State

CONFIGURATION = Configuration((Member(1, "n1", ("http://a:1",)), Member(2)), (7,))
SESSIONS = msgspec.Raw(b"\x91\x01")


@given(
    pieces=st.lists(st.binary(max_size=300), max_size=5),
    index=st.integers(1, 1 << 40),
    cut=st.tuples(st.integers(0, 400), st.integers(0, 400)),
)
def test_a_file_in_pieces_is_the_file(
    pieces: list[bytes], index: int, cut: tuple[int, int]
) -> None:
    data = snapshot.encode_state(State(SESSIONS, b"".join(pieces)))
    taken = Snapshot(index, 3, CONFIGURATION, data)
    at = (index, 3, CONFIGURATION)
    content = b"".join(snapshot.encode_file_in_pieces(at, SESSIONS, pieces))
    assert content == snapshot.encode_file(taken)
    stored = snapshot.StoredState(content, at)
    assert len(stored) == len(data)
    assert stored[cut[0] : cut[1]] == data[cut[0] : cut[1]]
    assert stored[: len(data)] == data


@pytest.mark.parametrize("size", [0, 255, 256, 65_535, 65_536, 200_000])
def test_however_large_it_is(size: int) -> None:
    data = snapshot.encode_state(State(SESSIONS, bytes(size)))
    pieces = snapshot.encode_file_in_pieces((5, 3, CONFIGURATION), SESSIONS, [bytes(size)])
    assert b"".join(pieces) == snapshot.encode_file(Snapshot(5, 3, CONFIGURATION, data))


def filled(versions: int) -> Store:
    store = Store()
    store.apply(1, 1, encode(LeaseGrant(7, 60)))
    for number in range(versions):
        store.apply(number + 2, 1, encode(Put(b"k%d" % (number % 50), b"v%d" % number, 0)))
    return store


@pytest.mark.parametrize("versions", [0, 1, 15, 16, PIECE_RECORDS, 2 * PIECE_RECORDS + 1, 70_000])
def test_a_store_in_pieces_is_the_store(versions: int) -> None:
    store = filled(versions)
    assert b"".join(store.pieces()) == store.snapshot()


def test_pieces_are_of_the_moment_they_were_asked_for() -> None:
    store = filled(3 * PIECE_RECORDS)
    before = store.snapshot()
    pieces = store.pieces()
    made = [next(pieces), next(pieces)]
    store.apply(5000, 1, encode(Put(b"later", b"", 0)))
    store.apply(5001, 1, encode(Compact(store.revision)))
    assert b"".join((*made, *pieces)) == before


def test_a_file_written_apart_is_whole_and_mapped(tmp_path: Path) -> None:
    disk = RealDisk(tmp_path)
    pieces = [b"a" * 100, b"b" * (SYNC_EVERY_BYTES + 5), b"", b"c"]
    disk.write_file("f", pieces)
    assert disk.read("f") == b"".join(pieces)
    mapped = disk.map_file("f")
    disk.write_file("g", [b"other"])
    disk.execute(())
    assert mapped[99:101] == b"ab"
    with pytest.raises(DiskError, match="cannot write"):
        disk.write_file("no/such/folder", pieces)
    with pytest.raises(DiskError):
        disk.execute(())
