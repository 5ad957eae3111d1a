"""What to do next: generators, and the combinators that the workloads use.

A generator is a deterministic machine. Asked with a `Context` (the time, the free clients) it
answers

    Invocation       do this now, as this client
    Pending(until)   nothing now; ask again at `until`, or when something has completed (unless the
                     answer is firm)
    None             never again

and it is given every completion, so it can react (`update`). It reads no clock and draws only from
the streams handed to it: the same streams and the same contexts give the same operations.

Generators are mutable machines rather than persistent values (as Jepsen's are): the simulator asks
twenty thousand times a second, and a new object for every answer would cost more than the operation
itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from squall.checkers.history import Op, OpType

if TYPE_CHECKING:
    from random import Random

_NS = 1_000_000_000

CATCH_UP_NS = 50_000_000
"""How far `Stagger` lets a schedule run late before it gives the lost time up (no bursts after)."""


FINAL_ATTEMPTS = 5
"""A final read is asked this often before it counts as never answered."""

DRAIN_REST_NS = 500_000_000
"""How long `Drain` sends nothing to a node after a failure: it may still be starting."""


class Client(Protocol):
    """A logical process that could take an operation: its id, and the node it talks to."""

    process: int
    node: str


class Context:
    """The time and the free clients; one object, refreshed before every question."""

    __slots__ = ("busy", "free", "now_ns")

    def __init__(self, now_ns: int = 0, free: Sequence[Client] = (), busy: int = 0) -> None:
        self.now_ns = now_ns
        self.free = free  # never empty when a generator is asked
        self.busy = busy  # how many clients have an operation outstanding


class Invocation(msgspec.Struct, frozen=True):
    """One operation for one free client.

    Its deadline is `extra_time_ns` later than that of other operations.
    """

    process: int
    f: str
    key: str | None = None
    value: Any = None
    meta: dict[str, Any] | None = None
    extra_time_ns: int = 0


class Pending(msgspec.Struct, frozen=True):
    """Nothing to do before `until_ns` (None: before something completes).

    `firm`: no completion brings that moment forward, so nobody need ask before it.
    """

    until_ns: int | None = None
    firm: bool = False


PENDING = Pending()

Answer = Invocation | Pending | None


class Generator(Protocol):
    """Anything that can say what to do next."""

    def next(self, context: Context) -> Answer:
        """Answer what to do now."""
        ...

    def update(self, completion: Op) -> None:
        """Learn how an operation ended."""
        ...


class Stagger:
    """Spaces operations so that their total rate is `rate` a second, at random intervals.

    Intervals are uniform in [0, 2/rate). When clients were all busy or the asker came late, up to
    `CATCH_UP_NS` of schedule is made good; more is given up.
    """

    def __init__(self, random: Random, rate: float, child: Generator) -> None:
        assert rate > 0, "a rate is operations a second"
        self._random = random
        self._spread_ns = 2 * _NS / rate
        self._child = child
        self._next_ns: int | None = None

    def next(self, context: Context) -> Answer:
        """Answer once the schedule says so."""
        now = context.now_ns
        due = self._next_ns
        if due is None:
            due = now
        if now < due:
            return Pending(due, firm=True)
        answer = self._child.next(context)
        if type(answer) is Invocation:
            late_from = max(due, now - CATCH_UP_NS)
            self._next_ns = late_from + int(self._random.random() * self._spread_ns)
        return answer

    def update(self, completion: Op) -> None:
        """Pass it to the child."""
        self._child.update(completion)


class TimeLimit:
    """Stops `duration_ns` after it was first asked; what is outstanding may still complete."""

    def __init__(self, duration_ns: int, child: Generator) -> None:
        self._duration_ns = duration_ns
        self._child = child
        self._until_ns: int | None = None

    def next(self, context: Context) -> Answer:
        """Ask the child until time is up."""
        until = self._until_ns
        if until is None:
            until = self._until_ns = context.now_ns + self._duration_ns
        if context.now_ns >= until:
            return None
        answer = self._child.next(context)
        if type(answer) is Pending and (answer.until_ns is None or answer.until_ns > until):
            return Pending(until)
        return answer

    def update(self, completion: Op) -> None:
        """Pass it to the child."""
        self._child.update(completion)


class Rotation:
    """Many keys, a few at a time, each with a lane of its own; a new key replaces a spent one.

    `make(n)` gives the n-th key's name and lane. A lane answers None when it is spent, which bounds
    the operations of a key and, if it counts them, those of unknown outcome: the two quantities
    that a checker's search grows with.
    """

    def __init__(
        self, random: Random, active: int, make: Callable[[int], tuple[str, Generator]]
    ) -> None:
        self._random = random
        self._make = make
        self._count = 0
        self._lanes: dict[str, Generator] = {}
        self._active: list[str] = []
        for _ in range(active):
            self._active.append(self._open())

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key opened so far, in order."""
        return tuple(self._lanes)

    def next(self, context: Context) -> Answer:
        """Ask a random active lane, replacing it when it is spent."""
        at = int(self._random.random() * len(self._active))
        answer = self._lanes[self._active[at]].next(context)
        if answer is None:
            self._active[at] = self._open()
            answer = self._lanes[self._active[at]].next(context)
        return answer

    def update(self, completion: Op) -> None:
        """Pass it to the lane of its key."""
        lane = self._lanes.get(completion.key or "")
        if lane is not None:
            lane.update(completion)

    def _open(self) -> str:
        name, lane = self._make(self._count)
        self._count += 1
        self._lanes[name] = lane
        return name


class Pinned(msgspec.Struct, frozen=True):
    """An operation that must be asked of one particular node."""

    node: str
    f: str
    key: str | None = None
    value: Any = None
    meta: dict[str, Any] | None = None
    extra_time_ns: int = 0


class Drain:
    """Does every pinned operation until it is `ok`, each at most `attempts` times.

    A further attempt is a further operation of the history, with its own interval: there is no
    hidden retry. `succeeded` counts what was done, `missing` what was not (yet, or ever).
    """

    def __init__(self, items: Iterable[Pinned], attempts: int = FINAL_ATTEMPTS) -> None:
        self._attempts = attempts
        self._resting_until_ns: dict[str, int] = {}
        self._queues: dict[str, deque[tuple[Pinned, int]]] = {}
        self._running: dict[int, tuple[Pinned, int]] = {}
        self.succeeded = 0
        self.missing = 0
        for item in items:
            self.add(item)

    def add(self, item: Pinned) -> None:
        """Add one operation."""
        self._queues.setdefault(item.node, deque()).append((item, 1))
        self.missing += 1

    def next(self, context: Context) -> Answer:
        """Give some free client the next operation of its node."""
        for client in context.free:
            queue = self._queues.get(client.node)
            if queue and context.now_ns >= self._resting_until_ns.get(client.node, 0):
                item, attempt = queue.popleft()
                self._running[client.process] = (item, attempt)
                return Invocation(
                    client.process, item.f, item.key, item.value, item.meta, item.extra_time_ns
                )
        if self._running or any(self._queues.values()):
            later = [at for at in self._resting_until_ns.values() if at > context.now_ns]
            return Pending(min(later)) if later else PENDING
        return None

    def update(self, completion: Op) -> None:
        """Queue again what did not succeed."""
        found = self._running.pop(completion.process, None)  # type: ignore[arg-type]
        if found is None:
            return
        item, attempt = found
        if completion.type is OpType.OK:
            self.succeeded += 1
            self.missing -= 1
        elif attempt < self._attempts:
            self._queues[item.node].append((item, attempt + 1))
            self._resting_until_ns[item.node] = completion.time_ns + DRAIN_REST_NS


def final_reads(
    functions: Sequence[str], nodes: Sequence[str], keys: Iterable[str | None] = (None,)
) -> Drain:
    """Read every key from every node, with one function after the other."""
    return Drain(
        Pinned(node=node, f=f, key=key, meta={"final": True})
        for f in functions
        for key in keys
        for node in nodes
    )
