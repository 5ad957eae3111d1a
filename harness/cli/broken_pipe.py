"""Handles a standard output whose reader has ended (`squall check FILE | head -1`).

There is no error message, and an exit code that is a verdict stays the same: a verdict does not
depend on whether it is read.
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
    """Print results in this block; it ends silently if the reader has ended."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        discard_the_rest()


def reader_is_gone() -> bool:
    """Whether standard output or standard error is a pipe whose reader has ended."""
    poll = select.poll()
    poll.register(1, 0)
    poll.register(2, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def discard_the_rest() -> None:
    """Redirect standard output to /dev/null, buffered text included.

    Otherwise the interpreter's final flush fails, and it exits with a message and code of its own.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
