"""Matching of gaps with windows, for requests that change exactly one key.

Earliest deadline first: from the first gap to the last, each is given to the window (`gap_windows`)
that closes soonest among those for which a request is available; that matches as many as possible.
Afterwards a window that must be used and closed unused takes a gap from one that need not be used,
and a gap without a request takes one from another gap that has a choice; both by augmenting paths,
bounded by `MOVES_MAX` and `DEPTH_MAX`. So a maximum matching is not guaranteed, and a failure
proves nothing by itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple

from squall.checkers.etcd.gap_windows import ANY_NUMBER, END, Window, Windows
from squall.checkers.etcd.requests import DELETE, PUT, Effects, effects_of, needs_keys
from squall.checkers.history import Operation

MOVES_MAX: Final = 256
"""Gaps that may be reassigned to make room for one request."""

DEPTH_MAX: Final = 32
"""Gaps that may be reassigned to fill another."""

Lane = tuple[str, str]
"""Requests that do the same to one key: (PUT or DELETE, key)."""


class Unanswered(NamedTuple):
    """A request that may have happened, and only at a revision above `floor`."""

    operation: Operation
    floor: int
    effects: Effects


def unanswered(
    open_ops: Sequence[Operation], times: Sequence[int], highest: Sequence[int]
) -> list[Unanswered]:
    """Prepare the requests, in order of the earliest revision at which they may have happened.

    `highest[i]` is the highest revision returned by `times[i]`.
    """
    found = []
    for one in open_ops:
        at = bisect_left(times, one.invoked_ns)
        floor = highest[at - 1] if at else 0
        found.append(Unanswered(one, floor, effects_of(one.f, one.input)))
    found.sort(key=lambda one: (one.floor, one.operation.invoked_ns))
    return found


class Plan:
    """The matching of gaps with windows, for requests that change exactly one key."""

    def __init__(
        self,
        windows: Windows,
        requests: Sequence[Unanswered],
        chosen: dict[int, Unanswered],
        used: set[int],
    ) -> None:
        self._windows = windows
        self._requests = requests
        self._chosen = chosen
        self._used = used
        self._pool: dict[Lane, list[Unanswered]] = {}
        self._at: dict[Lane, int] = {}  # the window a lane waits for
        self._open: list[tuple[int, bool, Lane]] = []  # by end of window, required ones first
        self._later: list[tuple[int, Lane]] = []  # by the beginning of the window
        self._waiting: set[Lane] = set()
        self._spare: list[tuple[Window, Lane]] = []  # used if nothing else is left
        self._where: dict[int, int] = {}  # request -> the gap it fills
        self._from: dict[int, Window] = {}  # gap -> the window it was given to

    def run(self) -> None:
        """Go through the gaps."""
        released = 0
        requests = self._requests
        for gap in self._windows.gaps:
            while released < len(requests) and requests[released].floor < gap:
                self._release(requests[released], gap)
                released += 1
            if gap in self._chosen or gap in self._windows.shown:
                continue
            while self._later and self._later[0][0] < gap:
                _, lane = heappop(self._later)
                self._wait(lane, gap)
            made = self._windows.made.get(gap)
            if made:
                one = _latest(self._pool.get((PUT, next(iter(made))), []), fresh=True)
            else:
                one = self._pick(gap)
            if one is not None:
                self._give(gap, one)
        for lane in sorted(self._waiting):
            self._wait(lane, END)
        self._where = {one.operation.index: gap for gap, one in self._chosen.items()}
        for gap in self._windows.gaps:
            if gap not in self._chosen and gap not in self._windows.shown:
                self._mend(gap, set())
        self._pair([gap for gap in self._windows.gaps if gap not in self._chosen])

    def _release(self, one: Unanswered, gap: int) -> None:
        lane = lane_of(one)
        if lane is None or one.operation.index in self._used:
            return
        self._pool.setdefault(lane, []).append(one)
        if lane not in self._waiting:
            self._wait(lane, gap)

    def _give(self, gap: int, one: Unanswered) -> None:
        self._chosen[gap] = one
        self._used.add(one.operation.index)

    def _of(self, lane: Lane) -> list[Window]:
        kind, key = lane
        return (self._windows.put if kind == PUT else self._windows.delete)[key]

    def _wait(self, lane: Lane, gap: int) -> None:
        """Queue a lane for the first of its windows that is not over."""
        windows = self._of(lane)
        at = self._at.get(lane, 0)
        while at < len(windows) and (windows[at].before <= gap or not windows[at].times):
            if windows[at].times > 0:
                self._make_room(lane, windows[at])
            at += 1
        # An optional window must not use up a request that another will need, if there is an
        # alternative.
        needed = windows[at + 1].times if at + 1 < len(windows) and windows[at].times < 0 else 0
        if 0 < needed >= len(self._pool[lane]):
            self._spare.append((windows[at], lane))
            at += 1
        self._at[lane] = at
        self._waiting.discard(lane)
        if at == len(windows):
            return
        self._waiting.add(lane)
        window = windows[at]
        if window.after < gap:
            heappush(self._open, (window.before, window.times == ANY_NUMBER, lane))
        else:
            heappush(self._later, (window.after, lane))

    def _pick(self, gap: int) -> Unanswered | None:
        """Take a request whose window closes first."""
        while self._open:
            before, _, lane = self._open[0]
            if before <= gap:
                heappop(self._open)
                self._wait(lane, gap)
                continue
            pool = self._pool[lane]
            window = self._of(lane)[self._at[lane]]
            one = _latest(pool, fresh=window.fresh)
            if one is None:
                heappop(self._open)
                if pool:
                    heappush(self._later, (before - 1, lane))  # they are for another window
                else:
                    self._waiting.discard(lane)
                continue
            self._from[gap] = window
            if window.times != ANY_NUMBER:
                window.times -= 1
                if not window.times:
                    heappop(self._open)
                    self._wait(lane, gap)
            return one
        self._spare = [(window, lane) for window, lane in self._spare if window.before > gap]
        for window, lane in self._spare:
            if window.after < gap and (one := _latest(self._pool[lane], fresh=window.fresh)):
                self._from[gap] = window
                return one
        return None

    def _make_room(self, lane: Lane, window: Window) -> None:
        """Fill a window that must be used and was not, at the cost of one that need not be."""
        pool = self._pool[lane]
        while window.times:
            fitting = [one for one in pool if not (window.fresh and _needs_keys(one))]
            if not fitting:
                return
            one = min(fitting, key=floor_of)  # whatever another could do, this one can
            if not self._place(window, one, set()):
                return
            pool.remove(one)
            window.times -= 1

    def _place(self, window: Window, one: Unanswered, tried: set[int]) -> bool:
        """Find a gap for a request in its window; a request displaced by it is placed elsewhere."""
        gaps = self._windows.gaps
        since = max(window.after, one.floor)
        for gap in gaps[bisect_right(gaps, since) : bisect_left(gaps, window.before)]:
            other = self._from.get(gap)
            if other is None or gap in tried or len(tried) > MOVES_MAX:
                continue
            tried.add(gap)
            displaced = self._chosen[gap]
            if other.times == ANY_NUMBER:
                self._used.discard(displaced.operation.index)
                lane = lane_of(displaced)
                assert lane is not None
                self._pool[lane].append(displaced)
            elif not self._place(other, displaced, tried):
                continue
            self._from[gap] = window
            self._give(gap, one)
            return True
        return False

    def _pair(self, left: list[int]) -> None:
        """Fill two gaps with a put and a deletion of a key that was absent before and after."""
        for at, gap in enumerate(left):
            if gap in self._chosen or gap in self._windows.shown:
                continue
            upto = bisect_left(self._requests, gap, key=floor_of)
            for one in self._requests[max(0, upto - MOVES_MAX) : upto][::-1]:
                kind, key = lane_of(one) or (DELETE, "")
                free = kind == PUT and one.operation.index not in self._used
                window = around(self._windows.absent[key], gap) if free else None
                if window is None or _needs_keys(one):
                    continue
                for other in self._pool.get((DELETE, key), []):
                    second = next((g for g in left[at + 1 :] if g > other.floor), END)
                    if second < window.before and second not in self._chosen:
                        self._pool[DELETE, key].remove(other)
                        self._give(gap, one)
                        self._give(second, other)
                        break
                if gap in self._chosen:
                    break

    def _mend(self, gap: int, tried: set[int]) -> bool:
        """Fill a gap with a free request, or with one from a gap that another request can fill."""
        tried.add(gap)
        upto = bisect_left(self._requests, gap, key=floor_of)
        for one in self._requests[max(0, upto - MOVES_MAX) : upto][::-1]:
            lane = lane_of(one)
            if lane is None:
                continue
            where = self._where.get(one.operation.index)
            held = self._from.get(where) if where is not None else None
            if where is not None and (held is None or where in tried or len(tried) > DEPTH_MAX):
                continue
            window = around(self._of(lane), gap)
            if held is not None and held.times != ANY_NUMBER:
                window = held if held.after < gap < held.before else None
            if window is None or (window.fresh and _needs_keys(one)):
                continue
            if where is not None and not self._mend(where, tried):
                continue
            if window is not held and window.times > 0:
                window.times -= 1
            self._from[gap] = window
            self._where[one.operation.index] = gap
            self._give(gap, one)
            return True
        return False


def floor_of(one: Unanswered) -> int:
    """The revision above which a request may have happened."""
    return one.floor


def around(windows: Sequence[Window], gap: int) -> Window | None:
    """The window of a key in which a gap lies, if it may still be used."""
    at = bisect_left(windows, gap + 1, key=lambda window: window.before)
    while at < len(windows) and windows[at].after < gap:
        if windows[at].times and gap < windows[at].before:
            return windows[at]
        at += 1
    return None


def lane_of(one: Unanswered) -> Lane | None:
    """The lane of a request that changes exactly one key, else None."""
    puts, deletes, ranges = one.effects
    if ranges or len(puts) + len(deletes) != 1:
        return None
    return (PUT, next(iter(puts))) if puts else (DELETE, next(iter(deletes)))


def _latest(pool: list[Unanswered], *, fresh: bool) -> Unanswered | None:
    """Take the request called last; `fresh`: one that can create a key."""
    for at in range(len(pool) - 1, -1, -1):
        if not (fresh and _needs_keys(pool[at])):
            return pool.pop(at)
    return None


def _needs_keys(one: Unanswered) -> bool:
    return needs_keys(one.operation.f, one.operation.input)
