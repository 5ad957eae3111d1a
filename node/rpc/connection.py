"""One HTTP/2 connection of a client (RFC 9113): frames in and out, streams, both flow controls.

The connection's window is given back as data comes, a stream's as its handler takes messages: so
one slow stream never holds up the others, and what can pile up is bounded by streams times window.
What cannot be sent yet (a window is used up, or the socket is full) waits at its call. A stream
counts until its handler has ended, so resetting streams does not make room for more work.

Whoever does not begin with HTTP/2's preface is handed over to the server's other protocol, if it
has one: so HTTP/1.1 can be served at the same port, at no cost to anybody else. That is why nothing
is said before the client has begun.

A client that breaks the protocol, pings more often than is good, or lets control frames pile up is
hung up on, with the reason in a GOAWAY.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from node.rpc import frames, headers, identity, pages
from node.rpc.call import Call
from node.rpc.frames import ProtocolError
from node.rpc.headers import HeadReader
from node.rpc.silence import Silence

if TYPE_CHECKING:
    from node.rpc.pages import Pages
    from node.rpc.server import Server

WINDOW_SLACK_BYTES: Final = 64 * 1024
"""What a stream's window has above the largest message."""
CONNECTION_WINDOW_BYTES: Final = 16 << 20
MAX_WAITING_BYTES: Final = 4 << 20
"""Control frames that wait for a socket which takes nothing."""
WRITE_BUFFER_BYTES: Final = 256 * 1024
MAX_PING_STRIKES: Final = 2

_BEGIN_LENGTH: Final = len(headers.BEGIN)
_END_LENGTH: Final = len(headers.END_OK)


class Connection(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, server: Server) -> None:
        self.calls: dict[int, Call] = {}
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._greeted = False
        self._silence = Silence(self._loop, server.limits, self._send, self.abort)
        self._reader = HeadReader()
        self._block: tuple[int, int, bytearray] | None = None  # of a HEADERS frame not yet whole
        self._last_stream = 0
        self._serving = 0
        self._window = frames.WINDOW_BYTES  # what may be sent
        self._stream_window = frames.WINDOW_BYTES  # ... on a new stream
        self._room = server.max_message_bytes + WINDOW_SLACK_BYTES  # what a new stream may bring
        self._frame_bytes = frames.FRAME_BYTES
        self._received = 0  # since the client was last given window back
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._paused = False
        self._closing = False
        self._turning: set[asyncio.Task[None]] = set()  # pages
        self._pages: dict[int, int] = {}  # streams that wait for one: what may be sent on each
        self._waiting: dict[Call, None] = {}  # have output that did not fit
        self._pinged_s = float("-inf")
        self._strikes = 0

    # Life and death.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client to begin."""
        self._transport = cast("asyncio.Transport", transport)  # to uvloop a mere duck
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop all calls: there is nobody to answer."""
        del exc
        self._transport = None
        self._server.connections.discard(self)
        self._silence.end()
        self._waiting.clear()
        for task in self._turning:
            task.cancel()
        calls, self.calls = self.calls, {}
        for call in calls.values():
            call.drop()

    def _greet(self) -> None:
        """Tell the client, which has begun, what it may do."""
        self._greeted = True
        self._silence.greeted()
        settings = (
            (frames.MAX_CONCURRENT_STREAMS, self._limits.max_streams),
            (frames.INITIAL_WINDOW_SIZE, self._room),
            (frames.MAX_HEADER_LIST_SIZE, headers.LIST_BYTES_MAX),
        )
        more = CONNECTION_WINDOW_BYTES - frames.WINDOW_BYTES
        self._send(frames.settings(*settings) + frames.window_update(0, more))

    def _hand_over(self, other: asyncio.Protocol, data: bytes) -> None:
        """Let another protocol go on with this connection, from its first byte."""
        transport, self._transport = self._transport, None
        assert transport is not None
        self._server.connections.discard(self)
        self._silence.end()
        transport.set_protocol(other)
        other.connection_made(transport)
        other.data_received(data)

    def go_away(self, code: int = frames.NO_ERROR, text: str = "") -> None:
        """Take no more calls; those under way go on."""
        self._closing = True
        self._send(frames.goaway(self._last_stream, code, text))

    def abort(self) -> None:
        """Hang up: what was said already still goes out, and no more."""
        self._flush()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Return the common names in the client's verified certificate."""
        return identity.auth_context(self._transport)

    # Frames in.

    def data_received(self, data: bytes) -> None:
        """Take in every whole frame; hang up on a client that breaks the protocol."""
        self._silence.heard = True
        buffer = self._buffer + data if self._buffer else data
        start, end = 0, len(buffer)
        try:
            if not self._greeted:
                start = len(frames.PREFACE)
                if buffer[:start] != frames.PREFACE[:end]:
                    if self._server.other is None:
                        raise ProtocolError(frames.PROTOCOL_ERROR, "this is not HTTP/2")
                    self._hand_over(self._server.other(), buffer)
                    return
                if end < start:
                    self._buffer = buffer
                    return
                self._greet()
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
        if self._block is not None and kind != frames.CONTINUATION:
            raise ProtocolError(frames.PROTOCOL_ERROR, "a header block was interrupted")
        if kind == frames.DATA:
            self._on_data(flags, stream, body)
        elif kind == frames.HEADERS:
            if flags & (frames.PADDED | frames.PRIORITISED):
                body = frames.unpadded(body, flags)
            if flags & frames.END_HEADERS:
                self._on_headers(flags, stream, body)
            else:
                self._block = (flags, stream, bytearray(body))
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(stream, frames.number(body))
        elif kind in (frames.PING, frames.SETTINGS):
            if stream:
                raise ProtocolError(frames.PROTOCOL_ERROR, f"type {kind} is of no stream")
            if not flags & frames.ACK:
                answer = self._on_ping if kind == frames.PING else self._on_settings
                answer(body)
        elif kind == frames.RST_STREAM:
            self._expect_known(stream)
            self._pages.pop(stream, None)
            call = self.calls.pop(stream, None)
            if call is not None:
                self._waiting.pop(call, None)
                call.drop()
        elif kind == frames.CONTINUATION:
            self._on_continuation(flags, stream, body)
        elif kind == frames.PUSH_PROMISE:
            raise ProtocolError(frames.PROTOCOL_ERROR, "a client cannot push")
        # PRIORITY, GOAWAY and what is unknown need no answer.

    def _expect_known(self, stream: int) -> None:
        if self._closing:
            return  # streams above the last one that counts are not kept track of
        if not stream or stream > self._last_stream:
            raise ProtocolError(frames.PROTOCOL_ERROR, f"stream {stream} was never opened")

    def _on_continuation(self, flags: int, stream: int, body: bytes) -> None:
        if self._block is None or self._block[1] != stream:
            raise ProtocolError(frames.PROTOCOL_ERROR, "a continuation of nothing")
        first_flags, _, block = self._block
        block += body
        if len(block) > headers.BLOCK_BYTES_MAX:
            raise ProtocolError(frames.ENHANCE_YOUR_CALM, "headers without end")
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_headers(first_flags, stream, bytes(block))

    def _on_headers(self, flags: int, stream: int, block: bytes) -> None:
        head = self._reader.read(block)
        if not stream % 2:
            raise ProtocolError(frames.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if stream <= self._last_stream:
            # Trailers of a request: gRPC has none, so they only end it. Or it was reset before.
            call = self.calls.get(stream)
            if call is not None and flags & frames.END_STREAM:
                call.receive(b"", True)
            return
        if self._closing:
            return  # it was told which stream was the last
        self._last_stream = stream
        if self._serving >= self._limits.max_streams:
            self._send(frames.reset(stream, frames.REFUSED_STREAM))
            return
        if head.method != "POST" or not head.content_type.startswith("application/grpc"):
            self._on_no_call(stream, head)
            return
        method = self._server.method(head.path)
        self._serving += 1
        call = self.calls[stream] = Call(
            self, stream, head, method, self._stream_window, self._room
        )
        if flags & frames.END_STREAM:
            call.receive(b"", True)

    def _on_no_call(self, stream: int, head: headers.Head) -> None:
        """Answer with a page, as etcd does where there is TLS."""
        if self._server.pages is None or not identity.is_secure(self._transport):
            whole = frames.END_HEADERS | frames.END_STREAM
            self._send(frames.frame(frames.HEADERS, whole, stream, headers.NOT_GRPC))
            return
        self._serving += 1
        self._pages[stream] = self._stream_window
        task = self._loop.create_task(self._page(stream, self._server.pages, head))
        self._turning.add(task)
        task.add_done_callback(self._turning.discard)

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
        data, used = pages.whole(stream, page, min(self._window, window))
        self._window -= used
        self._send(data)

    def _on_data(self, flags: int, stream: int, body: bytes) -> None:
        self._received += len(body)
        if self._received >= CONNECTION_WINDOW_BYTES // 2:
            self._send(frames.window_update(0, self._received))
            self._received = 0
        call = self.calls.get(stream)
        if call is None:
            self._expect_known(stream)
            return  # we were through with it before the client was
        if call.input_ended:
            raise ProtocolError(frames.STREAM_CLOSED, f"data on stream {stream} after its end")
        call.room -= len(body)
        if call.room < 0:
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
                self._resize(value - self._stream_window)
                self._stream_window = value
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.FRAME_BYTES <= value <= frames.FRAME_BYTES_MAX:
                    raise ProtocolError(frames.PROTOCOL_ERROR, "no size for a frame")
                self._frame_bytes = value
        self._send(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        self._pump_waiting()

    def _resize(self, more: int) -> None:
        """Change the windows of the streams there are (section 6.9.2); some may become negative."""
        for call in self.calls.values():
            call.window = _window(call.window + more)
        for stream, window in self._pages.items():
            self._pages[stream] = _window(window + more)

    def _on_window_update(self, stream: int, more: int) -> None:
        if not more:
            raise ProtocolError(frames.PROTOCOL_ERROR, "a window update of nothing")
        if not stream:
            self._window = _window(self._window + more)
            self._pump_waiting()
            return
        call = self.calls.get(stream)
        if call is None:
            self._expect_known(stream)
            if stream in self._pages:
                self._pages[stream] = _window(self._pages[stream] + more)
            return
        call.window = _window(call.window + more)
        if call in self._waiting:
            self.pump(call)

    def _on_ping(self, body: bytes) -> None:
        if len(body) != 8:
            raise ProtocolError(frames.FRAME_SIZE_ERROR, "a PING of the wrong length")
        now_s = time.monotonic()
        self._strikes += now_s - self._pinged_s < self._limits.pinged_s_min
        self._pinged_s = now_s
        if self._strikes > MAX_PING_STRIKES:
            raise ProtocolError(frames.ENHANCE_YOUR_CALM, "too_many_pings")
        self._send(frames.frame(frames.PING, frames.ACK, 0, body))

    # Frames out.

    def consumed(self, call: Call, size: int) -> None:
        """Let the client send so much more on a stream."""
        if size and not call.input_ended and not call.ended:
            call.room += size
            self._send(frames.window_update(call.stream, size))

    def answer(self, call: Call, data: bytes) -> None:
        """Send the one message of a unary call and end it well."""
        length = len(data)
        if (
            self._paused
            or call.ended
            or length > call.window
            or length > self._window
            or length > self._frame_bytes
        ):
            call.output += data
            return  # what follows the handler's end sees to it
        call.ended = True
        self._window -= length
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
        """Send of a call's output what the windows allow, and its trailers after all of it."""
        if call.ended:
            return
        while self._push(call):
            pass

    def _push(self, call: Call) -> bool:
        """Send one frame of a call; returns whether it has another one that may go."""
        output = call.output
        size = min(len(output), call.window, self._window, self._frame_bytes)
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
            call.window -= size
            self._window -= size
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
            # The answer is whole before the request is: nothing more of it is wanted.
            self._send(frames.reset(call.stream, frames.NO_ERROR))
        call.ended = True
        self.calls.pop(call.stream, None)

    def served(self) -> None:
        """The handler of a call has ended."""
        self._serving -= 1
        self._server.served()

    def _pump_waiting(self) -> None:
        """Let all that wait send a frame each, in turn, for as long as there is room.

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
                transport.abort()  # it sends and sends, and reads nothing

    def pause_writing(self) -> None:
        """Hold answers back: the socket is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let go what waited."""
        self._paused = False
        self._pump_waiting()


def _window(size: int) -> int:
    """Return a window that was changed; raises ProtocolError where it exceeds the largest."""
    if size > frames.WINDOW_BYTES_MAX:
        raise ProtocolError(frames.FLOW_CONTROL_ERROR, "a window beyond the largest")
    return size
