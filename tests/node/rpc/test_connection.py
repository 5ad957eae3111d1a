"""gRPC over HTTP/2 as a client sees it, frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from squall.node.rpc import Limits
from squall.node.rpc import frames as f
from squall.node.rpc.keepalive import HELLO_TIMEOUT_S, Keepalive
from tests.node.rpc.talk import LIMIT, Talk

BEGIN = "HEADERS {} :status=200 content-type=application/grpc"
OK = "HEADERS {} grpc-status=0 end"


@pytest.fixture
async def talk() -> Talk:
    talk = Talk()
    talk.greet()
    await talk.hear()
    return talk


def answered(stream: int, data: str) -> list[str]:
    return [BEGIN.format(stream), f"DATA {stream} {data}", OK.format(stream)]


async def test_a_client_is_told_the_rules_before_anything_else() -> None:
    talk = Talk()
    assert await talk.hear() == []  # perhaps it will speak another protocol
    talk.greet()
    said = [" ".join(line.split()[:3]) for line in await talk.hear()]
    assert said == ["SETTINGS 0", "WINDOW_UPDATE 0 16711681", "SETTINGS 0 ack"]


async def test_a_unary_call_is_answered_in_one_piece(talk: Talk) -> None:
    talk.call(1, "/echo")
    assert await talk.hear() == answered(1, r"'\x00\x00\x00\x00\x05hello'")


async def test_calls_that_came_together_are_answered_with_one_write(talk: Talk) -> None:
    for stream in (1, 3, 5):
        talk.call(stream, "/echo")
    lines = await talk.hear()
    assert len(lines) == 9
    assert talk.writes == 1


async def test_bytes_may_come_one_by_one() -> None:
    talk = Talk()
    await talk.hear()
    whole = f.PREFACE + f.settings() + talk.head(1, "/echo") + talk.message(1, b"slow")
    for byte in whole:
        talk.say(bytes((byte,)))
    assert (await talk.hear())[2:] == [
        "SETTINGS 0 ack",
        *answered(1, r"'\x00\x00\x00\x00\x04slow'"),
    ]


async def test_a_message_may_come_in_many_frames_with_padding(talk: Talk) -> None:
    data = b"\0\0\0\0\x05hello"
    talk.say(talk.head(1, "/echo"))
    talk.say(f.frame(f.DATA, 0, 1, data[:3]))
    talk.say(f.frame(f.DATA, f.PADDED, 1, b"\x04" + data[3:8] + bytes(4)))
    talk.say(f.frame(f.DATA, f.END_STREAM, 1, data[8:]))
    given_back, *rest = await talk.hear()
    assert given_back == "WINDOW_UPDATE 1 5", "padding is nobody's to take"
    assert rest == answered(1, r"'\x00\x00\x00\x00\x05hello'")


async def test_headers_may_go_on_in_continuations(talk: Talk) -> None:
    head = talk.head(1, "/echo")[f.HEADER_BYTES :]
    talk.say(f.frame(f.HEADERS, 0, 1, head[:7]), f.frame(f.CONTINUATION, 0, 1, head[7:20]))
    talk.say(f.frame(f.CONTINUATION, f.END_HEADERS, 1, head[20:]), talk.message(1, b"hello"))
    assert await talk.hear() == answered(1, r"'\x00\x00\x00\x00\x05hello'")


async def test_an_error_is_told_in_trailers_alone(talk: Talk) -> None:
    talk.call(1, "/refuse", "50 % größer\n".encode())
    (line,) = await talk.hear()
    assert line == (
        "HEADERS 1 :status=200 content-type=application/grpc grpc-status=5 "
        "grpc-message=50 %25 gr%C3%B6%C3%9Fer%0A end"
    )


async def test_an_unknown_method_is_told_before_the_message_is_there(talk: Talk) -> None:
    talk.say(talk.head(1, "/nothing"))
    status, reset = await talk.hear()
    assert "grpc-status=12" in status
    assert reset == "RST_STREAM 1 0", "the client need not go on sending"
    talk.say(talk.message(1, b"too late"))
    talk.call(3, "/echo")
    assert len(await talk.hear()) == 3


async def test_what_is_no_grpc_is_refused(talk: Talk) -> None:
    block = talk.encoder.encode([(":method", "GET"), (":scheme", "https"), (":path", "/health")])
    talk.say(f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, block))
    assert await talk.hear() == ["HEADERS 1 :status=415 end"]


async def test_a_message_that_is_too_long_is_refused_before_it_is_there(talk: Talk) -> None:
    talk.say(talk.head(1, "/echo"), f.frame(f.DATA, 0, 1, b"\0" + (LIMIT + 1).to_bytes(4)))
    status, reset = await talk.hear()
    assert "grpc-status=8" in status
    assert "message larger than max (1001 vs. 1000)" in status
    assert reset == "RST_STREAM 1 0"


async def test_a_message_that_cannot_be_parsed_is_refused_and_harms_nobody(talk: Talk) -> None:
    for stream, path in ((1, "/echo"), (3, "/stream")):
        talk.call(stream, path, b"garbage")
        (status,) = await talk.hear()
        assert "grpc-status=13" in status
    talk.call(5, "/echo")
    assert await talk.hear() == answered(5, r"'\x00\x00\x00\x00\x05hello'")


async def test_what_is_written_does_not_pile_up_beyond_the_sockets_room() -> None:
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 1 << 30))
    talk.say(f.window_update(0, 1 << 30))
    talk.wire.room_bytes = 300_000
    talk.say(talk.head(1, "/stream"))
    for _ in range(5):
        talk.say(talk.message(1, b"200000", 0))
    await talk.hear()
    assert len(talk.taken) <= 3


async def test_a_compressed_message_is_refused_as_unimplemented(talk: Talk) -> None:
    talk.say(talk.head(1, "/echo"), f.frame(f.DATA, f.END_STREAM, 1, b"\1\0\0\0\0"))
    (status,) = await talk.hear()
    assert "grpc-status=12" in status


async def test_an_answer_keeps_to_the_streams_window() -> None:
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 8))
    await talk.hear()
    talk.call(1, "/echo")
    assert await talk.hear() == [BEGIN.format(1), r"DATA 1 '\x00\x00\x00\x00\x05hel'"]
    talk.say(f.window_update(1, 1))
    assert await talk.hear() == ["DATA 1 'l'"]
    talk.say(f.window_update(1, 100))
    assert await talk.hear() == ["DATA 1 'o'", OK.format(1)]


async def test_a_changed_window_counts_for_streams_that_are_open() -> None:
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 8))
    talk.call(1, "/echo")
    await talk.hear()
    talk.say(f.settings((f.INITIAL_WINDOW_SIZE, 0)))  # it has sent 8 more than it may now
    talk.say(f.window_update(1, 8))
    assert await talk.hear() == ["SETTINGS 0 ack"]
    talk.say(f.window_update(1, 1))
    assert await talk.hear() == ["DATA 1 'l'"]


async def test_streams_share_the_connections_window_and_go_on_in_turn() -> None:
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 1 << 20))
    talk.say(talk.head(1, "/stream"), talk.message(1, str(f.WINDOW_BYTES).encode(), 0))
    talk.call(3, "/echo")
    assert all(line.split()[1] != "3" for line in await talk.hear())
    talk.say(f.window_update(0, 100))
    first, *rest = [line for line in await talk.hear() if not line.startswith("WINDOW_UPDATE")]
    assert first == r"DATA 1 'xxxxx'"
    assert rest == answered(3, r"'\x00\x00\x00\x00\x05hello'")


async def test_a_slow_stream_does_not_hold_up_another() -> None:
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 20))
    talk.say(talk.head(1, "/stream"), talk.message(1, b"500", 0))
    await talk.hear()
    talk.call(3, "/echo")
    assert await talk.hear() == answered(3, r"'\x00\x00\x00\x00\x05hello'")


async def test_a_handler_waits_for_its_client_to_read() -> None:
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 10))
    talk.say(talk.head(1, "/stream"))
    for _ in range(3):
        talk.say(talk.message(1, b"10", 0))
    await talk.hear()
    assert len(talk.taken) == 1
    talk.say(f.window_update(1, 5))
    await talk.hear()
    assert len(talk.taken) == 2


async def test_a_stream_ends_well_when_its_client_has_nothing_more_to_say(talk: Talk) -> None:
    talk.say(talk.head(1, "/stream"), talk.message(1, b"1", 0), talk.message(1, b"2"))
    lines = [line for line in await talk.hear() if not line.startswith("WINDOW_UPDATE")]
    assert lines == [
        BEGIN.format(1), r"DATA 1 '\x00\x00\x00\x00\x01x'", r"DATA 1 '\x00\x00\x00\x00\x02xx'",
        OK.format(1),
    ]  # fmt: skip


async def test_a_reset_ends_the_handler_and_nothing_more_is_said(talk: Talk) -> None:
    talk.call(1, "/wait")
    talk.say(talk.head(3, "/stream"))
    await talk.hear()
    talk.say(f.reset(1, 8), f.reset(3, 8))
    assert await talk.hear() == []
    assert sorted(talk.cancelled) == [1, 3]


async def test_a_lost_connection_ends_all_handlers(talk: Talk) -> None:
    talk.call(1, "/wait")
    talk.say(talk.head(3, "/stream"))
    await talk.hear()
    talk.connection.connection_lost(None)
    await talk.hear()
    assert sorted(talk.cancelled) == [1, 3]
    assert not talk.server.connections


async def test_nothing_is_sent_into_a_full_socket(talk: Talk) -> None:
    talk.connection.pause_writing()
    talk.call(1, "/echo")
    assert await talk.hear() == []
    talk.connection.resume_writing()
    assert await talk.hear() == answered(1, r"'\x00\x00\x00\x00\x05hello'")


async def test_a_stopping_server_ends_what_is_under_way_and_takes_no_more(talk: Talk) -> None:
    talk.say(talk.head(1, "/echo"))
    talk.connection.go_away()
    talk.call(3, "/echo")
    talk.say(talk.message(1, b"hello"))
    assert await talk.hear() == [
        "GOAWAY last=1 code=0",
        *answered(1, r"'\x00\x00\x00\x00\x05hello'"),
    ]


async def test_who_pings_too_often_is_hung_up_on(talk: Talk) -> None:
    ping = f.frame(f.PING, 0, 0, b"12345678")
    talk.say(ping * 3)
    assert await talk.hear() == ["PING 0"] * 3
    talk.call(1, "/echo")  # an answer makes it good: clients measure with pings then
    await talk.hear()
    talk.say(ping * 2)
    assert await talk.hear() == ["PING 0"] * 2
    talk.say(ping)
    assert await talk.hear() == ["GOAWAY last=1 code=11 too_many_pings"]
    assert talk.wire.closed


def _bad(*body: bytes) -> Callable[[Talk], bytes]:
    return lambda talk: b"".join(body)


@pytest.mark.parametrize(
    ("what", "code", "why"),
    [
        (_bad(f.frame(f.DATA, 0, 1, b"x")), f.PROTOCOL_ERROR, "never opened"),
        (_bad(f.reset(7, 0)), f.PROTOCOL_ERROR, "never opened"),
        (_bad(f.window_update(0, 0)), f.PROTOCOL_ERROR, "update of nothing"),
        (_bad(f.window_update(0, f.WINDOW_BYTES_MAX)), f.FLOW_CONTROL_ERROR, "window"),
        (_bad(f.settings((f.INITIAL_WINDOW_SIZE, 1 << 31))), f.FLOW_CONTROL_ERROR, "window"),
        (_bad(f.settings((f.MAX_FRAME_SIZE, 1))), f.PROTOCOL_ERROR, "size"),
        (_bad(f.frame(f.SETTINGS, 0, 0, b"odd")), f.FRAME_SIZE_ERROR, "odd"),
        (_bad(f.frame(f.SETTINGS, 0, 1, b"")), f.PROTOCOL_ERROR, "no stream"),
        (_bad(f.frame(f.PING, 0, 0, b"short")), f.FRAME_SIZE_ERROR, "PING"),
        (_bad(f.frame(f.CONTINUATION, 0, 1, b"")), f.PROTOCOL_ERROR, "continuation of nothing"),
        (_bad(f.frame(f.HEADERS, 0, 1, b"\x82"), f.settings()), f.PROTOCOL_ERROR, "interrupted"),
        (_bad(f.frame(f.PUSH_PROMISE, 0, 1, b"")), f.PROTOCOL_ERROR, "push"),
        (_bad(f.frame(f.HEADERS, 0x4, 1, b"\xff\xff")), f.COMPRESSION_ERROR, "decoded"),
        (_bad(f.frame(f.HEADERS, 0x4, 1, b"")), f.PROTOCOL_ERROR, "without headers"),
        (_bad(f.frame(f.HEADERS, 0xC, 1, b"\x09\x82")), f.PROTOCOL_ERROR, "padding"),
        (lambda talk: talk.head(2, "/echo"), f.PROTOCOL_ERROR, "odd numbers"),
        (_bad(b"\x01\0\0\0\0\0\0\0\x01"), f.FRAME_SIZE_ERROR, "65536 bytes"),
        (
            lambda talk: talk.head(1, "/echo") + talk.message(1, b"1") + talk.message(1, b"2"),
            f.STREAM_CLOSED,
            "after its end",
        ),
    ],
)
async def test_who_breaks_the_protocol_is_told_why_and_hung_up_on(
    talk: Talk, what: Callable[[Talk], bytes], code: int, why: str
) -> None:
    talk.say(what(talk))
    lines = await talk.hear()
    assert lines[-1].startswith("GOAWAY")
    assert f"code={code} " in lines[-1]
    assert why in lines[-1]
    assert talk.wire.closed


async def test_who_does_not_speak_http_2_is_hung_up_on() -> None:
    talk = Talk()
    talk.say(b"GET /health HTTP/1.1\r\n")
    assert "GOAWAY last=0 code=1 this is not HTTP/2" in await talk.hear()
    assert talk.wire.closed


class Other(asyncio.Protocol):
    """Another protocol that keeps what it is given."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data


@pytest.mark.parametrize("parts", [(b"GET / HTTP/1.1\r\n",), (b"P", b"R", b"OPFIND /")])
async def test_what_is_not_http2_goes_to_the_other_protocol_whole(parts: tuple[bytes, ...]) -> None:
    talk, other = Talk(), Other()
    talk.server.other = lambda: other
    for part in parts:
        talk.wire.protocol.data_received(part)
    assert other.data == b"".join(parts)
    assert other.transport is talk.wire
    assert talk.wire.protocol is other
    assert await talk.hear() == []
    assert not talk.server.connections


class Timers:
    """Keeps the timers that are set, for a test to let them ring."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay_s: float, what: Callable[[], None]) -> Timers:
        self.set.append((delay_s, what))
        return self

    def cancel(self) -> None:
        self.set.pop()

    def ring(self) -> float:
        delay_s, what = self.set.pop()
        what()
        return delay_s


def keepalive(timers: Timers, limits: Limits, said: list[str]) -> Keepalive:
    loop: Any = timers
    made = Keepalive(loop, limits, lambda _: said.append("ping"), lambda: said.append("gone"))
    assert [delay_s for delay_s, _ in timers.set] == [HELLO_TIMEOUT_S]
    made.begin()
    return made


def test_a_silent_client_is_asked_and_then_given_up() -> None:
    timers, said = Timers(), []
    client = keepalive(timers, Limits(ping_s=100.0, ping_answer_s=7.0), said)
    client.received = True
    assert (timers.ring(), said) == (100.0, [])  # it spoke meanwhile
    assert (timers.ring(), said) == (100.0, ["ping"])
    client.received = True
    assert (timers.ring(), said) == (7.0, ["ping"])  # it answered
    assert (timers.ring(), said) == (100.0, ["ping", "ping"])
    assert (timers.ring(), said) == (7.0, ["ping", "ping", "gone"])


@pytest.mark.parametrize(("limits", "rings"), [(Limits(ping_s=0.0), 0), (Limits(1, 1, 9, 0), 1)])
def test_a_time_of_nought_is_never(limits: Limits, rings: int) -> None:
    timers, said = Timers(), []
    keepalive(timers, limits, said)
    assert len(timers.set) == rings
    if rings:
        timers.ring()
        timers.ring()
        assert said == ["ping", "ping"]
