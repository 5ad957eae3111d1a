"""RFC 9113 for a server, by the names of its sections; flow control has a file of its own.

Like h2spec, each test sends what a section forbids, or allows, and looks at the answer. Where the
RFC asks for a stream error, this server ends the connection, which section 5.4 permits.
"""

from __future__ import annotations

import asyncio
import struct

import pytest

from squall.node.rpc import Limits, headers
from squall.node.rpc import frames as f
from tests.node.rpc.talk import HEADERS, Talk

OPEN = f.END_HEADERS
WHOLE = f.END_HEADERS | f.END_STREAM


@pytest.fixture
async def talk() -> Talk:
    talk = Talk()
    talk.greet()
    await talk.hear()
    return talk


async def refused(talk: Talk, *sent: bytes) -> tuple[int, str]:
    """Send frames that end the connection; returns the code and the text of the GOAWAY."""
    talk.say(*sent)
    lines = await talk.hear()
    assert talk.wire.closed, lines
    assert lines[-1].startswith("GOAWAY"), lines
    _, last, code, *text = lines[-1].split(" ")
    assert last.startswith("last=")
    return int(code.removeprefix("code=")), " ".join(text)


async def answers(talk: Talk, stream: int) -> bool:
    """Return whether the connection still serves calls."""
    talk.call(stream, "/echo")
    lines = await talk.hear()
    return any(line == f"HEADERS {stream} grpc-status=0 end" for line in lines)


def request(talk: Talk, stream: int, *fields: tuple[str, str], flags: int = WHOLE) -> bytes:
    return f.frame(f.HEADERS, flags, stream, talk.encoder.encode(list(fields)))


# Section 3.4, HTTP/2 Connection Preface


async def test_3_4_preface_one_that_differs_is_refused() -> None:
    talk = Talk()
    code, text = await refused(talk, f.PREFACE[:-1] + b"!")
    assert (code, text) == (f.PROTOCOL_ERROR, "this is not HTTP/2")


@pytest.mark.parametrize("first", [f.window_update(0, 1), f.frame(f.PING, 0, 0, bytes(8))])
async def test_3_4_preface_the_first_frame_must_be_settings(first: bytes) -> None:
    talk = Talk()
    code, text = await refused(talk, f.PREFACE, first)
    assert (code, text) == (f.PROTOCOL_ERROR, "SETTINGS must come first")


async def test_3_4_preface_the_servers_begins_with_settings() -> None:
    talk = Talk()
    talk.greet()
    assert (await talk.hear())[0].startswith("SETTINGS 0")


# Section 4.1, Frame Format


async def test_4_1_frame_format_an_unknown_type_is_ignored(talk: Talk) -> None:
    talk.say(f.frame(0xFA, 0xFF, 9, b"whatever"))
    assert await talk.hear() == []
    assert await answers(talk, 1)


async def test_4_1_frame_format_undefined_flags_are_ignored(talk: Talk) -> None:
    talk.say(f.frame(f.PING, 0x16, 0, bytes(8)))
    assert await talk.hear() == ["PING 0"]


async def test_4_1_frame_format_the_reserved_bit_of_a_stream_is_ignored(talk: Talk) -> None:
    head = talk.head(1, "/echo")
    talk.say(head[:5] + bytes([head[5] | 0x80]) + head[6:], talk.message(1, b"x"))
    assert any("grpc-status=0" in line for line in await talk.hear())


# Section 4.2, Frame Size


async def test_4_2_frame_size_the_largest_is_accepted(talk: Talk) -> None:
    talk.say(talk.head(1, "/wait"), f.frame(f.DATA, 0, 1, b"\0\0\0\0\0" + bytes(f.FRAME_BYTES - 5)))
    assert not talk.wire.closed


@pytest.mark.parametrize("kind", [f.DATA, f.HEADERS, f.SETTINGS, 0xFA])
async def test_4_2_frame_size_one_byte_more_is_refused_by_its_header(talk: Talk, kind: int) -> None:
    """Nothing of the payload is waited for, or kept."""
    length = (f.FRAME_BYTES + 1).to_bytes(3)
    code, _ = await refused(talk, length + bytes([kind, 0]) + bytes(4))
    assert code == f.FRAME_SIZE_ERROR


@pytest.mark.parametrize(
    "frame",
    [
        f.frame(f.SETTINGS, 0, 0, bytes(5)),
        f.frame(f.SETTINGS, f.ACK, 0, bytes(6)),
        f.frame(f.PING, 0, 0, bytes(7)),
        f.frame(f.PING, f.ACK, 0, bytes(9)),
        f.frame(f.WINDOW_UPDATE, 0, 0, bytes(3)),
        f.frame(f.WINDOW_UPDATE, 0, 0, bytes(5)),
        f.frame(f.RST_STREAM, 0, 1, bytes(3)),
        f.frame(f.RST_STREAM, 0, 1, bytes(5)),
        f.frame(f.PRIORITY, 0, 1, bytes(4)),
        f.frame(f.GOAWAY, 0, 0, bytes(7)),
    ],
)
async def test_4_2_frame_size_a_payload_of_the_wrong_length(talk: Talk, frame: bytes) -> None:
    talk.say(talk.head(1, "/wait"))
    code, _ = await refused(talk, frame)
    assert code == f.FRAME_SIZE_ERROR


# Section 4.3, Field Section Compression and Decompression


async def test_4_3_compression_state_is_kept_though_the_stream_is_refused() -> None:
    """A block of a refused stream changes the dynamic table as any other does."""
    talk = Talk(Limits(max_streams=1))
    talk.greet()
    talk.say(talk.head(1, "/wait"), talk.head(3, "/echo", OPEN, ("token", "new")))
    await talk.hear()
    talk.say(f.reset(1, 8))
    await talk.hear()
    talk.say(talk.head(5, "/echo", OPEN, ("token", "new")), talk.message(5, b"x"))
    assert any("grpc-status=0" in line for line in await talk.hear())


async def test_4_3_compression_a_block_that_cannot_be_decoded(talk: Talk) -> None:
    code, text = await refused(talk, f.frame(f.HEADERS, WHOLE, 1, b"\x80"))
    assert code == f.COMPRESSION_ERROR
    assert text.startswith("headers cannot be decoded")


# Section 5.1, Stream States


@pytest.mark.parametrize(
    "frame",
    [f.frame(f.DATA, 0, 5, b""), f.reset(5, 8), f.window_update(5, 1)],
    ids=["DATA", "RST_STREAM", "WINDOW_UPDATE"],
)
async def test_5_1_stream_states_idle(talk: Talk, frame: bytes) -> None:
    talk.say(talk.head(1, "/wait"))
    code, text = await refused(talk, frame)
    assert (code, text) == (f.PROTOCOL_ERROR, "stream 5 was never opened")


async def test_5_1_stream_states_idle_takes_priority(talk: Talk) -> None:
    talk.say(f.frame(f.PRIORITY, 0, 7, bytes(5)))
    assert await answers(talk, 1)


async def test_5_1_stream_states_half_closed_remote_takes_no_data(talk: Talk) -> None:
    talk.call(1, "/wait")
    code, _ = await refused(talk, f.frame(f.DATA, 0, 1, b"x"))
    assert code == f.STREAM_CLOSED


async def test_5_1_stream_states_half_closed_remote_takes_no_headers(talk: Talk) -> None:
    talk.call(1, "/wait")
    code, _ = await refused(talk, request(talk, 1, ("x-trailer", "1")))
    assert code == f.STREAM_CLOSED


async def test_5_1_stream_states_half_closed_remote_takes_windows_and_resets(talk: Talk) -> None:
    talk.call(1, "/wait")
    await talk.hear()
    talk.say(f.window_update(1, 10), f.reset(1, 8))
    assert await answers(talk, 3)
    assert talk.cancelled == [1]


@pytest.mark.parametrize(
    "late",
    [f.frame(f.DATA, f.END_STREAM, 1, b"x"), f.reset(1, 8), f.window_update(1, 1)],
    ids=["DATA", "RST_STREAM", "WINDOW_UPDATE"],
)
async def test_5_1_stream_states_closed_ignores_what_was_under_way(talk: Talk, late: bytes) -> None:
    talk.say(talk.head(1, "/refuse"), talk.message(1, b"x"))
    await talk.hear()
    talk.say(late)
    assert await answers(talk, 3)


# Section 5.1.1, Stream Identifiers


@pytest.mark.parametrize("stream", [0, 2])
async def test_5_1_1_stream_identifiers_a_clients_are_odd(talk: Talk, stream: int) -> None:
    code, _ = await refused(talk, talk.head(stream, "/echo"))
    assert code == f.PROTOCOL_ERROR


async def test_5_1_1_stream_identifiers_a_lower_one_opens_no_stream(talk: Talk) -> None:
    talk.call(5, "/echo")
    await talk.hear()
    talk.say(talk.head(3, "/echo"))
    talk.say(talk.message(3, b"x"))
    assert await talk.hear() == []


# Section 5.1.2, Stream Concurrency


async def test_5_1_2_stream_concurrency_the_limit_is_announced_and_kept() -> None:
    talk = Talk(Limits(max_streams=2))
    talk.greet()
    for stream in (1, 3, 5):
        talk.say(talk.head(stream, "/wait"))
    assert (await talk.hear())[-1] == f"RST_STREAM 5 {f.REFUSED_STREAM}"
    talk.say(f.reset(1, 8))
    await talk.hear()
    assert await answers(talk, 7)


async def test_5_1_2_stream_concurrency_resets_make_no_room_for_more_work() -> None:
    """Of streams that are opened and reset at once, only so many handlers run (CVE-2023-44487)."""
    talk = Talk(Limits(max_streams=4))
    talk.greet()
    for stream in range(1, 201, 2):
        talk.say(talk.head(stream, "/stream"), f.reset(stream, 8))
    assert talk.connection._serving == 4
    lines = await talk.hear()
    assert sum(line.startswith("RST_STREAM") for line in lines) == 96
    assert talk.connection._serving == 0
    assert await answers(talk, 201)


async def test_5_1_2_stream_concurrency_unsent_answers_count() -> None:
    """A client that gives no window cannot have answers pile up here (CVE-2019-9517)."""
    talk = Talk(Limits(max_streams=4))
    talk.greet((f.INITIAL_WINDOW_SIZE, 0))
    for stream in range(1, 41, 2):
        talk.call(stream, "/echo", b"x" * 900)
        await talk.hear()
    assert len(talk.connection.calls) == 4
    talk.say(f.settings((f.INITIAL_WINDOW_SIZE, f.WINDOW_BYTES)))
    await talk.hear()
    assert await answers(talk, 41)


# Section 5.5, Extending HTTP/2


async def test_5_5_extending_an_unknown_frame_within_a_header_block(talk: Talk) -> None:
    code, _ = await refused(talk, f.frame(f.HEADERS, 0, 1, b"\x82"), f.frame(0xFA, 0, 1, b""))
    assert code == f.PROTOCOL_ERROR


# Sections 6.1 to 6.5, DATA to SETTINGS


@pytest.mark.parametrize(
    "frame",
    [
        f.frame(f.DATA, 0, 0, b"x"),
        f.frame(f.HEADERS, WHOLE, 0, b"\x82"),
        f.frame(f.PRIORITY, 0, 0, bytes(5)),
        f.reset(0, 8),
        f.frame(f.CONTINUATION, f.END_HEADERS, 0, b"\x82"),
        f.frame(f.PUSH_PROMISE, f.END_HEADERS, 1, bytes(4)),
    ],
    ids=["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "CONTINUATION", "PUSH_PROMISE"],
)
async def test_6_1_to_6_6_frames_that_need_a_stream(talk: Talk, frame: bytes) -> None:
    code, _ = await refused(talk, frame)
    assert code == f.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "frame",
    [
        f.frame(f.SETTINGS, 0, 1, b""),
        f.frame(f.SETTINGS, f.ACK, 1, b""),
        f.frame(f.PING, 0, 1, bytes(8)),
        f.frame(f.GOAWAY, 0, 1, bytes(8)),
    ],
    ids=["SETTINGS", "SETTINGS ack", "PING", "GOAWAY"],
)
async def test_6_5_to_6_8_frames_that_are_of_no_stream(talk: Talk, frame: bytes) -> None:
    code, _ = await refused(talk, frame)
    assert code == f.PROTOCOL_ERROR


@pytest.mark.parametrize("kind", [f.DATA, f.HEADERS])
async def test_6_1_data_and_6_2_headers_padding_beyond_the_payload(talk: Talk, kind: int) -> None:
    talk.say(talk.head(1, "/wait"))
    stream = 1 if kind == f.DATA else 3
    code, _ = await refused(talk, f.frame(kind, f.PADDED | OPEN, stream, b"\x05abcd"))
    assert code == f.PROTOCOL_ERROR


async def test_6_2_headers_priority_fields_are_skipped(talk: Talk) -> None:
    block = talk.head(1, "/echo")[f.HEADER_BYTES :]
    body = b"\x03" + bytes(5) + block + bytes(3)
    talk.say(f.frame(f.HEADERS, OPEN | f.PADDED | f.PRIORITISED, 1, body), talk.message(1, b"x"))
    assert any("grpc-status=0" in line for line in await talk.hear())


async def test_6_5_settings_are_acknowledged_one_by_one(talk: Talk) -> None:
    talk.say(f.settings(), f.settings((0xABCD, 1)), f.frame(f.SETTINGS, f.ACK, 0, b""))
    assert await talk.hear() == ["SETTINGS 0 ack", "SETTINGS 0 ack"]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (f.ENABLE_PUSH, 2, f.PROTOCOL_ERROR),
        (f.INITIAL_WINDOW_SIZE, 1 << 31, f.FLOW_CONTROL_ERROR),
        (f.MAX_FRAME_SIZE, f.FRAME_BYTES - 1, f.PROTOCOL_ERROR),
        (f.MAX_FRAME_SIZE, f.FRAME_BYTES_MAX + 1, f.PROTOCOL_ERROR),
    ],
)
async def test_6_5_2_defined_settings_out_of_range(
    talk: Talk, name: int, value: int, code: int
) -> None:
    assert (await refused(talk, f.settings((name, value))))[0] == code


async def test_6_5_2_defined_settings_a_larger_frame_is_used_once_allowed() -> None:
    talk = Talk()
    talk.greet((f.MAX_FRAME_SIZE, 20_000), (f.INITIAL_WINDOW_SIZE, 60_000))
    talk.say(talk.head(1, "/stream"), talk.message(1, b"30000", 0))
    assert "DATA 1 20000 bytes" in await talk.hear()


async def test_6_5_2_defined_settings_a_header_table_of_no_size_is_kept_to() -> None:
    """Responses use no dynamic table, so none is too small."""
    talk = Talk()
    talk.greet((0x1, 0))
    assert await answers(talk, 1)


async def test_6_5_2_defined_settings_a_header_list_that_is_too_large(talk: Talk) -> None:
    """The limit is on what is decoded: few bytes may stand for many (an HPACK bomb)."""
    field = ("token", "a" * 3000)
    talk.encoder.encode([field])
    blocks = [talk.encoder.encode([field]) for _ in range(2)]
    assert len(blocks[1]) == 1, "an index"
    first = talk.head(1, "/wait", OPEN, field)
    talk.say(first)
    many = headers.LIST_BYTES_MAX // 3000 + 1
    code, text = await refused(talk, talk.head(3, "/echo", OPEN, *[field] * many))
    assert code == f.COMPRESSION_ERROR
    assert len(text) <= f.DEBUG_BYTES_MAX


# Section 6.4, RST_STREAM


async def test_6_4_rst_stream_nothing_is_sent_on_a_stream_that_was_reset(talk: Talk) -> None:
    talk.say(talk.head(1, "/stream"), talk.message(1, b"100000", 0))
    await talk.hear()
    talk.say(f.reset(1, 8), f.window_update(0, 1 << 20))
    assert await talk.hear() == []


# Section 6.7, PING


async def test_6_7_ping_is_answered_with_its_payload(talk: Talk) -> None:
    talk.say(f.frame(f.PING, 0, 0, b"12345678"))
    await asyncio.sleep(0)
    assert b"".join(talk.wire.written) == f.frame(f.PING, f.ACK, 0, b"12345678")


async def test_6_7_ping_an_answer_is_not_answered(talk: Talk) -> None:
    talk.say(f.frame(f.PING, f.ACK, 0, b"12345678"))
    assert await talk.hear() == []


# Section 6.8, GOAWAY


async def test_6_8_goaway_streams_above_the_last_one_are_ignored(talk: Talk) -> None:
    talk.say(talk.head(1, "/wait"))
    talk.connection.go_away()
    assert await talk.hear() == ["GOAWAY last=1 code=0"]
    talk.say(talk.head(3, "/echo"), talk.message(3, b"x"), f.window_update(3, 1), f.reset(3, 8))
    assert await talk.hear() == []
    assert not talk.wire.closed


async def test_6_8_goaway_of_the_client_lets_calls_end(talk: Talk) -> None:
    talk.say(talk.head(1, "/echo"), f.goaway(0, 0, "done"), talk.message(1, b"x"))
    assert any("grpc-status=0" in line for line in await talk.hear())


async def test_6_8_goaway_its_debug_data_fits_a_frame(talk: Talk) -> None:
    """HPACK's decoder quotes the block in its error."""
    await refused(talk, f.frame(f.HEADERS, WHOLE, 1, b"\x7f" + b"\xff" * 16_000))


# Section 6.10, CONTINUATION


async def test_6_10_continuation_of_another_stream(talk: Talk) -> None:
    code, _ = await refused(
        talk, f.frame(f.HEADERS, 0, 1, b"\x82"), f.frame(f.CONTINUATION, OPEN, 3, b"")
    )
    assert code == f.PROTOCOL_ERROR


async def test_6_10_continuation_after_the_end_of_a_block(talk: Talk) -> None:
    code, _ = await refused(talk, talk.head(1, "/wait"), f.frame(f.CONTINUATION, OPEN, 1, b""))
    assert code == f.PROTOCOL_ERROR


async def test_6_10_continuation_without_end_is_bounded(talk: Talk) -> None:
    """By the size of the block (CVE-2024-27316)."""
    piece = f.frame(f.CONTINUATION, 0, 1, bytes(f.FRAME_BYTES))
    talk.say(f.frame(f.HEADERS, 0, 1, b""))
    for _ in range(headers.BLOCK_BYTES_MAX // f.FRAME_BYTES):
        talk.say(piece)
    assert not talk.wire.closed
    code, _ = await refused(talk, piece)
    assert code == f.ENHANCE_YOUR_CALM


async def test_6_10_continuation_frames_that_add_nothing_are_refused(talk: Talk) -> None:
    code, _ = await refused(
        talk, f.frame(f.HEADERS, 0, 1, b"\x82"), f.frame(f.CONTINUATION, 0, 1, b"")
    )
    assert code == f.ENHANCE_YOUR_CALM


# Section 8.1, HTTP Message Framing


async def test_8_1_message_framing_trailers_end_a_request(talk: Talk) -> None:
    talk.say(talk.head(1, "/echo"), talk.message(1, b"x", 0))
    talk.say(request(talk, 1, ("x-trailer", "1")))
    assert any("grpc-status=0" in line for line in await talk.hear())


async def test_8_1_message_framing_trailers_that_do_not_end_the_stream(talk: Talk) -> None:
    talk.say(talk.head(1, "/echo"))
    code, _ = await refused(talk, request(talk, 1, ("x-trailer", "1"), flags=OPEN))
    assert code == f.PROTOCOL_ERROR


async def test_8_1_message_framing_an_early_answer_stops_the_request(talk: Talk) -> None:
    talk.say(talk.head(1, "/nowhere"))
    assert (await talk.hear())[-1] == f"RST_STREAM 1 {f.NO_ERROR}"


# Sections 8.2 and 8.3, HTTP Fields and Control Data

GET = ((":method", "GET"), (":scheme", "http"), (":path", "/"))


@pytest.mark.parametrize(
    "fields",
    [
        (*HEADERS, (":path", "/echo")),
        (*GET, (":path", "/")),
        (*GET, (":status", "200")),
        (*GET, (":nonsense", "1")),
        GET[1:],
        (GET[0], GET[2]),
        GET[:2],
        (("x", "1"),),
        (*GET, ("connection", "close")),
        (*GET, ("transfer-encoding", "chunked")),
        (*GET, ("te", "gzip")),
    ],
    ids=[
        *("pseudo after regular", "path twice", "a response's", "an unknown one", "no method"),
        *("no scheme", "no path", "none", "connection", "transfer-encoding", "te"),
    ],
)
async def test_8_2_and_8_3_malformed_fields(talk: Talk, fields: tuple[tuple[str, str]]) -> None:
    code, _ = await refused(talk, request(talk, 1, *fields))
    assert code == f.PROTOCOL_ERROR


async def test_8_2_1_field_validity_upper_case(talk: Talk) -> None:
    block = talk.encoder.encode(list(GET)) + b"\x00\x01X\x011"  # a literal
    code, text = await refused(talk, f.frame(f.HEADERS, WHOLE, 1, block))
    assert (code, text) == (f.PROTOCOL_ERROR, "a field name in upper case")


async def test_8_3_1_request_pseudo_fields_have_no_place_in_trailers(talk: Talk) -> None:
    talk.say(talk.head(1, "/echo"))
    code, _ = await refused(talk, request(talk, 1, *GET))
    assert code == f.PROTOCOL_ERROR


# Section 10.5, Denial-of-Service Considerations


async def test_10_5_denial_of_service_control_frames_that_nobody_reads(talk: Talk) -> None:
    """Acknowledgements wait only up to a bound for a client that does not read (CVE-2019-9512)."""
    talk.connection.pause_writing()
    talk.wire.get_write_buffer_size = lambda: 5 << 20  # type: ignore[method-assign]
    talk.say(f.settings())
    await talk.hear()
    assert talk.wire.closed


async def test_10_5_denial_of_service_half_a_frame_is_all_that_is_kept(talk: Talk) -> None:
    talk.say(struct.pack("!I", f.FRAME_BYTES)[1:] + bytes([0xFA, 0]) + bytes(4))
    talk.say(bytes(f.FRAME_BYTES - 1))
    assert len(talk.connection._buffer) < f.HEADER_BYTES + f.FRAME_BYTES
    talk.say(bytes(1))
    assert talk.connection._buffer == b""
