"""Time and concurrency as an argument: what the controller needs of a world.

Everything the harness does *during a run* is a plain coroutine that awaits only what a `Runtime`
(or a `Cluster`, which is built on one) gave it: never asyncio directly. So the same controller,
interpreter and nemesis run on asyncio with real containers and on the simulator's event heap with
virtual time.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Task(Protocol[T_co]):
    """A coroutine that runs beside its creator."""

    def done(self) -> bool:
        """Whether it has finished, one way or the other."""
        ...

    def cancel(self) -> None:
        """Stop it at its next await; it sees `runtime.Cancelled` of its world."""
        ...

    async def join(self) -> T_co:
        """Await its result; re-raises what it raised."""
        ...


class Event(Protocol):
    """A flag that can be awaited. Setting it wakes every waiter; `clear` lowers it again."""

    def set(self) -> None:
        """Raise the flag."""
        ...

    def clear(self) -> None:
        """Lower the flag."""
        ...

    def is_set(self) -> bool:
        """Whether the flag is up."""
        ...

    async def wait(self, timeout_ns: int | None = None) -> bool:
        """Wait until the flag is up (True) or `timeout_ns` have passed (False)."""
        ...


class Runtime(Protocol):
    """A world's clock and its way of doing several things at once."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds; the only clock that orders a history."""
        ...

    def begin(self) -> None:
        """Make now the zero of `now_ns`: the load begins. Nobody may hold an earlier reading."""
        ...

    async def sleep_ns(self, duration_ns: int) -> None:
        """Let `duration_ns` pass."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Run a coroutine beside this one."""
        ...

    def event(self) -> Event:
        """Make a lowered flag."""
        ...
