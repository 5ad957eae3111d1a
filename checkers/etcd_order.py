"""Whether the order that an etcd-like store claims by its revisions explains everything it said.

Every answer carries a revision: of the change it made, or of the moment it looked at. Sorted by
revision, changes before the reads of the same revision, the operations are replayed one by one on a
model of the store (`etcd.Store`): ranges, transactions, deletes and compactions included, over all
keys at once. If every answer comes out as it was given, and no operation is placed before one that
had returned when it was called, then this order *is* a proof that the history is strictly
serializable: whatever the store meant by its revisions. One sort and one pass, O(n log n).

Operations that were never answered have no revision. One took effect if a revision is missing
between those that were acknowledged. Which of them filled which gap is settled by what is seen of
them: a value read at that revision. A gap that nobody looked at is given to the unanswered request
called first among those that could have made it, and the replay goes on to confirm or refute it.

    valid    the order is an accepting path: proof
    invalid  two acknowledged changes share a revision, an answer differs from what the
             acknowledged changes leave, or real time is turned back
    unknown  what differs may be due to an unanswered request placed wrongly

`invalid` means that the store broke the contract of its revisions. Whether another order explains
the values is another question: `linearizability` answers it key by key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from checkers.etcd import (
    FIRST_REVISION,
    FUNCTIONS,
    Store,
    agrees,
    misshapen,
    misshapen_answer,
)
from checkers.etcd_gaps import Gaps, Placed, keys_of, requests_of
from checkers.evidence import Evidence
from checkers.explain import Cast, anomaly
from checkers.history import History, MalformedHistory, Operation, OpType
from checkers.lanes import value_text
from checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict
from checkers.words import counted

CLAIM: Final = "The order of the revisions explains every answer, and respects real time."

ANOMALIES_MAX: Final = 20
"""Anomalies told in full; the rest is counted."""


class _Break(NamedTuple):
    """Where the order fails. `certain`: no unanswered request can be the reason."""

    kind: str
    ops: tuple[Operation, ...]
    sentences: list[str]
    summary: str
    certain: bool = True


def etcd_order() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_etcd_order(history)

    return Checker(name="etcd-order", check=check)


def check_etcd_order(history: History, *, first_revision: int = FIRST_REVISION) -> Verdict:
    """Judge a whole store's history; the store was empty at `first_revision`."""
    placed: list[Placed] = []
    open_ops: list[Operation] = []
    unplaced = 0
    for one in history.operations:
        if one.f not in FUNCTIONS:
            raise MalformedHistory(f"op {one.index}: an etcd store has no operation {one.f!r}")
        wrong = misshapen(one.f, one.input)
        if wrong is None and one.outcome is OpType.OK:
            wrong = misshapen_answer(one.output)
        if wrong is not None:
            raise MalformedHistory(f"op {one.index}: {wrong}")
        if one.outcome is OpType.OK:
            found = _place(one)
            if found is None:
                unplaced += 1
            else:
                placed.append(found)
        elif one.outcome is OpType.INFO and one.f in {"put", "delete", "txn"}:
            open_ops.append(one)
    placed.sort(key=lambda one: (one.revision, not one.changed))
    breaks: list[_Break] = []
    breaks += _shared(placed)
    breaks += _real_time(placed)
    replay = _Replay(placed, open_ops, first_revision)
    breaks += replay.run()
    certain = [one for one in breaks if one.certain]
    reason = None
    if not placed:
        reason = "vacuous: no answer carried a revision"
    elif unplaced and not certain:
        reason = f"{counted(unplaced, 'answer')} carried no revision"
    elif breaks and not certain:
        reason = f"{breaks[0].summary} Requests that are not in the history may be the reason."
    return Verdict(
        checker="etcd-order",
        validity=Validity.INVALID if certain else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(len(placed), 'answer')}, revisions {first_revision} to "
        f"{placed[-1].revision if placed else first_revision:,}, "
        f"{counted(len(open_ops), 'unanswered request')}, {replay.resolved:,} of them placed",
        reason=None if certain else reason,
        method="one pass in order of revisions",
        anomalies=tuple(_tell(one) for one in certain[:ANOMALIES_MAX]),
        stats={"answers": len(placed), "anomalies": len(certain), "resolved": replay.resolved},
    )


def _place(one: Operation) -> Placed | None:
    answer = one.output
    revision = answer.get("revision")
    if not isinstance(revision, int):
        return None
    if one.f == "range" and one.input.get("revision"):
        revision = int(one.input["revision"])  # it looks at the past, and says so
    return Placed(revision, one, _changed(one.f, one.input, answer))


def _changed(f: str, request: Any, answer: Any) -> bool:
    """Whether a request that was answered like this changed anything."""
    if f == "put":
        return True
    if f == "delete":
        return bool(answer.get("deleted"))
    if f != "txn":
        return False
    branch = request.get("then" if answer.get("succeeded") else "else", ())
    answers = answer.get("answers") or [{}] * len(branch)
    return any(
        _changed(inner, one, said) for (inner, one), said in zip(branch, answers, strict=False)
    )


def _shared(placed: Sequence[Placed]) -> Iterator[_Break]:
    last: Placed | None = None
    for one in placed:
        if not one.changed:
            continue
        if last is not None and last.revision == one.revision:
            yield _Break(
                "shared-revision",
                (last.operation, one.operation),
                [
                    f"Then each is the change that made revision {one.revision}.",
                    (
                        "However, a revision is one request's change: the store has two "
                        "pasts, or has "
                        "lost one of them."
                    ),
                ],
                f"Two requests were both acknowledged as revision {one.revision}.",
            )
        last = one


def _real_time(placed: Sequence[Placed]) -> Iterator[_Break]:
    """Pass over calls and returns in time, with the highest revision returned so far."""
    current = [one for one in placed if not one.operation.input.get("revision")]
    events: list[tuple[int, int, int]] = []
    for at, one in enumerate(current):
        if one.operation.input.get("serializable"):
            continue
        events.append((one.operation.invoked_ns, 0, at))
        events.append((one.operation.completed_ns or 0, 1, at))
    events.sort()
    highest: Placed | None = None
    floor: list[Placed | None] = [None] * len(current)
    for _, returned, at in events:
        one = current[at]
        if not returned:
            floor[at] = highest
            continue
        before = floor[at]
        if before is not None and (
            one.revision < before.revision
            or (one.changed and one.revision == before.revision and not before.changed)
        ):
            yield _turned(before, one)
        if highest is None or one.revision > highest.revision:
            highest = one


def _turned(before: Placed, one: Placed) -> _Break:
    cast = Cast([before.operation, one.operation])
    _first, second = cast.name(before.operation), cast.name(one.operation)
    return _Break(
        "stale-revision",
        (before.operation, one.operation),
        [
            (
                f"Then {second} answers with a revision {'after' if one.changed else 'not before'} "
                f"{before.revision}, because {cast.order(before.operation, one.operation)}."
            ),
            f"However, {second} answered with revision {one.revision}.",
        ],
        f"An answer of revision {one.revision} came after one of revision {before.revision} had "
        f"been returned.",
    )


class _Replay:
    """The store, rebuilt revision by revision."""

    def __init__(
        self, placed: Sequence[Placed], open_ops: Sequence[Operation], first_revision: int
    ) -> None:
        self._placed = placed
        self._first = first_revision
        self._store = Store(first_revision)
        self._last: dict[str, Operation] = {}
        self.resolved = 0
        # Keys of which a gap may have changed more than is known; None: all of them.
        self._doubtful: set[str] | None = set()
        self._gaps = Gaps(placed, open_ops)

    def run(self) -> Iterator[_Break]:
        """Replay everything; yield where an answer differs."""
        store = self._store
        for one in self._placed:
            upto = one.revision - 1 if one.changed else one.revision
            while store.revision < upto:
                yield from self._fill(store.revision + 1)
            operation = one.operation
            if store.revision > upto:
                # Two changes of one revision are told already; before the beginning is nothing.
                if upto < self._first:
                    yield self._too_early(one)
                continue
            expected, changed = store.apply(operation.f, operation.input)
            expected.pop("revision")
            if changed is not one.changed or not agrees(operation.output, expected):
                yield self._differs(operation, expected)
            if one.changed:
                store.revision = one.revision
                for key in keys_of(operation.f, operation.input):
                    self._last[key] = operation

    def _fill(self, revision: int) -> Iterator[_Break]:
        """Apply the unanswered request that made a revision nobody acknowledged."""
        shown = self._gaps.shown.get(revision, {})
        choice = self._gaps.maker(revision)
        if choice is None and not shown:
            choice, others = self._gaps.guess(revision, self._store)
            if choice is None:
                yield _Break(
                    "unmade-revision",
                    (),
                    [],
                    f"No request of the history can have made revision {revision}.",
                    certain=False,
                )
            if choice is None or others is None:
                self._doubtful = None
            elif self._doubtful is not None:
                self._doubtful |= others
        if choice is not None:
            self._store.apply(choice.f, choice.input, at=revision)
            self.resolved += 1
        elif shown:
            yield self._unmade(revision, shown)
            for key, value in shown.items():
                self._store.apply("put", {"key": key, "value": value}, at=revision)
        self._store.revision = revision

    def _unmade(self, revision: int, shown: dict[str, Any]) -> _Break:
        operation = self._gaps.showing[revision]
        key, value = next(iter(shown.items()))
        name = Cast([operation]).name(operation)
        return _Break(
            "phantom-revision",
            (operation,),
            [
                (
                    f"Then some request put {value_text(value)} to {key} at revision {revision}, "
                    f"because {name} shows it."
                ),
                (
                    "However, no request of the history, answered at that revision or never "
                    "answered and called in time, does that."
                ),
            ],
            f"{key} held {value_text(value)} of revision {revision}, which nobody wrote.",
        )

    def _too_early(self, one: Placed) -> _Break:
        name = Cast([one.operation]).name(one.operation)
        return _Break(
            "wrong-answer",
            (one.operation,),
            [
                (
                    f"Then {name} answers with at least revision "
                    f"{self._first + one.changed}, because "
                    f"the store began at {self._first}, and a change comes after that."
                ),
                f"However, {name} answered with revision {one.revision}.",
            ],
            f"The store answered with revision {one.revision}, from before its beginning.",
        )

    def _differs(self, operation: Operation, expected: dict[str, Any]) -> _Break:
        said = {name: operation.output.get(name) for name in expected}
        keys = keys_of(operation.f, operation.input)
        last = [self._last[key] for key in keys if key in self._last][:1]
        cast = Cast([*last, operation])
        name = cast.name(operation)
        because = f", the last change of it being {cast.name(last[0])}" if last else ""
        ranged = any("end" in request for request in requests_of(operation.f, operation.input))
        certain = self._doubtful is not None and not (
            self._doubtful if ranged else self._doubtful & set(keys)
        )
        return _Break(
            "wrong-answer",
            (*last, operation),
            [
                (
                    f"Then, all changes up to revision {operation.output['revision']} replayed, "
                    f"{name} is answered with {value_text(expected)}{because}."
                ),
                f"However, {name} was answered with {value_text(said)}.",
            ],
            f"At revision {operation.output['revision']} the store answered what its own changes "
            f"do not add up to.",
            certain=certain,
        )


def _tell(found: _Break) -> Anomaly:
    return anomaly(found.kind, found.summary, found.sentences, Cast(found.ops))
