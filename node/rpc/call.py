"""One gRPC call: messages in, messages out, a status at the end, and what its handler may ask.

A message is one byte (compressed or not), four bytes of length, and the bytes. A unary call is
handed over once its one message is there; a streaming one at once, and its messages wait, within
the window the client was given, until the handler takes them.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc

from node.rpc import headers
from node.rpc.headers import Head

if TYPE_CHECKING:
    from node.rpc.connection import Connection
    from node.rpc.server import Method

_prefix: Final = struct.Struct("!BI")
_CODES: Final = {code: code.value[0] for code in grpc.StatusCode}


class Aborted(Exception):
    """A call that ends with this status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Call:
    """A call, which is also its handler's context. One task serves it."""

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
        "room",
        "stream",
        "trailers",
        "window",
    )

    def __init__(
        self,
        connection: Connection,
        stream: int,
        head: Head,
        method: Method,
        window: int,
        room: int,
    ) -> None:
        self._connection = connection
        self._head = head
        self._method = method
        self._buffer = bytearray()
        self._messages: deque[tuple[Any, int]] = deque()  # parsed; how long they came
        self._arrived: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._refused = False
        self._released = False
        self.stream = stream
        self.window = window  # what may be sent; the connection's business
        self.room = room  # what the client may send; the connection's business too
        self.output = bytearray()  # what the windows have not let go yet
        self.trailers: bytes | None = None
        self.begun = False  # the answer's headers are out
        self.input_ended = False
        self.ended = False
        if method.streams:
            self._start(method.handler(self._requests(), self))

    # What comes in.

    def receive(self, data: bytes, ended: bool) -> None:
        """Take in a piece of the client's messages; `ended`: there will be no more."""
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

    def _start(self, work: Any) -> None:
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self.ended:  # the client is gone, or everything is said already
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
        """End the call with a status before its handler, or under it."""
        self._refused = True
        if self._task is not None:
            self._finish(code, text)
            self._task.cancel()
        else:
            self._finish(code, text)
            self._release()

    def drop(self) -> None:
        """The client gave up, or is gone: nobody is to be told anything any more."""
        self.ended = True
        self.output.clear()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._task is not None:
            self._task.cancel()
        else:
            self._release()

    def drained(self) -> None:
        """Everything written is on its way."""
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
        """Send a message; returns when the client's windows have let it go."""
        data = message.SerializeToString()
        self.output += _prefix.pack(0, len(data)) + data
        self._connection.pump(self)
        await asyncio.sleep(0)  # however fast the client reads, others have their turn
        while self.output and not self.ended:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
