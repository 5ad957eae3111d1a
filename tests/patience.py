"""Waiting for what is so only in the end.

The bound is far beyond what anything here takes: it keeps a failure from hanging and is no measure
of speed. A busy machine may stop a process, or all of them, for seconds at any point.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 120.0
PAUSE_S = 0.02  # between polls; nothing depends on its length


def until(condition: Callable[[], Any], what: str) -> Any:
    """Poll until the condition holds and return what it returned."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(PAUSE_S)
    raise AssertionError(f"{what}: not within {PATIENCE_S:g} s")


async def eventually(condition: Callable[[], Any], pause_s: float = PAUSE_S) -> Any:
    """Poll on the event loop, with a condition that may itself be awaited; 0: at each turn."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = condition()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(pause_s)
