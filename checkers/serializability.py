"""Whether transactions kept the isolation they were promised.

One verdict for a level from read-uncommitted to strict serializability: the history is taken apart
into dependencies (`list_append` or `rw_register`), findings that need no circle are told as they
are, circles as the shortest that shows the anomaly. Anomalies which the level allows are counted,
and named as what the history rules out, but do not make it invalid.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from checkers.budget import Meter
from checkers.evidence import Evidence
from checkers.history import History
from checkers.isolation import LEVELS, STRICT_SERIALIZABLE, broken_level, edges_of, level_of
from checkers.list_append import ListAppend
from checkers.rw_register import RwRegister
from checkers.transactions import APPEND, WRITE, Transactions, transactions
from checkers.txn_proofs import explain_circle, explain_finding
from checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict
from checkers.words import counted

ANOMALIES_MAX: Final = 20
"""Anomalies told in full; the rest is counted."""

_Told = tuple[str, Callable[[], Anomaly]]
"""The name of an anomaly, and what tells it in full."""

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
    allowed = level_of(level)
    appends = data == LIST_APPEND
    txns = transactions(history.operations, APPEND if appends else WRITE)
    meter.look()
    found: ListAppend | RwRegister
    if appends:
        found = ListAppend(txns, closed=closed)
    else:
        found = RwRegister(txns, closed=closed, realtime=LEVELS[allowed] == STRICT_SERIALIZABLE)
    meter.look()
    found.graph.add_process_order([one.process for one in txns.operations], found.happened)
    circles = found.graph.circles(edges_of(allowed))
    if not circles and isinstance(found, RwRegister):
        found.findings += found.against_time
    told: list[_Told] = [(one.name, partial(explain_finding, one, found)) for one in found.findings]
    told += [(one.name, partial(explain_circle, one, found)) for one in circles]
    return _conclude(txns, found, told, allowed, meter.now_s() - started_s, data)


def _conclude(
    txns: Transactions,
    found: ListAppend | RwRegister,
    told: list[_Told],
    allowed: int,
    elapsed_s: float,
    data: str,
) -> Verdict:
    told.sort(key=lambda one: broken_level(one[0]))
    broken = [one for one in told if broken_level(one[0]) <= allowed]
    counts: dict[str, int] = {}
    for name, _ in told:
        counts[name] = counts.get(name, 0) + 1
    # One of each kind first: twenty of the same teach less.
    firsts = list(dict(reversed(broken)).values())[::-1]
    rest = [tell for _, tell in broken if tell not in firsts]
    anomalies = [tell() for tell in [*firsts, *rest][:ANOMALIES_MAX]]
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
        elapsed_s=elapsed_s,
    )
