"""Turns the events of other tools' histories into a History: process, operation and time.

Events come in the order that `ordering` finds. In a file that names no process, a completion is
matched with the only open operation that it could answer; if there are several, the file is
refused. The meaning of values is up to `translations`; an operation that constrains nothing by its
translation is left out with its invocation, and counted.

A file that consists of completions only contains no real time. A transactional model can be judged
without it, at `serializable` and below: every operation is then concurrent with every other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from squall.checkers.assumptions import NOTHING_SAID, Assumptions
from squall.checkers.formats.jsonl import RESERVED
from squall.checkers.formats.ordering import UNTIMED_NS, in_order
from squall.checkers.formats.translations import Event, LeftOut, Record, translation
from squall.checkers.history import (
    OBSERVER,
    Accounting,
    History,
    MalformedHistory,
    Op,
    OpType,
    is_client,
)

_TYPES: Final = {one.value: one for one in OpType}
_NAMES: Final = tuple(_TYPES)  # a tuple: a file's value of `type` may not be hashable

_COMPLETIONS: Final = tuple(name for name in _NAMES if name != OpType.INVOKE)

TRANSACTIONAL: Final = frozenset({"list-append", "rw-register"})
"""Models that can be judged without real time."""

_SPEAKING: Final = frozenset(
    {f"ok {f}" for f in ("read", "get", "txn", "dequeue", "consume", "drain", "generate")}
    | {
        f"invoke {f}"
        for f in (
            *("write", "cas", "add", "remove", "put", "append", "transfer", "txn"),
            *("enqueue", "publish", "broadcast"),
        )
    }
)
"""Events that are meaningless without a value."""

HEADER: Final = '{"squall":"history","version":1}'
"""The first line of a history in our own format."""


class Spoken(NamedTuple):
    """A file's events as a history. `timed`: the file orders them in real time."""

    history: History
    accounting: Accounting
    timed: bool = True


def to_history(
    records: Sequence[Record],
    name: str,
    model: str,
    *,
    log: bool = False,
    assume: Assumptions = NOTHING_SAID,
    lines: int = 0,
) -> Spoken:
    """Make a history of a file's events; raises MalformedHistory with the line."""
    clients = [one for one in records if _of_client(one, name)]
    _uniform(clients, name)
    timed = not clients or any(one.fields.get("type") not in _COMPLETIONS for one in clients)
    if timed:
        clients, times_ns, notes = in_order(clients, name)
    else:
        clients, times_ns, notes = _untimed(clients, name, model)
    if excerpt := _is_excerpt(records):
        notes = [*notes, "the indexes leave some out: taken as an excerpt of a longer history"]
    translate = translation(model, clients, log=log, assume=assume, name=name)
    processes = _Processes(name, named=timed and any("process" in one.fields for one in clients))
    named = _key_names(clients)
    ops: list[Op] = []
    left_out: dict[str, int] = {}
    dropped: set[int] = set()  # places in ops of what is left out
    for at, ((line, fields), time_ns) in enumerate(zip(clients, times_ns, strict=True)):
        where = f"{name}:{line}"
        kind, f = fields.get("type"), fields.get("f", "txn")
        if kind not in _NAMES or not isinstance(f, str) or not f.isprintable():
            raise MalformedHistory(
                f"{where}: an operation of type {kind!r:.60} and f {f!r:.60}; a type is invoke, "
                f"ok, fail or info, and f a name"
            )
        key, value = fields.get("key"), fields.get("value")
        if "f" not in fields and not _transaction(value, asked=kind == OpType.INVOKE):
            raise MalformedHistory(
                f"{where}: an event without f is a transaction, whose value is a list of "
                f"micro-operations, not {value!r:.60}"
            )
        outcome = _TYPES[kind]
        process, asked = processes.of(fields.get("process"), outcome, f, value, where, at)
        told = translate(Event(outcome, f, key, value, where, fields))
        if isinstance(told, LeftOut) or asked in dropped:
            if asked not in dropped:
                reason = told.reason if isinstance(told, LeftOut) else ""
                left_out[reason] = left_out.get(reason, 0) + 1
            dropped |= {asked, at}
            told = (outcome, f, None, None)
        outcome, f, key, value = told
        ops.append(
            Op(
                index=at,
                time_ns=time_ns,
                process=process,
                type=outcome,
                f=f,
                key=named(key),
                value=value,
                error=None if fields.get("error") is None else str(fields["error"]),
                node=_text_or_none(fields.get("node")),
                meta=_meta(fields),
            )
        )
    operations = sum(one.fields.get("type") == "invoke" for one in clients)
    accounting = Accounting(
        lines=lines,
        events=len(records),
        operations=operations,
        left_out=left_out,
        notes=tuple(notes),
    )
    header = {"excerpt": True} if excerpt else None
    return Spoken(History(_without(ops, dropped), header=header), accounting, timed)


def _key_names(clients: Sequence[Record]) -> Callable[[Any], str | None]:
    """Return what names a key: a text by itself, unless a number or the like is called so too."""
    keys = [one.fields["key"] for one in clients if "key" in one.fields]
    others = {str(key) for key in keys if key is not None and not isinstance(key, str)}

    def named(key: Any) -> str | None:
        if key is None:
            return None
        return f'"{key}"' if isinstance(key, str) and key in others else str(key)

    return named


def _is_excerpt(records: Sequence[Record]) -> bool:
    """Whether the indexes of all events, of clients and others, have gaps.

    They count from 0 or 1. A value without a writer may then have been written by a missing event.
    Indexes that each client counts for itself, which repeat, do not count.
    """
    indexes = [one.fields.get("index") for one in records]
    known = {index for index in indexes if isinstance(index, int)}
    if not known or len(known) != len(indexes):
        return False
    return min(known) > 1 or max(known) - min(known) + 1 > len(known)


def _without(ops: list[Op], dropped: set[int]) -> list[Op]:
    """Leave ops out and number the others anew."""
    if not dropped:
        return ops
    kept = [op for at, op in enumerate(ops) if at not in dropped]
    return [
        Op(
            index=index,
            time_ns=op.time_ns,
            process=op.process,
            type=op.type,
            f=op.f,
            key=op.key,
            value=op.value,
            error=op.error,
            node=op.node,
            meta=op.meta,
        )
        for index, op in enumerate(kept)
    ]


def _transaction(value: Any, *, asked: bool) -> bool:
    """Whether a value may be that of a transaction; only an answer may be missing."""
    if value is None:
        return not asked
    return isinstance(value, list) and all(isinstance(mop, list) for mop in value)


def _meta(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Evidence besides the answer; Jepsen marks final reads by `final?`."""
    meta = fields["meta"] if isinstance(fields.get("meta"), dict) else {}
    if fields.get("final?") is True:
        meta = {**meta, "final": True}
    return meta or None


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _of_client(record: Record, name: str) -> bool:
    """Whether an event is a client's; normalises its process. Raises MalformedHistory."""
    line, fields = record
    process = fields.get("process")
    if isinstance(process, float) and process.is_integer():
        fields["process"] = process = int(process)
    if (
        isinstance(process, bool)
        or not isinstance(process, int | str | None)
        or (isinstance(process, str) and not process.isprintable())
    ):
        raise MalformedHistory(
            f"{name}:{line}: a process is a number or a name, not {process!r:.60}"
        )
    if process is None or process == "":
        fields.pop("process", None)
        return True
    if process == OBSERVER and fields.get("type") != OpType.INFO:
        raise MalformedHistory(f"{name}:{line}: {RESERVED}")
    return is_client(process)


def _uniform(clients: Sequence[Record], name: str) -> None:
    """Raise if a field that all alike events should have is present in some of them only.

    A recorder that dropped a field also dropped its meaning: a read without a value is not a read
    of nothing, and an event without a process cannot be attributed.
    """
    first: dict[tuple[Any, ...], tuple[bool, int]] = {}
    for line, fields in clients:
        if "time_ns" in fields and "time" not in fields:
            raise MalformedHistory(
                f"{name}:{line}: time_ns is a field of Squall's own histories, which begin with "
                f"the line {HEADER}: add it as the first line"
            )
        kind, f = fields.get("type"), fields.get("f")
        if "value" not in fields and f"{kind} {f}" in _SPEAKING:
            raise MalformedHistory(
                f"{name}:{line}: this {kind} of {f} has no value; nothing is written as null or nil"
            )
        each: list[tuple[Any, ...]] = [("process",), ("f",)]
        if kind in ("invoke", "ok") and isinstance(f, str | None):
            each += [("value", kind, f), ("key", kind, f)]
        for group in each:
            there = group[0] in fields
            known = first.setdefault(group, (there, line))
            if known[0] is not there:
                this = f"this {kind} of {f or 'a transaction'}" if len(group) > 1 else "this event"
                raise MalformedHistory(
                    f"{name}:{line}: {this} {'has a' if there else 'has no'} {group[0]}, unlike "
                    f"that of line {known[1]}"
                )


def _untimed(
    clients: Sequence[Record], name: str, model: str
) -> tuple[list[Record], list[int], list[str]]:
    """Make operations that only complete concurrent; raises MalformedHistory."""
    if model not in TRANSACTIONAL:
        raise MalformedHistory(
            f"{name}:{clients[0].line}: nothing in this file is invoked: completions alone say "
            f"nothing about time, without which only {' and '.join(sorted(TRANSACTIONAL))} can be "
            f"judged"
        )
    asked = [
        Record(line, {**fields, "type": "invoke", "process": at})
        for at, (line, fields) in enumerate(clients)
    ]
    answered = [
        Record(line, {**fields, "process": at}) for at, (line, fields) in enumerate(clients)
    ]
    times_ns = [0] * len(asked) + [UNTIMED_NS] * len(answered)
    note = "completions only: nothing is known about time, so everything is taken as concurrent"
    return asked + answered, times_ns, [note]


class _Processes:
    """Attributes events to processes; where a file names none, by matching completions."""

    def __init__(self, name: str, *, named: bool) -> None:
        self._name = name
        self._named = named
        self._busy: dict[int | str, tuple[str, Any, str, int]] = {}
        self._next = 0

    def of(
        self, process: Any, outcome: OpType, f: str, value: Any, where: str, at: int
    ) -> tuple[int | str, int]:
        """Return an event's process, and the place of its invocation; raises MalformedHistory."""
        if outcome is OpType.INVOKE:
            if process is None:
                process = self._next  # no two operations are known to be of one client
                self._next += 1
            elif process in self._busy:
                raise MalformedHistory(
                    f"{where}: process {process} invokes {f} while its {self._busy[process][0]} "
                    f"of {self._busy[process][2]} is still open"
                )
            self._busy[process] = (f, value, where, at)
            return process, at
        if process is None:
            process = self._only(f, value, where)
        if process not in self._busy:
            raise MalformedHistory(f"{where}: {f} completes without having been invoked")
        asked, _, since, place = self._busy.pop(process)
        if asked != f:
            raise MalformedHistory(
                f"{where}: process {process} completes {f}, but invoked {asked} at {since}"
            )
        return process, place

    def _only(self, f: str, value: Any, where: str) -> int | str | None:
        """Return the only open operation that this can answer."""
        fitting = [
            (process, since)
            for process, (asked, given, since, _) in self._busy.items()
            if asked == f and _answers(given, value)
        ]
        if len(fitting) > 1:
            lines = " and ".join(since.rpartition(":")[2] for _, since in fitting[:2])
            raise MalformedHistory(
                f"{where}: this may answer the {f} of line {lines}; say which by a process"
            )
        same = [process for process, one in self._busy.items() if one[0] == f]
        return fitting[0][0] if fitting else same[0] if len(same) == 1 else None


def _answers(asked: Any, answer: Any) -> bool:
    """Whether an answer may be that to a request: given values are repeated, gaps filled."""
    if asked is None or answer is None or asked == answer:
        return True
    if isinstance(asked, list) and isinstance(answer, list):
        return len(asked) == len(answer) and all(map(_answers, asked, answer))
    return False
