"""Linearizability: every operation takes effect at one instant between its call and its return.

Herlihy & Wing ("Linearizability: a correctness condition for concurrent objects", TOPLAS 1990).
Linearizability is local: a history is linearizable iff each key's part of it is. Per key the
cheapest path that decides is taken:

* `zones`: exact, O(n log n), if every value is written once (and refused compare-and-sets report
  the value they saw). Unanswered operations cost nothing.
* `append_register`: a text that is put, appended to and got is reduced to such a register.
* `search`: any model, any values; exponential in the concurrency at worst, so it has a budget, and
  once that is spent the verdict is unknown and says which keys were given up.

Only what clients observed is judged. Before that, answers are compared with their requests
(`answers`): a mismatch is an anomaly by itself. Serializable reads are allowed to be stale; they
are left out and counted. A history in which no answer could have been wrong (nothing was read) is
vacuous.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, cast

import msgspec

from squall.checkers.answers import BLIND, RULES, mismatches, tell_mismatch
from squall.checkers.budget import UNTIMED, Meter, OutOfBudget
from squall.checkers.etcd.model import EtcdKv
from squall.checkers.evidence import Evidence
from squall.checkers.gc_pause import uncollected
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.append_register import Ambiguous, Texts
from squall.checkers.linearizability.conflicts import explain_conflict
from squall.checkers.linearizability.models import (
    MODELS,
    REGISTERS,
    UNKNOWN,
    CasRegister,
    KeyValue,
    Model,
)
from squall.checkers.linearizability.registers import (
    FOREVER,
    IGNORED,
    NOTHING,
    RegisterHistory,
    register_history,
)
from squall.checkers.linearizability.search import MISFITS, Call, Found, Misfit, search
from squall.checkers.linearizability.shrink import cut_behind, shrink, without_reads
from squall.checkers.linearizability.thin_air import hint_of, unexpected_element, unwritten
from squall.checkers.linearizability.zones import Conflict, decide
from squall.checkers.text.lanes import describe, render, value_text
from squall.checkers.text.proof import (
    LANES_OPS_MAX,
    Cast,
    anomaly,
    observed,
    phrase,
    value_phrase,
    who,
)
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "Every operation takes effect at one instant between its call and its return."

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""

LEFT_OUT: Final = "a serializable read promises less than linearizability"
"""Why operations of `registers.IGNORED` have no part in the verdict."""

VACUOUS: Final = "vacuous: nothing was read, so no answer could have been wrong"
"""Why a history of writes alone is unknown."""

COLLECTIONS: Final = {
    "set": ("add", "read"),
    **dict.fromkeys(("queue", "fifo-queue", "unordered-queue"), ("enqueue", "dequeue")),
}
"""Models of collections: the functions by which an element gets in, and by which it comes out."""

AFTER_PROOF_S: Final = 1.0
"""Seconds to search other keys once one is known to be invalid: for further examples only."""

SHRINK_STATES_MAX: Final = 20_000
"""States one judgement may visit while a counterexample is being shrunk."""

STATES_TOLD_MAX: Final = 8
"""States of an object named in a proof."""

OPEN_CHOICE: Final = "which elements the unanswered dequeues took is open"
"""Why an object is left open of which an unanswered call may have left one of several states."""

SHRINK_TIME_S: Final = 5.0
"""Seconds spent on shrinking one counterexample."""


def linearizability(make: Callable[[], Model] = CasRegister) -> Checker:
    """Return the checker for a model."""

    def check(history: History, _evidence: Evidence, budget: Budget) -> Verdict:
        return check_linearizability(history, budget, make)

    return Checker(name="linearizable", check=check)


@uncollected
def check_linearizability(
    history: History, budget: Budget, make: Callable[[], Model] = CasRegister
) -> Verdict:
    """Judge every key of a history, each against a fresh instance of the model.

    What the zones decide is decided first. The remaining time is shared among the keys that need a
    search, smallest first, so that one of them cannot starve the others.
    """
    meter = Meter(budget)
    started_s = meter.now_s()
    tally = _Tally()
    searches: list[tuple[int, str | None, list[Operation], str]] = []
    open_choices: set[str | None] = set()
    sample = make()
    known = sample.name in MODELS or sample.name == EtcdKv.name
    wrong = mismatches(history, RULES if known else {})
    for key, everything in history.by_key.items():
        all_of_key = [one for one in everything if one.f not in IGNORED]
        tally.ignored += len(everything) - len(all_of_key)
        mine = [one for one in all_of_key if constrains(one, sample)]
        tally.operations += len(mine)
        tally.telling = tally.telling or any(_informative(one, sample.name) for one in mine)
        try:
            meter.look()
        except OutOfBudget as spent:
            tally.gave_up.append(f"key {key}: {spent}")
            continue
        other = next((one for one in everything if one.index in wrong), None) if wrong else None
        if other is not None:
            explain = partial(tell_mismatch, other, wrong[other.index])
            tally.add(key, _Judged(Validity.INVALID, "answer", explain))
            continue
        judged = _judge_cheaply(key, all_of_key, make())
        if isinstance(judged, str):
            searches.append((len(mine), key, mine, judged))
            if _open_choice(all_of_key, sample):
                open_choices.add(key)
        else:
            tally.add(key, judged)
    searches.sort(key=lambda waiting: waiting[0])
    for at, (_, key, mine, why) in enumerate(searches):
        left_s = meter.remaining_s
        if tally.invalid_keys:
            left_s = min(left_s, AFTER_PROOF_S)
        share = msgspec.structs.replace(budget, time_s=left_s / (len(searches) - at))
        judged = _judge_by_search(key, mine, make(), Meter(share), why)
        if judged.validity is Validity.INVALID and key in open_choices:
            judged = _Judged(Validity.UNKNOWN, "search", None, OPEN_CHOICE, judged.visited)
        tally.add(key, judged)
    keys = len(history.by_key)
    validity, reason = tally.conclude()
    return Verdict(
        checker="linearizable",
        validity=validity,
        claim=CLAIM,
        evidence=f"{counted(keys, 'key')}, {counted(tally.operations, 'operation')}",
        reason=reason,
        method=", ".join(
            f"{name}: {counted(count, 'key')}" for name, count in sorted(tally.methods.items())
        ),
        anomalies=tuple(tally.anomalies),
        stats={
            "keys": keys,
            "operations": tally.operations,
            "methods": tally.methods,
            "invalid_keys": tally.invalid_keys,
            "undecided_keys": len(tally.gave_up),
            "states_visited": tally.visited,
            **({"left_out": {LEFT_OUT: tally.ignored}} if tally.ignored else {}),
        },
        elapsed_s=meter.now_s() - started_s,
    )


class _Judged(NamedTuple):
    """One key's verdict; `explain` makes its anomaly, only if it is to be reported."""

    validity: Validity
    method: str
    explain: Callable[[], Anomaly] | None = None
    reason: str = ""
    visited: int = 0


class _Tally:
    """The sum of the keys' verdicts."""

    def __init__(self) -> None:
        self.anomalies: list[Anomaly] = []
        self.gave_up: list[str] = []
        self.methods: dict[str, int] = {}
        self.invalid_keys = self.operations = self.visited = self.ignored = 0
        self.telling = False

    def add(self, key: str | None, judged: _Judged) -> None:
        """Add one key's verdict."""
        self.methods[judged.method] = self.methods.get(judged.method, 0) + 1
        self.visited += judged.visited
        if judged.validity is Validity.UNKNOWN:
            self.gave_up.append(f"key {key}: {judged.reason}")
        if judged.explain is not None:
            self.invalid_keys += 1
            if len(self.anomalies) < ANOMALIES_MAX:
                self.anomalies.append(judged.explain())

    def conclude(self) -> tuple[Validity, str | None]:
        """Return the verdict on all keys, and why it is unknown."""
        if self.invalid_keys:
            return Validity.INVALID, hint_of(self.anomalies)
        if self.gave_up:
            others = len(self.gave_up) - 1
            more = f" (and {counted(others, 'more key')})" if others else ""
            return Validity.UNKNOWN, self.gave_up[0] + more
        if not self.operations:
            return Validity.UNKNOWN, "vacuous: there is no operation to judge"
        if not self.telling:
            return Validity.UNKNOWN, VACUOUS
        return Validity.VALID, None


def _judge_cheaply(key: str | None, operations: list[Operation], model: Model) -> _Judged | str:
    """Decide a key without search, or return why it needs one."""
    functions: frozenset[str] | None = getattr(model, "functions", None)
    foreign = {one.f for one in operations} - functions if functions is not None else None
    if foreign:
        names = ", ".join(sorted(foreign))
        reason = f"a {model.name} has no operation {names}"
        return _Judged(Validity.UNKNOWN, "none", reason=reason)
    if model.name == KeyValue.name and model.init == "":
        return _judge_texts(key, operations)
    if model.name in COLLECTIONS and functions is not None:
        puts, takes = COLLECTIONS[model.name]
        initial = cast("Iterable[Hashable]", model.init)
        strange = unexpected_element(key, operations, initial, puts=puts, takes=takes)
        if strange is not None:
            return _Judged(Validity.INVALID, "answer", lambda: _with_begun(strange(), model))
    if model.name not in REGISTERS:
        return f"a {model.name} is no register"
    register = register_history(operations)
    if register.contradictions:
        first = register.contradictions[0]
        return _Judged(Validity.INVALID, "answer", lambda: _explain_contradiction(key, first))
    decision = decide(register.columns, model.init)
    if decision.conflict is not None:
        conflict = decision.conflict
        return _Judged(
            Validity.INVALID, "zones", lambda: explain_conflict(key, register, conflict, model.init)
        )
    if decision.valid and not register.opaque:
        return _Judged(Validity.VALID, "zones")
    # A search decides where values repeat; but a value without a writer is wrong in every order.
    row = unwritten(register.columns, model.init)
    if row is not None:
        thin = Conflict("unwritten-value", after=row)
        tell_thin = partial(explain_conflict, key, register, thin, model.init)
        return _Judged(Validity.INVALID, "answer", tell_thin)
    return decision.reason or (
        f"{counted(len(register.opaque), 'refused compare-and-set')} did not say what it saw"
    )


def _judge_texts(key: str | None, operations: list[Operation]) -> _Judged | str:
    """Decide a text that is put, appended to and got by its reduction to a register."""
    first: _Judged | None = None
    try:
        texts = Texts(operations)
        for reading in texts.readings():
            register = register_history(reading)
            decision = decide(register.columns)
            if decision.conflict is None:
                if decision.valid:
                    return _Judged(Validity.VALID, "appends")
                return decision.reason
            if first is None:
                explain = partial(_explain_texts, key, register, decision.conflict, operations)
                first = _Judged(Validity.INVALID, "appends", explain)
    except Ambiguous as why:
        return str(why)
    assert first is not None
    return first if texts.complete else "texts can be taken apart in several ways"


def _explain_texts(
    key: str | None, register: RegisterHistory, conflict: Conflict, operations: list[Operation]
) -> Anomaly:
    """Explain why texts have no order: by the stuck answer; else by the register they reduce to."""
    told = explain_conflict(key, register, conflict)
    model = KeyValue()
    until = max(one.completed_ns or 0 for one in operations if one.index in told.ops)
    mine = [
        one
        for one in operations
        if constrains(one, model) and (one.f != "get" or one.invoked_ns <= until)
    ]
    if len(mine) <= LANES_OPS_MAX:
        meter = Meter(UNTIMED, states_max=SHRINK_STATES_MAX)
        for candidate in (mine, [one for one in operations if constrains(one, model)]):
            found = search(model, calls_of(candidate), meter)
            if found.valid is False:
                return _explain_stuck(key, candidate, model, found, meter)
    # Which texts came about depends on every append: without some it would be another history.
    lanes = render(operations) if len(operations) <= LANES_OPS_MAX else ""
    named = [one for one in operations if one.index in told.ops]
    lacking = _append_not_got(key, named, operations)
    if lacking is None:
        lacking = anomaly(
            told.kind,
            f"No order of the operations on {key} explains what was got.",
            [
                "Then each append stands where the texts that were got show it.",
                "However, these operations cannot all stand where they do and keep to real time.",
            ],
            Cast(named),
        )
    return msgspec.structs.replace(lacking, lanes=lanes)


def _append_not_got(
    key: str | None, named: list[Operation], operations: list[Operation]
) -> Anomaly | None:
    """Report a get that lacks what had been appended before it was called, if there is one."""
    for append, got in itertools.product(named, repeat=2):
        since, text = append.completed_ns, str(append.input or "")
        found = "" if got.output is None else str(got.output)
        if append.f != "append" or append.outcome is not OpType.OK or since is None or not text:
            continue
        if got.f != "get" or got.outcome is not OpType.OK or text in found:
            continue
        replaced = any(
            one.f == "put"
            and one.outcome is not OpType.FAIL
            and one.invoked_ns <= (got.completed_ns or 0)
            and (one.completed_ns is None or one.completed_ns >= append.invoked_ns)
            for one in operations
        )
        if since < got.invoked_ns and not replaced:
            cast = Cast([append, got])
            other, value = cast.name(got), value_text(text)
            return anomaly(
                "stale-read",
                f"{who(got)} got {key} without {value}, after it had been appended.",
                [
                    (
                        f"Then {value} was in {key} when {other} was called, because "
                        f"{cast.order(append, got)}, and no text was put in its place."
                    ),
                    f"However, {other} got a text without {value}.",
                ],
                cast,
            )
    return None


def _judge_by_search(
    key: str | None, operations: list[Operation], model: Model, meter: Meter, why: str
) -> _Judged:
    try:
        found = search(model, calls_of(operations), meter)
    except Misfit as misfit:
        one = operations[misfit.row]
        raise MalformedHistory(
            f"op {one.index}: a {model.name} cannot make sense of `{describe(one)}` ({misfit})"
        ) from None
    if found.valid is None:
        reason = f"{found.reason} (searched because {why})"
        return _Judged(Validity.UNKNOWN, "search", reason=reason, visited=found.visited)
    if found.valid:
        return _Judged(Validity.VALID, "search", visited=found.visited)
    return _Judged(
        Validity.INVALID,
        "search",
        lambda: _explain_stuck(key, operations, model, found, meter),
        visited=found.visited,
    )


def _open_choice(operations: list[Operation], model: Model) -> bool:
    """Whether an unanswered call may have had an effect that the model does not try."""
    choices = choices_of(model)
    return any(one.f in choices and one.outcome is OpType.INFO for one in operations)


def choices_of(model: Model) -> frozenset[str]:
    """Functions whose unanswered call may leave one of several states."""
    return getattr(model, "choices", frozenset())


def constrains(operation: Operation, model: Model) -> bool:
    """Whether an operation constrains the order: it happened, or may have changed something.

    Which operations change nothing is up to the model, not to their names.
    """
    if operation.outcome is not OpType.INFO:
        return operation.outcome is OpType.OK
    try:
        return not model.read_only((operation.f, operation.input), UNKNOWN)
    except MISFITS:
        return True  # the search reports what is wrong with it


def _informative(operation: Operation, model: str) -> bool:
    """Whether an operation was answered with something that could have been wrong."""
    if operation.outcome is not OpType.OK:
        return False
    if operation.f == "txn" and isinstance(operation.output, list):
        return any(isinstance(mop, list) and mop[:1] == ["r"] for mop in operation.output)
    return operation.f not in BLIND.get(model, ())


def calls_of(operations: Sequence[Operation]) -> list[Call]:
    """Turn operations into calls on a model; unanswered ones stay open for ever."""
    return [
        Call(one.invoked_ns, one.completed_ns, (one.f, one.input), one.output)
        if one.outcome is OpType.OK and one.completed_ns is not None
        else Call(one.invoked_ns, FOREVER, (one.f, one.input), UNKNOWN)
        for one in operations
    ]


def _explain_contradiction(key: str | None, refused: Operation) -> Anomaly:
    cast = Cast([refused])
    value, name = value_phrase(observed(refused)), cast.name(refused)
    return anomaly(
        "refused-though-equal",
        f"{who(refused)}'s compare-and-set on {key} was refused although it saw what it expected.",
        [
            f"Then {key} did not hold {value} when {name} took effect, because {name} was refused.",
            f"However, {name} itself reports that it saw {value}.",
        ],
        cast,
    )


def _explain_stuck(
    key: str | None, operations: list[Operation], model: Model, found: Found, meter: Meter
) -> Anomaly:
    """Shrink the history, then name the answer at which every order gets stuck."""
    budget = Budget(time_s=min(SHRINK_TIME_S, meter.remaining_s), now_s=meter.now_s)
    overall = Meter(budget)

    def stuck_again(candidate: list[Operation]) -> Found | None:
        try:
            overall.look()
        except OutOfBudget:
            return None
        one = Meter(budget, states_max=SHRINK_STATES_MAX)
        again = search(model, calls_of(candidate), one)
        return again if again.valid is False else None

    assert found.stuck is not None
    known = {one.index: one for one in operations}
    choices = choices_of(model)
    smaller = operations if choices else cut_behind(operations, operations[found.stuck])
    if model.name in REGISTERS:
        smaller = shrink(smaller, lambda candidate: stuck_again(candidate) is not None)
        # What is left is often decided without search, and then better explained; of whole
        # operations only, for a proof must not call an operation unanswered that was answered
        # later.
        judged = _explain_whole(key, [known[one.index] for one in smaller], operations, model)
        if judged is not None:
            return judged
    else:
        smaller = without_reads(smaller, model, lambda left: stuck_again(left) is not None)
    again = stuck_again(smaller)
    until = "what had answered before {}"
    if again is not None:
        operations, found = smaller, again
    assert found.stuck is not None
    stuck = operations[found.stuck]
    if again is None or choices:
        again = None  # what is answered later keeps its answer
        until = "the answers, later ones too, of all that takes effect before {}"
        operations = [one for one in operations if one.invoked_ns <= (stuck.completed_ns or 0)]
    cast = Cast([stuck])
    # Lanes show what was answered later as open: that is what was known at that moment.
    at = stuck.completed_ns or 0
    cut = again and any((known[one.index].completed_ns or 0) > at for one in operations)
    drawn = len(operations) <= LANES_OPS_MAX
    which = "the {} operations below" if drawn else "{} of the operations"
    name, what = cast.name(stuck), key if key is not None else "the object"
    show = getattr(model, "show", value_phrase)  # a user's own model need not have it
    states = sorted(map(show, found.states))
    told = model.describe((stuck.f, stuck.input), stuck.output)
    return anomaly(
        "not-linearizable",
        f"No order of the operations on {what} explains {phrase(stuck)}.",
        [
            (
                f"Then, in every order of {which.format(len(operations))} that respects real time "
                f"and explains {until.format(cast.at(at))}, {what} is {_any_of(states)} just "
                f"before {name} answers."
            ),
            *(
                ["What was answered only after that is shown as still open."]
                if cut and drawn
                else []
            ),
            (
                f"However, {name} was answered (`{told}`), which none of these allows, nor any "
                f"operation that was open then."
            ),
        ],
        cast,
        shown=operations,
        data={
            "operations": len(operations),
            "states": states,
            "model": model.name,
            "searched": [one.index for one in operations],
            **begun_of(model),
        },
    )


def begun_of(model: Model) -> dict[str, Any]:
    """What an object was made to hold at first, as an anomaly's data; nothing if nothing was."""
    fresh = MODELS.get(model.name)
    value = getattr(model, "begun", UNKNOWN)
    if fresh is None or value is UNKNOWN or value == getattr(fresh(), "begun", UNKNOWN):
        return {}
    return {"begun": value}


def _with_begun(told: Anomaly, model: Model) -> Anomaly:
    return msgspec.structs.replace(told, data={**told.data, **begun_of(model)})


def _explain_whole(
    key: str | None, some: list[Operation], every: list[Operation], model: Model
) -> Anomaly | None:
    """Explain why some operations have no order, if they are decided without search.

    None if other operations wrote what these saw or wrote: the proof claims that no other did.
    """
    judged = _judge_cheaply(key, some, model)
    if isinstance(judged, str) or judged.explain is None:
        return None
    columns = register_history(some).columns
    touched = {*columns.seen, *columns.wrote, model.init} - {NOTHING}
    writes = Counter(columns.wrote)
    for value, count in Counter(register_history(every).columns.wrote).items():
        if value in touched and count != writes[value]:
            return None
    return judged.explain()


def _any_of(states: list[str]) -> str:
    if len(states) > STATES_TOLD_MAX:
        states = [*states[:STATES_TOLD_MAX], f"{len(states) - STATES_TOLD_MAX} other states"]
    return states[0] if len(states) == 1 else f"one of {', '.join(states)}"


__all__ = ["calls_of", "check_linearizability", "constrains", "linearizability"]
