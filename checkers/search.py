"""Linearizability for any model: by search, and honest when it gives up.

Wing & Gong's search with Lowe's improvements ("Testing for linearizability", CCPE 2017): a
configuration is a state of the object plus which of the open operations have taken effect already.
Level by level, one level a return, every configuration must let the returning operation take
effect; open operations take effect just in time, that is, no earlier than some return needs. The
search goes depth first, so a history that is linearizable costs little, and remembers what it
tried, so no configuration is tried twice.

Three things keep their number small, each without losing a linearization:

* An open call that changes nothing (`Model.read_only`) takes effect in the first state it fits.
* Calls that never answered are counted by what they asked, not told apart: of two with the same
  request the one called first may always go first. And they are optional.
* A configuration is dropped when one was tried with the same state that had done the same open
  writes, at least the same open reads, and used up no more of the unanswered calls: whatever the
  one can still explain, the other could.

At a quiescent point (nothing open) a configuration is just a state: the history falls apart there
by itself; by key it is taken apart by the caller. This module knows no faults and no clock; the
meter stops it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final, NamedTuple

from checkers.budget import Meter, OutOfBudget
from checkers.models import UNKNOWN, Given, Model
from checkers.registers import FOREVER, freeze

FIELD_BITS: Final = 24
"""Bits to count the unanswered calls of one kind; the top bit stays free for comparisons."""


class Call(NamedTuple):
    """One operation: its closed interval, what it asked, what it was told.

    `ret` is FOREVER when it never answered; `answer` is then UNKNOWN.
    """

    call: int
    ret: int
    given: Given
    answer: Any = UNKNOWN


class Found(NamedTuple):
    """What the search concluded.

    `valid` is None when it gave up, and `reason` says at what. `order` are the calls in the order
    they took effect (those that never answered only if needed). `stuck` is the first call whose
    answer nothing explains, `states` what the object could have held just before it answered.
    """

    valid: bool | None
    reason: str = ""
    order: tuple[int, ...] = ()
    stuck: int | None = None
    states: tuple[Hashable, ...] = ()
    visited: int = 0


_Trail = tuple[Any, int] | None
"""How a configuration came about: (how it began, the call that took effect last)."""


class Misfit(Exception):
    """A model cannot apply a call: `row` says which, and the cause why."""

    def __init__(self, row: int, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.row = row


MISFITS: Final = (TypeError, ValueError, KeyError, IndexError, AttributeError)
"""What a model raises on an argument or answer of the wrong shape."""


class _Calls:
    """The calls, their kinds, and the model's steps remembered."""

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
    """The moment just before one call answers: what may take effect then.

    `writes` and `reads` are the open calls as (bit, kind, row); `unanswered` are the kinds of call
    that nobody answered as (field, kind), and `available` how many of each were called so far,
    packed into one number. `guard` has the top bit of every field.
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
    """Walk through the events in order of time and note what is open at each return."""
    calls, kinds = prepared.calls, prepared.kind
    # At a tie calls come before returns: an interval is closed.
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
    """Configurations that were tried already, the better of comparable ones."""

    def __init__(self, levels: int) -> None:
        self._at: list[dict[tuple[Hashable, int], list[tuple[int, int]]]] = [
            {} for _ in range(levels)
        ]

    def add(
        self, level: int, guard: int, place: tuple[Hashable, int], reads: int, used: int
    ) -> bool:
        """Add a configuration; False when one that is at least as good was tried."""
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
        return Found(True, order=_told(prepared, trail), visited=meter.states - visited)
    return Found(
        False,
        stuck=levels[deepest].row,
        states=seen.states(deepest),
        visited=meter.states - visited,
    )


def _explore(
    prepared: _Calls, levels: list[_Level], seen: _Seen, meter: Meter
) -> tuple[int, _Trail]:
    """Go depth first through configurations; return how deep it went, and the way if to the end.

    A configuration at a level explains everything that answered before it. Unanswered calls are
    tried last: a way that does without them is at least as good.
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
                    # Which of its kind it is, is settled when the order is told.
                    stack.append((at, after, mask, reads, used + field, (trail, ~kind)))
        for bit, kind, row in reversed(level.writes):
            if not mask & bit:
                fits, after = step(state, kind)
                if fits:
                    stack.append((at, after, mask | bit, reads, used, (trail, row)))
    return deepest, None


def _told(prepared: _Calls, trail: _Trail) -> tuple[int, ...]:
    """Turn a trail into rows in order; the unanswered calls of a kind go in order of their call."""
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
