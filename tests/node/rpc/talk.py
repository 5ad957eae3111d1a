"""A client that speaks HTTP/2 to a connection without a socket, and hears in text."""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Self

import grpc
import hpack

from node.rpc import Aborted, Call, Limits, Method, Server
from node.rpc import frames as f
from node.rpc.connection import Connection

LIMIT = 1000
HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "node"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)
NAMES = {
    f.DATA: "DATA", f.HEADERS: "HEADERS", f.RST_STREAM: "RST_STREAM", f.SETTINGS: "SETTINGS",
    f.PING: "PING", f.GOAWAY: "GOAWAY", f.WINDOW_UPDATE: "WINDOW_UPDATE",
}  # fmt: skip


class Bytes(bytes):
    """A message that is its own encoding; all but one is valid."""

    def __new__(cls, data: bytes) -> Self:
        if data == b"garbage":
            raise ValueError(data)
        return super().__new__(cls, data)

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return bytes(self)


class Wire(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.extra: dict[str, Any] = {}
        super().__init__(self.extra)
        self.written: list[bytes] = []
        self.closed = False
        self.room_bytes = 1 << 40
        self.protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))
        self.room_bytes -= len(data)
        if self.room_bytes < 0:
            self.protocol.pause_writing()

    def close(self) -> None:
        self.closed = True

    abort = close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class Talk:
    """One connection to a server with four methods.

    /echo answers with its message, /refuse with a status, /wait waits for ever, /stream answers
    every message with as many bytes as the message says.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.cancelled: list[int] = []
        self.taken: list[bytes] = []
        methods = {
            "/echo": Method(Bytes, self._echo, False, LIMIT),
            "/refuse": Method(Bytes, self._refuse, False, LIMIT),
            "/wait": Method(Bytes, self._wait, False, LIMIT),
            "/stream": Method(Bytes, self._stream, True, LIMIT),
        }
        self.server = Server(methods, LIMIT, limits)
        self.wire = Wire()
        self.connection = Connection(self.server)
        self.wire.protocol = self.connection
        self.connection.connection_made(self.wire)
        self.encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self.writes = 0  # that it took to say what was heard last

    async def _echo(self, message: Bytes, call: Call) -> Bytes:
        return message

    async def _refuse(self, message: Bytes, call: Call) -> Bytes:
        raise Aborted(grpc.StatusCode.NOT_FOUND, message.decode())

    async def _wait(self, message: Bytes, call: Call) -> Bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(call.stream)
            raise
        return message

    async def _stream(self, requests: Any, call: Call) -> None:
        try:
            async for message in requests:
                self.taken.append(bytes(message))
                await call.write(Bytes(b"x" * int(message)))
        except asyncio.CancelledError:
            self.cancelled.append(call.stream)
            raise

    def say(self, *frames: bytes) -> None:
        """Send bytes as they are."""
        self.connection.data_received(b"".join(frames))

    def greet(self, *settings: tuple[int, int]) -> None:
        self.say(f.PREFACE, f.settings(*settings))

    def head(self, stream: int, path: str, flags: int = f.END_HEADERS, *more: Any) -> bytes:
        block = self.encoder.encode([*HEADERS[:2], (":path", path), *HEADERS[2:], *more])
        return f.frame(f.HEADERS, flags, stream, block)

    def message(self, stream: int, text: bytes, flags: int = f.END_STREAM) -> bytes:
        return f.frame(f.DATA, flags, stream, struct.pack("!BI", 0, len(text)) + text)

    def call(self, stream: int, path: str, text: bytes = b"hello") -> None:
        self.say(self.head(stream, path), self.message(stream, text))

    async def hear(self) -> list[str]:
        """Return what was answered since the last time, a line a frame."""
        for _ in range(20):  # turns of the loop: whatever can go on goes on
            await asyncio.sleep(0)
        data = b"".join(self.wire.written)
        self.writes = len(self.wire.written)
        self.wire.written.clear()
        lines = []
        while data:
            high, low, kind, flags, stream = f.head.unpack_from(data)
            length = high << 16 | low
            body, data = data[9 : 9 + length], data[9 + length :]
            lines.append(self._line(kind, flags, stream, body))
        return lines

    def _line(self, kind: int, flags: int, stream: int, body: bytes) -> str:
        words = [NAMES[kind], str(stream)]
        if kind == f.HEADERS:
            words += [f"{name}={value}" for name, value in self._decoder.decode(body)]
        elif kind == f.DATA:
            words.append(f"{len(body)} bytes" if len(body) > 20 else repr(body)[1:])
        elif kind in (f.RST_STREAM, f.WINDOW_UPDATE):
            words.append(str(int.from_bytes(body)))
        elif kind == f.GOAWAY:
            last, code = struct.unpack("!II", body[:8])
            words = [f"GOAWAY last={last} code={code} {body[8:].decode()}".rstrip()]
        elif kind == f.SETTINGS and flags & f.ACK:
            words.append("ack")
        if kind in (f.HEADERS, f.DATA) and flags & f.END_STREAM:
            words.append("end")
        return " ".join(words)
