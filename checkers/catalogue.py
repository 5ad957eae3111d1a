"""Every judge of a whole history by name, and the one way from a file to a verdict.

    check_file("history.edn", data, None, budget)

detects format and model, judges, and says by which path. Names are those the command line takes
with --model or --workload; the level asked of a transactional model follows a colon, as in
`list-append:serializable`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from checkers.bank import check_bank
from checkers.budget import Meter, OutOfBudget
from checkers.counters import check_counters
from checkers.etcd_order import check_etcd_order
from checkers.foreign import Foreign, load
from checkers.history import History, MalformedHistory, OpType
from checkers.isolation import LEVELS, STRICT_SERIALIZABLE, level_of
from checkers.leases import check_leases
from checkers.linearizability import check_linearizability
from checkers.locks import check_locks
from checkers.long_fork import check_long_fork
from checkers.registers import IGNORED
from checkers.self_check import self_checked
from checkers.serializability import LIST_APPEND, RW_REGISTER, check_isolation
from checkers.sets import check_sets
from checkers.specifications import MODELS
from checkers.verdict import Budget, Validity, Verdict
from checkers.watch_end import check_watch_end
from checkers.watches import check_watches

Judge = Callable[[History, Budget], Verdict]

ALIASES: Final = {
    "register-cas": "cas-register",
    "set-full": "set",
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


def judge_of(name: str, *, closed: bool = True) -> Judge:
    """Return the judge of a name; raises UnknownModel.

    `closed`: the history is complete, so that a value without a writer is an anomaly.
    """
    name, _, level = name.partition(":")
    name = ALIASES.get(name, name)
    if name in {LIST_APPEND, RW_REGISTER}:
        level = level or STRICT_SERIALIZABLE
        try:
            level_of(level)
        except KeyError:
            raise UnknownModel(f"no level {level!r}; there are {', '.join(LEVELS)}") from None
        return lambda history, budget: check_isolation(
            history, budget, data=name, level=level, closed=closed
        )
    if name in JUDGES and not level:
        return JUDGES[name]
    raise UnknownModel(f"no model {name!r}; there are {', '.join(sorted(ENTRIES))}")


def _search(model: str) -> Judge:
    return lambda history, budget: check_linearizability(history, budget, MODELS[model])


def _counter(history: History, budget: Budget) -> Verdict:
    """Bounds first; what they allow is searched, and stays allowed when the search gives up."""
    bounds = check_counters(history)
    if bounds.validity is not Validity.VALID:
        return bounds
    exact = check_linearizability(history, budget, MODELS["counter"])
    if exact.validity is Validity.UNKNOWN:
        return bounds
    return msgspec.structs.replace(exact, checker="counter")


def _set(history: History, budget: Budget) -> Verdict:
    """A set that only grows is decided in a pass; where elements are removed, by search."""
    if all(one.f in {"add", "read", *IGNORED} for one in history.operations):
        return check_sets(history)
    return check_linearizability(history, budget, MODELS["set"])


def _etcd(history: History, budget: Budget) -> Verdict:
    """The revisions' own order first: accepting, it is a proof; else the search has a say."""
    ordered = check_etcd_order(history)
    if ordered.validity is not Validity.UNKNOWN:
        return ordered
    searched = check_linearizability(history, budget, MODELS["etcd"])
    return ordered if searched.validity is Validity.UNKNOWN else searched


def _comments(_history: History, _budget: Budget) -> Verdict:
    return Verdict(
        checker="comments",
        validity=Validity.UNKNOWN,
        reason="vacuous: reads of a set of comments: no claim is defined for them here",
        method="none",
    )


JUDGES: Final[dict[str, Judge]] = {
    **{name: _search(name) for name in MODELS},
    "set": _set,
    "set-eventual": lambda history, _budget: check_sets(history, linearizable=False),
    "counter": _counter,
    "etcd": _etcd,
    "bank": lambda history, _budget: check_bank(history),
    "watch": lambda history, _budget: check_watches(history),
    "watch-end": lambda history, _budget: check_watch_end(history),
    "lease": lambda history, _budget: check_leases(history),
    "lock": lambda history, _budget: check_locks(history),
    "long-fork": lambda history, _budget: check_long_fork(history),
    "comments": _comments,
}
"""Judges of a whole history by name; transactional ones are made by `judge_of`."""


class Entry(NamedTuple):
    """What a model is about: what it judges, and which path decides."""

    judges: str
    decided_by: str


ENTRIES: Final[dict[str, Entry]] = {
    "bank": Entry("one total, nobody overdrawn", "sums"),
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
    "queue": Entry("linearizability of first in, first out", "search"),
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


def check_file(name: str, data: bytes, model: str | None, budget: Budget) -> Verdict:
    """Judge a file of any known format; `model` None judges it by what it looks like.

    Raises MalformedHistory (whose message begins with the file and the line) and UnknownModel.
    The verdict's `stats` say `format` and `model`. A history in which nothing happened is unknown:
    whoever calls that a pass has checked nothing.
    """
    meter = Meter(budget)
    if model:
        judge_of(model)  # a name that is none is answered before a long file is read
    try:
        found = read_file(name, data, model, meter)
    except OutOfBudget as spent:
        return undecided(model or "none", f"{name}: {spent}")
    left = msgspec.structs.replace(budget, time_s=meter.remaining_s)
    return judge_file(name, found, left)


def read_file(name: str, data: bytes, model: str | None, meter: Meter) -> Foreign:
    """Read a file of any known format and settle its model; "" when nothing tells.

    Raises MalformedHistory, whose message is one line that begins with the file and the line, and
    OutOfBudget.
    """
    try:
        found = load(data, name, _base(model), meter=meter)
    except MalformedHistory as error:
        raise _in_one_line(error) from None
    return found._replace(model=model or _by_header(found.history) or found.model)


def judge_file(name: str, found: Foreign, budget: Budget, judge: Judge | None = None) -> Verdict:
    """Judge what was read from a file; raises MalformedHistory and UnknownModel.

    `judge` judges instead of the catalogue's; the model is then only what it is called.
    """
    stats = {"format": found.format, "model": found.model}
    if not found.model:
        functions = sorted({one.f for one in found.history.operations})
        if functions:
            raise MalformedHistory(
                f"{name}: no model is known for operations called {', '.join(functions[:8])}; "
                f"name one of {', '.join(sorted(ENTRIES))}"
            )
        return undecided("none", VACUOUS, stats)
    judge = judge or judge_of(found.model, closed=found.format == "jsonl")
    if not any(one.outcome is not OpType.FAIL for one in found.history.operations):
        return undecided(found.model, VACUOUS, stats)
    meter = Meter(budget)
    try:
        verdict = judge(found.history, budget)
    except MalformedHistory as error:
        raise _in_one_line(MalformedHistory(f"{name}: {error}")) from None
    except OutOfBudget as spent:
        verdict = undecided(found.model, str(spent))
    verdict = self_checked(
        verdict, found.history, None, budget, meter.now_s() + budget.time_s - meter.until_s
    )
    spent_s = meter.now_s() + budget.time_s - meter.until_s
    return msgspec.structs.replace(
        verdict, stats={**verdict.stats, **stats}, elapsed_s=verdict.elapsed_s or spent_s
    )


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
