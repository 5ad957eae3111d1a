"""Every judge of a whole history by name, and the one way from a file to a verdict.

    check_file("history.edn", data, None, budget)

detects format and model, judges, and says by which path. Names are those the command line takes
with --model or --workload; `--level` of a transactional model follows a colon, as in
`list-append:serializable`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from checkers.bank import check_bank
from checkers.budget import Meter, OutOfBudget
from checkers.counters import check_counters
from checkers.etcd_order import check_etcd_order
from checkers.foreign import load
from checkers.history import History, MalformedHistory, OpType
from checkers.isolation import LEVELS, STRICT_SERIALIZABLE, level_of
from checkers.leases import check_leases
from checkers.linearizability import check_linearizability
from checkers.locks import check_locks
from checkers.long_fork import check_long_fork
from checkers.serializability import LIST_APPEND, RW_REGISTER, check_isolation
from checkers.sets import check_sets
from checkers.specifications import MODELS
from checkers.verdict import Budget, Validity, Verdict
from checkers.watches import check_watches

Judge = Callable[[History, Budget], Verdict]

ALIASES: Final = {
    "register-cas": "cas-register",
    "set-full": "set",
    "append": LIST_APPEND,
    "wr": RW_REGISTER,
}
"""Other names people use."""


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
    known = sorted({*JUDGES, LIST_APPEND, RW_REGISTER})
    raise UnknownModel(f"no model {name!r}; there are {', '.join(known)}")


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
    "set": lambda history, _budget: check_sets(history),
    "set-eventual": lambda history, _budget: check_sets(history, linearizable=False),
    "counter": _counter,
    "etcd": _etcd,
    "bank": lambda history, _budget: check_bank(history),
    "watch": lambda history, _budget: check_watches(history),
    "lease": lambda history, _budget: check_leases(history),
    "lock": lambda history, _budget: check_locks(history),
    "long-fork": lambda history, _budget: check_long_fork(history),
    "comments": _comments,
}
"""Judges of a whole history by name; transactional ones are made by `judge_of`."""


def check_file(name: str, data: bytes, model: str | None, budget: Budget) -> Verdict:
    """Judge a file of any known format; `model` None judges it by what it looks like.

    Raises MalformedHistory (whose message begins with the file and the line) and UnknownModel.
    The verdict's `stats` say `format` and `model`. A history in which nothing happened is unknown:
    whoever calls that a pass has checked nothing.
    """
    try:
        return _check_file(name, data, model, budget)
    except MalformedHistory as error:
        # What a file calls things may hold anything; the message is one line.
        text = str(error)
        raise MalformedHistory("".join(one if one.isprintable() else " " for one in text)) from None


def _check_file(name: str, data: bytes, model: str | None, budget: Budget) -> Verdict:
    meter = Meter(budget)
    found = load(data, name, model.partition(":")[0] if model else None)
    wanted = model or found.model
    stats = {"format": found.format, "model": wanted}
    if not wanted:
        functions = sorted({one.f for one in found.history.operations})
        if functions:
            raise MalformedHistory(
                f"{name}: nothing here knows operations called {', '.join(functions[:8])}; name "
                f"the model"
            )
        return _vacuous(stats)
    judge = judge_of(wanted, closed=found.format == "jsonl")
    if not any(one.outcome is not OpType.FAIL for one in found.history.operations):
        return _vacuous(stats)
    try:
        share = msgspec.structs.replace(budget, time_s=meter.remaining_s)
        verdict = judge(found.history, share)
    except MalformedHistory as error:
        raise MalformedHistory(f"{name}: {error}") from None
    except OutOfBudget as spent:
        verdict = Verdict(checker=wanted, validity=Validity.UNKNOWN, reason=str(spent))
    return msgspec.structs.replace(verdict, stats={**verdict.stats, **stats})


def _vacuous(stats: dict[str, str]) -> Verdict:
    return Verdict(
        checker=stats["model"] or "none",
        validity=Validity.UNKNOWN,
        reason="vacuous: there is no operation to judge",
        method="none",
        stats=stats,
    )
