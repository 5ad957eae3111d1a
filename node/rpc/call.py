"""One gRPC call on a stream: parses request messages, runs the handler, sends its answers.

A message is a byte (1: compressed), a length of four bytes, and that many bytes. The handler of a
unary call starts when its only message is complete; that of a streaming call starts with the
headers, and messages queue, bounded by the stream's flow-control window, until it takes them.

A call writes through the `Stream` interface that its connection implements, and knows nothing else
of HTTP/2.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn, Protocol

import grpc

from squall.node.rpc import headers
from squall.node.rpc.headers import Head

_prefix: Final = struct.Struct("!BI")
_CODES: Final = {code: code.value[0] for code in grpc.StatusCode}


class Aborted(Exception):
    """Raised by a handler to end its call with this status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Method(NamedTuple):
    """How calls of one path are served.

    `parse` raises for bytes that are no message. `handler` gets (message, call) and returns the
    answer; that of a streaming method gets an async iterator of messages and writes its answers to
    the call. `Aborted` ends the call with a status.
    """

    parse: Callable[[bytes], Any]
    handler: Callable[[Any, Call], Coroutine[Any, Any, Any]]
    streams: bool
    max_message_bytes: int


class Stream(Protocol):
    """What a call needs of the connection its stream is on."""

    def answer(self, call: Call, data: bytes) -> None:
        """Send the only message of a unary call and OK, if the windows allow it at once."""
        ...

    def consumed(self, call: Call, size: int) -> None:
        """Give back `size` bytes of the stream's receive window."""
        ...

    def pump(self, call: Call) -> None:
        """Send what the windows allow of `call.output`, then `call.trailers` if they are set."""
        ...

    def served(self) -> None:
        """Note that a call's handler has ended."""
        ...

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Return the common names in the client's verified certificate."""
        ...


class Call:
    """A call, and the context that its handler gets. One task runs the handler."""

    __slots__ = (
        "_arrived",
        "_buffer",
        "_connection",
        "_drained",
        "_head",
        "_messages",
        "_method",
        "_refused",
        "_released",
        "_task",
        "begun",
        "ended",
        "input_ended",
        "output",
        "receive_window",
        "send_window",
        "stream",
        "trailers",
    )

    def __init__(
        self,
        connection: Stream,
        stream: int,
        head: Head,
        method: Method,
        send_window: int,
        receive_window: int,
    ) -> None:
        self._connection = connection
        self._head = head
        self._method = method
        self._buffer = bytearray()
        self._messages: deque[tuple[Any, int]] = deque()  # parsed; bytes received
        self._arrived: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._refused = False
        self._released = False
        self.stream = stream
        self.send_window = send_window  # bytes; kept by the connection
        self.receive_window = receive_window  # as above
        self.output = bytearray()  # waits for window
        self.trailers: bytes | None = None
        self.begun = False  # the response headers were sent
        self.input_ended = False
        self.ended = False
        if method.streams:
            self._start(method.handler(self._requests(), self))

    # Input.

    def receive(self, data: bytes, ended: bool) -> None:
        """Process a piece of the client's messages; `ended`: it is the last one."""
        self.input_ended = ended
        if self.ended or self._refused:
            return
        buffer = self._buffer
        buffer += data
        limit = self._method.max_message_bytes
        while len(buffer) >= _prefix.size:
            compressed, length = _prefix.unpack_from(buffer)
            if compressed:
                self._refuse(grpc.StatusCode.UNIMPLEMENTED, "compression is not supported")
                return
            if length > limit:
                text = f"Received message larger than max ({length} vs. {limit})"
                self._refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
                return
            end = _prefix.size + length
            if len(buffer) < end:
                break
            try:
                message = self._method.parse(bytes(buffer[_prefix.size : end]))
            except Exception:  # noqa: BLE001 - protobuf's parsers differ in what they raise
                self._refuse(grpc.StatusCode.INTERNAL, "the request cannot be parsed")
                return
            self._messages.append((message, end))
            del buffer[:end]
        if self._method.streams:
            if self._arrived is not None and not self._arrived.done():
                self._arrived.set_result(None)
        elif ended:
            if len(self._messages) == 1 and not buffer:
                self._start(self._answer(self._messages.popleft()[0]))
            else:
                self._refuse(grpc.StatusCode.INTERNAL, "a unary call has exactly one message")

    async def _answer(self, message: Any) -> None:
        response = await self._method.handler(message, self)
        data = response.SerializeToString()
        self._connection.answer(self, _prefix.pack(0, len(data)) + data)

    async def _requests(self) -> AsyncIterator[Any]:
        while True:
            while self._messages:
                message, size = self._messages.popleft()
                self._connection.consumed(self, size)
                yield message
            if self.input_ended:
                return
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived

    # Serving.

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self.ended:  # the stream was reset, or the status was sent
            pass
        elif task.cancelled():
            self._finish(grpc.StatusCode.CANCELLED, "the call was cancelled")
        elif error is None:
            self._finish(grpc.StatusCode.OK, "")
        elif isinstance(error, Aborted):
            self._finish(error.code, error.text)
        else:
            self._finish(grpc.StatusCode.UNKNOWN, f"{type(error).__name__} in the server")
        self._release()

    def _release(self) -> None:
        if not self._released:
            self._released = True
            self._connection.served()

    def _finish(self, code: grpc.StatusCode, text: str) -> None:
        if self.trailers is None:
            self.trailers = headers.end(_CODES[code], text)
            self._connection.pump(self)

    def _refuse(self, code: grpc.StatusCode, text: str) -> None:
        """End the call with a status; cancels its handler if that has started."""
        self._refused = True
        if self._task is not None:
            self._finish(code, text)
            self._task.cancel()
        else:
            self._finish(code, text)
            self._release()

    def drop(self) -> None:
        """End the call without a status: the stream was reset or the connection is lost."""
        self.ended = True
        self.output.clear()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._task is not None:
            self._task.cancel()
        else:
            self._release()

    def drained(self) -> None:
        """Wake the handler that waits in `write`: all its output was sent."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # The handler's context.

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """Return the headers of the call."""
        return self._head.metadata

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Return what is known of the client's verified certificate."""
        return self._connection.auth_context()

    async def abort(self, code: grpc.StatusCode, text: str) -> NoReturn:
        """End the call with a status."""
        raise Aborted(code, text)

    async def write(self, message: Any) -> None:
        """Send a message; returns once flow control has let all of it go."""
        data = message.SerializeToString()
        self.output += _prefix.pack(0, len(data)) + data
        self._connection.pump(self)
        await asyncio.sleep(0)  # a fast reader must not keep other tasks from running
        while self.output and not self.ended:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
