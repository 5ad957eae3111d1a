"""Who is told how a run goes while it goes. The controller speaks; a terminal may listen."""

from __future__ import annotations

from typing import Protocol

from squall.checkers.history import Op


class Progress(Protocol):
    """A listener. Its methods must not fail and must not take long."""

    def phase(self, name: str) -> None:
        """A phase begins: start, load, heal, recover, read, collect, judge."""
        ...

    def say(self, line: str) -> None:
        """Something worth a line of its own happened (a fault, a crash, a warning)."""
        ...

    def op(self, op: Op) -> None:
        """An op was recorded."""
        ...


class Silent:
    """Nobody listens."""

    def phase(self, name: str) -> None:
        """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def op(self, op: Op) -> None:
        """Nothing."""
