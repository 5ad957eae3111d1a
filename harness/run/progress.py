"""Progress reports of a run, for a terminal.

The controller reports and never waits for an answer: a listener must not influence the run.
"""

from __future__ import annotations

from typing import Protocol

from squall.checkers.history import Op


class Progress(Protocol):
    """A listener. Its methods must not fail and must return quickly."""

    def phase(self, name: str) -> None:
        """A phase begins: start, load, heal, read, collect, judge."""
        ...

    def say(self, line: str) -> None:
        """A fault, a crash, a warning: a line for the terminal."""
        ...

    def op(self, op: Op) -> None:
        """An op was recorded."""
        ...


class Silent:
    """A listener that does nothing."""

    def phase(self, name: str) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""

    def op(self, op: Op) -> None:
        """Do nothing."""
