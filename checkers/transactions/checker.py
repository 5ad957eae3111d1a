"""Whether transactions kept the isolation they were promised.

One verdict for a level from read-uncommitted to strict serializability: the history is taken apart
into dependencies (`list_append` or `rw_register`), findings that need no circle are told as they
are, circles as the shortest that shows the anomaly. Anomalies which the level allows are counted,
and named as what the history rules out, but do not make it invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from squall.checkers.budget import Meter, OutOfBudget
from squall.checkers.evidence import Evidence
from squall.checkers.gc_pause import uncollected
from squall.checkers.history import History, Operation
from squall.checkers.text.lanes import render
from squall.checkers.text.words import counted
from squall.checkers.transactions.isolation import (
    LEVELS,
    STRICT_SERIALIZABLE,
    broken_level,
    edges_of,
    level_of,
)
from squall.checkers.transactions.list_append import ListAppend
from squall.checkers.transactions.operations import APPEND, WRITE, Transactions, transactions
from squall.checkers.transactions.proofs import explain_circle, explain_finding
from squall.checkers.transactions.rw_register import RwRegister
from squall.checkers.transactions.shrink import longest_readers, shrink_transactions
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

ANOMALIES_MAX: Final = 20
"""Anomalies told in full; the rest is counted."""

SHRINK_TIME_S: Final = 5.0
"""Seconds spent on making the counterexamples of one history smaller."""


class _Told(NamedTuple):
    """The name of an anomaly, its transactions, and what tells it in full."""

    name: str
    nodes: tuple[int, ...]
    tell: Callable[[], Anomaly]


LIST_APPEND, RW_REGISTER = "list-append", "rw-register"

_CLAIMS: Final = {
    "read-uncommitted": "Writes of different transactions are not interleaved.",
    "read-committed": "Nothing is read that was not committed.",
    "snapshot-isolation": "Each transaction reads one moment, and no update is lost.",
    "serializable": "The transactions act as if they ran one after the other.",
    "strong-session-serializable": "They act as if they ran one after the other, each client's in "
    "its own order.",
    "strict-serializable": "The transactions act as if they ran one after the other, in real time.",
}


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
) -> Verdict:
    """Judge a history of transactions. Raises KeyError for a level that is none.

    `closed`: every write there ever was is in the history, so that a value without a writer is an
    anomaly; otherwise such a value only proves nothing.
    """
    meter = Meter(budget)
    started_s = meter.now_s()
    terms = _Terms(data, level_of(level), closed)
    txns, found, told = _analyse(history.operations, terms, meter)
    return _conclude(txns, found, told, terms, meter, started_s)


class _Terms(NamedTuple):
    """What a history is measured by: the kind of data, the level, and whether it is complete."""

    data: str
    allowed: int
    closed: bool


def _analyse(
    operations: Sequence[Operation], terms: _Terms, meter: Meter
) -> tuple[Transactions, ListAppend | RwRegister, list[_Told]]:
    appends = terms.data == LIST_APPEND
    txns = transactions(operations, APPEND if appends else WRITE)
    meter.look()
    found: ListAppend | RwRegister
    if appends:
        found = ListAppend(txns, closed=terms.closed)
    else:
        realtime = LEVELS[terms.allowed] == STRICT_SERIALIZABLE
        found = RwRegister(txns, closed=terms.closed, realtime=realtime)
    meter.look()
    found.graph.add_process_order([one.process for one in txns.operations], found.happened)
    circles = found.graph.circles(edges_of(terms.allowed))
    if not circles and isinstance(found, RwRegister):
        found.findings += found.against_time
    told = [
        _Told(one.name, one.nodes, partial(explain_finding, one, found)) for one in found.findings
    ]
    told += [_Told(one.name, one.nodes, partial(explain_circle, one, found)) for one in circles]
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
        if self._readers is None:
            self._readers = longest_readers(self._txns)
        smaller = shrink_transactions(
            self._txns,
            self._found.writer,
            told.nodes,
            self._readers,
            lambda operations: self._again(operations, told.name) is not None,
        )
        again = self._again(smaller, told.name) if smaller else None
        if again is None:
            return told.tell()
        return msgspec.structs.replace(again.tell(), lanes=render(smaller))

    def _again(self, operations: list[Operation], name: str) -> _Told | None:
        try:
            self._shrinking.look()
        except OutOfBudget:
            return None
        _, _, told = _analyse(operations, self._terms, self._shrinking)
        return next((one for one in told if one.name == name), None)


def _conclude(
    txns: Transactions,
    found: ListAppend | RwRegister,
    told: list[_Told],
    terms: _Terms,
    meter: Meter,
    started_s: float,
) -> Verdict:
    data, allowed = terms.data, terms.allowed
    told.sort(key=lambda one: broken_level(one.name))
    broken = [one for one in told if broken_level(one.name) <= allowed]
    counts: dict[str, int] = {}
    for one in told:
        counts[one.name] = counts.get(one.name, 0) + 1
    # One of each kind first: twenty of the same teach less.
    firsts = list({one.name: one for one in reversed(broken)}.values())[::-1]
    rest = [one for one in broken if not any(one is first for first in firsts)]
    teller = _Teller(txns, found, terms, meter)
    anomalies = [teller.tell(one) for one in [*firsts, *rest][:ANOMALIES_MAX]]
    committed = sum(txns.ok)
    reason = None if committed else "no transaction committed"
    weakest = min((broken_level(name) for name in counts), default=None)
    return Verdict(
        checker=data,
        validity=Validity.INVALID if broken else Validity.UNKNOWN if reason else Validity.VALID,
        claim=_CLAIMS[LEVELS[allowed]],
        evidence=f"{counted(len(txns), 'transaction')}, {committed:,} committed, "
        f"{counted(len(found.writer), 'key')}"
        + (
            f", {counted(found.unknown_elements, 'value')} of unknown origin left out"
            if found.unknown_elements
            else ""
        ),
        reason=None if broken else reason,
        method="dependency graph",
        anomalies=tuple(anomalies),
        stats={
            "level": LEVELS[allowed],
            "transactions": len(txns),
            "committed": committed,
            "anomalies": counts,
            "still_possible": None
            if weakest == 0
            else LEVELS[-1 if weakest is None else weakest - 1],
        },
        elapsed_s=meter.now_s() - started_s,
    )
