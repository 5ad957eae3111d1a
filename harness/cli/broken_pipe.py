"""Standard output whose reader has ended (`squall check FILE | head -1`): no error, no message.

What a command found out does not depend on who reads it, so where the exit code is a verdict it
stays one.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def printing() -> Iterator[None]:
    """Print results; when the reader has ended, the rest of the block is left out quietly."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        discard_the_rest()


def reader_is_gone() -> bool:
    """Whether standard output or standard error leads to a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(1, 0)
    poll.register(2, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def discard_the_rest() -> None:
    """Let whatever is still to be written to standard output vanish, buffered text included.

    Otherwise the interpreter's last flush fails, which it reports, with an exit code of its own.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
