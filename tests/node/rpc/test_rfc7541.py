"""RFC 7541 (HPACK) for a decoder that meets a hostile encoder, by the names of its sections."""

from __future__ import annotations

import time

import hpack
import pytest

from squall.node.rpc import headers
from squall.node.rpc.frames import COMPRESSION_ERROR, ProtocolError
from squall.node.rpc.headers import HeadReader

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/p")]


def refused(block: bytes) -> str:
    with pytest.raises(ProtocolError) as error:
        HeadReader().read(block)
    assert error.value.code == COMPRESSION_ERROR
    return str(error.value)


def test_4_2_maximum_table_size_an_update_beyond_the_setting_is_refused() -> None:
    refused(b"\x3f\xe1\xff\x03" + hpack.Encoder().encode(REQUEST))


def test_4_2_maximum_table_size_an_update_comes_first_in_its_block() -> None:
    refused(hpack.Encoder().encode(REQUEST) + b"\x20")


def test_4_3_entry_eviction_when_the_table_is_made_smaller_indexes_change() -> None:
    """A cached block must not be answered from a table that is gone."""
    encoder, reader = hpack.Encoder(), HeadReader()
    whole = [*REQUEST, ("token", "secret")]
    for _ in range(3):
        block = encoder.encode(whole)
        reader.read(block)
    assert reader.read(b"\x20" + hpack.Encoder().encode(REQUEST)).metadata == ()
    assert refused_by(reader, block)


def refused_by(reader: HeadReader, block: bytes) -> bool:
    try:
        reader.read(block)
    except ProtocolError as error:
        return error.code == COMPRESSION_ERROR
    return False


def test_4_4_entries_larger_than_the_table_empty_it() -> None:
    encoder, reader = hpack.Encoder(), HeadReader()
    long = ("token", "a" * 5000)
    assert reader.read(encoder.encode([*REQUEST, long])).metadata == (long,)
    assert reader.read(encoder.encode([*REQUEST, ("token", "b")])).metadata == (("token", "b"),)


@pytest.mark.parametrize("first", [0x7F, 0xFF, 0x3F, 0x0F])
def test_5_1_integers_of_any_length_are_refused_at_once(first: int) -> None:
    """Decoding one costs no more than reading it, and fits no table or string anyway."""
    block = bytes([first]) + b"\xff" * (headers.BLOCK_BYTES_MAX - 2) + b"\0"
    began_s = time.process_time()
    refused(block)
    assert time.process_time() - began_s < 0.1


def test_5_2_strings_that_end_behind_the_block() -> None:
    refused(b"\x00\x05abc")


@pytest.mark.parametrize("code", [b"\x00\x81\x00\x01x", b"\x00\x84\xff\xff\xff\xff\x01x"])
def test_5_2_strings_whose_huffman_padding_is_wrong_or_holds_eos(code: bytes) -> None:
    refused(code)


@pytest.mark.parametrize("index", [b"\x80", b"\xbe", b"\xff\x80\x7f"])
def test_6_1_indexed_fields_that_no_table_has(index: bytes) -> None:
    refused(index)


def test_7_3_and_10_5_a_list_is_bounded_by_what_it_decodes_to() -> None:
    """One byte a field: an entry of 4,000 bytes, sixteen times a kilobyte."""
    encoder, reader = hpack.Encoder(), HeadReader()
    field = ("token", "a" * 3900)
    reader.read(encoder.encode([*REQUEST, field]))
    bomb = encoder.encode([*REQUEST, *[field] * 1000])
    assert len(bomb) < 1100
    assert refused_by(reader, bomb)
