"""Who did what and when in other tools' histories, and how we write that down.

A process that was given no number is whoever completes what was invoked last and looks like it. The
order of the file is the order of events. Times are kept, but never allowed to go back; in a file
without times every event is a millisecond after the one before. What the values mean is said by
`translations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from checkers.assumptions import NOTHING_SAID, Assumptions
from checkers.history import History, MalformedHistory, Op, OpType
from checkers.translations import Event, LeftOut, Record, is_client, translation

_TYPES: Final = {one.value: one for one in OpType}
_NAMES: Final = tuple(_TYPES)  # a tuple: what a file calls a type may not be hashable

UNTIMED_NS: Final = 1_000_000
"""How far apart events are in a file that does not say when they happened."""


def to_history(
    records: Sequence[Record],
    name: str,
    model: str,
    *,
    log: bool = False,
    assume: Assumptions = NOTHING_SAID,
) -> History:
    """Make a history of a file's events; raises MalformedHistory with the line."""
    translate = translation(model, records, log=log, assume=assume, name=name)
    processes = _Processes(name)
    ops: list[Op] = []
    step_ns = 1 if any(isinstance(one.fields.get("time"), int) for one in records) else UNTIMED_NS
    time_ns, last_index = -step_ns, None
    for line, fields in records:
        if not is_client(fields):
            continue
        where = f"{name}:{line}"
        kind, f = fields.get("type"), fields.get("f", "txn")
        if kind not in _NAMES or not isinstance(f, str) or not f.isprintable():
            raise MalformedHistory(f"{where}: an operation of type {kind!r} and f {f!r}")
        index = fields.get("index")
        if isinstance(index, int):
            if last_index is not None and index <= last_index:
                raise MalformedHistory(
                    f"{where}: op {index} comes after op {last_index}: out of order"
                )
            last_index = index
        given = fields.get("time")
        time_ns = max(time_ns + step_ns, given if isinstance(given, int) else 0)
        key, value = fields.get("key"), fields.get("value")
        outcome = _TYPES[kind]
        process = processes.of(fields.get("process"), outcome, f, value, where)
        told = translate(Event(outcome, f, key, value, where, fields))
        if isinstance(told, LeftOut):
            _withdraw(ops, process)
            continue
        outcome, f, key, value = told
        ops.append(
            Op(
                index=len(ops),
                time_ns=time_ns,
                process=process,
                type=outcome,
                f=f,
                key=None if key is None else str(key),
                value=value,
                error=None if fields.get("error") is None else str(fields["error"]),
                node=_text_or_none(fields.get("node")),
                meta=_meta(fields),
            )
        )
    return History(
        [
            op if op.index == at else msgspec.structs.replace(op, index=at)
            for at, op in enumerate(ops)
        ],
        header={"excerpt": True} if _is_excerpt(records) else None,
    )


def _is_excerpt(records: Sequence[Record]) -> bool:
    """Whether the indexes of all events, of clients and others, leave some out.

    They count from 0 or 1. A value without a writer may then have been written by what is missing.
    Indexes that each client counts for itself, which repeat, say nothing.
    """
    indexes = [one.fields.get("index") for one in records]
    known = {index for index in indexes if isinstance(index, int)}
    if not known or len(known) != len(indexes):
        return False
    return min(known) > 1 or max(known) - min(known) + 1 > len(known)


def _withdraw(ops: list[Op], process: int) -> None:
    """Take an operation out whose completion, just read, says that it constrains nothing."""
    last = len(ops) - 1
    at = next((n for n in range(last, -1, -1) if ops[n].process == process), None)
    if at is not None and ops[at].type is OpType.INVOKE:
        del ops[at]


def _meta(fields: dict[str, Any]) -> dict[str, Any] | None:
    """What is evidence rather than answer; Jepsen marks reads of the end by `final?`."""
    meta = fields["meta"] if isinstance(fields.get("meta"), dict) else {}
    if fields.get("final?") is True:
        meta = {**meta, "final": True}
    return meta or None


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


class _Processes:
    """Who does what; where a file names no process, who must have done it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._busy: dict[int, tuple[str, Any, str]] = {}

    def of(self, process: Any, outcome: OpType, f: str, value: Any, where: str) -> int:
        """Return the process of an event; raises MalformedHistory."""
        if outcome is OpType.INVOKE:
            if process is None:
                process = next(n for n in range(len(self._busy) + 1) if n not in self._busy)
            elif process in self._busy:
                raise MalformedHistory(
                    f"{where}: process {process} invokes {f} while its {self._busy[process][0]} "
                    f"of {self._busy[process][2]} is still open"
                )
            self._busy[process] = (f, value, where)
            return int(process)
        if process is None:
            process = self._best(f, value)
        if process not in self._busy:
            raise MalformedHistory(f"{where}: {f} completes without having been invoked")
        asked, _, since = self._busy.pop(process)
        if asked != f:
            raise MalformedHistory(
                f"{where}: process {process} completes {f}, but invoked {asked} at {since}"
            )
        return int(process)

    def _best(self, f: str, value: Any) -> int | None:
        same = [process for process, (asked, _, _) in self._busy.items() if asked == f]
        exact = [process for process in same if self._busy[process][1] == value]
        return next(iter(exact or same), None)
