"""Linearizability for any sequential model, by bounded search.

The search of Wing & Gong ("Testing and verifying concurrent objects", JPDC 1993) with the
improvements of Lowe ("Testing for linearizability", CCPE 2017). A configuration is a state of the
object together with the set of open operations that have taken effect already. Level by level, one
level a return, a configuration must let the returning operation take effect; other open operations
take effect just in time, that is, no earlier than some return needs. The search goes depth first,
so that a linearizable history is decided soon, and remembers the configurations it tried, so that
none is tried twice. Deciding linearizability is NP-complete (Gibbons & Korach, 1997): the time is
exponential in the concurrency at worst, and the result is unknown once the budget is spent.

Three reductions keep the number of configurations small without losing a linearization:

* An open call that changes nothing (`Model.read_only`) takes effect in the first state it fits.
* Unanswered calls with equal requests are interchangeable and counted, not distinguished: of two,
  the one called first may always go first. They are optional.
* A configuration is dropped if it is dominated: one was tried with the same state and the same open
  writes done, at least the same open reads done, and no more of the unanswered calls used. Every
  continuation of the one is a continuation of the other.

At a quiescent point (nothing open) a configuration is just a state, so the history is split there;
splitting it by key is up to the caller. This module knows no faults and no clock; the meter stops
it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final, NamedTuple

from squall.checkers.budget import Meter, OutOfBudget
from squall.checkers.linearizability.models import UNKNOWN, Given, Model
from squall.checkers.linearizability.registers import FOREVER, freeze

FIELD_BITS: Final = 24
"""Bits of a counter of the unanswered calls of one kind; the top bit is free for comparisons."""


class Call(NamedTuple):
    """One operation: its closed interval, its request and its answer.

    `ret` is FOREVER if it was never answered; `answer` is then UNKNOWN.
    """

    call: int
    ret: int
    given: Given
    answer: Any = UNKNOWN


class Found(NamedTuple):
    """The result of the search.

    `valid` is None if it gave up; `reason` says on which limit. `order` are the calls in the order
    they took effect (unanswered ones only if needed). `stuck` is the first call whose answer no
    configuration explains, `states` what the object could have held just before that answer.
    """

    valid: bool | None
    reason: str = ""
    order: tuple[int, ...] = ()
    stuck: int | None = None
    states: tuple[Hashable, ...] = ()
    visited: int = 0


_Trail = tuple[Any, int] | None
"""How a configuration was reached: (the trail before, the call that took effect last)."""


class Misfit(Exception):
    """A model cannot apply a call: `row` is the call; the cause is the model's exception."""

    def __init__(self, row: int, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.row = row


MISFITS: Final = (TypeError, ValueError, KeyError, IndexError, AttributeError)
"""What a model raises on an argument or answer of the wrong shape."""


class _Calls:
    """The calls, their kinds, and the model's steps memoised."""

    def __init__(self, model: Model, calls: Sequence[Call]) -> None:
        self.model = model
        self.calls = calls
        kinds: dict[tuple[Hashable, Hashable], int] = {}
        self.kind: list[int] = []
        self.sample: list[Call] = []
        for call in calls:
            answer: Hashable = UNKNOWN if call.answer is UNKNOWN else freeze(call.answer)
            identity = (freeze(call.given), answer)
            kind = kinds.setdefault(identity, len(kinds))
            if kind == len(self.sample):
                self.sample.append(call)
            self.kind.append(kind)
        self.pure = [self._read_only(kind) for kind in range(len(self.sample))]
        self._steps: dict[tuple[int, Hashable], tuple[bool, Hashable]] = {}

    def _read_only(self, kind: int) -> bool:
        call = self.sample[kind]
        try:
            return self.model.read_only(call.given, call.answer)
        except MISFITS as error:
            raise Misfit(self.kind.index(kind), error) from error

    def step(self, state: Hashable, kind: int) -> tuple[bool, Hashable]:
        """Return whether a call of this kind fits `state`, and the state after it."""
        found = self._steps.get((kind, state))
        if found is None:
            call = self.sample[kind]
            try:
                found = self.model.step(state, call.given, call.answer)
            except MISFITS as error:
                raise Misfit(self.kind.index(kind), error) from error
            self._steps[kind, state] = found
        return found


class _Level(NamedTuple):
    """The moment just before one call returns: which calls may take effect then.

    `writes` and `reads` are the open calls as (bit, kind, row); `unanswered` are the kinds of
    unanswered calls as (field, kind), and `available` how many of each were called so far, packed
    into one number. `guard` has the top bit of every field.
    """

    row: int
    bit: int
    time: int
    writes: tuple[tuple[int, int, int], ...]
    reads: tuple[tuple[int, int, int], ...]
    unanswered: tuple[tuple[int, int], ...]
    available: int
    guard: int


def _levels(prepared: _Calls) -> list[_Level]:
    """Pass over the events in order of time and record what is open at each return."""
    calls, kinds = prepared.calls, prepared.kind
    # At equal times calls come before returns: an interval is closed.
    events = sorted(
        [(call.call, 0, row) for row, call in enumerate(calls)]
        + [(call.ret, 1, row) for row, call in enumerate(calls) if call.ret != FOREVER]
    )
    levels: list[_Level] = []
    writes: dict[int, tuple[int, int, int]] = {}
    reads: dict[int, tuple[int, int, int]] = {}
    fields: dict[int, int] = {}  # kind -> its field: 1 << (FIELD_BITS * n)
    free: list[int] = []
    available = guard = 0
    for time, is_return, row in events:
        kind = kinds[row]
        pure = prepared.pure[kind]
        if is_return:
            bit = (writes.get(row) or reads[row])[0]
            unanswered = tuple((field, of_kind) for of_kind, field in fields.items())
            levels.append(
                _Level(
                    row,
                    bit,
                    time,
                    tuple(writes.values()),
                    tuple(reads.values()),
                    unanswered,
                    available,
                    guard,
                )
            )
            (reads if pure else writes).pop(row)
            free.append(bit)
        elif calls[row].ret != FOREVER:
            bit = free.pop() if free else 1 << (len(writes) + len(reads))
            (reads if pure else writes)[row] = (bit, kind, row)
        elif not pure:
            field = fields.setdefault(kind, 1 << (FIELD_BITS * len(fields)))
            guard |= field << (FIELD_BITS - 1)
            available += field
    return levels


class _Seen:
    """Configurations that were tried already; of comparable ones the dominating one."""

    def __init__(self, levels: int) -> None:
        self._at: list[dict[tuple[Hashable, int], list[tuple[int, int]]]] = [
            {} for _ in range(levels)
        ]

    def add(
        self, level: int, guard: int, place: tuple[Hashable, int], reads: int, used: int
    ) -> bool:
        """Add a configuration; False if a tried one dominates it."""
        bucket = self._at[level].setdefault(place, [])
        # Field by field, used >= spent: no field of (used + guard - spent) borrows its guard bit.
        for known, spent in bucket:
            if not reads & ~known and ((used | guard) - spent) & guard == guard:
                return False
        if bucket:
            bucket[:] = [
                (known, spent)
                for known, spent in bucket
                if known & ~reads or ((spent | guard) - used) & guard != guard
            ]
        bucket.append((reads, used))
        return True

    def states(self, level: int) -> tuple[Hashable, ...]:
        """The states of all configurations tried at a level."""
        return tuple({state for state, _ in self._at[level]})


def search(model: Model, calls: Sequence[Call], meter: Meter) -> Found:
    """Decide whether `calls` are linearizable by `model`, within the meter's budget."""
    prepared = _Calls(model, calls)
    levels = _levels(prepared)
    visited = meter.states
    seen = _Seen(len(levels))
    try:
        deepest, trail = _explore(prepared, levels, seen, meter)
    except OutOfBudget as spent:
        return Found(None, str(spent), visited=meter.states - visited)
    if deepest == len(levels):
        return Found(True, order=_linearization(prepared, trail), visited=meter.states - visited)
    return Found(
        False,
        stuck=levels[deepest].row,
        states=seen.states(deepest),
        visited=meter.states - visited,
    )


def _explore(
    prepared: _Calls, levels: list[_Level], seen: _Seen, meter: Meter
) -> tuple[int, _Trail]:
    """Go depth first through configurations; return the depth reached, and the trail if complete.

    A configuration at a level explains everything that answered before it. Unanswered calls are
    tried last: an order that does without them dominates.
    """
    step = prepared.step
    fitting: dict[tuple[int, Hashable], list[tuple[int, int]]] = {}
    stack: list[tuple[int, Hashable, int, int, int, _Trail]] = [
        (0, prepared.model.init, 0, 0, 0, None)
    ]
    deepest = 0
    while stack:
        at, state, mask, reads, used, trail = stack.pop()
        if at == len(levels):
            return at, trail
        meter.spend()
        deepest = max(deepest, at)
        level = levels[at]
        fits_here = fitting.get((at, state))
        if fits_here is None:
            fits_here = fitting[at, state] = [
                (bit, row) for bit, kind, row in level.reads if step(state, kind)[0]
            ]
        for bit, row in fits_here:
            if not reads & bit:
                reads |= bit
                trail = (trail, row)
        if (mask | reads) & level.bit:
            stack.append((at + 1, state, mask & ~level.bit, reads & ~level.bit, used, trail))
            continue
        if not seen.add(at, level.guard, (state, mask), reads, used):
            continue
        left = level.available - used
        for field, kind in level.unanswered:
            if left & ((field << FIELD_BITS) - field):
                fits, after = step(state, kind)
                if fits and after != state:
                    # Which call of its kind it is, is decided when the order is written out.
                    stack.append((at, after, mask, reads, used + field, (trail, ~kind)))
        for bit, kind, row in reversed(level.writes):
            if not mask & bit:
                fits, after = step(state, kind)
                if fits:
                    stack.append((at, after, mask | bit, reads, used, (trail, row)))
    return deepest, None


def _linearization(prepared: _Calls, trail: _Trail) -> tuple[int, ...]:
    """Turn a trail into rows in order; unanswered calls of a kind go in order of their call."""
    backwards: list[int] = []
    while trail is not None:
        trail, row = trail
        backwards.append(row)
    waiting: dict[int, list[int]] = {}
    for row, call in enumerate(prepared.calls):
        if call.ret == FOREVER:
            waiting.setdefault(prepared.kind[row], []).append(row)
    for rows in waiting.values():
        rows.sort(key=lambda row: prepared.calls[row].call, reverse=True)
    return tuple(row if row >= 0 else waiting[~row].pop() for row in reversed(backwards))
