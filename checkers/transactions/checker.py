"""Whether transactions kept the isolation they were promised.

One verdict for a level from read-uncommitted to strict serializability: the history is taken apart
into dependencies (`list_append` or `rw_register`), findings that need no circle are told as they
are, circles as the shortest that shows the anomaly. Anomalies which the level allows are counted,
and named as what the history rules out, but do not make it invalid.

An answer to something else than was asked is an anomaly at every level. What the workload did
wrong, a value written twice to a key, leaves the rest judged; if that shows nothing wrong the
verdict is unknown. So it is when nothing was read, as then nothing could contradict the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from squall.checkers.budget import Meter, OutOfBudget
from squall.checkers.evidence import Evidence
from squall.checkers.gc_pause import uncollected
from squall.checkers.history import History, Operation
from squall.checkers.text.words import counted
from squall.checkers.transactions.isolation import (
    STRICT_SERIALIZABLE,
    Level,
    broken_level,
    edges_of,
    level_of,
    still_possible,
)
from squall.checkers.transactions.list_append import ListAppend
from squall.checkers.transactions.operations import (
    APPEND,
    READ,
    UNSTATED,
    WRITE,
    Past,
    Transactions,
    transactions,
)
from squall.checkers.transactions.proofs import (
    explain_circle,
    explain_fault,
    explain_finding,
    explain_mismatch,
    keys_of,
)
from squall.checkers.transactions.rw_register import RwRegister
from squall.checkers.transactions.shrink import longest_readers, shrink_transactions
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

ANOMALIES_MAX: Final = 20
"""Anomalies told in full; the rest is counted."""

SHRINK_TIME_S: Final = 5.0
"""Seconds spent on making the counterexamples of one history smaller."""


FAULTS_MAX: Final = 3
"""Faults of the workload that the reason names; the rest is counted."""

UNKNOWN_ORIGIN: Final = "it reads a value of unknown origin that may be initial"
"""Why a transaction is, in part, left out."""

MISMATCHED: Final = "it was answered something else than it asked"
"""Why a transaction's answer is left out; the verdict is invalid then."""


class _Told(NamedTuple):
    """The name of an anomaly, the weakest level it breaks, its transactions, keys, and teller.

    The teller is given the smaller history that is drawn, empty if there is none.
    """

    name: str
    level: Level
    nodes: tuple[int, ...]
    keys: frozenset[Hashable]
    tell: Callable[[Sequence[Operation]], Anomaly]


LIST_APPEND, RW_REGISTER = "list-append", "rw-register"

_CLAIMS: Final = (
    "Writes of different transactions are not interleaved",
    "Nothing is read that was not committed",
    "Each transaction reads one moment, and no update is lost",
    "The transactions act as if they ran one after the other",
)
_ORDERS: Final = ("", "each client's in its own order", "in real time")


def _claim(level: Level) -> str:
    """Say what a level promises."""
    return ", ".join(filter(None, (_CLAIMS[level.base], _ORDERS[level.means]))) + "."


def isolation(data: str = LIST_APPEND, level: str = STRICT_SERIALIZABLE) -> Checker:
    """Return the checker; `data` is list-append or rw-register, `level` one of LEVELS."""

    def check(history: History, _evidence: Evidence, budget: Budget) -> Verdict:
        return check_isolation(history, budget, data=data, level=level)

    return Checker(name=data, check=check)


@uncollected
def check_isolation(
    history: History,
    budget: Budget,
    *,
    data: str = LIST_APPEND,
    level: str = STRICT_SERIALIZABLE,
    closed: bool = True,
    initial: Any = UNSTATED,
    realtime: bool = True,
) -> Verdict:
    """Judge a history of transactions. Raises KeyError for a level that is none, MalformedHistory.

    `initial` is the value that every key has at first, if it is known. `closed`: the history is one
    of ours, in which every key begins as nil or empty, unless `initial` says otherwise, and in
    which every write there ever was is found. In others a value without a writer may be initial
    where nothing contradicts that; in an excerpt (`excerpt` in the header) nothing does.
    `realtime` false: the history has no times and no order; it is judged at the level without
    them, which the verdict's `stats` name.
    """
    meter = Meter(budget)
    started_s = meter.now_s()
    asked = level_of(level)
    if initial is UNSTATED and closed:
        initial = None
    past = Past(initial, complete=closed or not history.header.get("excerpt"))
    terms = _Terms(data, asked if realtime else asked.without_time(), past)
    txns, found, told = _analyse(history.operations, terms, meter)
    verdict = _conclude(txns, found, told, terms, meter, started_s)
    if terms.level == asked:
        return verdict
    less = f"{verdict.evidence}, judged as {terms.level.name}: nothing says what came first"
    return msgspec.structs.replace(verdict, evidence=less)


class _Terms(NamedTuple):
    """What a history is measured by: the kind of data, the level, and what came before it."""

    data: str
    level: Level
    past: Past


def _analyse(
    operations: Sequence[Operation], terms: _Terms, meter: Meter
) -> tuple[Transactions, ListAppend | RwRegister, list[_Told]]:
    appends, level = terms.data == LIST_APPEND, terms.level
    txns = transactions(operations, APPEND if appends else WRITE)
    meter.look()
    found: ListAppend | RwRegister
    if appends:
        found = ListAppend(txns, terms.past)
    else:
        # What the orders say of values holds where a transaction reads one moment.
        one_moment = level.base >= level_of("snapshot-isolation").base
        found = RwRegister(
            txns,
            terms.past,
            realtime=level.realtime and one_moment,
            session=level.session and one_moment,
        )
    meter.look()
    found.graph.add_process_order([one.process for one in txns.operations], found.happened)
    circles = found.graph.circles(edges_of(level))
    if not circles and isinstance(found, RwRegister):
        found.findings += found.against_time
    told = [
        _Told(
            "answer-mismatch",
            broken_level("answer-mismatch"),
            (node,),
            frozenset(),
            partial(explain_mismatch, txns.operations[node], wrong),
        )
        for node, wrong in txns.mismatched.items()
    ]
    told += [
        _Told(
            one.name,
            one.level or broken_level(one.name),
            one.nodes,
            frozenset([one.key]),
            partial(explain_finding, one, found),
        )
        for one in found.findings
    ]
    told += [
        _Told(
            one.name,
            broken_level(one.name),
            one.nodes,
            keys_of(one, found),
            partial(explain_circle, one, found),
        )
        for one in circles
    ]
    return txns, found, told


class _Teller:
    """Tells anomalies by the smallest part of the history that still shows them."""

    def __init__(
        self, txns: Transactions, found: ListAppend | RwRegister, terms: _Terms, meter: Meter
    ) -> None:
        self._txns, self._found, self._terms, self._meter = txns, found, terms, meter
        self._readers: dict[Hashable, int] | None = None
        budget = Budget(time_s=min(SHRINK_TIME_S, meter.remaining_s), now_s=meter.now_s)
        self._shrinking = Meter(budget)

    def tell(self, told: _Told) -> Anomaly:
        """Tell one anomaly; as it was found if no smaller history shows it."""
        if told.name == "answer-mismatch":
            return told.tell([])
        if self._readers is None:
            self._readers = longest_readers(self._txns)
        smaller = shrink_transactions(
            self._txns,
            self._found.writer,
            self._found.ambiguous,
            told.nodes,
            self._readers,
            told.keys,
            lambda operations: self._shows(operations, told.name),
        )
        return told.tell(smaller)

    def _shows(self, operations: list[Operation], name: str) -> bool:
        try:
            self._shrinking.look()
        except OutOfBudget:
            return False
        _, _, told = _analyse(operations, self._terms, self._shrinking)
        return any(one.name == name for one in told)


def _conclude(
    txns: Transactions,
    found: ListAppend | RwRegister,
    told: list[_Told],
    terms: _Terms,
    meter: Meter,
    started_s: float,
) -> Verdict:
    data, level = terms.data, terms.level
    told.sort(key=lambda one: (one.level.means, one.level.base))
    broken = [one for one in told if level.includes(one.level)]
    counts: dict[str, int] = {}
    for one in told:
        counts[one.name] = counts.get(one.name, 0) + 1
    # One of each kind first: twenty of the same teach less.
    firsts = list({one.name: one for one in reversed(broken)}.values())[::-1]
    rest = [one for one in broken if not any(one is first for first in firsts)]
    teller = _Teller(txns, found, terms, meter)
    anomalies = [teller.tell(one) for one in [*firsts, *rest][:ANOMALIES_MAX]]
    reason = None if broken else _undecided(txns, found, terms)
    left_out = {UNKNOWN_ORIGIN: len(found.unknown_reads), MISMATCHED: len(txns.mismatched)}
    stats: dict[str, Any] = {
        "level": level.name,
        "transactions": len(txns),
        "committed": sum(txns.ok),
        "anomalies": counts,
        "still_possible": " or ".join(still_possible((one.level for one in told), level.means))
        or None,
    }
    if any(left_out.values()):
        stats["left_out"] = {why: number for why, number in left_out.items() if number}
    if found.faults:
        stats["workload_faults"] = len(found.faults)
    return Verdict(
        checker=data,
        validity=Validity.INVALID if broken else Validity.UNKNOWN if reason else Validity.VALID,
        claim=_claim(level),
        evidence=f"{counted(len(txns), 'transaction')}, {sum(txns.ok):,} committed, "
        f"{counted(len(found.writer), 'key')}"
        + (
            f", {counted(found.unknown_values, 'value')} of unknown origin left out"
            if found.unknown_values
            else ""
        ),
        reason=reason,
        method="dependency graph",
        anomalies=tuple(anomalies),
        stats=stats,
        elapsed_s=meter.now_s() - started_s,
    )


def _undecided(txns: Transactions, found: ListAppend | RwRegister, terms: _Terms) -> str | None:
    """Return why a history that shows nothing wrong is no pass, if it is none."""
    if found.faults:
        faults = [explain_fault(fault, txns) for fault in found.faults[:FAULTS_MAX]]
        more = len(found.faults) - len(faults)
        faults += [f"{more:,} more"] if more else []
        what = "element may be appended" if found.appends else "value may be written"
        return f"workload: {'; '.join(faults)}; each {what} to a key once"
    if not any(txns.ok):
        return "vacuous: no transaction committed"
    if not _anything_read(txns, found, terms.past):
        return "vacuous: nothing was read"
    return None


def _anything_read(txns: Transactions, found: ListAppend | RwRegister, past: Past) -> bool:
    """Whether a read could contradict the claim; in an excerpt, one of a value of known origin."""
    for node, mops in enumerate(txns.mops):
        if not txns.ok[node]:
            continue
        for f, key, value in mops:
            if f == READ:
                known = found.writer.get(key, {})
                values = value if found.appends and value else [value]
                if past.complete or not value or any(one in known for one in values):
                    return True
    return False
