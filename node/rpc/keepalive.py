"""How long a client may say nothing: until it begins, and until it is asked if it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from squall.node.rpc import frames
from squall.node.rpc.limits import Limits

HELLO_TIMEOUT_S: Final = 10.0
"""Whoever connects and does not begin to speak HTTP/2 is hung up on after this."""
_PING: Final = frames.frame(frames.PING, 0, 0, b"are you?")


class Silence:
    """The silence of one client. Set `heard` whenever anything comes from it."""

    __slots__ = ("_hang_up", "_limits", "_loop", "_send", "_timer", "heard")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        send: Callable[[bytes], None],
        hang_up: Callable[[], None],
    ) -> None:
        self.heard = False
        self._limits = limits
        self._send = send
        self._hang_up = hang_up
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(HELLO_TIMEOUT_S, hang_up)

    def greeted(self) -> None:
        """The client has begun."""
        self.end()
        self._wait()

    def end(self) -> None:
        """Nothing is expected of it any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self.heard = False
        if self._limits.ping_s:
            self._timer = self._loop.call_later(self._limits.ping_s, self._ask)

    def _ask(self) -> None:
        if self.heard or not self._limits.ping_answer_s:
            if not self.heard:
                self._send(_PING)
            self._wait()
            return
        self._send(_PING)
        self._timer = self._loop.call_later(self._limits.ping_answer_s, self._judge)

    def _judge(self) -> None:
        if self.heard:
            self._wait()
        else:
            self._hang_up()
