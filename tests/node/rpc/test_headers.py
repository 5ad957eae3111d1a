"""Header blocks: what is remembered of them is what would be decoded anew."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall.node.rpc import headers
from squall.node.rpc.frames import ProtocolError
from squall.node.rpc.headers import HeadReader

FIXED = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/p"),
    ("content-type", "application/grpc"),
]

names = st.sampled_from(["grpc-timeout", "token", "x"])
values = st.sampled_from(["1S", "2S", "a" * 30, "b" * 30])
requests = st.lists(st.lists(st.tuples(names, values), max_size=3), min_size=1, max_size=30)


@given(requests, st.sampled_from([0, 40, 80, 150, 4096]))
def test_a_block_means_what_the_table_says_at_its_time(
    heads: list[list[tuple[str, str]]], table_bytes: int
) -> None:
    encoder, reader = hpack.Encoder(), HeadReader()
    encoder.header_table_size = table_bytes
    for more in heads:
        head = reader.read(encoder.encode([*FIXED, *more]))
        assert head == ("POST", "/p", "application/grpc", (FIXED[3], *more))


def test_a_block_that_was_seen_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, reader = hpack.Encoder(), HeadReader()
    blocks = [encoder.encode(FIXED) for _ in range(4)]
    assert reader.read(blocks[0]) == reader.read(blocks[1])
    monkeypatch.setattr(hpack.Decoder, "decode", lambda *_: pytest.fail("decoded again"))
    assert reader.read(blocks[2]) is reader.read(blocks[3])


@pytest.mark.parametrize("text", ["", "plain", "50 %", "zwölf", "a\nb", "x" * 300])
def test_a_status_reads_back_as_it_was_meant(text: str) -> None:
    from urllib.parse import unquote

    fields = dict(hpack.Decoder().decode(headers.end(5, text)))
    assert fields["grpc-status"] == "5"
    assert unquote(fields["grpc-message"]) == text
    assert fields["grpc-message"].isascii()


def test_pseudo_headers_come_first_and_once() -> None:
    for fields in ([*FIXED, (":path", "/q")], [("a", "b"), (":path", "/q")]):
        with pytest.raises(ProtocolError):
            HeadReader().read(hpack.Encoder().encode(fields))
