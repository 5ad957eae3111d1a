"""Which unanswered requests filled the gaps that the acknowledged revisions leave.

A request that was never answered has no revision. A revision that nobody acknowledged was
somebody's all the same: what was read at it says whose, and one that nobody looked at is given to
the request called first among those that could have made it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

from checkers.etcd import Store
from checkers.history import Operation
from checkers.registers import freeze


class Placed(NamedTuple):
    """An operation at the revision it claims; `changed`: it made that revision."""

    revision: int
    operation: Operation
    changed: bool


class Gaps:
    """Which unanswered requests can have made the revisions that nobody acknowledged."""

    def __init__(self, placed: Sequence[Placed], open_ops: Sequence[Operation]) -> None:
        acked = {one.revision for one in placed if one.changed}
        self.shown: dict[int, dict[str, Any]] = {}  # revision -> what was seen of its change
        self.showing: dict[int, Operation] = {}
        self._reads: dict[str, list[tuple[int, int]]] = {}  # key -> (revision, what of it)
        for one in placed:
            present = set()
            for key, value, _, mod, *_ in _kvs(one.operation.output):
                present.add(key)
                if mod not in acked:
                    self.shown.setdefault(mod, {})[key] = value
                    self.showing.setdefault(mod, one.operation)
            for key in keys_of(one.operation.f, one.operation.input):
                what = _CHANGED
                if not one.changed:
                    what = _PRESENT if key in present else _ABSENT
                self._reads.setdefault(key, []).append((one.revision, what))
        returns = sorted(
            (one.operation.completed_ns or 0, one.revision)
            for one in placed
            if not one.operation.input.get("revision")
        )
        self._times = [time for time, _ in returns]
        self._highest = list(accumulate((revision for _, revision in returns), max))
        self._makers = self._match(open_ops)
        made = {one.index for one in self._makers.values()}
        self._unseen = deque(
            one for one in sorted(open_ops, key=lambda one: one.invoked_ns) if one.index not in made
        )

    def _match(self, open_ops: Sequence[Operation]) -> dict[int, Operation]:
        """Find for each revision of which something was seen the request that wrote that."""
        by_write: dict[tuple[str, Any], list[Operation]] = {}
        for one in open_ops:
            for key, value in _writes(one.f, one.input).items():
                by_write.setdefault((key, freeze(value)), []).append(one)
        makers: dict[int, Operation] = {}
        used: set[int] = set()
        for revision in sorted(self.shown):
            shown = self.shown[revision]
            key, value = next(iter(shown.items()))
            for one in by_write.get((key, freeze(value)), ()):
                writes = _writes(one.f, one.input)
                if (
                    one.index not in used
                    and self._floor(one) < revision
                    and all(writes.get(k, _NOTHING) == v for k, v in shown.items())
                ):
                    makers[revision] = one
                    used.add(one.index)
                    break
        return makers

    def _floor(self, one: Operation) -> int:
        """The highest revision that had been returned when a request was called."""
        at = bisect_left(self._times, one.invoked_ns)
        return self._highest[at - 1] if at else 0

    def maker(self, revision: int) -> Operation | None:
        """The request whose change was seen at a revision."""
        return self._makers.get(revision)

    def guess(self, revision: int, store: Store) -> tuple[Operation | None, set[str] | None]:
        """Choose a maker for a revision nobody saw; also the keys others might have changed.

        The keys are None when there are too many candidates to look at.
        """
        chosen: Operation | None = None
        keys: set[str] = set()
        for tried, one in enumerate(self._unseen):
            if tried >= CANDIDATES_MAX:
                break
            if self._floor(one) >= revision:
                return self._take(chosen), keys  # and so have all that were called later
            # Whether it would change anything is judged by a store that may be guessed itself: so
            # its keys are doubtful even when it is not the one.
            mine = keys_of(one.f, one.input)
            keys.update(mine)
            fits = chosen is None and _would_change(one.f, one.input, store)
            if fits and not self._refuted(one, mine, revision):
                chosen = one
        else:
            return self._take(chosen), keys
        return self._take(chosen), None

    def _take(self, chosen: Operation | None) -> Operation | None:
        if chosen is not None:
            self._unseen.remove(chosen)
        return chosen

    def _refuted(self, one: Operation, keys: list[str], revision: int) -> bool:
        """Whether a key was read after a revision, before it changed, and showed another past."""
        for key in keys:
            events = self._reads.get(key, [])
            at = bisect_left(events, (revision, _CHANGED))
            if at == len(events) or events[at][1] == _CHANGED:
                continue
            # What was shown is of another revision, so nobody put it at this one; and a deleted
            # key is not shown at all.
            if one.f == "put" or (one.f == "delete" and events[at][1] == _PRESENT):
                return True
        return False


_CHANGED, _ABSENT, _PRESENT = range(3)
"""What an operation says of a key it names: it changed, it was not there, it was."""

CANDIDATES_MAX: Final = 1_000
"""Unanswered requests looked at for one revision that nobody saw."""


def _would_change(f: str, request: Any, store: Store) -> bool:
    """Whether a request would change the store as it is."""
    if f == "put":
        return True
    if f == "delete":
        return bool(list(store.within(request)))
    if f != "txn":
        return False
    branch = "then" if store.holds(request) else "else"
    return any(_would_change(inner, one, store) for inner, one in request.get(branch, ()))


def requests_of(f: str, request: Any) -> list[Any]:
    """A request, or those within a transaction."""
    if f != "txn":
        return [request]
    inner = [*request.get("then", ()), *request.get("else", ())]
    return [one for name, given in inner for one in requests_of(name, given)]


def keys_of(f: str, request: Any) -> list[str]:
    """The keys a request names."""
    return [one["key"] for one in requests_of(f, request) if "key" in one]


_NOTHING: Final = object()


def _writes(f: str, request: Any) -> dict[str, Any]:
    """What an unanswered request could have put."""
    if f == "put":
        return {request["key"]: request["value"]}
    if f == "txn":
        found: dict[str, Any] = {}
        for inner, one in [*request.get("else", ()), *request.get("then", ())]:
            found |= _writes(inner, one)
        return found
    return {}


def _kvs(answer: Any) -> Iterator[Any]:
    """Every kv an answer shows."""
    yield from answer.get("kvs", ())
    for inner in answer.get("answers", ()):
        yield from _kvs(inner)
