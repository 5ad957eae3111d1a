"""Gaps: which unanswered requests made the revisions that no request acknowledged.

An unanswered request has no revision. A revision that no request acknowledged was still made by a
request: what was read at it may identify which. For one that no answer shows there are the windows
of the keys (`gap_windows`): a request may fill a gap if it was called before any answer of a later
revision had returned, and if the gap lies in a window of each key it changes.

Requests that change one key are matched with gaps beforehand (`gap_matching`); those over several
keys fill what is left during the replay, which confirms or refutes the choice (`replay`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from typing import Any, Final

from squall.checkers.etcd.gap_matching import Plan, Unanswered, around, floor_of
from squall.checkers.etcd.gap_windows import END, Windows
from squall.checkers.etcd.model import Store
from squall.checkers.etcd.requests import DELETE, PUT
from squall.checkers.history import Operation
from squall.checkers.linearizability.registers import freeze

CANDIDATES_MAX: Final = 256
"""Unanswered requests considered for one revision that no answer shows."""


class Gaps:
    """The assignment of unanswered requests to gaps."""

    def __init__(self, windows: Windows, requests: Sequence[Unanswered]) -> None:
        self.windows = windows
        self.requests = requests
        self._chosen: dict[int, Unanswered] = {}
        self._used: set[int] = set()
        self._sole: dict[int, Unanswered] = {}  # gaps that only one request can have made
        self._phantom: set[int] = set()  # gaps that no request can have made
        self._match_shown()
        Plan(windows, requests, self._chosen, self._used).run()
        self.unfilled = 0
        self._left = [one for one in requests if one.operation.index not in self._used]
        sole = {one.operation.index for one in self._sole.values()}
        self._others = [one for one in requests if one.operation.index not in sole]
        decided = self._phantom | self._sole.keys()
        self._undecided = [gap for gap in windows.gaps if gap not in decided]
        self._least: dict[str, int] = {}  # key -> the least floor of a request that may change it

    def _match_shown(self) -> None:
        """Find for each gap of which something was seen the request that wrote that."""
        by_write: dict[tuple[str, Any], list[Unanswered]] = {}
        for one in self.requests:
            for key, value in one.effects.puts.items():
                by_write.setdefault((key, freeze(value)), []).append(one)
        shown = self.windows.shown
        for gap in sorted(shown):
            key, value = next(iter(shown[gap].items()))
            fitting = [
                one
                for one in by_write.get((key, freeze(value)), ())
                if one.floor < gap and _writes(one, shown[gap])
            ]
            free = [one for one in fitting if one.operation.index not in self._used]
            if free:
                self._chosen[gap] = free[0]
                self._used.add(free[0].operation.index)
                if len(fitting) == 1:
                    self._sole[gap] = free[0]
            elif not fitting:
                self._phantom.add(gap)

    def phantom(self, gap: int) -> dict[str, Any]:
        """Return what was seen of a gap that no request can have made."""
        return self.windows.shown[gap] if gap in self._phantom else {}

    def fill(self, gap: int, store: Store) -> Operation | None:
        """Choose the request that made a gap, given the store before it."""
        chosen = self._chosen.get(gap)
        if chosen is not None and (gap in self._sole or self._keeps(chosen, gap, store)):
            return chosen.operation
        for one in self._candidates(gap):
            if self._fits(one, gap, store):
                self._left.remove(one)
                if chosen is not None:
                    insort(self._left, chosen, key=floor_of)
                return one.operation
        if chosen is not None and gap in self.windows.shown:
            return chosen.operation
        self.unfilled += 1
        return None

    def makers(self, gap: int) -> Iterator[Unanswered]:
        """Every request that was called in time to make a gap; the planned one is last."""
        chosen = self._chosen.get(gap)
        for one in self.requests:
            if one.floor >= gap:
                break
            if one is not chosen:
                yield one
        if chosen is not None:
            yield chosen

    def _candidates(self, gap: int) -> list[Unanswered]:
        """Requests without a gap: first those that a window still requires, then the latest."""
        upto = bisect_left(self._left, gap, key=floor_of)
        found = self._left[max(0, upto - CANDIDATES_MAX) : upto][::-1]
        return sorted(found, key=lambda one: -self._wanted(one, gap))

    def _wanted(self, one: Unanswered, gap: int) -> int:
        return sum(
            window is not None and window.times > 0
            for windows, keys in (
                (self.windows.put, one.effects.puts),
                (self.windows.delete, one.effects.deletes),
            )
            for window in (around(windows[key], gap) for key in keys)
        )

    def _keeps(self, one: Unanswered, gap: int, store: Store) -> bool:
        """Whether a request would change the store, and put what was seen."""
        puts, deletes = _changes(one, store)
        shown = self.windows.shown.get(gap, {})
        return bool(puts or deletes) and all(
            puts.get(key, _NOTHING) == value for key, value in shown.items()
        )

    def _fits(self, one: Unanswered, gap: int, store: Store) -> bool:
        """Whether, besides, it would change only what was not seen unchanged."""
        if not self._keeps(one, gap, store):
            return False
        puts, deletes = _changes(one, store)
        shown = self.windows.shown.get(gap, {})
        made = self.windows.made.get(gap, set())
        if not made <= puts.keys():
            return False
        used = []
        for windows, keys in ((self.windows.put, puts), (self.windows.delete, deletes)):
            for key in keys:
                if keys is puts and (key in shown or key in made):
                    continue
                window = around(windows.get(key, ()), gap)
                if window is None:
                    return False
                used.append(window)
        for window in used:
            if window.times > 0:
                window.times -= 1
        return True

    def doubtful(self, key: str, end: str | None, since: int, upto: int) -> bool:
        """Whether a key (or a range) may have changed unseen after `since`, until `upto`."""
        undecided = self._undecided
        at = bisect_right(undecided, upto)
        if at and undecided[at - 1] > since and undecided[at - 1] > self._least_floor(key, end):
            return True
        return any(
            since < gap <= upto and _touches(one, key, end)
            for gap, one in self._sole.items()
            if one.operation.f != PUT
        )

    def strange(self, since: int, upto: int) -> bool:
        """Whether a request that is not in the history may have made one of these gaps."""
        undecided = self._undecided
        at = bisect_right(undecided, upto)
        return bool(self.unfilled and at and undecided[at - 1] > since)

    def _least_floor(self, key: str, end: str | None) -> int:
        if end is not None:
            return next((one.floor for one in self._others if _touches(one, key, end)), END)
        if not self._least:
            for one in self._others:
                for touched in (*one.effects.puts, *one.effects.deletes):
                    self._least.setdefault(touched, one.floor)
        ranged = (one for one in self._others if one.effects.ranges and one.effects.touches(key))
        first = next(ranged, None)
        return min(self._least.get(key, END), END if first is None else first.floor)


def _touches(one: Unanswered, key: str, end: str | None) -> bool:
    return one.effects.touches(key) if end is None else one.effects.within(key, end)


_NOTHING: Final = object()


def _writes(one: Unanswered, shown: dict[str, Any]) -> bool:
    puts = one.effects.puts
    return all(puts.get(key, _NOTHING) == value for key, value in shown.items())


def _changes(one: Unanswered, store: Store) -> tuple[dict[str, Any], set[str]]:
    """Return what a request would put and delete in the store as it is."""
    puts: dict[str, Any] = {}
    deletes: set[str] = set()
    _would_change(one.operation.f, one.operation.input, store, puts, deletes)
    return puts, deletes


def _would_change(
    f: str, request: Any, store: Store, puts: dict[str, Any], deletes: set[str]
) -> None:
    """Collect what a request would change in the store as it is."""
    if f == PUT:
        puts[request["key"]] = request["value"]
        deletes.discard(request["key"])
    elif f == DELETE:
        gone = store.within(request)
        deletes.update(gone)
        for key in gone:
            puts.pop(key, None)
    elif f == "txn":
        for inner, one in request.get("then" if store.holds(request) else "else", ()):
            _would_change(inner, one, store, puts, deletes)
