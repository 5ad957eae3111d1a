"""Time and concurrency as an argument: what the controller needs of a backend.

Everything that the harness does during a run is a plain coroutine that awaits only what a `Runtime`
(or a `Cluster`, which is built on one) gave it, never asyncio directly. So the same controller,
interpreter and nemesis run on asyncio with containers and on the simulator's event heap in virtual
time. There are these two implementations (`asyncio_runtime`, `squall.harness.sim.runtime`).
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Task(Protocol[T_co]):
    """A coroutine that runs concurrently with its creator."""

    def done(self) -> bool:
        """Whether it has finished, one way or the other."""
        ...

    def cancel(self) -> None:
        """Stop it at its next await, where the runtime's cancellation is raised."""
        ...

    async def join(self) -> T_co:
        """Await its result; re-raises what it raised."""
        ...


class Event(Protocol):
    """A flag that can be awaited. Setting it wakes every waiter; `clear` resets it."""

    def set(self) -> None:
        """Set the flag."""
        ...

    def clear(self) -> None:
        """Reset the flag."""
        ...

    def is_set(self) -> bool:
        """Whether the flag is set."""
        ...

    async def wait(self, timeout_ns: int | None = None) -> bool:
        """Wait until the flag is set (True) or `timeout_ns` have passed (False)."""
        ...


class Runtime(Protocol):
    """A clock, and a way to run several coroutines concurrently."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds; the only clock that orders a history."""
        ...

    def begin(self) -> None:
        """Make now the zero of `now_ns`: the load begins. Earlier readings become invalid."""
        ...

    async def sleep_ns(self, duration_ns: int) -> None:
        """Let `duration_ns` pass."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Run a coroutine concurrently with this one."""
        ...

    def event(self) -> Event:
        """Make a flag that is not set."""
        ...
