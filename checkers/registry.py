"""Every model by name, in one table: what it is called, how it judges and what it needs to know.

`ENTRIES` holds what may be asked for with --model; `judge_of` makes the judge of a whole history.
The level asked of a transactional model follows a colon, as in `list-append:serializable`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from squall.checkers.answers import mismatches, tell_mismatch
from squall.checkers.assumptions import (
    Initial,
    InitialKind,
    NoValue,
    read_value,
)
from squall.checkers.budget import Budget, Meter
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
from squall.checkers.etcd.model import EtcdKv
from squall.checkers.etcd.order import check_etcd_order
from squall.checkers.formats.foreign import MIXED
from squall.checkers.history import History
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.linearizability.models import (
    CasRegister,
    Counter,
    FencedMutex,
    FifoQueue,
    KeyValue,
    Model,
    MultiRegister,
    Mutex,
    Register,
    Set,
    UnorderedQueue,
)
from squall.checkers.linearizability.registers import IGNORED
from squall.checkers.linearizability.sequential import NAME as SEQUENTIAL
from squall.checkers.linearizability.sequential import check_sequential
from squall.checkers.text.words import counted
from squall.checkers.transactions.bank import check_bank
from squall.checkers.transactions.bank_order import check_bank_order
from squall.checkers.transactions.checker import LIST_APPEND, RW_REGISTER, check_isolation
from squall.checkers.transactions.isolation import (
    LEVELS,
    STRICT_SERIALIZABLE,
    level_of,
)
from squall.checkers.transactions.long_fork import check_long_fork
from squall.checkers.transactions.operations import UNSTATED
from squall.checkers.verdict import Validity, Verdict, worst
from squall.checkers.watch.end_state import check_watch_end
from squall.checkers.watch.rules import check_watches

Judge = Callable[[History, Budget], Verdict]


class UnknownModel(ValueError):
    """No judge of that name; the message lists those there are."""


class Suffix(enum.Enum):
    """What may stand behind the colon of a model's name."""

    NOTHING = enum.auto()
    INITIAL = enum.auto()
    """What an object holds at first, as JSON or EDN."""
    LEVEL = enum.auto()
    """The level of isolation."""
    OVERDRAFT = enum.auto()
    """That accounts may be overdrawn."""


class Asked(NamedTuple):
    """How a history is to be judged, beside the model.

    `initial`: what is said about the time before the first operation. `closed`: the history is
    complete, so that a value without a writer is an anomaly. `file`: what messages call it.
    """

    initial: Initial | None = None
    closed: bool = True
    level: str = ""
    overdraft: bool = False
    file: str = "FILE"

    @property
    def known(self) -> bool:
        """Whether a value is stated that objects hold at first."""
        return self.initial is not None and self.initial.kind is InitialKind.KNOWN

    @property
    def value(self) -> Any:
        """That value; None if none is stated."""
        return self.initial.value if self.initial is not None and self.known else None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A model: what is asked for by its name, and how histories are judged by it."""

    name: str
    judges: str
    """What is judged, in a few words."""
    decided_by: str
    """The path that decides, in a few words."""
    judge: Callable[[Asked], Judge]
    """Makes the judge; raises TypeError, ValueError, AttributeError for an unfit initial value."""
    aliases: tuple[str, ...] = ()
    """Other names people use."""
    suffix: Suffix = Suffix.NOTHING
    make: Callable[..., Model] | None = None
    """Makes the sequential specification, of models that have one."""
    functions: frozenset[str] | None = None
    """Functions of a judge that passes over others: where there are others nothing is concluded."""
    compares: bool = False
    """Whether the judge leaves it to `answers` to compare answers with what was asked."""
    apart: bool = False
    """Whether each independent key is a history by itself."""
    telling: bool = False
    """Whether every answer shows something of the state, that of a write too."""
    hinted: bool = False
    """Whether it is judged again to learn what may have been there at first."""

    @property
    def begins(self) -> bool:
        """Whether what an object holds at first may be said."""
        return self.suffix is not Suffix.NOTHING


def entry_of(name: str) -> Entry:
    """Return the entry of a model by its name or alias, without a colon; raises UnknownModel."""
    found = _BY_NAME.get(name)
    if found is None:
        raise UnknownModel(f"no model {name!r}; there are {', '.join(sorted(ENTRIES))}")
    return found


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
    base, colon, suffix = name.partition(":")
    entry = entry_of(base)
    asked = Asked(initial=initial, closed=closed, file=file)
    if entry.suffix is Suffix.LEVEL:
        asked = asked._replace(level=_level(suffix))
    elif entry.suffix is Suffix.OVERDRAFT:
        if colon and suffix != NEGATIVE:
            raise UnknownModel(
                f"{entry.name}:{suffix}: all that may follow is {entry.name}:{NEGATIVE}"
            )
        asked = asked._replace(overdraft=bool(colon))
    elif colon:
        asked = asked._replace(initial=_initial(entry, suffix, initial))
    if asked.known and not entry.begins:
        raise UnknownModel(f"a {entry.name} holds nothing at first that could be said")
    try:
        judge = entry.judge(asked)
    except (TypeError, ValueError, AttributeError) as error:
        raise UnknownModel(f"a {entry.name} cannot begin with {asked.value!r}: {error}") from None
    if entry.functions is not None:
        judge = _understood(entry.name, entry.functions, judge)
    return _answered(entry.name, judge) if entry.compares else judge


def _level(suffix: str) -> str:
    level = suffix or STRICT_SERIALIZABLE
    try:
        level_of(level)
    except KeyError:
        raise UnknownModel(f"no level {level!r}; there are {', '.join(LEVELS)}") from None
    return level


def _initial(entry: Entry, suffix: str, initial: Initial | None) -> Initial:
    """Read what follows the colon."""
    name = entry.name
    if entry.suffix is not Suffix.INITIAL:
        raise UnknownModel(f"{name}:{suffix}: a {name} takes nothing behind a colon")
    if initial is not None:
        raise UnknownModel(f"{name}:{suffix} and --initial say the same thing; name one")
    try:
        return Initial.of(read_value(suffix))
    except NoValue as error:
        raise UnknownModel(f"{name}:{suffix}: {error}") from None


def judge_by(
    model: str | Callable[[], Model], *, initial: Initial | None = None, file: str = "FILE"
) -> tuple[str, Judge | None]:
    """Return what a model is called, and the judge by it where it is a user's own.

    Raises UnknownModel for a name that is none, and for an initial value said of one's own model.
    """
    if isinstance(model, str):
        judge_of(model, initial=initial, file=file)
        return model, None
    name = model().name
    if initial is not None:
        raise UnknownModel(f"{name} is a model of your own: what it holds at first is its init")
    return name, lambda history, budget: check_linearizability(history, budget, model)


def undecided(checker: str, reason: str, stats: dict[str, str] | None = None) -> Verdict:
    """Return the verdict of a judge that could not even begin, or gave up."""
    return Verdict(
        checker=checker,
        validity=Validity.UNKNOWN,
        reason=reason,
        method="none",
        stats=dict(stats or {}),
    )


def _understood(name: str, functions: frozenset[str], judge: Judge) -> Judge:
    """Conclude nothing where operations that a judge does not know may have changed the state."""

    def judged(history: History, budget: Budget) -> Verdict:
        strangers = {one.f for one in history.operations} - functions - IGNORED
        if strangers:
            return undecided(name, f"a {name} has no operation {', '.join(sorted(strangers))}")
        return judge(history, budget)

    return judged


def _transactions(data: str) -> Callable[[Asked], Judge]:
    def make(asked: Asked) -> Judge:
        begun: Any = UNSTATED
        if asked.initial is not None and asked.initial.kind is not InitialKind.FREE:
            begun = asked.initial.value
        return _by_key(
            lambda history, budget: check_isolation(
                history, budget, data=data, level=asked.level, closed=asked.closed, initial=begun
            )
        )

    return make


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


def _always(judge: Judge) -> Callable[[Asked], Judge]:
    """Judge in one way, whatever else is asked."""
    return lambda _asked: judge


def _object(make: Callable[..., Model], asked: Asked) -> Callable[[], Model]:
    """Return what makes the object as it is at first; raises as `Entry.judge` does."""
    if not asked.known:
        return make
    make(asked.value)  # a value of the wrong kind is refused before anything is judged
    return lambda: make(asked.value)


def _search(make: Callable[..., Model]) -> Callable[[Asked], Judge]:
    def judged(asked: Asked) -> Judge:
        begun = _object(make, asked)
        return lambda history, budget: check_linearizability(history, budget, begun)

    return judged


def _counter(asked: Asked) -> Judge:
    begun = _object(Counter, asked)
    initial = asked.value if asked.known else 0
    return lambda history, budget: _count(history, budget, begun, initial)


def _count(history: History, budget: Budget, make: Callable[[], Model], initial: int) -> Verdict:
    """Bounds first; what they allow is searched, and stays allowed when the search gives up."""
    bounds = check_counters(history, initial=initial)
    if bounds.validity is not Validity.VALID:
        return bounds
    exact = check_linearizability(history, budget, make)
    if exact.validity is Validity.UNKNOWN:
        return bounds
    return msgspec.structs.replace(exact, checker="counter")


def _pn_counter(asked: Asked) -> Judge:
    _object(Counter, asked)
    initial = asked.value if asked.known else 0
    return lambda history, _budget: check_pn_counter(history, initial)


def _set(asked: Asked) -> Judge:
    """A set that only grows is decided in a pass; where elements are removed, by search."""
    begun = _object(Set, asked)

    def judge(history: History, budget: Budget) -> Verdict:
        if asked.known:
            if any(one.f == "remove" for one in history.operations):
                return check_linearizability(history, budget, begun)
            return check_sets(history, initial=asked.value)
        if all(one.f in {"add", "read", *IGNORED} for one in history.operations):
            return check_sets(history)
        return check_linearizability(history, budget, Set)

    return judge


def _eventual_set(asked: Asked) -> Judge:
    if not asked.known:
        return lambda history, _budget: check_sets(history, linearizable=False)
    begun = _object(Set, asked)

    def judge(history: History, budget: Budget) -> Verdict:
        if any(one.f == "remove" for one in history.operations):
            return check_linearizability(history, budget, begun)
        return check_sets(history, linearizable=False, initial=asked.value)

    return judge


def _queue(discipline: str) -> Callable[[Asked], Judge]:
    def make(asked: Asked) -> Judge:
        _object(FifoQueue, asked)
        initial = asked.value if asked.known else ()
        return lambda history, budget: check_queues(history, budget, discipline, initial)

    return make


def _unnamed_queue(asked: Asked) -> Judge:
    _object(FifoQueue, asked)
    initial = asked.value if asked.known else ()
    return lambda history, budget: check_unnamed_queue(history, budget, initial, asked.file)


def _sequential(asked: Asked) -> Judge:
    return lambda history, budget: check_sequential(history, budget, asked.value)


def _opening(asked: Asked) -> dict[str, int] | None:
    if not asked.known:
        return None
    return {str(account): int(balance) for account, balance in asked.value.items()}


def _bank(asked: Asked) -> Judge:
    opening = _opening(asked)
    total = None if opening is None else sum(opening.values())
    return _by_key(
        lambda history, _budget: check_bank(history, total=total, overdraft=asked.overdraft)
    )


def _bank_order(asked: Asked) -> Judge:
    opening = _opening(asked)
    return _by_key(
        lambda history, budget: check_bank_order(
            history, budget, opening=opening, overdraft=asked.overdraft
        )
    )


def _long_fork(asked: Asked) -> Judge:
    closed = asked.closed or asked.initial is not None
    return lambda history, _budget: check_long_fork(history, closed=closed)


def _etcd(history: History, budget: Budget) -> Verdict:
    """The revisions' own order first: accepting, it is a proof; else the search has a say."""
    requests, watched = _without_watches(history)
    ordered = check_etcd_order(requests)
    if watched:
        left_out = {"a watch, which is judged by the models watch and etcd+watch": watched}
        ordered = msgspec.structs.replace(ordered, stats={**ordered.stats, "left_out": left_out})
    if ordered.validity is not Validity.UNKNOWN:
        return ordered
    searched = check_linearizability(requests, budget, EtcdKv)
    if searched.validity is Validity.INVALID and any(
        _beyond_search(one.input) for one in requests.operations
    ):
        return ordered  # the search would execute such a request as another one
    return ordered if searched.validity is Validity.UNKNOWN else searched


NOT_SEARCHED: Final = frozenset(
    {"revision", "serializable", "keys_only", "count_only", "sort_order", "sort_target", "lease"}
    | {"ignore_value", "ignore_lease", "min_mod_revision", "max_mod_revision"}
    | {"min_create_revision", "max_create_revision"}
)
"""Fields of an etcd request that the model of the search does not know."""


def _beyond_search(request: Any) -> bool:
    """Whether a request, or one within a transaction, has a field that is not searched."""
    if isinstance(request, list | tuple):
        return any(map(_beyond_search, request))
    if not isinstance(request, dict):
        return False
    return any(request.get(field) for field in NOT_SEARCHED) or any(
        map(_beyond_search, request.values())
    )


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


BANK: Final = "bank"
BANK_ORDER: Final = "bank-linearizable"
NEGATIVE: Final = "negative"
"""What follows a bank's colon where accounts may be overdrawn."""

_BANK_FUNCTIONS: Final = frozenset({"read", "transfer"})

ENTRIES: Final[dict[str, Entry]] = {
    entry.name: entry
    for entry in (
        Entry(
            name=Register.name,
            judges="linearizability of reads and writes",
            decided_by="zones, O(n log n); search where values repeat",
            judge=_search(Register),
            suffix=Suffix.INITIAL,
            make=Register,
        ),
        Entry(
            name=CasRegister.name,
            aliases=("register-cas",),
            judges="linearizability of reads, writes and compare-and-sets",
            decided_by="zones, O(n log n); search where values repeat",
            judge=_search(CasRegister),
            suffix=Suffix.INITIAL,
            make=CasRegister,
        ),
        Entry(
            name=KeyValue.name,
            judges="linearizability of get, put and append of texts",
            decided_by="appends as compare-and-sets, O(n log n); else search",
            judge=_search(KeyValue),
            suffix=Suffix.INITIAL,
            make=KeyValue,
            hinted=True,
        ),
        Entry(
            name=Set.name,
            aliases=("set-full",),
            judges="lost, stale, duplicated, unexpected elements; one order",
            decided_by="one pass over the reads; search where elements are removed",
            judge=_set,
            suffix=Suffix.INITIAL,
            make=Set,
        ),
        Entry(
            name=Counter.name,
            judges="what each read must and may show",
            decided_by="bounds, then search",
            judge=_counter,
            suffix=Suffix.INITIAL,
            make=Counter,
            hinted=True,
        ),
        Entry(
            name=FIFO,
            judges="linearizability of first in, first out",
            decided_by="pairs, O(n log n); else search",
            judge=_queue(FIFO),
            suffix=Suffix.INITIAL,
            make=FifoQueue,
            compares=True,
            hinted=True,
        ),
        Entry(
            name=UNORDERED,
            judges="the same, out in any order",
            decided_by="pairs, O(n log n); else search",
            judge=_queue(UNORDERED),
            suffix=Suffix.INITIAL,
            make=UnorderedQueue,
            compares=True,
            hinted=True,
        ),
        Entry(
            name=Mutex.name,
            judges="linearizability of a lock",
            decided_by="search",
            judge=_search(Mutex),
            make=Mutex,
        ),
        Entry(
            name=FencedMutex.name,
            judges="linearizability of a lock whose tokens grow",
            decided_by="search",
            judge=_search(FencedMutex),
            make=FencedMutex,
        ),
        Entry(
            name=MultiRegister.name,
            judges="linearizability of transactions on registers",
            decided_by="search",
            judge=_search(MultiRegister),
            suffix=Suffix.INITIAL,
            make=MultiRegister,
        ),
        Entry(
            name=EtcdKv.name,
            judges="ranges, puts, deletes, transactions with their revisions",
            decided_by="replay in order of revisions; else search",
            judge=_always(_etcd),
            make=EtcdKv,
            telling=True,
        ),
        Entry(
            name=BANK,
            judges=f"one total, nobody overdrawn; {BANK}:{NEGATIVE} allows that",
            decided_by="sums",
            judge=_bank,
            suffix=Suffix.OVERDRAFT,
            functions=_BANK_FUNCTIONS,
            compares=True,
            apart=True,
        ),
        Entry(
            name=BANK_ORDER,
            judges="as bank, and each read shows one moment",
            decided_by="search over the reads",
            judge=_bank_order,
            suffix=Suffix.OVERDRAFT,
            functions=_BANK_FUNCTIONS,
            compares=True,
            apart=True,
        ),
        Entry(
            name="broadcast",
            judges="what was broadcast is in later reads, if late",
            decided_by="one pass over the reads",
            judge=_always(lambda history, _budget: check_sets(history, linearizable=False)),
        ),
        Entry(
            name="comments",
            judges="nothing: no claim is defined for them",
            decided_by="called vacuous",
            judge=_always(_comments),
        ),
        Entry(
            name=MIXED,
            judges="requests to etcd as etcd, watches as watch",
            decided_by="as each of them",
            judge=_always(_etcd_and_watch),
            telling=True,
        ),
        Entry(
            name="lease",
            judges="no lease ends early; a revoked one ends",
            decided_by="one pass in order of time",
            judge=_always(lambda history, _budget: check_leases(history)),
            telling=True,
        ),
        Entry(
            name=LIST_APPEND,
            aliases=("append",),
            judges="isolation, at the level after the colon",
            decided_by="dependency graph, linear",
            judge=_transactions(LIST_APPEND),
            suffix=Suffix.LEVEL,
            apart=True,
        ),
        Entry(
            name="lock",
            judges="mutual exclusion by growing tokens",
            decided_by="one pass in order of time",
            judge=_always(lambda history, _budget: check_locks(history)),
            telling=True,
        ),
        Entry(
            name="long-fork",
            judges="reads that disagree on the order of writes",
            decided_by="chains of reads",
            judge=_long_fork,
        ),
        Entry(
            name=TOTAL,
            judges="nothing lost once drained, nothing invented; in any order",
            decided_by="accounts",
            judge=_always(lambda history, _budget: check_total_queue(history)),
            compares=True,
        ),
        Entry(
            name=UNNAMED,
            judges="what holds of fifo-queue and unordered-queue alike",
            decided_by="as these",
            judge=_unnamed_queue,
            suffix=Suffix.INITIAL,
            compares=True,
            hinted=True,
        ),
        Entry(
            name=PN_COUNTER,
            aliases=("g-counter",),
            judges="final reads show what was acknowledged",
            decided_by="sums",
            judge=_pn_counter,
            suffix=Suffix.INITIAL,
            functions=Counter.functions,
            compares=True,
        ),
        Entry(
            name=UNIQUE_IDS,
            judges="no id is given twice",
            decided_by="one pass",
            judge=_always(lambda history, _budget: check_unique_ids(history)),
            functions=frozenset({"generate"}),
        ),
        Entry(
            name=SEQUENTIAL,
            aliases=("sequential",),
            judges="sequential consistency of registers, real time apart",
            decided_by="graph, then search",
            judge=_sequential,
            suffix=Suffix.INITIAL,
            compares=True,
            hinted=True,
        ),
        Entry(
            name=RW_REGISTER,
            aliases=("wr",),
            judges="isolation, at the level after the colon",
            decided_by="dependency graph, linear",
            judge=_transactions(RW_REGISTER),
            suffix=Suffix.LEVEL,
            apart=True,
        ),
        Entry(
            name="set-eventual",
            aliases=("g-set",),
            judges="as set, but an element may show late",
            decided_by="one pass over the reads",
            judge=_eventual_set,
            suffix=Suffix.INITIAL,
        ),
        Entry(
            name="watch",
            judges="what etcd promises of events",
            decided_by="one pass in order of time",
            judge=_always(lambda history, _budget: check_watches(history)),
            telling=True,
        ),
        Entry(
            name="watch-end",
            judges="one story from every node, which leads to what it holds",
            decided_by="replay",
            judge=_always(lambda history, _budget: check_watch_end(history)),
            telling=True,
        ),
    )
}
"""Every model, by its name: those with a sequential specification first."""

_BY_NAME: Final = {
    name: entry for entry in ENTRIES.values() for name in (entry.name, *entry.aliases)
}
