"""Short histories written as rows, for tests about one thing at a time."""

from __future__ import annotations

from typing import Any

from squall.checkers.history import History, Op, OpType
from squall.checkers.run import Run
from squall.checkers.verdict import Validity, Verdict

MS = 1_000_000

Row = tuple[Any, ...]


def history(*rows: Row) -> History:
    """Make a history of client operations: (process, f, from_ms, until_ms, outcome[, extras])."""
    events: list[tuple[int, int, dict[str, Any]]] = []
    for process, f, begin, end, outcome, *more in rows:
        extra: dict[str, Any] = more[0] if more else {}
        shared = {"process": process, "f": f, "key": extra.get("key", "k"), "node": "n1"}
        given, found = extra.get("input"), extra.get("output")
        events.append((begin * MS, 0, dict(shared, type=OpType.INVOKE, value=given)))
        done = dict(shared, type=OpType(outcome), value=found, error=extra.get("error"))
        events.append((end * MS, 1, done))
    return numbered(events)


def numbered(events: list[tuple[int, int, dict[str, Any]]]) -> History:
    """Put events in order of time and number them."""
    ordered = sorted(events, key=lambda event: event[:2])
    return History(
        [Op(index=at, time_ns=time_ns, **event) for at, (time_ns, _, event) in enumerate(ordered)]
    )


def observations(*readings: tuple[int, dict[str, Any]]) -> History:
    """Make a history of what the observer saw: (at_ms, {node: reading})."""
    base = {"process": "observer", "type": OpType.INFO, "f": "observe"}
    return numbered([(at * MS, 0, dict(base, value=seen)) for at, seen in readings])


def run(**changes: Any) -> Run:
    """Make a small run."""
    given: dict[str, Any] = {
        "id": "20261121T0354Z-1",
        "workload": "register",
        "cluster": "sim",
        "seed": 1,
        "nodes": ("n1", "n2", "n3"),
        "faults": (),
        "time_limit_s": 1.0,
    }
    return Run(**{**given, **changes})


def verdict(validity: Validity = Validity.VALID, **changes: Any) -> Verdict:
    """Make a verdict of one checker."""
    return Verdict(checker=changes.pop("checker", "linearizable"), validity=validity, **changes)
