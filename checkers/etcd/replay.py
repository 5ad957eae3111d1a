"""Replay of a store in order of revisions, and where its answers differ from the model's.

Answers come in order of revision, the change of a revision before the reads of it. Each is computed
on `model.Store` and compared. Gaps are filled by the choice of `gaps`. A difference is *certain* if
no choice of unanswered requests could explain it: since the key was last seen, or last changed, no
unseen request can have changed it. Otherwise the store is set to what the answer shows, and the
replay goes on from there. One pass, O(n log n).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from squall.checkers.etcd.gaps import Gaps
from squall.checkers.etcd.model import KeyValue, Store, agrees
from squall.checkers.etcd.requests import DELETE, PUT, covers, keys_of, ran, requests_of
from squall.checkers.history import Operation


class Answers(NamedTuple):
    """The answers that carry a revision, as columns.

    `claim` is twice the revision, and one more if the request changed nothing: so that in order of
    claims a change comes before the reads of its revision. `order` are the rows in that order,
    `timed` those whose revision is of the moment of their answer, in nanoseconds in `ret`.
    """

    operations: list[Operation]
    claim: list[int]
    order: list[int]
    timed: list[int]
    ret: list[int]

    def highest(self, least: int) -> int:
        """The highest revision of any answer."""
        return max(least, self.claim[self.order[-1]] >> 1) if self.order else least

    def shared(self) -> bool:
        """Whether two changes claim one revision."""
        changes = [claim for claim in self.claim if not claim & 1]
        return len(set(changes)) < len(changes)


class Difference(NamedTuple):
    """An answer that differs from the replay.

    `key` is one of which it says something else: `shown` instead of `there` (None: absent). It is
    None where the answer as a whole differs from `expected`. `witness` is the last answer that says
    what was at the key: an acknowledged change of it or a read. `certain` holds unless a request
    outside of the history made a gap in `windows`, pairs of revisions.
    """

    operation: Operation
    expected: dict[str, Any]
    witness: Operation | None = None
    key: str | None = None
    shown: KeyValue | None = None
    there: KeyValue | None = None
    certain: bool = False
    windows: tuple[tuple[int, int], ...] = ()


class Early(NamedTuple):
    """An answer at a revision before the store's first."""

    operation: Operation
    revision: int


class Gap(NamedTuple):
    """A gap that no request filled. `shown` is what was seen of it: then no request can have."""

    revision: int
    shown: dict[str, Any]


class Replay:
    """One pass over the answers."""

    def __init__(self, answers: Answers, gaps: Gaps | None, first_revision: int) -> None:
        self._answers = answers
        self._gaps = gaps
        self._revisions: Sequence[int] = gaps.windows.gaps if gaps is not None else ()
        self._next_gap = 0
        self._first = first_revision
        self._store = Store(first_revision)
        # By whether they changed or read it: key -> places in the order. Built when first needed.
        self._places: tuple[dict[str, list[int]], dict[str, list[int]]] | None = None
        self._wrong: set[int] = set()  # places of answers that are certainly wrong
        self._forked = False  # a change was left out: later differences may result from it
        self.resolved = 0

    def run(self) -> Iterator[Difference | Early | Gap]:
        """Replay everything; yield where an answer differs."""
        operations, claims, order = self._answers[:3]
        store = self._store
        keys = store.keys
        now = self._first
        for place, row in enumerate(order):
            operation, claim = operations[row], claims[row]
            revision = claim >> 1
            upto = revision if claim & 1 else revision - 1
            if now != upto:
                if now > upto:
                    # Two changes of one revision were reported already; before the first revision
                    # there is none.
                    if upto < self._first:
                        yield Early(operation, revision)
                    self._forked = self._forked or not claim & 1
                    continue
                yield from self._fill(upto)
                now = upto
            f, request = operation.f, operation.input
            if f == PUT:
                key = request["key"]
                old = keys.get(key)
                if old is not None:
                    keys[key] = [key, request["value"], old[2], revision, old[4] + 1]
                else:
                    store.put(key, request["value"], revision)
                now = revision
                continue
            if len(request) == 1 and f == "range":
                held, answer = keys.get(request["key"]), operation.output
                if held is not None:
                    if answer.get("kvs") == [held] and answer.get("count") == 1:
                        continue
                elif answer.get("kvs") == [] and answer.get("count") == 0:
                    continue
            found = self._compare(operation, revision, place, changed=not claim & 1)
            if found is not None:
                yield found
            if not claim & 1:
                now = revision

    def _compare(
        self, operation: Operation, revision: int, place: int, *, changed: bool
    ) -> Difference | None:
        """Apply a request; if its answer differs, adopt it unless it is certainly wrong."""
        store, answer = self._store, operation.output
        expected, did = store.apply(operation.f, operation.input, at=revision)
        expected.pop("revision")
        if did is changed and agrees(answer, expected):
            return None
        store.take_back()
        found = self._judge(
            operation, expected, revision, place, tells=_says_if_changed(operation, changed)
        )
        if self._forked:
            found = found._replace(certain=False)
        if operation.f == "range":
            if not found.certain:
                self._adopt(operation.input, answer)
        else:
            self._repeat(operation.f, operation.input, answer, revision)
        if found.certain:
            self._wrong.add(place)
        return found

    def _adopt(self, request: Any, answer: Any) -> None:
        """Set the store to what a read showed."""
        store = self._store
        kvs = answer.get("kvs")
        if kvs is None:
            return
        shown = {kv[0]: list(kv) for kv in kvs}
        if not request.get("limit"):
            for key in list(store.within(request)):
                if key not in shown:
                    store.install(key, None)
        for key, kv in shown.items():
            store.install(key, kv)

    def _repeat(self, f: str, request: Any, answer: Any, revision: int) -> None:
        """Do what an answer says was done."""
        if f == "txn":
            for inner, one, said in ran(request, answer):
                self._repeat(inner, one, said, revision)
        elif f == PUT:
            self._store.put(request["key"], request["value"], revision)
        elif f == DELETE and answer.get("deleted") != 0:
            for key in list(self._store.within(request)):
                self._store.install(key, None)

    def _fill(self, upto: int) -> Iterator[Gap]:
        """Apply the unanswered requests that made the gaps until a revision."""
        gaps = self._gaps
        while self._next_gap < len(self._revisions) and self._revisions[self._next_gap] <= upto:
            gap = self._revisions[self._next_gap]
            self._next_gap += 1
            assert gaps is not None
            shown = gaps.phantom(gap)
            choice = None if shown else gaps.fill(gap, self._store)
            if choice is not None:
                self._store.apply(choice.f, choice.input, at=gap)
                self.resolved += 1
                continue
            yield Gap(gap, shown)
            for key, value in shown.items():
                self._store.put(key, value, gap)

    def _judge(
        self,
        operation: Operation,
        expected: dict[str, Any],
        revision: int,
        place: int,
        *,
        tells: bool,
    ) -> Difference:
        """Decide if a difference is certain, and of which key; `tells`: the answer is complete."""
        answer = operation.output
        if not tells:
            return Difference(operation, expected)
        if operation.f == "range" and answer.get("kvs") is not None:
            differing = self._differing(operation, expected)
            for key, shown, there in differing:
                window = self._window(key, shown, there, revision, place)
                if window is not None:
                    witness = self._last_change(key, place)
                    if not _overwritten(shown, witness):
                        witness = self._witness(key, place, gone=there is None)
                        if there is not None and not leaves(witness, key, there):
                            # An unanswered request put it there: somebody else was shown it.
                            witness = self._shown_to(key, there, operation)
                    return Difference(
                        operation, expected, witness, key, shown, there, True, (window,)
                    )
            if differing:
                return Difference(operation, expected, None, *differing[0])
        windows = []
        for key, end in _asked(operation):
            since = self._first if end is not None else self._looked(key, place)
            if self._gaps is not None and self._gaps.doubtful(key, end, since, revision):
                return Difference(operation, expected)
            windows.append((since, revision))
        named = keys_of(operation.f, operation.input)
        held = (self._witness(key, place, gone=True) for key in named)
        witness = next(filter(None, held), None)
        return Difference(operation, expected, witness, certain=True, windows=tuple(windows))

    def _differing(
        self, operation: Operation, expected: dict[str, Any]
    ) -> list[tuple[str, KeyValue | None, KeyValue | None]]:
        """Keys of which a range says something else: what it shows, and what the store holds.

        A range with a limit says nothing of the keys behind the last one that it shows.
        """
        kvs = operation.output["kvs"]
        shown = {kv[0]: list(kv) for kv in kvs}
        limit = operation.input.get("limit") or 0
        last = max(shown, default="") if limit and len(kvs) >= limit else None
        keys = [*shown, *(kv[0] for kv in expected["kvs"] if kv[0] not in shown)]
        found = [(key, shown.get(key), self._store.keys.get(key)) for key in keys]
        return [
            one
            for one in found
            if one[1] != one[2] and (one[1] is not None or last is None or one[0] < last)
        ]

    def _window(
        self,
        key: str,
        shown: KeyValue | None,
        there: KeyValue | None,
        revision: int,
        place: int,
    ) -> tuple[int, int] | None:
        """Return where an unseen change that explains a key is ruled out; None: it is possible."""
        since = self._looked(key, place)
        changed = self._last_change(key, place)
        at = changed.output["revision"] if changed is not None else self._first
        if shown is None or there is None or shown[1:4:2] != there[1:4:2]:
            since = max(since, at)
            if shown is not None and (shown[3] > revision or shown[3] < at):
                return (revision, revision)  # from the future, or acknowledged as overwritten
        if self._gaps is not None and self._gaps.doubtful(key, None, since, revision):
            return None
        return (since, revision)

    def _index(self, place: int, key: str, *, change: bool) -> int | None:
        """The row of the last answer before a place of the order that changed, or read, a key."""
        if self._places is None:
            self._places = ({}, {})
            operations, claims, order = self._answers[:3]
            for at, row in enumerate(order):
                operation = operations[row]
                if not claims[row] & 1:
                    for one in changed_keys(operation.f, operation.input, operation.output):
                        self._places[True].setdefault(one, []).append(at)
                elif operation.f == "range" and "end" not in operation.input:
                    self._places[False].setdefault(operation.input["key"], []).append(at)
        places = self._places[change].get(key, [])
        at = bisect_left(places, place) - 1
        while at >= 0 and not change and places[at] in self._wrong:
            at -= 1
        return self._answers.order[places[at]] if at >= 0 else None

    def _last_change(self, key: str, place: int) -> Operation | None:
        row = self._index(place, key, change=True)
        return None if row is None else self._answers.operations[row]

    def _witness(self, key: str, place: int, *, gone: bool) -> Operation | None:
        """Return the last answer before a place of the order that says what was at a key.

        `gone`: it was absent, which the deletion of a range may have caused.
        """
        claims, operations = self._answers.claim, self._answers.operations
        rows = [self._index(place, key, change=change) for change in (True, False)]
        if gone:
            rows.append(
                next(
                    (
                        row
                        for row in reversed(self._answers.order[:place])
                        if _deletes_range(operations[row], key)
                    ),
                    None,
                )
            )
        found = [row for row in rows if row is not None]
        return operations[max(found, key=claims.__getitem__)] if found else None

    def _shown_to(self, key: str, there: KeyValue, but: Operation) -> Operation | None:
        """An answer, other than one, that shows this at a key; the earliest by its revision."""
        operations = self._answers.operations
        rows = (row for row in self._answers.order if operations[row] is not but)
        return next((operations[r] for r in rows if there in shown_of(operations[r], key)), None)

    def _looked(self, key: str, place: int) -> int:
        """The revision as of which a key was read last."""
        row = self._index(place, key, change=False)
        return self._first if row is None else self._answers.claim[row] >> 1


def shown_of(operation: Operation, key: str) -> list[KeyValue]:
    """What the ranges of an answer show at a key, those within a transaction too."""
    f, request, answer = operation.f, operation.input, operation.output
    made = ran(request, answer) if f == "txn" else ((f, request, answer),)
    return [
        list(kv)
        for inner, _, said in made
        if inner == "range"
        for kv in said.get("kvs") or ()
        if kv[0] == key
    ]


def leaves(witness: Operation | None, key: str, there: KeyValue | None) -> bool:
    """Whether an answer says that this is at a key: by showing it, or by having put it there.

    Without a witness nothing is there: the store was empty at the start.
    """
    if witness is None:
        return there is None
    if there is None:
        f, request, answer = witness.f, witness.input, witness.output
        made = ran(request, answer) if f == "txn" else ((f, request, answer),)
        put = any(inner == PUT and one["key"] == key for inner, one, _ in made)
        return not put and not shown_of(witness, key)
    changed = key in changed_keys(witness.f, witness.input, witness.output)
    return (changed and witness.output["revision"] == there[3]) or there in shown_of(witness, key)


def _overwritten(shown: KeyValue | None, change: Operation | None) -> bool:
    """Whether what is shown of a key is older than an acknowledged change of it."""
    return shown is not None and change is not None and shown[3] < change.output["revision"]


def _deletes_range(operation: Operation, key: str) -> bool:
    """Whether an acknowledged deletion of a range, or a transaction with one, covers a key."""
    f, request, answer = operation.f, operation.input, operation.output
    made = ran(request, answer) if f == "txn" else ((f, request, answer),)
    return any(
        inner == DELETE and "end" in one and covers(one, key) and said.get("deleted", 1)
        for inner, one, said in made
    )


def changed_keys(f: str, request: Any, answer: Any) -> set[str]:
    """Keys that a request certainly changed, being answered like this."""
    if f == "txn":
        return {key for one in ran(request, answer) for key in changed_keys(*one)}
    if f == PUT or (f == DELETE and answer.get("deleted") and "end" not in request):
        return {request["key"]}
    return set()


def _asked(operation: Operation) -> list[tuple[str, str | None]]:
    """The keys and ranges on which an answer depends."""
    found = [
        (one["key"], one.get("end"))
        for one in requests_of(operation.f, operation.input)
        if "key" in one
    ]
    return found + [(key, None) for key in _guarded(operation.f, operation.input)]


def _guarded(f: str, request: Any) -> Iterator[str]:
    if f == "txn":
        yield from (guard[0] for guard in request.get("if") or ())
        for inner, one in (*request.get("then", ()), *request.get("else", ())):
            yield from _guarded(inner, one)


def _says_if_changed(operation: Operation, changed: bool) -> bool:
    """Whether an answer is complete enough to know if its request changed anything."""
    return (
        changed
        or operation.f == "range"
        or _complete(operation.f, operation.input, operation.output)
    )


def _complete(f: str, request: Any, answer: Any) -> bool:
    if f == DELETE:
        return "deleted" in answer
    if f == "txn":
        return "succeeded" in answer and all(_complete(*one) for one in ran(request, answer))
    return True
