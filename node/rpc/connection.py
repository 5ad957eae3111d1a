"""One HTTP/2 connection of a client (RFC 9113): framing, streams, flow control in both directions.

Receive windows: the connection's is given back as data arrives, a stream's as its handler takes
messages. So a slow stream never blocks another one, and memory is bounded by streams times window.
Send windows: what does not fit a window or the socket's buffer waits at its call. A stream counts
against the concurrency limit until its handler has ended and its answer is sent, so a client gains
no capacity by resetting streams (CVE-2023-44487) or by giving no window (CVE-2019-9517).

A client that does not begin with HTTP/2's preface is passed to the server's other protocol, if
there is one, so that HTTP/1.1 is served at the same port at no cost to gRPC. Therefore nothing is
sent before the client's first bytes.

Every violation of the protocol ends the connection with a GOAWAY that names it; where section 5.4
asks for a stream error, the connection ends as well. So does a client that pings too often or lets
control frames pile up.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, cast

from squall.node.rpc import frames, headers
from squall.node.rpc.call import Call, Method
from squall.node.rpc.frames import ProtocolError
from squall.node.rpc.headers import HeadReader
from squall.node.rpc.keepalive import Keepalive
from squall.node.rpc.limits import Limits
from squall.node.rpc.pages import Pages, response_frames

WINDOW_SLACK_BYTES: Final = 64 * 1024
"""A stream's receive window is the longest message and this."""
CONNECTION_WINDOW_BYTES: Final = 16 << 20
MAX_WAITING_BYTES: Final = 4 << 20
"""Bytes of control frames that may wait for a client that does not read."""
WRITE_BUFFER_BYTES: Final = 256 * 1024
MAX_PING_STRIKES: Final = 2

_BEGIN_LENGTH: Final = len(headers.BEGIN)
_END_LENGTH: Final = len(headers.END_OK)


class Owner(Protocol):
    """What a connection needs of the server that accepted it."""

    limits: Limits
    max_message_bytes: int
    other: Callable[[], asyncio.Protocol] | None
    pages: Pages | None
    connections: set[Connection]

    def method(self, path: str) -> Method:
        """Return how a path is served."""
        ...

    def served(self) -> None:
        """Note that a call has ended."""
        ...


class Connection(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, server: Owner) -> None:
        self.calls: dict[int, Call] = {}
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._preface_seen = False
        self._keepalive = Keepalive(self._loop, server.limits, self._send, self.abort)
        self._reader = HeadReader()
        self._expected: int | None = frames.SETTINGS  # the only type that may come next
        self._block: tuple[int, int, bytearray] | None = None  # of an incomplete HEADERS frame
        self._last_stream = 0
        self._serving = 0
        self._send_window = frames.WINDOW_BYTES  # bytes that may be sent
        self._initial_send_window = frames.WINDOW_BYTES  # of a new stream
        self._initial_receive_window = (
            server.max_message_bytes + WINDOW_SLACK_BYTES
        )  # of a new stream
        self._frame_bytes = frames.FRAME_BYTES
        self._received = 0  # since the last WINDOW_UPDATE for the connection
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._paused = False
        self._closing = False
        self._page_tasks: set[asyncio.Task[None]] = set()
        self._pages: dict[int, int] = {}  # send windows of streams that wait for a page
        self._waiting: dict[Call, None] = {}  # have output that a window or the socket holds back
        self._pinged_s = float("-inf")
        self._strikes = 0

    # Lifecycle.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's preface."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is duck-typed
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop all calls."""
        del exc
        self._transport = None
        self._server.connections.discard(self)
        self._keepalive.end()
        self._waiting.clear()
        for task in self._page_tasks:
            task.cancel()
        calls, self.calls = self.calls, {}
        for call in calls.values():
            call.drop()

    def _begin(self) -> None:
        """Send this side's SETTINGS and the connection's receive window (section 3.4)."""
        self._preface_seen = True
        self._keepalive.begin()
        settings = (
            (frames.MAX_CONCURRENT_STREAMS, self._limits.max_streams),
            (frames.INITIAL_WINDOW_SIZE, self._initial_receive_window),
            (frames.MAX_HEADER_LIST_SIZE, headers.LIST_BYTES_MAX),
        )
        more = CONNECTION_WINDOW_BYTES - frames.WINDOW_BYTES
        self._send(frames.settings(*settings) + frames.window_update(0, more))

    def _switch_protocol(self, other: asyncio.Protocol, data: bytes) -> None:
        """Pass the connection, from its first byte, to another protocol."""
        transport, self._transport = self._transport, None
        assert transport is not None
        self._server.connections.discard(self)
        self._keepalive.end()
        transport.set_protocol(other)
        other.connection_made(transport)
        other.data_received(data)

    def go_away(self, code: int = frames.NO_ERROR, text: str = "") -> None:
        """Send GOAWAY: calls in progress go on, new ones are ignored (section 6.8)."""
        self._closing = True
        self._send(frames.goaway(self._last_stream, code, text))

    def abort(self) -> None:
        """Close the connection once everything sent so far is written."""
        self._flush()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Return the common names in the client's verified certificate, under gRPC's key."""
        if self._transport is None:
            return {}
        certificate = self._transport.get_extra_info("peercert") or {}
        names = [
            value.encode()
            for part in certificate.get("subject", ())
            for name, value in part
            if name == "commonName"
        ]
        return {"x509_common_name": names}

    # Received frames.

    def data_received(self, data: bytes) -> None:
        """Process every complete frame; ends the connection on a protocol error."""
        self._keepalive.received = True
        buffer = self._buffer + data if self._buffer else data
        start, end = 0, len(buffer)
        try:
            if not self._preface_seen:
                start = len(frames.PREFACE)
                if buffer[:start] != frames.PREFACE[:end]:
                    if self._server.other is None:
                        raise ProtocolError(frames.PROTOCOL_ERROR, "this is not HTTP/2")
                    self._switch_protocol(self._server.other(), buffer)
                    return
                if end < start:
                    self._buffer = buffer
                    return
                self._begin()
            while end - start >= frames.HEADER_BYTES:
                high, low, kind, flags, stream = frames.head.unpack_from(buffer, start)
                length = high << 16 | low
                if length > frames.FRAME_BYTES:
                    raise ProtocolError(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
                begin = start + frames.HEADER_BYTES
                if end - begin < length:
                    break
                start = begin + length
                self._frame(kind, flags, stream & frames.WINDOW_BYTES_MAX, buffer[begin:start])
        except ProtocolError as error:
            self.go_away(error.code, str(error))
            self.abort()
            self._buffer = b""
            return
        self._buffer = buffer[start:]

    def _frame(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if self._expected is not None and kind != self._expected:
            interrupted = self._expected == frames.CONTINUATION
            text = "a header block was interrupted" if interrupted else "SETTINGS must come first"
            raise ProtocolError(frames.PROTOCOL_ERROR, text)
        if kind == frames.DATA:
            self._on_data(flags, stream, body)
        elif kind == frames.HEADERS:
            if flags & (frames.PADDED | frames.PRIORITISED):
                body = frames.unpadded(body, flags)
            if flags & frames.END_HEADERS:
                self._on_headers(flags, stream, body)
            else:
                self._expected = frames.CONTINUATION
                self._block = (flags, stream, bytearray(body))
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(stream, frames.number(body))
        elif kind == frames.SETTINGS:
            _expect(stream == 0, frames.PROTOCOL_ERROR, "SETTINGS are of no stream")
            self._expected = None
            if not flags & frames.ACK:
                self._on_settings(body)
            elif body:
                raise ProtocolError(frames.FRAME_SIZE_ERROR, "a SETTINGS ack with a body")
        elif kind == frames.PING:
            _expect(stream == 0, frames.PROTOCOL_ERROR, "a PING is of no stream")
            _expect(len(body) == 8, frames.FRAME_SIZE_ERROR, "a PING of the wrong length")
            if not flags & frames.ACK:
                self._on_ping(body)
        elif kind == frames.RST_STREAM:
            self._on_reset(stream, body)
        elif kind == frames.CONTINUATION:
            self._on_continuation(flags, stream, body)
        elif kind == frames.PUSH_PROMISE:
            raise ProtocolError(frames.PROTOCOL_ERROR, "a client cannot push")
        elif kind == frames.PRIORITY:
            _expect(stream != 0, frames.PROTOCOL_ERROR, "a PRIORITY of no stream")
            _expect(len(body) == 5, frames.FRAME_SIZE_ERROR, "a PRIORITY of the wrong length")
        elif kind == frames.GOAWAY:
            _expect(stream == 0, frames.PROTOCOL_ERROR, "a GOAWAY is of no stream")
            _expect(len(body) >= 8, frames.FRAME_SIZE_ERROR, "a GOAWAY of the wrong length")
        # Frames of unknown types are ignored (section 5.5).

    def _expect_known(self, stream: int) -> None:
        if self._closing:
            return  # streams above the last one in our GOAWAY are not tracked
        if not stream or stream > self._last_stream:
            raise ProtocolError(frames.PROTOCOL_ERROR, f"stream {stream} was never opened")

    def _on_reset(self, stream: int, body: bytes) -> None:
        _expect(len(body) == 4, frames.FRAME_SIZE_ERROR, "a RST_STREAM of the wrong length")
        self._expect_known(stream)
        self._pages.pop(stream, None)
        call = self.calls.pop(stream, None)
        if call is not None:
            self._waiting.pop(call, None)
            call.drop()

    def _on_continuation(self, flags: int, stream: int, body: bytes) -> None:
        if self._block is None or self._block[1] != stream:
            raise ProtocolError(frames.PROTOCOL_ERROR, "a continuation of nothing")
        first_flags, _, block = self._block
        block += body
        last = flags & frames.END_HEADERS
        # An empty frame that does not end the block adds nothing: any number of them would cost
        # time and reach no limit (CVE-2024-27316).
        if len(block) > headers.BLOCK_BYTES_MAX or not (body or last):
            raise ProtocolError(frames.ENHANCE_YOUR_CALM, "headers without end")
        if last:
            self._block = self._expected = None
            self._on_headers(first_flags, stream, bytes(block))

    def _on_headers(self, flags: int, stream: int, block: bytes) -> None:
        head = self._reader.read(block)
        if not stream % 2:
            raise ProtocolError(frames.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if stream <= self._last_stream:
            self._on_trailers(flags, stream, head)
            return
        if self._closing:
            return  # above the last stream in our GOAWAY
        self._last_stream = stream
        # A handler may have ended and its answer wait for window, or its stream be reset before it
        # has ended: each of the two holds memory, so each is bounded (CVE-2019-9517).
        if max(self._serving, len(self.calls)) >= self._limits.max_streams:
            self._send(frames.reset(stream, frames.REFUSED_STREAM))
            return
        if head.method != "POST" or not head.content_type.startswith("application/grpc"):
            self._on_page_request(stream, head)
            return
        method = self._server.method(head.path)
        self._serving += 1
        call = self.calls[stream] = Call(
            self, stream, head, method, self._initial_send_window, self._initial_receive_window
        )
        if flags & frames.END_STREAM:
            call.receive(b"", True)

    def _on_trailers(self, flags: int, stream: int, head: headers.Head) -> None:
        """End a request by trailers (section 8.1). gRPC's requests have none, so none is kept."""
        call = self.calls.get(stream)
        if call is None:
            return  # its stream was reset, or answered before the request ended
        if call.input_ended:
            raise ProtocolError(frames.STREAM_CLOSED, f"headers on stream {stream} after its end")
        if not flags & frames.END_STREAM or head.method or head.path:
            raise ProtocolError(frames.PROTOCOL_ERROR, "trailers that are none")
        call.receive(b"", True)

    def _on_page_request(self, stream: int, head: headers.Head) -> None:
        """Answer a request that is not gRPC, as etcd does where TLS chose HTTP/2."""
        _expect(bool(head.method), frames.PROTOCOL_ERROR, "a request without a method")
        transport = self._transport
        secure = transport is not None and transport.get_extra_info("sslcontext") is not None
        if self._server.pages is None or not secure:
            whole = frames.END_HEADERS | frames.END_STREAM
            self._send(frames.frame(frames.HEADERS, whole, stream, headers.NOT_GRPC))
            return
        self._serving += 1
        self._pages[stream] = self._initial_send_window
        task = self._loop.create_task(self._page(stream, self._server.pages, head))
        self._page_tasks.add(task)
        task.add_done_callback(self._page_tasks.discard)

    async def _page(self, stream: int, answer: Pages, head: headers.Head) -> None:
        try:
            page = await answer(head.method, head.path)
        except Exception:
            if self._pages.pop(stream, None) is not None:
                self._send(frames.reset(stream, frames.INTERNAL_ERROR))
            raise
        finally:
            self._serving -= 1
        window = self._pages.pop(stream, None)
        if window is None:
            return  # the client has reset the stream
        data, used = response_frames(stream, page, min(self._send_window, window))
        self._send_window -= used
        self._send(data)

    def _on_data(self, flags: int, stream: int, body: bytes) -> None:
        self._received += len(body)
        if self._received >= CONNECTION_WINDOW_BYTES // 2:
            self._send(frames.window_update(0, self._received))
            self._received = 0
        call = self.calls.get(stream)
        if call is None:
            self._expect_known(stream)
            return  # reset, or answered before the request ended; its data is discarded
        if call.input_ended:
            raise ProtocolError(frames.STREAM_CLOSED, f"data on stream {stream} after its end")
        call.receive_window -= len(body)
        if call.receive_window < 0:
            text = f"more data on stream {stream} than its window allows"
            raise ProtocolError(frames.FLOW_CONTROL_ERROR, text)
        if flags & frames.PADDED:
            whole = len(body)
            body = frames.unpadded(body, flags & frames.PADDED)
            self.consumed(call, whole - len(body))
        call.receive(body, bool(flags & frames.END_STREAM))

    def _on_settings(self, body: bytes) -> None:
        for name, value in frames.settings_of(body):
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.WINDOW_BYTES_MAX:
                    raise ProtocolError(frames.FLOW_CONTROL_ERROR, "a window beyond the largest")
                self._resize(value - self._initial_send_window)
                self._initial_send_window = value
            elif name == frames.ENABLE_PUSH:
                _expect(value <= 1, frames.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.FRAME_BYTES <= value <= frames.FRAME_BYTES_MAX:
                    raise ProtocolError(frames.PROTOCOL_ERROR, "no size for a frame")
                self._frame_bytes = value
        self._send(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        self._pump_waiting()

    def _resize(self, more: int) -> None:
        """Change the send windows of all open streams (section 6.9.2); they may become negative."""
        for call in self.calls.values():
            call.send_window = _checked_window(call.send_window + more)
        for stream, window in self._pages.items():
            self._pages[stream] = _checked_window(window + more)

    def _on_window_update(self, stream: int, more: int) -> None:
        if not more:
            raise ProtocolError(frames.PROTOCOL_ERROR, "a window update of nothing")
        if not stream:
            self._send_window = _checked_window(self._send_window + more)
            self._pump_waiting()
            return
        call = self.calls.get(stream)
        if call is None:
            self._expect_known(stream)
            if stream in self._pages:
                self._pages[stream] = _checked_window(self._pages[stream] + more)
            return
        call.send_window = _checked_window(call.send_window + more)
        if call in self._waiting:
            self.pump(call)

    def _on_ping(self, body: bytes) -> None:
        now_s = time.monotonic()
        self._strikes += now_s - self._pinged_s < self._limits.pinged_s_min
        self._pinged_s = now_s
        if self._strikes > MAX_PING_STRIKES:
            raise ProtocolError(frames.ENHANCE_YOUR_CALM, "too_many_pings")
        self._send(frames.frame(frames.PING, frames.ACK, 0, body))

    # Sent frames.

    def consumed(self, call: Call, size: int) -> None:
        """Give back `size` bytes of a stream's receive window."""
        if size and not call.input_ended and not call.ended:
            call.receive_window += size
            self._send(frames.window_update(call.stream, size))

    def answer(self, call: Call, data: bytes) -> None:
        """Send the only message of a unary call and OK in one write, if the windows allow it."""
        length = len(data)
        if (
            self._paused
            or call.ended
            or length > call.send_window
            or length > self._send_window
            or length > self._frame_bytes
        ):
            call.output += data
            return  # `pump` sends it when the handler has ended
        call.ended = True
        self._send_window -= length
        self._strikes = 0
        stream, pack = call.stream, frames.head.pack
        self._send(
            b"".join(
                (
                    pack(0, _BEGIN_LENGTH, frames.HEADERS, frames.END_HEADERS, stream),
                    headers.BEGIN,
                    pack(length >> 16, length & 0xFFFF, frames.DATA, 0, stream),
                    data,
                    pack(0, _END_LENGTH, frames.HEADERS, 0x5, stream),
                    headers.END_OK,
                )
            )
        )
        self.calls.pop(stream, None)

    def pump(self, call: Call) -> None:
        """Send what the windows allow of a call's output, then its trailers."""
        if call.ended:
            return
        while self._push(call):
            pass

    def _push(self, call: Call) -> bool:
        """Send one frame of a call; returns whether it has another one that may be sent."""
        output = call.output
        size = min(len(output), call.send_window, self._send_window, self._frame_bytes)
        if self._paused or (output and size <= 0):
            self._waiting[call] = None
            return False
        self._strikes = 0
        stream = call.stream
        if not call.begun and (output or call.trailers is None):
            call.begun = True
            head = frames.frame(frames.HEADERS, frames.END_HEADERS, stream, headers.BEGIN)
            self._send(head)
        if output:
            self._send(frames.frame(frames.DATA, 0, stream, bytes(output[:size])))
            del output[:size]
            call.send_window -= size
            self._send_window -= size
        if output:
            return True
        self._waiting.pop(call, None)
        call.drained()
        if call.trailers is not None:
            self._end(call, call.trailers)
        return False

    def _end(self, call: Call, trailers: bytes) -> None:
        block = trailers if call.begun else headers.BEGIN + trailers
        whole = frames.END_HEADERS | frames.END_STREAM
        self._send(frames.frame(frames.HEADERS, whole, call.stream, block))
        if not call.input_ended:
            # The response is complete before the request: the client may stop sending (8.1).
            self._send(frames.reset(call.stream, frames.NO_ERROR))
        call.ended = True
        self.calls.pop(call.stream, None)

    def served(self) -> None:
        """Note that a call's handler has ended."""
        self._serving -= 1
        self._server.served()

    def _pump_waiting(self) -> None:
        """Send a frame of each waiting call in turn, while the window and the socket allow it.

        Trailers need no window, so the connection's does not hold up a call that has no more data.
        """
        more = True
        while more and not self._paused:
            more = False
            for call in list(self._waiting):
                more |= self._push(call)

    def _send(self, data: bytes) -> None:
        out = self._out
        if not out:
            self._loop.call_soon(self._flush)
        out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > WRITE_BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        transport = self._transport
        out, self._out, self._out_bytes = self._out, [], 0
        if out and transport is not None:
            transport.write(b"".join(out))
            if self._paused and transport.get_write_buffer_size() > MAX_WAITING_BYTES:
                transport.abort()  # the client does not read what it makes us send

    def pause_writing(self) -> None:
        """Stop sending: the socket's buffer is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """Send what waited for the socket."""
        self._paused = False
        self._pump_waiting()


def _expect(met: bool, code: int, text: str) -> None:
    if not met:
        raise ProtocolError(code, text)


def _checked_window(size: int) -> int:
    """Return a changed window; raises ProtocolError where it exceeds 2^31-1 (section 6.9.1)."""
    if size > frames.WINDOW_BYTES_MAX:
        raise ProtocolError(frames.FLOW_CONTROL_ERROR, "a window beyond the largest")
    return size
