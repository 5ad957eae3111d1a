"""Ctrl-C during imports ends the process at once with exit code 130: nothing has begun.

KeyboardInterrupt is not reliable there: raised inside an import it can be swallowed by a module
that tries alternatives, turned into an ImportError by an extension module, or printed as a
traceback from a callback of the garbage collector.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

EXIT_INTERRUPTED: Final = 130


def _end(_number: int, _frame: object) -> NoReturn:
    os.write(2, b"squall: interrupted\n")
    os._exit(EXIT_INTERRUPTED)


@contextmanager
def loading() -> Iterator[None]:
    """Let an interrupt end the process at once while in this block.

    Interrupts that are ignored (in a shell's background jobs) stay ignored, and a handler that was
    installed before stays in force.
    """
    try:
        before = signal.getsignal(signal.SIGINT)
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, _end)
    except ValueError:  # not the main thread, which alone gets signals
        before = None
    try:
        yield
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)
