"""Load for a system that speaks etcd's gRPC, with as little processor time as Python allows.

    python -m bench.load put|get ENDPOINT,... [--clients 64] [--seconds 3 | --count 60000]

A client is a closed loop: one call at a time, the next after the answer. Clients share one
connection to each endpoint and are assigned to them in turn; a single client changes the endpoint
with each call. Gets are linearizable. A grpc client costs more than the systems measured here, so
HTTP/2 is written directly: a request is two constant frames with a key between, and only the status
of an answer is read. It runs in a process of its own and prints one JSON object, with its own CPU
time, which shows that it was not the limit.

Keys are 10 000 in a fixed order, values 256 bytes. A call that is not answered OK ends the
measurement.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import time
from collections.abc import Callable

import hpack

KEYS = 10_000
VALUE = bytes(range(256))
PATHS = {"put": "/etcdserverpb.KV/Put", "get": "/etcdserverpb.KV/Range"}
ANSWER_TIMEOUT_S = 20.0

# HTTP/2, RFC 9113.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8, 0x9,
)  # fmt: skip
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW_SIZE = 0x1, 0x2, 0x4
CANCEL = 0x8
WINDOW_BYTES = 65_535
WINDOW_BYTES_MAX = (1 << 31) - 1
FRAME_HEADER_BYTES = 9

Done = Callable[[str], None]
"""Called with the error of a call, empty when it was answered OK."""


class CallError(Exception):
    """A call was not answered OK."""


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """Return an HTTP/2 frame."""
    return struct.pack("!I", len(body))[1:] + struct.pack("!BBI", kind, flags, stream) + body


def body(op: str, number: int) -> bytes:
    """Return a PutRequest or a RangeRequest as a gRPC message, shorter than 16 KiB."""
    key = b"load/%08d" % (number % KEYS)
    message = b"\x0a" + bytes((len(key),)) + key
    if op == "put":
        message += b"\x12\x80\x02" + VALUE
    return struct.pack("!BI", 0, len(message)) + message


class Connection(asyncio.Protocol):
    """One HTTP/2 connection; `call` begins a call and calls `done` at its end."""

    def __init__(self, authority: str) -> None:
        self.calls: dict[int, Done] = {}
        self.failure = ""
        self._authority = authority
        self._heads: dict[str, bytes] = {}
        self._statuses: dict[bytes, str] = {}
        self._buffer = b""
        self._stream = 1
        self._window = WINDOW_BYTES
        self._received = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        settings = ((HEADER_TABLE_SIZE, 0), (ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, 1 << 24))
        self._write(
            PREFACE
            + frame(SETTINGS, 0, 0, b"".join(struct.pack("!HI", *each) for each in settings))
            + frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", WINDOW_BYTES_MAX - WINDOW_BYTES))
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"connection lost: {exc or 'closed'}")

    def close(self) -> None:
        """Close the connection; open calls end with an error."""
        if self._transport is not None:
            self._transport.close()
        self._fail("closed here")

    def call(self, path: str, data: bytes, done: Done) -> int:
        """Begin a call and return its stream; `done` is not called before this returns."""
        if self.failure or self._transport is None:
            asyncio.get_running_loop().call_soon(done, self.failure or "not connected")
            return 0
        stream = self._stream
        self._stream += 2
        self._window -= len(data)
        assert self._window >= 0, "the server grants no window for a few small requests"
        self.calls[stream] = done
        head = self._heads.get(path)
        if head is None:
            head = self._heads[path] = self._head(path)
        flags = HEADERS << 8 | END_HEADERS
        self._write(
            struct.pack("!BHHI", len(head) >> 16, len(head) & 0xFFFF, flags, stream)
            + head
            + struct.pack("!BHHI", 0, len(data), DATA << 8 | END_STREAM, stream)
            + data
        )
        return stream

    def cancel(self, stream: int) -> None:
        """Cancel a call; its `done` is not called any more."""
        if self.calls.pop(stream, None) is not None:
            self._write(frame(RST_STREAM, 0, stream, struct.pack("!I", CANCEL)))

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def _head(self, path: str) -> bytes:
        fields = [
            (":method", "POST"), (":scheme", "http"), (":path", path),
            (":authority", self._authority), ("te", "trailers"),
            ("content-type", "application/grpc"), ("user-agent", "squall-bench"),
        ]  # fmt: skip
        # Never indexed, so that the block is the same for every call.
        return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields])

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        start, end = 0, len(buffer)
        while end - start >= FRAME_HEADER_BYTES:
            high, low, kind, flags, stream = struct.unpack_from("!BHBBI", buffer, start)
            length = high << 16 | low
            if end - start < FRAME_HEADER_BYTES + length:
                break
            start += FRAME_HEADER_BYTES
            if kind == HEADERS:
                if flags & END_STREAM:
                    self._end(stream, buffer[start : start + length])
            elif kind == DATA:
                self._received += length
            else:
                self._control(kind, flags, stream, buffer[start : start + length])
            start += length
        self._buffer = buffer[start:]
        if self._received > 1 << 24:
            self._write(frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", self._received)))
            self._received = 0

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE and not stream:
            self._window += struct.unpack("!I", payload)[0]
        elif kind == SETTINGS and not flags & ACK:
            self._write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._write(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            self._done(stream, f"stream reset: {payload.hex()}")
        elif kind in (GOAWAY, CONTINUATION):
            self._fail(f"unexpected frame of type {kind}: {payload[:80]!r}")

    def _end(self, stream: int, block: bytes) -> None:
        status = self._statuses.get(block)
        if status is None:
            fields = dict(hpack.Decoder().decode(block))
            status = "" if fields.get("grpc-status") == "0" else str(fields)
            self._statuses[block] = status
        self._done(stream, status)

    def _done(self, stream: int, status: str) -> None:
        done = self.calls.pop(stream, None)
        if done is not None:
            done(status)

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        calls, self.calls = self.calls, {}
        for done in calls.values():
            done(self.failure)


async def connect(endpoint: str) -> Connection:
    """Return a connection to host:port; raises OSError."""
    host, _, port = endpoint.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(endpoint), host, int(port))
    return connection


class Load:
    """Closed loops over connections until the time is up or the count is reached."""

    def __init__(self, op: str, connections: list[Connection], seconds: float, count: int) -> None:
        self.latencies_s: list[float] = []
        self._op = op
        self._path = PATHS[op]
        self._connections = connections
        self._until_s = time.perf_counter() + seconds if seconds else float("inf")
        self._count = count or (1 << 62)
        self._begun = int.from_bytes(os.urandom(2)) if seconds else 0  # not always the same keys
        self._last = self._begun + self._count
        self._running = 0
        self._alone = False
        self._finished = asyncio.get_running_loop().create_future()

    async def run(self, clients: int) -> float:
        """Run to the end; returns the seconds it took. Raises CallError."""
        began_s = time.perf_counter()
        self._running = clients
        self._alone = clients == 1
        for number in range(clients):
            self._next(number)
        await self._finished
        return time.perf_counter() - began_s

    def _next(self, client: int) -> None:
        began_s = time.perf_counter()
        if began_s >= self._until_s or self._begun >= self._last:
            self._running -= 1
            if not self._running and not self._finished.done():
                self._finished.set_result(None)
            return
        number = self._begun
        self._begun += 1
        # A single client changes the endpoint with each call; of several each keeps its own.
        where = number if self._alone else client
        connection = self._connections[where % len(self._connections)]

        def done(error: str) -> None:
            if error:
                if not self._finished.done():
                    self._finished.set_exception(CallError(error))
                return
            self.latencies_s.append(time.perf_counter() - began_s)
            self._next(client)

        connection.call(self._path, body(self._op, number), done)


async def measure(words: argparse.Namespace) -> dict[str, float]:
    connections = [await connect(endpoint) for endpoint in words.endpoints.split(",")]
    load = Load(words.op, connections, words.seconds, words.count)
    cpu_s = time.process_time()
    async with asyncio.timeout(None if words.count else words.seconds + ANSWER_TIMEOUT_S):
        seconds = await load.run(words.clients)
    cpu_s = time.process_time() - cpu_s
    for connection in connections:
        connection.close()
    latencies_s = sorted(load.latencies_s)
    return {
        "ops": len(latencies_s),
        "seconds": seconds,
        "p50_s": latencies_s[len(latencies_s) // 2],
        "p99_s": latencies_s[len(latencies_s) * 99 // 100],
        "max_s": latencies_s[-1],
        "cpu_s": cpu_s,
    }


def main() -> None:
    asked = argparse.ArgumentParser(description="Load an etcd-like system and measure it.")
    asked.add_argument("op", choices=sorted(PATHS))
    asked.add_argument("endpoints", help="host:port, separated by commas")
    asked.add_argument("--clients", type=int, default=64)
    asked.add_argument("--seconds", type=float, default=3.0)
    asked.add_argument("--count", type=int, default=0, help="calls, instead of seconds")
    words = asked.parse_args()
    if words.count:
        words.seconds = 0.0
    print(json.dumps(asyncio.run(measure(words))))


if __name__ == "__main__":
    main()
