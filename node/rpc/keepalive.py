"""Timeouts of an idle client: for its preface, then a PING after a time without any data."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from squall.node.rpc import frames
from squall.node.rpc.limits import Limits

HELLO_TIMEOUT_S: Final = 10.0
"""A client that has not sent HTTP/2's preface by then is disconnected."""
_PING: Final = frames.frame(frames.PING, 0, 0, b"are you?")


class Keepalive:
    """The timers of one connection. Its owner sets `received` whenever data arrives."""

    __slots__ = ("_disconnect", "_limits", "_loop", "_send", "_timer", "received")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        send: Callable[[bytes], None],
        disconnect: Callable[[], None],
    ) -> None:
        self.received = False
        self._limits = limits
        self._send = send
        self._disconnect = disconnect
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = loop.call_later(HELLO_TIMEOUT_S, disconnect)

    def begin(self) -> None:
        """Replace the timeout of the preface by the interval between pings."""
        self.end()
        self._wait()

    def end(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self.received = False
        if self._limits.ping_s:
            self._timer = self._loop.call_later(self._limits.ping_s, self._idle)

    def _idle(self) -> None:
        if self.received or not self._limits.ping_answer_s:
            if not self.received:
                self._send(_PING)
            self._wait()
            return
        self._send(_PING)
        self._timer = self._loop.call_later(self._limits.ping_answer_s, self._expect_answer)

    def _expect_answer(self) -> None:
        if self.received:
            self._wait()
        else:
            self._disconnect()
