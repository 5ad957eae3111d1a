"""Flow control as RFC 9113 has it, by the names of its sections, from the client's side."""

from __future__ import annotations

import ast
import asyncio
import random
import re

import pytest

from squall.node.rpc import Limits
from squall.node.rpc import frames as f
from squall.node.rpc.connection import CONNECTION_WINDOW_BYTES, WINDOW_SLACK_BYTES
from tests.node.rpc.talk import LIMIT, Talk

STREAM_WINDOW_BYTES = LIMIT + WINDOW_SLACK_BYTES
"""What a server with this limit lets a client send on one stream."""


class TalkOfPages(Talk):
    """A client over TLS. `gate` lets go of the answers to /slow."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.wire.extra["sslcontext"] = True


def talk_with_pages(*settings: tuple[int, int], length: int = 5_000) -> TalkOfPages:
    """Return a client of a server that answers with pages of so many bytes."""

    async def pages(_method: str, path: str) -> tuple[int, str, bytes]:
        if path == "/broken":
            raise RuntimeError(path)
        if path == "/slow":
            await talk.gate.wait()
        return 200, "text/plain", b"x" * length

    talk = TalkOfPages()
    talk.server.pages = pages
    talk.greet(*settings)
    return talk


def get(talk: Talk, stream: int, path: str = "/page") -> None:
    """Ask for a page."""
    block = talk.encoder.encode([(":method", "GET"), (":scheme", "https"), (":path", path)])
    talk.say(f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, stream, block))


def sizes(lines: list[str], stream: int) -> int:
    """Add up the bytes of data that came on a stream."""
    return sum(size_of(line) for line in lines if line.startswith(f"DATA {stream} "))


def size_of(line: str) -> int:
    """Return how much data a line of DATA stands for."""
    shown = line.split(" ", 2)[2].removesuffix(" end")
    counted = re.fullmatch(r"(\d+) bytes", shown)
    return int(counted[1]) if counted else len(ast.literal_eval(f"b{shown}"))


# Section 6.9, WINDOW_UPDATE


async def test_6_9_window_update_an_answer_that_was_refused_has_used_none_of_the_window() -> None:
    """Four pages that do not fit are refused; the connection's window is as large as before."""
    talk = talk_with_pages((f.INITIAL_WINDOW_SIZE, 100), length=f.WINDOW_BYTES // 3)
    await talk.hear()
    for stream in (1, 3, 5, 7):
        get(talk, stream)
    assert await talk.hear() == [f"RST_STREAM {stream} 7" for stream in (1, 3, 5, 7)]
    talk.call(9, "/echo")
    assert len(await talk.hear()) == 3, "headers, the message, trailers"


async def test_6_9_window_update_data_of_streams_that_are_gone_is_given_back() -> None:
    """Streams that were refused, reset or unknown to the server count for the connection."""
    talk = Talk(Limits(max_streams=1))
    talk.greet()
    talk.say(talk.head(1, "/refuse"), talk.message(1, b""))
    await talk.hear()
    talk.say(talk.head(3, "/wait"), talk.head(5, "/echo"), f.reset(3, 8))
    assert "RST_STREAM 5 7" in await talk.hear()
    piece = bytes(f.FRAME_BYTES)
    pieces = CONNECTION_WINDOW_BYTES // 2 // len(piece)
    for at in range(pieces):
        talk.say(f.frame(f.DATA, 0, (1, 3, 5)[at % 3], piece))
    assert await talk.hear() == [f"WINDOW_UPDATE 0 {5 + pieces * len(piece)}"]


async def test_6_9_window_update_padding_counts_and_is_given_back_at_once() -> None:
    """The whole payload of a DATA frame is flow controlled, its padding included."""
    talk = Talk()
    talk.greet()
    talk.say(talk.head(1, "/stream"))
    await talk.hear()
    for _ in range(1_000):  # far more padding than the stream's window has room for
        talk.say(f.frame(f.DATA, f.PADDED, 1, b"\xff" + bytes(255)))
    assert await talk.hear() == ["WINDOW_UPDATE 1 256"] * 1_000


async def test_6_9_window_update_headers_and_trailers_need_no_window() -> None:
    """An error is told on a connection whose window is used up."""
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 1 << 20))
    talk.say(talk.head(1, "/stream"), talk.message(1, b"100000", 0))
    await talk.hear()
    talk.connection.pause_writing()  # so that the trailers have to wait
    talk.call(3, "/refuse")
    assert await talk.hear() == []
    talk.connection.resume_writing()
    (line,) = await talk.hear()
    assert line.startswith("HEADERS 3 :status=200")
    assert line.endswith("grpc-status=5 grpc-message=hello end")


# Section 6.9.1, The Flow-Control Window


async def test_6_9_1_the_flow_control_window_an_empty_answer_goes_where_there_is_no_room() -> None:
    """A frame of no length with END_STREAM may be sent though the window is used up."""
    talk = talk_with_pages((f.INITIAL_WINDOW_SIZE, 0), length=0)
    await talk.hear()
    get(talk, 1)
    head, data = await talk.hear()
    assert ":status=200" in head
    assert data == "DATA 1 '' end"


async def test_6_9_1_the_flow_control_window_a_page_may_fill_it_and_the_next_waits_for_none() -> (
    None
):
    """What was sent is debited, once: the next page that does not fit is refused."""
    talk = talk_with_pages(length=f.WINDOW_BYTES)
    await talk.hear()
    get(talk, 1)
    lines = await talk.hear()
    assert sizes(lines, 1) == f.WINDOW_BYTES
    assert lines[-1].endswith("end")
    get(talk, 3)
    assert await talk.hear() == ["RST_STREAM 3 7"]
    talk.say(f.window_update(0, f.WINDOW_BYTES))
    get(talk, 5)
    assert sizes(await talk.hear(), 5) == f.WINDOW_BYTES


async def test_6_9_1_the_flow_control_window_a_page_uses_what_its_stream_was_given() -> None:
    """A stream's own window counts, not that of a new stream."""
    talk = talk_with_pages((f.INITIAL_WINDOW_SIZE, 1_000), length=5_000)
    await talk.hear()
    get(talk, 1, "/slow")
    get(talk, 3, "/slow")
    talk.say(f.window_update(3, 4_000))
    talk.gate.set()
    lines = await talk.hear()
    assert lines[0] == "RST_STREAM 1 7"
    assert sizes(lines, 3) == 5_000


async def test_6_9_1_the_flow_control_window_a_stream_that_was_reset_uses_none() -> None:
    """Nothing is sent on it, and nothing is debited."""
    talk = talk_with_pages(length=f.WINDOW_BYTES)
    await talk.hear()
    get(talk, 1, "/slow")
    talk.say(f.reset(1, 8))
    talk.gate.set()
    assert await talk.hear() == []
    get(talk, 3)
    assert sizes(await talk.hear(), 3) == f.WINDOW_BYTES


async def test_6_9_1_the_flow_control_window_output_of_a_reset_stream_leaves_its_share() -> None:
    """What waited on a stream that was reset was never sent, so others may send as much."""
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 1 << 20))
    talk.say(talk.head(1, "/stream"), talk.message(1, b"100000", 0))
    await talk.hear()
    talk.say(f.reset(1, 8), talk.head(3, "/stream"), talk.message(3, b"500", 0))
    await talk.hear()
    talk.say(f.window_update(0, 505))
    assert "DATA 3 505 bytes" in await talk.hear()


@pytest.mark.parametrize("path", ["/stream", "/wait"])
async def test_6_9_1_the_flow_control_window_a_client_that_overruns_it_is_hung_up_on(
    path: str,
) -> None:
    """What can pile up for a handler that is busy is bounded, whatever the client makes of it."""
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 0))  # the streaming handler waits for room after one answer
    talk.say(talk.head(1, path), talk.message(1, b"1", 0))
    await talk.hear()
    message = talk.message(1, b"1" * 95, 0)
    room = STREAM_WINDOW_BYTES - (6 if path == "/wait" else 0)  # a message taken is given back
    for _ in range(room // 100):
        talk.say(message)
    assert not talk.wire.closed
    talk.say(message)
    assert (await talk.hear())[-1].startswith("GOAWAY last=1 code=3 more data on stream 1 than")
    assert talk.wire.closed


@pytest.mark.parametrize("stream", [0, 1])
async def test_6_9_1_the_flow_control_window_beyond_the_largest_is_an_error(stream: int) -> None:
    """No window exceeds 2^31 - 1 bytes."""
    talk = Talk()
    talk.greet()
    talk.call(1, "/wait")
    await talk.hear()
    talk.say(f.window_update(stream, f.WINDOW_BYTES_MAX - f.WINDOW_BYTES))
    assert await talk.hear() == []
    talk.say(f.window_update(stream, 1))
    assert "code=3 a window beyond the largest" in (await talk.hear())[-1]


# Section 6.9.2, Initial Flow-Control Window Size


async def test_6_9_2_initial_flow_control_window_size_may_leave_a_window_negative() -> None:
    """A sender tracks the negative window and sends nothing until it is positive again."""
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 1_000))
    talk.say(talk.head(1, "/stream"), talk.message(1, b"2000", 0))
    assert "DATA 1 1000 bytes" in await talk.hear()
    talk.say(f.settings((f.INITIAL_WINDOW_SIZE, 400)))  # -600
    talk.say(f.window_update(1, 600))
    assert await talk.hear() == ["SETTINGS 0 ack"]
    talk.say(f.window_update(1, 21))
    assert await talk.hear() == ["DATA 1 21 bytes"]
    talk.say(f.settings((f.INITIAL_WINDOW_SIZE, 500)))
    assert await talk.hear() == ["SETTINGS 0 ack", "DATA 1 100 bytes"]


async def test_6_9_2_initial_flow_control_window_size_changes_no_connection_window() -> None:
    """Only WINDOW_UPDATE does that."""
    talk = Talk()
    talk.greet((f.INITIAL_WINDOW_SIZE, 1 << 20))
    talk.say(talk.head(1, "/stream"), talk.message(1, b"100000", 0))
    assert sizes(await talk.hear(), 1) == f.WINDOW_BYTES
    talk.say(f.settings((f.INITIAL_WINDOW_SIZE, 1 << 21)))
    assert await talk.hear() == ["SETTINGS 0 ack"]


async def test_6_9_2_initial_flow_control_window_size_that_makes_a_window_too_large() -> None:
    """A change that lifts any stream's window beyond the largest ends the connection."""
    talk = Talk()
    talk.greet()
    talk.call(1, "/wait")
    talk.say(f.window_update(1, f.WINDOW_BYTES_MAX - f.WINDOW_BYTES))
    await talk.hear()
    talk.say(f.settings((f.INITIAL_WINDOW_SIZE, f.WINDOW_BYTES + 1)))
    assert "code=3 a window beyond the largest" in (await talk.hear())[-1]


async def test_6_9_2_initial_flow_control_window_size_counts_for_pages_under_way() -> None:
    """A page is a stream like any other."""
    talk = talk_with_pages((f.INITIAL_WINDOW_SIZE, 1_000), length=5_000)
    get(talk, 1, "/slow")
    get(talk, 3, "/slow")
    talk.say(f.window_update(3, 4_500))
    talk.say(f.settings((f.INITIAL_WINDOW_SIZE, 500)))
    await talk.hear()
    talk.gate.set()
    lines = await talk.hear()
    assert lines[0] == "RST_STREAM 1 7"
    assert sizes(lines, 3) == 5_000


# Section 5.4.2, Stream Error Handling


async def test_5_4_2_stream_error_handling_a_page_that_fails_ends_its_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client is told, and need not wait."""
    talk = talk_with_pages()
    await talk.hear()
    get(talk, 1, "/broken")
    assert await talk.hear() == ["RST_STREAM 1 2"]
    get(talk, 3)
    assert sizes(await talk.hear(), 3) == 5_000


# All of section 6.9 at once


class Ledger:
    """The client's account of both windows, kept from the frames alone."""

    def __init__(self, talk: Talk, initial: int) -> None:
        self.talk = talk
        self.initial = initial
        self.connection = f.WINDOW_BYTES
        self.streams: dict[int, int] = {}
        self.came: dict[int, int] = {}
        self.ended: set[int] = set()

    async def read(self) -> None:
        """Debit what came; fail where it exceeds a window."""
        for line in await self.talk.hear():
            words = line.split(" ", 2)
            stream = int(words[1])
            if words[0] == "DATA":
                size = size_of(line)
                self.connection -= size
                self.streams[stream] -= size
                self.came[stream] = self.came.get(stream, 0) + size
                assert self.connection >= 0
                assert self.streams[stream] >= 0
            assert words[0] not in ("RST_STREAM", "GOAWAY"), line
            if line.endswith(" end"):
                self.ended.add(stream)

    def change(self, initial: int) -> None:
        """Change the initial window, and that of every stream with it."""
        for stream in self.streams:
            self.streams[stream] += initial - self.initial
        self.initial = initial
        self.talk.say(f.settings((f.INITIAL_WINDOW_SIZE, initial)))

    def give(self, stream: int, more: int) -> None:
        """Give the connection, or a stream, so much more."""
        if stream:
            self.streams[stream] += more
        else:
            self.connection += more
        self.talk.say(f.window_update(stream, more))


@pytest.mark.parametrize("seed", range(40))
async def test_6_9_flow_control_no_window_is_overrun_and_everything_arrives(seed: int) -> None:
    """Random calls, resets and windows: what is sent fits, and what fits in the end is sent."""
    draw = random.Random(seed)
    talk = Talk()
    initial = draw.choice((0, 1, 100, 70_000))
    talk.greet((f.INITIAL_WINDOW_SIZE, initial))
    ledger = Ledger(talk, initial)
    await ledger.read()
    asked: dict[int, int] = {}
    for step in range(40):
        kind = draw.randrange(6)
        stream = draw.choice([*ledger.streams, 0])
        if kind <= 1:
            stream = 2 * step + 1
            size = draw.choice((0, 1, 10, 999, 20_000))
            if draw.random() < 0.5 and size < LIMIT:
                talk.call(stream, "/echo", b"y" * size)
            else:
                length = str(size).encode()
                talk.say(talk.head(stream, "/stream"), talk.message(stream, length))
            asked[stream] = size + 5
            ledger.streams[stream] = ledger.initial
        elif kind == 2:
            await ledger.read()  # what was sent under the former window
            ledger.change(draw.choice((0, 1, 50, 3_000, 70_000)))
        elif kind == 3 and stream and draw.random() < 0.5:
            talk.say(f.reset(stream, 8))
            asked.pop(stream, None)
        elif stream not in ledger.ended:
            ledger.give(stream, draw.choice((1, 7, 500, 30_000)))
        if draw.random() < 0.7:
            await ledger.read()
    ledger.change(1 << 20)
    ledger.give(0, 1 << 22)
    await ledger.read()
    await ledger.read()
    assert {stream: ledger.came.get(stream, 0) for stream in asked} == asked
    assert asked.keys() <= ledger.ended
