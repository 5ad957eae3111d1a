"""Windows: between which revisions of what was seen of a key it can have changed unseen.

A store's answers show a key at some revisions, and acknowledged requests changed it at others. In
between lie *gaps*: revisions that no request acknowledged, each the change of an unanswered
request. What is seen of a key restricts the gaps before it:

* a value seen with mod revision m was put at m, and the key did not change since;
* its version counts the puts since it was created, and so the unacknowledged ones among them;
* a key that was put, and is absent later, was deleted in between, acknowledged or not;
* a value that was overwritten before any answer showed it leaves the question open.

So per key there are *windows*, intervals between two revisions in which it was changed by an unseen
put (or deletion) a known number of times, or may have been; outside of them it was not. One pass
over the answers in order of revision, O(n). Which request filled which gap is decided by
`gap_matching` and `gap_search`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final

from squall.checkers.etcd.requests import DELETE, PUT, guarded, ran
from squall.checkers.history import Operation

END: Final = 1 << 62
"""After the last revision."""

ANY_NUMBER: Final = -1
"""A window that may be used any number of times, or not at all."""


class Window:
    """Revisions between `after` and `before`, both exclusive, and how often it is to be used.

    `fresh`: the key is absent before.
    """

    __slots__ = ("after", "before", "fresh", "times")

    def __init__(self, after: int, before: int, times: int, *, fresh: bool = False) -> None:
        self.after = after
        self.before = before
        self.times = times
        self.fresh = fresh


_DELETED, _PUT, _PRESENT = range(3)
"""What happened to a key: it was deleted, it was put, or it was found present."""


class _Line:
    """The state of one key during the pass: what was seen last, and what was acknowledged since."""

    __slots__ = ("changes", "create", "found", "since", "version")

    def __init__(self, since: int) -> None:
        self.since = since
        self.create = self.version = 0  # version 0: absent
        self.found: Window | None = None  # where it was put unseen, if it was found present
        self.changes: list[tuple[int, int]] = []  # (revision, what happened)


class Windows:
    """The windows of the keys that unanswered requests may have changed.

    `put[key]` and `delete[key]` are in order of revision. `shown[revision]` is what was seen of a
    gap's change, by key; `made[revision]` are keys it is known to have put, whatever the value. In
    a window of `absent[key]` the key may have been put and deleted again, or not changed.
    """

    def __init__(self, keys: Iterable[str], gaps: Sequence[int], first_revision: int) -> None:
        self.gaps = gaps
        self.shown: dict[int, dict[str, Any]] = {}
        self.showing: dict[int, Operation] = {}
        self.made: dict[int, set[str]] = {}
        self.put: dict[str, list[Window]] = {key: [] for key in keys}
        self.delete: dict[str, list[Window]] = {key: [] for key in keys}
        self.absent: dict[str, list[Window]] = {key: [] for key in keys}
        self._gap = frozenset(gaps)
        self._lines = {key: _Line(first_revision) for key in self.put}
        self._sorted = sorted(self.put)

    def read(
        self, operations: Sequence[Operation], claims: Sequence[int], order: Iterable[int]
    ) -> None:
        """Process all answers: row i claims revision claims[i] >> 1, as its change if that is even.

        `order` is that of the claims.
        """
        lines, gap = self._lines, self._gap
        for row in order:
            operation, claim = operations[row], claims[row]
            f, request = operation.f, operation.input
            if f == PUT:
                if request["key"] in lines:
                    self._change(request["key"], claim >> 1, _PUT)
            elif f == "range" and len(request) == 1:
                # The common case, a single key, without the general path.
                key, kvs = request["key"], operation.output.get("kvs")
                if kvs and kvs[0][0] != key:
                    continue  # the answer to another question says nothing of this key
                if kvs is not None and (key in lines or (kvs and kvs[0][3] in gap)):
                    self._seen(operation, key, kvs[0] if kvs else None, claim >> 1)
            else:
                before = claim - 1 >> 1  # what a change saw is of the revision before
                self._look(operation, f, request, operation.output, before, set())
                if not claim & 1:
                    self._do(f, request, operation.output, claim >> 1)
        self._close()

    def _close(self) -> None:
        """After the last answer: changes that no answer showed stay open."""
        for key, line in self._lines.items():
            last = self._between(key, line, END)
            there = line.changes[-1][1] if line.changes else line.version
            self._allow(self.put[key], last, END, fresh=not there)
            if there:
                self._allow(self.delete[key], last, END)

    def _look(
        self,
        operation: Operation,
        f: str,
        request: Any,
        answer: Any,
        at: int,
        written: set[str],
    ) -> None:
        """Process what an answer shows of the keys, as of revision `at`."""
        if f == "range":
            kvs = answer.get("kvs")
            if kvs is None:
                return
            end = request.get("end")
            if end is None:
                mine = not kvs or kvs[0][0] == request["key"]
                if mine and (not written or request["key"] not in written):
                    self._seen(operation, request["key"], kvs[0] if kvs else None, at)
                return
            for kv in kvs:
                if kv[0] not in written:
                    self._seen(operation, kv[0], kv, at)
            if not request.get("limit"):
                there = {kv[0] for kv in kvs} | written
                for key in self._within(request["key"], end):
                    if key not in there:
                        self._seen(operation, key, None, at)
        elif f == DELETE:
            if answer.get("deleted") == 0 and not written:
                for key in self._named(request):
                    self._seen(operation, key, None, at)
            elif answer.get("deleted") and "end" not in request and not written:
                self._there(request["key"], at)
        elif f == "txn":
            if not written:
                for key, present in guarded(request, answer):
                    if present:
                        self._there(key, at)
                    else:
                        self._seen(operation, key, None, at)
            for inner, one, said in ran(request, answer):
                self._look(operation, inner, one, said, at, written)
                if inner == PUT:
                    written.add(one["key"])
                elif inner == DELETE:
                    written.update(self._named(one))

    def _do(self, f: str, request: Any, answer: Any, revision: int) -> None:
        """Process what an acknowledged request changed."""
        if f == PUT:
            self._change(request["key"], revision, _PUT)
        elif f == DELETE:
            for key in self._named(request):
                self._change(key, revision, _DELETED)
        elif f == "txn":
            for inner, one, said in ran(request, answer):
                self._do(inner, one, said, revision)

    def _named(self, request: Any) -> Sequence[str]:
        end = request.get("end")
        return (request["key"],) if end is None else self._within(request["key"], end)

    def _within(self, first: str, end: str) -> list[str]:
        keys = self._sorted
        return keys[bisect_left(keys, first) : bisect_left(keys, end)]

    def _change(self, key: str, revision: int, what: int) -> None:
        line = self._lines.get(key)
        if line is None:
            return
        changes = line.changes
        if changes and changes[-1][0] == revision:
            changes[-1] = (revision, what)  # one transaction did both
        else:
            changes.append((revision, what))

    def _seen(self, operation: Operation, key: str, kv: Any, at: int) -> None:
        """A key is what `kv` says as of revision `at`."""
        if kv is not None and kv[3] in self._gap:
            self.shown.setdefault(kv[3], {})[key] = kv[1]
            self.showing.setdefault(kv[3], operation)
        line = self._lines.get(key)
        if line is None or at < line.since:
            return
        gaps = self.gaps
        first = bisect_left(gaps, line.since)
        if first < len(gaps) and gaps[first] <= at:
            self._explain(key, line, kv, at)
        line.since, line.found = at, None
        if line.changes:
            line.changes = [one for one in line.changes if one[0] > at]
        line.create, line.version = (kv[2], kv[4]) if kv is not None else (0, 0)

    def _there(self, key: str, at: int) -> None:
        """A key was present, whatever its value: if it had been deleted, it was put unseen."""
        line = self._lines.get(key)
        if line is None or at < line.since:
            return
        last, there = line.changes[-1] if line.changes else (line.since, line.version)
        if not there:
            line.found = Window(last, at + 1, 1, fresh=True)
            self.put[key].append(line.found)
        if last < at:
            line.changes.append((at, _PRESENT))

    def _explain(self, key: str, line: _Line, kv: Any, at: int) -> None:
        """Determine what happened to a key since it was seen last."""
        if kv is None:
            self._vanish(key, line, at + 1)
            return
        _, _, create, mod, version = kv
        since, known = line.since, line.version
        if not known or create != line.create:
            self._vanish(key, line, create)
            if line.found is not None and line.found.after < create < line.found.before:
                line.found.times = 0  # so this unseen put created it
            if create in self._gap and create != mod:
                self.made.setdefault(create, set()).add(key)
            since, known = create, 1
        acknowledged = sum(
            since < revision <= mod for revision, what in line.changes if what == _PUT
        )
        unseen = version - known - acknowledged - (since < mod and mod in self._gap)
        if unseen > 0:
            self.put[key].append(Window(since, mod, unseen))

    def _vanish(self, key: str, line: _Line, before: int) -> None:
        """Determine what happened until a key was absent, just before a revision."""
        last = self._between(key, line, before)
        there = line.version
        for revision, what in line.changes:
            if revision < before:
                there = what
        if there:
            self.delete[key].append(Window(last, before, 1))
        else:
            self._allow(self.absent[key], last, before)

    def _between(self, key: str, line: _Line, before: int) -> int:
        """Allow what the acknowledged changes before a revision hide; return the last of them."""
        last, there = line.since, line.version
        for revision, what in line.changes:
            if revision >= before:
                break
            # A state found as of a revision includes that revision.
            self._allow(self.put[key], last, revision + (what == _PRESENT), fresh=not there)
            if there and what == _PUT:
                self._allow(self.delete[key], last, revision)
            last, there = revision, what
        return last

    def _allow(
        self, windows: list[Window], after: int, before: int, *, fresh: bool = False
    ) -> None:
        """Leave an interval open, if there is a gap in it."""
        gaps = self.gaps
        at = bisect_left(gaps, after + 1)
        if at < len(gaps) and gaps[at] < before:
            windows.append(Window(after, before, ANY_NUMBER, fresh=fresh))
