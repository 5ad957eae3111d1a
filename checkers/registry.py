"""Every judge of a whole history by name, and the one way from a file to a verdict.

    check_file("history.edn", data, None, budget)

detects format and model, judges, and says by which path. Names are those the command line takes
with --model or --workload; the level asked of a transactional model follows a colon, as in
`list-append:serializable`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from squall.checkers.answers import mismatches, tell_mismatch
from squall.checkers.assumptions import (
    NOTHING_SAID,
    Assumptions,
    Initial,
    InitialKind,
    NoValue,
    read_value,
)
from squall.checkers.budget import Meter, OutOfBudget
from squall.checkers.collections.counters import check_counters
from squall.checkers.collections.eventual import (
    PN_COUNTER,
    UNIQUE_IDS,
    check_pn_counter,
    check_unique_ids,
)
from squall.checkers.collections.leases import check_leases
from squall.checkers.collections.locks import check_locks
from squall.checkers.collections.queues import (
    FIFO,
    TOTAL,
    UNNAMED,
    UNORDERED,
    check_queues,
    check_total_queue,
    check_unnamed_queue,
)
from squall.checkers.collections.sets import check_sets
from squall.checkers.etcd.order import check_etcd_order
from squall.checkers.formats.foreign import MIXED, Foreign, load
from squall.checkers.history import Accounting, History, MalformedHistory, Operation, OpType
from squall.checkers.judge import ALL
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.linearizability.registers import IGNORED
from squall.checkers.linearizability.sequential import NAME as SEQUENTIAL
from squall.checkers.linearizability.sequential import check_sequential
from squall.checkers.linearizability.specifications import BEGINS, MODELS
from squall.checkers.proof_check.self_check import self_checked
from squall.checkers.text.lanes import value_text
from squall.checkers.text.words import counted
from squall.checkers.transactions.bank import check_bank
from squall.checkers.transactions.bank_order import check_bank_order
from squall.checkers.transactions.checker import LIST_APPEND, RW_REGISTER, check_isolation
from squall.checkers.transactions.isolation import (
    LEVELS,
    SERIALIZABLE,
    STRICT_SERIALIZABLE,
    edges_of,
    level_of,
)
from squall.checkers.transactions.long_fork import check_long_fork
from squall.checkers.transactions.operations import UNSTATED
from squall.checkers.verdict import Budget, Validity, Verdict, worst
from squall.checkers.watch.end_state import check_watch_end
from squall.checkers.watch.rules import check_watches

Judge = Callable[[History, Budget], Verdict]

ALIASES: Final = {
    "register-cas": "cas-register",
    "set-full": "set",
    "g-set": "set-eventual",
    "g-counter": PN_COUNTER,
    "sequential": SEQUENTIAL,
    "append": LIST_APPEND,
    "wr": RW_REGISTER,
}
"""Other names people use."""

WORKLOADS: Final = {
    "register": "cas-register",
    "kv": "etcd",
    "election": "lock",
}
"""Workloads whose histories are judged by a model of another name."""


def model_of_workload(workload: str) -> str:
    """Return the model that judges a workload's histories; raises UnknownModel."""
    model = WORKLOADS.get(workload, workload)
    judge_of(model)
    return model


class UnknownModel(ValueError):
    """No judge of that name; the message lists those there are."""


def judge_of(
    name: str, *, closed: bool = True, initial: Initial | None = None, file: str = "FILE"
) -> Judge:
    """Return the judge of a name; raises UnknownModel.

    What follows a colon is the level of isolation of transactions (`list-append:serializable`),
    what an object holds at first (`cas-register:0`), or that accounts may be overdrawn
    (`bank:negative`). `closed`: the history is complete, so that a value without a writer is an
    anomaly. `initial` says the same as a value behind the colon. `file` is what messages call the
    history.
    """
    base = name.partition(":")[0]
    base = ALIASES.get(base, base)
    if base in {LIST_APPEND, RW_REGISTER}:
        suffix = name.partition(":")[2]
        return _transactions(base, suffix, closed=closed, initial=initial)
    if name == LONG_FORK and initial is None:
        return lambda history, _budget: check_long_fork(history, closed=closed)
    judge = _judge_of(name, initial, file)
    if base in UNDERSTOOD:
        judge = _understood(base, judge)
    return _answered(base, judge) if base in COMPARED else judge


def _understood(name: str, judge: Judge) -> Judge:
    """Conclude nothing where operations that a judge does not know may have changed the state."""

    def judged(history: History, budget: Budget) -> Verdict:
        strangers = {one.f for one in history.operations} - UNDERSTOOD[name] - IGNORED
        if strangers:
            return undecided(name, f"a {name} has no operation {', '.join(sorted(strangers))}")
        return judge(history, budget)

    return judged


def _judge_of(name: str, initial: Initial | None, file: str) -> Judge:
    name, colon, suffix = name.partition(":")
    name = ALIASES.get(name, name)
    if name not in JUDGES:
        raise UnknownModel(f"no model {name!r}; there are {', '.join(sorted(ENTRIES))}")
    begun = initial
    overdraft = False
    if name in BANKS:
        if colon and suffix != NEGATIVE:
            raise UnknownModel(f"{name}:{suffix}: all that may follow is {name}:{NEGATIVE}")
        overdraft = bool(colon)
    elif colon:
        if name not in BEGUN:
            raise UnknownModel(f"{name}:{suffix}: a {name} takes nothing behind a colon")
        if initial is not None:
            raise UnknownModel(f"{name}:{suffix} and --initial say the same thing; name one")
        try:
            begun = Initial.of(read_value(suffix))
        except NoValue as error:
            raise UnknownModel(f"{name}:{suffix}: {error}") from None
    if name == UNNAMED and begun is not None and begun.kind is InitialKind.KNOWN:
        BEGUN[FIFO](begun.value, overdraft)  # elements of the wrong kind are told at once
        elements = begun.value
        return lambda history, budget: check_unnamed_queue(history, budget, elements, file)
    if begun is not None and begun.kind is InitialKind.KNOWN:
        if name not in BEGUN:
            raise UnknownModel(f"a {name} holds nothing at first that could be said")
        try:
            return BEGUN[name](begun.value, overdraft)
        except (TypeError, ValueError, AttributeError) as error:
            raise UnknownModel(f"a {name} cannot begin with {begun.value!r}: {error}") from None
    if name == UNNAMED:
        return lambda history, budget: check_unnamed_queue(history, budget, name=file)
    if overdraft:
        return BEGUN[name](None, overdraft)
    return JUDGES[name]


def _transactions(name: str, level: str, *, closed: bool, initial: Initial | None) -> Judge:
    level = level or STRICT_SERIALIZABLE
    try:
        level_of(level)
    except KeyError:
        raise UnknownModel(f"no level {level!r}; there are {', '.join(LEVELS)}") from None
    begun: Any = UNSTATED
    if initial is not None and initial.kind is not InitialKind.FREE:
        begun = initial.value

    def judge(history: History, budget: Budget) -> Verdict:
        return check_isolation(
            history, budget, data=name, level=level, closed=closed, initial=begun
        )

    return _by_key(judge)


def _answered(name: str, judge: Judge) -> Judge:
    """Compare answers with what was asked before a judge believes them."""

    def compared(history: History, budget: Budget) -> Verdict:
        wrong = mismatches(history)
        if not wrong:
            return judge(history, budget)
        of = [one for one in history.operations if one.index in wrong]
        return Verdict(
            checker=name,
            validity=Validity.INVALID,
            claim="Every answer is one to what was asked.",
            evidence=counted(len(history.operations), "operation"),
            method="answers",
            anomalies=tuple(tell_mismatch(one, wrong[one.index]) for one in of[:ANOMALIES_MAX]),
            stats={"anomalies": len(of)},
        )

    return compared


def _by_key(judge: Judge) -> Judge:
    """Judge independent keys apart where a judge takes its history as one."""

    def each(history: History, budget: Budget) -> Verdict:
        keys = history.by_key
        if len(keys) < 2:
            return judge(history, budget)
        meter = Meter(budget)
        verdicts = []
        for at, key in enumerate(keys):
            part = History([op for op in history if op.key == key], header=history.header)
            share = meter.remaining_s / (len(keys) - at)
            verdicts.append((key, judge(part, msgspec.structs.replace(budget, time_s=share))))
        return _together(verdicts)

    return each


def _together(verdicts: list[tuple[str | None, Verdict]]) -> Verdict:
    """Combine the verdicts on independent keys.

    One on which nothing was to be judged does not count, unless that is so of all.
    """
    heard = [
        (key, one) for key, one in verdicts if not (one.reason or "").startswith("vacuous")
    ] or verdicts
    first = heard[0][1]
    validity = worst([one.validity for _, one in heard])
    reasons = [f"key {key}: {one.reason}" for key, one in heard if one.reason]
    anomalies = [
        found if found.key is not None else msgspec.structs.replace(found, key=key)
        for key, one in heard
        for found in one.anomalies
    ]
    only = next(one for _, one in heard if one.validity is validity)
    all_vacuous = (first.reason or "").startswith("vacuous")
    return msgspec.structs.replace(
        first,
        validity=validity,
        evidence=f"{counted(len(verdicts), 'key')}; {only.evidence}",
        reason=None
        if validity is not Validity.UNKNOWN
        else first.reason
        if all_vacuous
        else next(iter(reasons), None),
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats=_added([one.stats for _, one in heard]) | {"keys": len(verdicts)},
        elapsed_s=sum(one.elapsed_s for _, one in heard),
    )


def _added(stats: list[dict[str, Any]]) -> dict[str, Any]:
    """Add numbers up, those in maps too; anything else is the first's."""
    total: dict[str, Any] = {}
    for one in stats:
        for name, value in one.items():
            before = total.get(name)
            if isinstance(value, dict):
                total[name] = _added([before or {}, value])
            elif isinstance(value, int | float) and isinstance(before, int | float):
                total[name] = before + value
            else:
                total.setdefault(name, value)
    return total


ANOMALIES_MAX: Final = 20
"""Anomalies told in full of all independent keys together."""


def _search(model: str) -> Judge:
    return lambda history, budget: check_linearizability(history, budget, MODELS[model])


def _begun(model: str) -> Callable[[Any, bool], Judge]:
    def begin(value: Any, _overdraft: bool) -> Judge:
        MODELS[model](value)  # a value of the wrong kind is told before anything is judged
        return lambda history, budget: check_linearizability(
            history, budget, lambda: MODELS[model](value)
        )

    return begin


def _counter(history: History, budget: Budget, initial: int = 0) -> Verdict:
    """Bounds first; what they allow is searched, and stays allowed when the search gives up."""
    bounds = check_counters(history, initial=initial)
    if bounds.validity is not Validity.VALID:
        return bounds
    exact = check_linearizability(history, budget, lambda: MODELS["counter"](initial))
    if exact.validity is Validity.UNKNOWN:
        return bounds
    return msgspec.structs.replace(exact, checker="counter")


def _begun_counter(value: Any, _overdraft: bool) -> Judge:
    MODELS["counter"](value)
    return lambda history, budget: _counter(history, budget, value)


def _begun_pn_counter(value: Any, _overdraft: bool) -> Judge:
    MODELS["counter"](value)
    return lambda history, _budget: check_pn_counter(history, value)


def _set(history: History, budget: Budget) -> Verdict:
    """A set that only grows is decided in a pass; where elements are removed, by search."""
    if all(one.f in {"add", "read", *IGNORED} for one in history.operations):
        return check_sets(history)
    return check_linearizability(history, budget, MODELS["set"])


def _begun_set(linearizable: bool) -> Callable[[Any, bool], Judge]:
    def begin(value: Any, _overdraft: bool) -> Judge:
        MODELS["set"](value)

        def judge(history: History, budget: Budget) -> Verdict:
            if any(one.f == "remove" for one in history.operations):
                return check_linearizability(history, budget, lambda: MODELS["set"](value))
            return check_sets(history, linearizable=linearizable, initial=value)

        return judge

    return begin


def _begun_queue(discipline: str) -> Callable[[Any, bool], Judge]:
    def begin(value: Any, _overdraft: bool) -> Judge:
        MODELS[FIFO](value)
        return lambda history, budget: check_queues(history, budget, discipline, value)

    return begin


def _begun_bank(name: str) -> Callable[[Any, bool], Judge]:
    def begin(value: Any, overdraft: bool) -> Judge:
        opening = None
        if value is not None:
            opening = {str(account): int(balance) for account, balance in value.items()}
        if name == BANK:
            total = None if opening is None else sum(opening.values())
            return _by_key(
                lambda history, _budget: check_bank(history, total=total, overdraft=overdraft)
            )
        return _by_key(
            lambda history, budget: check_bank_order(
                history, budget, opening=opening, overdraft=overdraft
            )
        )

    return begin


def _etcd(history: History, budget: Budget) -> Verdict:
    """The revisions' own order first: accepting, it is a proof; else the search has a say."""
    requests, watched = _without_watches(history)
    ordered = check_etcd_order(requests)
    if watched:
        left_out = {"a watch, which is judged by the models watch and etcd+watch": watched}
        ordered = msgspec.structs.replace(ordered, stats={**ordered.stats, "left_out": left_out})
    if ordered.validity is not Validity.UNKNOWN:
        return ordered
    searched = check_linearizability(requests, budget, MODELS["etcd"])
    return ordered if searched.validity is Validity.UNKNOWN else searched


def _without_watches(history: History) -> tuple[History, int]:
    """Leave the watches out; return how many there were."""
    watched = sum(one.f == "watch" for one in history.operations)
    if not watched:
        return history, 0
    ops = [op for op in history if not (op.is_client and op.f == "watch")]
    return History(ops, header=history.header), watched


def _etcd_and_watch(history: History, budget: Budget) -> Verdict:
    """Judge requests by their revisions, and watches by what the requests changed."""
    children = (_etcd(_without_watches(history)[0], budget), check_watches(history))
    reasons = [f"{child.checker}: {child.reason}" for child in children if child.reason]
    return Verdict(
        checker=MIXED,
        validity=worst([child.validity for child in children]),
        claim="The order of the revisions explains every answer, and every watch shows it.",
        reason="; ".join(reasons) or None,
        method="the store's order, and one pass over each watch",
        children=children,
    )


def _comments(_history: History, _budget: Budget) -> Verdict:
    return Verdict(
        checker="comments",
        validity=Validity.UNKNOWN,
        reason="vacuous: reads of a set of comments: no claim is defined for them here",
        method="none",
    )


LONG_FORK: Final = "long-fork"
BANK: Final = "bank"
BANK_ORDER: Final = "bank-linearizable"
BANKS: Final = frozenset({BANK, BANK_ORDER})
NEGATIVE: Final = "negative"
"""What follows a bank's colon where accounts may be overdrawn."""

JUDGES: Final[dict[str, Judge]] = {
    **{name: _search(name) for name in MODELS},
    "set": _set,
    "set-eventual": lambda history, _budget: check_sets(history, linearizable=False),
    "broadcast": lambda history, _budget: check_sets(history, linearizable=False),
    "counter": _counter,
    PN_COUNTER: lambda history, _budget: check_pn_counter(history),
    UNIQUE_IDS: lambda history, _budget: check_unique_ids(history),
    SEQUENTIAL: check_sequential,
    FIFO: lambda history, budget: check_queues(history, budget, FIFO),
    UNORDERED: lambda history, budget: check_queues(history, budget, UNORDERED),
    UNNAMED: check_unnamed_queue,
    TOTAL: lambda history, _budget: check_total_queue(history),
    "etcd": _etcd,
    MIXED: _etcd_and_watch,
    BANK: _by_key(lambda history, _budget: check_bank(history)),
    BANK_ORDER: _by_key(check_bank_order),
    "watch": lambda history, _budget: check_watches(history),
    "watch-end": lambda history, _budget: check_watch_end(history),
    "lease": lambda history, _budget: check_leases(history),
    "lock": lambda history, _budget: check_locks(history),
    "long-fork": lambda history, _budget: check_long_fork(history),
    "comments": _comments,
}
"""Judges of a whole history by name; transactional ones are made by `judge_of`."""

UNDERSTOOD: Final = {
    **dict.fromkeys(BANKS, frozenset({"read", "transfer"})),
    PN_COUNTER: frozenset({"add", "read"}),
    UNIQUE_IDS: frozenset({"generate"}),
}
"""Functions of models whose judges pass over others."""

COMPARED: Final = frozenset({*BANKS, *(FIFO, UNORDERED, TOTAL, UNNAMED), *(PN_COUNTER, SEQUENTIAL)})
"""Models whose judges leave it to `answers` to compare answers with what was asked."""

BEGUN: Final[dict[str, Callable[[Any, bool], Judge]]] = {
    **{name: _begun(name) for name in BEGINS},
    "set": _begun_set(linearizable=True),
    "set-eventual": _begun_set(linearizable=False),
    "counter": _begun_counter,
    PN_COUNTER: _begun_pn_counter,
    SEQUENTIAL: lambda value, _overdraft: (
        lambda history, budget: check_sequential(history, budget, value)
    ),
    **{one: _begun_queue(one) for one in (FIFO, UNORDERED)},
    UNNAMED: lambda value, _overdraft: (
        lambda history, budget: check_unnamed_queue(history, budget, value)
    ),
    **{one: _begun_bank(one) for one in BANKS},
}
"""What makes a judge for an object that holds a value at first: (value, overdraft) -> Judge."""


class Entry(NamedTuple):
    """What a model is about: what it judges, and which path decides."""

    judges: str
    decided_by: str


ENTRIES: Final[dict[str, Entry]] = {
    BANK: Entry(f"one total, nobody overdrawn; {BANK}:{NEGATIVE} allows that", "sums"),
    BANK_ORDER: Entry("as bank, and each read shows one moment", "search over the reads"),
    "broadcast": Entry("what was broadcast is in later reads, if late", "one pass over the reads"),
    "cas-register": Entry(
        "linearizability of reads, writes and compare-and-sets",
        "zones, O(n log n); search where values repeat",
    ),
    "comments": Entry("nothing: no claim is defined for them", "called vacuous"),
    "counter": Entry("what each read must and may show", "bounds, then search"),
    "etcd": Entry(
        "ranges, puts, deletes, transactions with their revisions",
        "replay in order of revisions; else search",
    ),
    MIXED: Entry("requests to etcd as etcd, watches as watch", "as each of them"),
    "fenced-mutex": Entry("linearizability of a lock whose tokens grow", "search"),
    "kv": Entry(
        "linearizability of get, put and append of texts",
        "appends as compare-and-sets, O(n log n); else search",
    ),
    "lease": Entry("no lease ends early; a revoked one ends", "one pass in order of time"),
    LIST_APPEND: Entry("isolation, at the level after the colon", "dependency graph, linear"),
    "lock": Entry("mutual exclusion by growing tokens", "one pass in order of time"),
    "long-fork": Entry("reads that disagree on the order of writes", "chains of reads"),
    "multi-register": Entry("linearizability of transactions on registers", "search"),
    "mutex": Entry("linearizability of a lock", "search"),
    FIFO: Entry("linearizability of first in, first out", "pairs, O(n log n); else search"),
    UNORDERED: Entry("the same, out in any order", "pairs, O(n log n); else search"),
    TOTAL: Entry("nothing lost once drained, nothing invented; in any order", "accounts"),
    UNNAMED: Entry("what holds of fifo-queue and unordered-queue alike", "as these"),
    PN_COUNTER: Entry("final reads show what was acknowledged", "sums"),
    UNIQUE_IDS: Entry("no id is given twice", "one pass"),
    SEQUENTIAL: Entry("sequential consistency of registers, real time apart", "graph, then search"),
    "register": Entry(
        "linearizability of reads and writes", "zones, O(n log n); search where values repeat"
    ),
    RW_REGISTER: Entry("isolation, at the level after the colon", "dependency graph, linear"),
    "set": Entry(
        "lost, stale, duplicated, unexpected elements; one order",
        "one pass over the reads; search where elements are removed",
    ),
    "set-eventual": Entry("as set, but an element may show late", "one pass over the reads"),
    "watch": Entry("what etcd promises of events", "one pass in order of time"),
    "watch-end": Entry("one story from every node, which leads to what it holds", "replay"),
}
"""Every model by name, for people."""


def check_file(
    name: str,
    data: bytes,
    model: str | None,
    budget: Budget,
    assume: Assumptions = NOTHING_SAID,
    *,
    strict: bool = False,
) -> Verdict:
    """Judge a file of any known format; `model` None judges it by what it looks like.

    `assume` is what the user said about it beside that.

    Raises MalformedHistory (whose message begins with the file and the line) and UnknownModel.
    The verdict's `stats` say `format` and `model`, and under `accounting` what became of every
    operation. A history in which nothing could contradict what is claimed is unknown: whoever calls
    that a pass has checked nothing. `strict`: one from which anything was left out is, too.
    """
    meter = Meter(budget)
    if model:
        judge_of(model, initial=assume.initial)  # told before a long file is read
    try:
        found = read_file(name, data, model, meter, assume)
    except OutOfBudget as spent:
        return undecided(model or "none", f"{name}: {spent}")
    left = msgspec.structs.replace(budget, time_s=meter.remaining_s)
    return judge_file(name, found, left, assume=assume, strict=strict)


def read_file(
    name: str,
    data: bytes,
    model: str | None,
    meter: Meter,
    assume: Assumptions = NOTHING_SAID,
) -> Foreign:
    """Read a file of any known format and settle its model; "" when nothing tells.

    Raises MalformedHistory, whose message is one line that begins with the file and the line, and
    OutOfBudget.
    """
    return settled(name, lambda base: load(data, name, base, meter=meter, assume=assume), model)


def settled(name: str, read: Callable[[str | None], Foreign], model: str | None) -> Foreign:
    """Read something and settle by what it is judged; raises as `read_file` does.

    `read` takes the model's own name, without its level.
    """
    try:
        found = read(_base(model))
    except MalformedHistory as error:
        raise _in_one_line(error) from None
    model = model or _by_header(found.history) or found.model
    if not found.timed:
        base, _, level = model.partition(":")
        if level and edges_of(level_of(level)):
            raise MalformedHistory(
                f"{name}: nothing in this file is invoked, so it says nothing about time and "
                f"clients, by which {level} is judged; ask for {base}:{SERIALIZABLE}"
            )
        model = f"{base}:{level or SERIALIZABLE}"
    return found._replace(model=model)


def judge_file(
    name: str,
    found: Foreign,
    budget: Budget,
    judge: Judge | None = None,
    assume: Assumptions = NOTHING_SAID,
    *,
    strict: bool = False,
) -> Verdict:
    """Judge what was read from a file; raises MalformedHistory and UnknownModel.

    `judge` judges instead of the catalogue's; the model is then only what it is called.
    """
    stats = {"format": found.format, "model": found.model}
    if not found.model:
        functions = sorted({one.f for one in found.history.operations})
        if functions:
            raise MalformedHistory(
                f"{name}: no model is known for operations called {', '.join(functions[:8])}; "
                f"name one of {', '.join(sorted(ENTRIES))}, or a model of your own as "
                f"path/to/file.py:Name"
            )
        return accounted(found, undecided("none", VACUOUS, stats), strict=strict)
    judge = judge or judge_of(
        found.model, closed=found.format == "jsonl", initial=assume.initial, file=name
    )
    if not any(one.outcome is not OpType.FAIL for one in found.history.operations):
        return accounted(found, undecided(found.model, VACUOUS, stats), strict=strict)
    meter = Meter(budget)
    try:
        verdict = judge(found.history, budget)
    except MalformedHistory as error:
        raise _in_one_line(MalformedHistory(f"{name}: {error}")) from None
    except OutOfBudget as spent:
        verdict = undecided(found.model, str(spent))
    took_s = meter.now_s() + budget.time_s - meter.until_s
    verdict = _read_again(verdict, found, budget, took_s)
    if verdict.validity is Validity.INVALID and verdict.reason is None and assume.initial is None:
        left = msgspec.structs.replace(budget, time_s=meter.remaining_s)
        hint = initial_hint(found, left)
        verdict = msgspec.structs.replace(verdict, reason=hint)
    if _base(found.model) == BANK and verdict.validity is Validity.VALID:
        found = found._replace(accounting=_noted(found.accounting, SUMS_ONLY))
    spent_s = meter.now_s() + budget.time_s - meter.until_s
    verdict = msgspec.structs.replace(
        verdict, stats={**verdict.stats, **stats}, elapsed_s=verdict.elapsed_s or spent_s
    )
    return accounted(found, verdict, strict=strict)


def _read_again(verdict: Verdict, found: Foreign, budget: Budget, took_s: float) -> Verdict:
    """Read the proofs again: those about an independent key by what is known of that key alone."""
    history = found.history
    if _base(found.model) not in APART or len(history.by_key) < 2 or not verdict.anomalies:
        return self_checked(verdict, history, None, budget, took_s)
    key_of = {op.index: op.key for op in history}
    checked = []
    for key in dict.fromkeys(key_of[one.ops[0]] for one in verdict.anomalies if one.ops):
        mine = tuple(one for one in verdict.anomalies if one.ops and key_of[one.ops[0]] == key)
        part = History([op for op in history if op.key == key], header=history.header)
        of_key = msgspec.structs.replace(verdict, anomalies=mine)
        checked.append(self_checked(of_key, part, None, budget, took_s))
    sound = [one for one in checked if one.validity is Validity.INVALID]
    if not sound:
        return checked[0] if checked else verdict
    flaws = [flaw for one in checked for flaw in one.stats.get("proof_flaws", ())]
    return msgspec.structs.replace(
        verdict,
        anomalies=tuple(found for one in sound for found in one.anomalies),
        stats={**verdict.stats, **({"proof_flaws": flaws} if flaws else {})},
    )


APART: Final = frozenset({LIST_APPEND, RW_REGISTER, *BANKS})
"""Models of which each independent key is a history by itself."""

SUMS_ONLY: Final = (
    f"{BANK} claims sums only; which moment each read shows is judged by --model {BANK_ORDER}"
)
"""What is said of a bank that was found to be right."""


def _noted(told: Accounting, note: str) -> Accounting:
    return msgspec.structs.replace(told, notes=(*told.notes, note))


HINT_OPERATIONS_MAX: Final = 2_000
"""Histories longer than this are not judged again to learn what may have been there at first."""

HINTED: Final = frozenset({"counter", "kv", SEQUENTIAL, FIFO, UNORDERED, UNNAMED})
"""Models that say by being judged again what may have been there at first."""


def initial_hint(found: Foreign, budget: Budget) -> str | None:
    """Say how to name what an object may have held at first, if that would explain everything."""
    operations = found.history.operations
    if found.model not in HINTED or len(operations) > HINT_OPERATIONS_MAX:
        return None
    answers = [one for one in operations if one.outcome is OpType.OK and one.output is not None]
    if found.model in {FIFO, UNORDERED, UNNAMED}:
        put = [one.input for one in operations if one.f == "enqueue"]
        candidate: Any = [
            one.output for one in answers if one.f == "dequeue" and one.output not in put
        ]
    else:
        first = next((one.output for one in answers if one.f in {"read", "get"}), None)
        candidate = first
    if candidate in (None, []) or (found.model == "kv" and not isinstance(candidate, str)):
        return None
    try:
        judged = judge_of(found.model, initial=Initial.of(candidate))(found.history, budget)
    except (MalformedHistory, UnknownModel, OutOfBudget):
        return None
    if judged.validity is not Validity.VALID:
        return None
    return f"if it was there at the start, say so with --initial '{value_text(candidate)}'"


def accounted(found: Foreign, verdict: Verdict, *, strict: bool = False) -> Verdict:
    """Say in a verdict's `stats` what became of every operation, and pass nothing unseen.

    A history that nothing could have contradicted is no pass; nor, if `strict`, one of which a part
    was left out.
    """
    told = found.accounting
    left_out = dict(told.left_out)
    for one in _parts(verdict):
        for reason, count in one.stats.get("left_out", {}).items():
            left_out[reason] = left_out.get(reason, 0) + count
    told = msgspec.structs.replace(told, left_out=left_out)
    stats = {**verdict.stats, "accounting": {**msgspec.to_builtins(told), "judged": told.judged}}
    verdict = msgspec.structs.replace(verdict, stats=stats)
    missing = "; ".join(f"{count} left out: {reason}" for reason, count in left_out.items())
    if missing and (verdict.reason or "").startswith("vacuous") and not verdict.children:
        verdict = msgspec.structs.replace(verdict, reason=f"{verdict.reason} ({missing})")
    if verdict.validity is not Validity.VALID:
        return verdict
    if not any(_observes(one, found.model) for one in found.history.operations):
        because = f" ({missing})" if missing else ""
        return _no_pass(verdict, f"{UNSEEN}{because}")
    return _no_pass(verdict, f"strict: {missing}") if strict and missing else verdict


def _parts(verdict: Verdict) -> list[Verdict]:
    """The verdicts whose omissions add up to those of a file.

    Several checkers of one history leave different operations out: the first of them judges it as a
    whole, what others leave out is their own business, and stands in their own `stats`.
    """
    children = verdict.children[:1] if verdict.checker == ALL else verdict.children
    return [verdict, *(one for child in children for one in _parts(child))]


def _no_pass(verdict: Verdict, reason: str) -> Verdict:
    """Turn a pass into an unknown, with the checker that says so among the others."""
    if not verdict.children:
        return msgspec.structs.replace(verdict, validity=Validity.UNKNOWN, reason=reason)
    child = undecided("accounting", reason)
    return msgspec.structs.replace(
        verdict,
        validity=Validity.UNKNOWN,
        reason=f"{child.checker}: {reason}",
        children=(*verdict.children, child),
    )


def _observes(one: Operation, model: str) -> bool:
    """Whether an operation's answer could contradict what is claimed.

    An acknowledged write says only that it happened, whatever its name is, unless a model of the
    user's own lets it answer something; a transaction says what its reads returned. An answer of
    etcd's has a revision, and a lock's has a holder.
    """
    if one.outcome is not OpType.OK or one.f in IGNORED:
        return False
    if one.f == "txn" and isinstance(one.output, list | tuple):
        return any(isinstance(mop, list | tuple) and mop[:1] == ["r"] for mop in one.output)
    name = model.partition(":")[0]
    if one.f not in BLIND or name in TELLING:
        return True
    return name not in JUDGES and one.output is not None and one.output != one.input


BLIND: Final = frozenset(
    {"write", "put", "append", "add", "inc", "increment", "dec", "decrement", "remove", "delete"}
    | {"broadcast", "enqueue", "push", "send", "publish", "transfer", "insert", "update"}
)
"""Functions whose acknowledgement shows nothing of the state."""

TELLING: Final = frozenset({"etcd", MIXED, "watch", "watch-end", "lease", "lock"})
"""Models whose every answer shows something of the state."""

UNSEEN: Final = "vacuous: nothing was read, so nothing could have contradicted it"
"""Why a history of writes only is unknown."""


def _in_one_line(error: MalformedHistory) -> MalformedHistory:
    """What a file calls things may hold anything; the message is one line."""
    return MalformedHistory("".join(one if one.isprintable() else " " for one in str(error)))


def _by_header(history: History) -> str:
    """The model that the workload in a history's header asks for; "" when nothing fits."""
    try:
        return model_of_workload(str(history.header.get("workload", "")))
    except UnknownModel:
        return ""


def _base(model: str | None) -> str | None:
    """The model's own name, without its level and under the name it has here."""
    if not model:
        return None
    name = model.partition(":")[0]
    return ALIASES.get(name, name)


VACUOUS: Final = "vacuous: there is no operation to judge"
"""Why a history in which nothing happened is unknown."""


def undecided(checker: str, reason: str, stats: dict[str, str] | None = None) -> Verdict:
    """Return the verdict of a judge that could not even begin, or gave up."""
    return Verdict(
        checker=checker,
        validity=Validity.UNKNOWN,
        reason=reason,
        method="none",
        stats=dict(stats or {}),
    )
