"""bbolt files: what is written is read back, and nothing in a damaged file is believed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squall.node.bootstrap.bolt.pages import PAGE_BYTES, DamagedFileError
from squall.node.bootstrap.bolt.reading import Database
from squall.node.bootstrap.bolt.writing import Bucket, pages, plan

contents = st.dictionaries(
    st.binary(min_size=1, max_size=40), st.binary(max_size=3 * PAGE_BYTES), max_size=40
)


def written(buckets: dict[bytes, dict[bytes, bytes]]) -> bytes:
    planned = plan([Bucket(name, sorted(items.items())) for name, items in buckets.items()])
    data = b"".join(pages(planned))
    assert len(data) == planned.size_bytes
    return data


def read(data: bytes) -> dict[bytes, dict[bytes, bytes]]:
    database = Database(data)
    return {name: dict(database.items(name)) for name in database.names}


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=20), contents, min_size=1, max_size=6))
def test_what_is_written_is_read_back(buckets: dict[bytes, dict[bytes, bytes]]) -> None:
    assert read(written(buckets)) == buckets


def test_a_tree_of_several_levels_is_read_back_in_order() -> None:
    items = {b"%060d" % number: b"x" * (number % 200) for number in range(30_000)}
    data = written({b"key": items, b"empty": {}})
    found = list(Database(data).items(b"key"))
    assert found == sorted(items.items())
    assert list(Database(data).items(b"empty")) == []
    assert list(Database(data).items(b"no such bucket")) == []


def test_pieces_come_in_whole_pages_and_none_is_much_larger_than_an_item() -> None:
    items = [(b"%08d" % number, b"v" * 1000) for number in range(1000)]
    for piece in pages(plan([Bucket(b"key", items)])):
        assert len(piece) == PAGE_BYTES


@pytest.fixture(scope="module")
def sound() -> bytes:
    items = {b"%04d" % number: b"value" * 30 for number in range(200)}
    return written({b"key": items, b"one": {b"big": b"x" * 9000}, b"none": {}})


def test_the_older_meta_page_serves_when_the_newer_is_torn(sound: bytes) -> None:
    for page in (0, 1):
        torn = bytearray(sound)
        torn[page * PAGE_BYTES + 40] ^= 0xFF
        assert read(bytes(torn)) == read(sound)


@pytest.mark.parametrize("size", [0, 1, 79, 4096, 8192, 12_288, -PAGE_BYTES, -1])
def test_a_file_that_was_cut_is_refused(sound: bytes, size: int) -> None:
    with pytest.raises(DamagedFileError):
        read(sound[:size])


def test_no_single_damaged_byte_of_a_header_makes_it_loop_or_crash(sound: bytes) -> None:
    refused = 0
    page_starts = range(0, len(sound), PAGE_BYTES)
    for start, offset, value in itertools.product(page_starts, range(48), (0x00, 0x03, 0xFF)):
        damaged = bytearray(sound)
        damaged[start + offset] = value
        try:
            read(bytes(damaged))
        except DamagedFileError:
            refused += 1
    assert refused > 100


def test_a_tree_that_contains_itself_is_refused() -> None:
    items = {b"%04d" % number: b"v" * 900 for number in range(40)}
    data = bytearray(written({b"key": items}))
    branch = next(
        start
        for start in range(0, len(data), PAGE_BYTES)
        if data[start + 8 : start + 10] == b"\1\0"
    )
    data[branch + 16 + 8 : branch + 16 + 16] = (branch // PAGE_BYTES).to_bytes(8, "little")
    with pytest.raises(DamagedFileError, match="does not end"):
        read(bytes(data))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=20_000))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedFileError):
        Database(data)
