"""Fuzzes the node's HTTP/2 and gRPC server: whatever a client sends, the server keeps its rules.

    python -m bench.fuzz_rpc SECONDS [FIRST_SEED]

A case is a seed: it draws a conversation of valid calls, settings, window updates, resets, broken
headers, random frames and random bytes, cut at random places, on a connection without a socket.
After every step these must hold:

* nothing but a protocol error, answered with GOAWAY and closing, comes out of `data_received`;
* every frame sent is whole, within the client's SETTINGS_MAX_FRAME_SIZE, and of a kind that a
  server may send; header blocks decode; nothing follows the end of a stream or of the connection;
* DATA stays within the windows that the client has given, of the stream and of the connection;
* what is buffered is bounded by one frame, and by the streams' receive windows;
* when the connection is lost, every handler ends.

The first violation is printed with its seed, and the exit code is 1.
"""

from __future__ import annotations

import asyncio
import random
import struct
import sys
import time
import traceback

import hpack

from squall.node.rpc import Limits
from squall.node.rpc import frames as f
from squall.node.rpc.connection import WINDOW_SLACK_BYTES
from tests.node.rpc.talk import HEADERS, LIMIT, Talk

STEPS = 60
MAX_STREAMS = 8
PATHS = ("/echo", "/echo", "/refuse", "/wait", "/stream", "/stream", "/nowhere")
FIELDS = (
    *((":method", "GET"), (":method", "CONNECT"), (":path", "/echo"), (":scheme", "http")),
    *((":status", "200"), (":nonsense", "x"), ("te", "gzip"), ("connection", "close")),
    *(("Upper", "case"), ("content-type", "application/grpc+proto"), ("token", "a" * 300)),
)
SERVERS_FRAMES = frozenset(
    (f.DATA, f.HEADERS, f.RST_STREAM, f.SETTINGS, f.PING, f.GOAWAY, f.WINDOW_UPDATE)
)


class Client:
    """The client's side of a conversation, and its account of what the server may do."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self._partial = b""  # sent, and not a whole frame yet
        self._preface = len(f.PREFACE)
        self._decoder = hpack.Decoder()
        self._frame_bytes = f.FRAME_BYTES
        self._initial = f.WINDOW_BYTES
        self._connection = f.WINDOW_BYTES
        self._streams: dict[int, int] = {}
        self._ended: set[int] = set()
        self.failed = False  # the server has sent an error and must say nothing more

    def say(self, data: bytes) -> None:
        """Send bytes, and note what the whole frames in them allow."""
        if not self.talk.wire.closed:
            self.talk.say(data)
        skipped = min(self._preface, len(data))
        self._preface -= skipped
        self._partial += data[skipped:]
        while len(self._partial) >= f.HEADER_BYTES:
            high, low, kind, flags, stream = f.head.unpack_from(self._partial)
            end = f.HEADER_BYTES + (high << 16 | low)
            if len(self._partial) < end:
                break
            body, self._partial = self._partial[f.HEADER_BYTES : end], self._partial[end:]
            self._sent(kind, flags, stream & f.WINDOW_BYTES_MAX, body)

    def _sent(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == f.HEADERS and stream not in self._streams:
            self._streams[stream] = self._initial
        elif kind == f.WINDOW_UPDATE and len(body) == 4:
            more = int.from_bytes(body) & f.WINDOW_BYTES_MAX
            if not stream:
                self._connection += more
            elif stream in self._streams:
                self._streams[stream] += more
        elif kind == f.SETTINGS and not flags & f.ACK and not len(body) % 6:
            for name, value in struct.iter_unpack("!HI", body):
                if name == f.INITIAL_WINDOW_SIZE and value <= f.WINDOW_BYTES_MAX:
                    for each in self._streams:
                        self._streams[each] += value - self._initial
                    self._initial = value
                elif name == f.MAX_FRAME_SIZE:
                    self._frame_bytes = max(self._frame_bytes, value)

    async def read(self) -> None:
        """Check everything the server has sent since the last time."""
        for _ in range(8):
            await asyncio.sleep(0)
        data = b"".join(self.talk.wire.written)
        self.talk.wire.written.clear()
        while data:
            assert len(data) >= f.HEADER_BYTES, "half a frame"
            high, low, kind, flags, stream = f.head.unpack_from(data)
            length = high << 16 | low
            assert len(data) >= f.HEADER_BYTES + length, "half a frame"
            body = data[f.HEADER_BYTES : f.HEADER_BYTES + length]
            data = data[f.HEADER_BYTES + length :]
            assert length <= self._frame_bytes, f"a frame of {length} bytes"
            self._received(kind, flags, stream, body)

    def _received(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        assert kind in SERVERS_FRAMES, f"a frame of type {kind}"
        assert not self.failed, "a frame after an error"
        if kind == f.GOAWAY:
            self.failed = int.from_bytes(body[4:8]) != f.NO_ERROR
            return
        if kind in (f.DATA, f.HEADERS):
            assert stream in self._streams, f"stream {stream} was never opened"
            assert stream not in self._ended, f"a frame after the end of stream {stream}"
        if kind == f.HEADERS:
            self._decoder.decode(body)
        elif kind == f.DATA:
            self._streams[stream] -= len(body)
            self._connection -= len(body)
            assert not body or self._streams[stream] >= 0, "beyond the stream's window"
            assert self._connection >= 0, "beyond the connection's window"
        if kind in (f.DATA, f.HEADERS) and flags & f.END_STREAM:
            self._ended.add(stream)


class Conversation:
    """Draws what a client sends: valid frames, and with the chance `wrong` something else.

    Half of the conversations have no errors, so that they become long; most others have few.
    """

    def __init__(self, draw: random.Random, talk: Talk) -> None:
        self.draw = draw
        self.talk = talk
        self.stream = -1
        self.open: list[int] = []  # requests that have not ended
        self.wrong = draw.choice((0.0, 0.0, 0.0, 0.01, 0.03, 0.3))

    def _errs(self) -> bool:
        return self.draw.random() < self.wrong

    def step(self) -> bytes:
        """Return the bytes of the next step."""
        ways = (self._call, self._call, self._call, self._data, self._data, self._window)
        ways += (self._window, self._settings, self._control, self._headers, self._frame)
        data = self.draw.choice(ways)()
        if self._errs():
            way = self.draw.randrange(3)
            if way == 0 and data:
                data = bytearray(data)
                data[self.draw.randrange(len(data))] = self.draw.randrange(256)
            elif way == 1:
                data = data[: self.draw.randrange(len(data) + 1)]
            else:
                data += self.draw.randbytes(self.draw.randrange(40))
        return bytes(data)

    def _opened(self) -> int:
        """Return a stream that was opened, whatever has become of it; 0 before any was."""
        if self._errs():
            return self.draw.randrange(self.stream + 6)
        return max(0, self.stream - 2 * self.draw.randrange(4))

    def _call(self) -> bytes:
        self.stream += 2
        self.open.append(self.stream)
        head = self.talk.head(self.stream, self.draw.choice(PATHS))
        return head + self._message(self.stream)

    def _message(self, stream: int) -> bytes:
        draw = self.draw
        text = str(draw.choice((0, 1, 9, 300, 70_000))).encode()
        if draw.random() < 0.2:
            text = draw.choice((b"garbage", b"x" * LIMIT, b"1" * (LIMIT + 1)))
        whole = struct.pack("!BI", draw.random() < 0.02, len(text)) + text
        end = f.END_STREAM if draw.random() < 0.6 else 0
        if end and stream in self.open:
            self.open.remove(stream)
        cut = draw.randrange(len(whole) + 1)
        if draw.random() < 0.3:
            padding = draw.randrange(256)
            padded = bytes([padding]) + whole[cut:] + bytes(padding)
            rest = f.frame(f.DATA, end | f.PADDED, stream, padded)
        else:
            rest = f.frame(f.DATA, end, stream, whole[cut:])
        return f.frame(f.DATA, 0, stream, whole[:cut]) + rest

    def _data(self) -> bytes:
        if self._errs():
            return self._message(self._opened())
        return self._message(self.draw.choice(self.open)) if self.open else b""

    def _window(self) -> bytes:
        more = self.draw.choice((1, 50, 5_000, 70_000, 1 << 20))
        if self._errs():
            more = self.draw.choice((0, f.WINDOW_BYTES_MAX))
        return f.window_update(self.draw.choice((0, self._opened())), more)

    def _settings(self) -> bytes:
        draw = self.draw
        pairs = []
        for _ in range(draw.randrange(3)):
            name = draw.choice((1, 2, 3, 4, 4, 4, 5, 6, 9))
            values = {1: (0, 4096), 2: (0, 1), 4: (0, 1, 100, 70_000), 5: (16_384, 20_000)}
            value = draw.choice(values.get(name, (0, 100)))
            pairs.append((name, draw.randrange(1 << 32) if self._errs() else value))
        return f.settings(*pairs)

    def _control(self) -> bytes:
        draw = self.draw
        if draw.random() < 0.1:
            return self._rapid_reset()
        reset = self._opened()
        if not reset and not self._errs():
            return b""
        if reset in self.open and draw.random() < 0.5:
            self.open.remove(reset)  # or data goes on coming, as it may while a reset is under way
        return draw.choice(
            (
                f.reset(reset, draw.randrange(14)),
                f.frame(f.PING, draw.choice((0, f.ACK)), 0, bytes(8)),
                f.frame(f.SETTINGS, f.ACK, 0, b""),
                f.frame(f.PRIORITY, 0, max(1, self._opened()), bytes(5)),
                f.frame(draw.randrange(0xA, 256), draw.randrange(256), self._opened(), bytes(3)),
                f.goaway(0, 0, "bye"),
            )
        )

    def _rapid_reset(self) -> bytes:
        """Return many calls that are given up at once."""
        data = b""
        for _ in range(2 * MAX_STREAMS):
            self.stream += 2
            data += self.talk.head(self.stream, "/stream") + f.reset(self.stream, 8)
        return data

    def _headers(self) -> bytes:
        """Return a request's headers, or its trailers, in two frames."""
        draw = self.draw
        fields = [*HEADERS, (":path", "/echo")]
        fields.sort(key=lambda field: field[0][0] != ":")
        stream, end = self.stream + 2, draw.choice((0, f.END_STREAM))
        if self.open and draw.random() < 0.3:
            stream, end, fields = self.open.pop(), f.END_STREAM, [("x-trailer", "1")]
        else:
            self.stream = stream
            if not end:
                self.open.append(stream)
        if self._errs():
            fields += draw.choices(FIELDS, k=draw.randrange(4))
        block = self.talk.encoder.encode(fields)
        if self._errs():
            block += draw.randbytes(draw.randrange(1, 30))
        cut = draw.randrange(len(block)) if block else 0
        return f.frame(f.HEADERS, end, stream, block[:cut]) + f.frame(
            f.CONTINUATION, f.END_HEADERS, stream, block[cut:]
        )

    def _frame(self) -> bytes:
        """Return a frame of any kind, or nothing."""
        draw = self.draw
        if not self._errs():
            return b""
        if self.open and draw.random() < 0.3:  # more than any window allows
            return 100 * f.frame(f.DATA, 0, self.open[0], struct.pack("!BI", 0, 900) + b"0" * 900)
        length = draw.choice((0, 1, 4, 5, 6, 8, 12, 100))
        return f.frame(
            draw.randrange(11), draw.randrange(256), self._opened(), draw.randbytes(length)
        )


async def case(seed: int) -> None:
    """Run one conversation; raises AssertionError where a rule is broken."""
    draw = random.Random(seed)
    talk = Talk(Limits(max_streams=MAX_STREAMS, pinged_s_min=draw.choice((0.0, 0.0, 5.0))))
    client = Client(talk)
    conversation = Conversation(draw, talk)
    client.say(f.PREFACE + f.settings((f.INITIAL_WINDOW_SIZE, draw.choice((0, 10, 70_000)))))
    for _ in range(STEPS):
        await client.read()
        if talk.wire.closed:
            break
        data = conversation.step()
        cut = draw.randrange(len(data) + 1)
        client.say(data[:cut])
        client.say(data[cut:])
        if draw.random() < 0.05:
            talk.connection.pause_writing()
        elif draw.random() < 0.3:
            talk.connection.resume_writing()
        _check_bounds(talk)
    await client.read()
    assert client.failed or not talk.wire.closed, "closed without a reason"
    talk.connection.connection_lost(None)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not talk.connection.calls, "calls of a lost connection"
    left = talk.connection._serving  # noqa: SLF001
    assert left == 0, f"{left} handlers of a lost connection"


def _check_bounds(talk: Talk) -> None:
    connection = talk.connection
    buffered = len(connection._buffer)  # noqa: SLF001
    assert buffered < f.HEADER_BYTES + f.FRAME_BYTES, f"{buffered} bytes of one frame"
    assert len(connection.calls) <= MAX_STREAMS, f"{len(connection.calls)} calls"
    serving = connection._serving  # noqa: SLF001
    assert serving <= MAX_STREAMS, f"{serving} handlers"
    window = LIMIT + WINDOW_SLACK_BYTES
    for call in connection.calls.values():
        held = len(call._buffer) + sum(size for _, size in call._messages)  # noqa: SLF001
        assert held <= window, f"{held} bytes held for stream {call.stream}"


def main() -> None:
    """Run cases until the time is up."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    seed = first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        try:
            asyncio.run(case(seed))
        except Exception:  # noqa: BLE001 - whatever it is, it is a finding
            traceback.print_exc()
            print(f"seed {seed}")
            raise SystemExit(1) from None
        seed += 1
    print(f"{seed - first} conversations, no rule broken")


if __name__ == "__main__":
    main()
