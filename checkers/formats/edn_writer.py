"""Writes a history as Jepsen's EDN, one map a line, as Knossos and Elle read it.

What those tools can represent is written in their form: micro-operations are keywords, registers of
several keys have values `[key value]`, an operation that failed is `:fail`. What they cannot
represent is in entries of the map that they ignore, and that `squall.checkers.formats.dialects`
reads back, so that nothing is lost:

    :refused [1 2]    a compare-and-set of 1 to 2 that was refused and saw another value: for
                      Knossos, a read of that value
    :refused true     one that did not report what it saw: for Knossos, one that failed
    :absent true      a read that found nothing, which Knossos takes for a read of anything
    :node, :meta      as in `squall.checkers.history.Op`

The order of the lines is the order of events. At equal times invocations come first, for an
interval is closed; a process that would then begin before it ended continues under a new number.
Reads of a node's own state have no consistency that such a tool could judge, and are left out.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from squall.checkers.history import NEMESIS, History, Op, Operation, OpType
from squall.checkers.linearizability.registers import IGNORED, swapped

MICRO_OPERATIONS: Final = frozenset({"r", "w", "append"})
"""Functions of the micro-operations that Elle knows."""

REGISTER_FUNCTIONS: Final = frozenset({"read", "write", "cas", *IGNORED})
"""Functions of registers: several of them in one history are Jepsen's independent keys."""

_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_KEYWORD = re.compile(r"[A-Za-z][\w\-]*")


class Keyword(str):
    """A text that is written as a keyword."""

    __slots__ = ()


def encode_edn(value: Any) -> str:
    """Write one value: maps have keywords for keys where they can."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            return "##NaN" if math.isnan(value) else "##Inf" if value > 0 else "##-Inf"
        return repr(value)
    if isinstance(value, Keyword):
        return f":{value}" if _KEYWORD.fullmatch(value) else _text(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} {encode_edn(v)}" for k, v in value.items()) + "}"
    if isinstance(value, frozenset | set):
        return "#{" + " ".join(sorted(map(encode_edn, value))) + "}"
    return "[" + " ".join(map(encode_edn, value)) + "]"


def _text(value: str) -> str:
    return '"' + _ESCAPED.sub(lambda found: _escape(found[0]), value) + '"'


def _escape(character: str) -> str:
    return f"\\{character}" if character in '"\\' else f"\\u{ord(character):04x}"


def _key(key: Any) -> str:
    return f":{key}" if isinstance(key, str) and _KEYWORD.fullmatch(key) else encode_edn(key)


def encode_history(history: History) -> Iterator[str]:
    """Return a whole history as lines, with their newlines."""
    clients = [op for op in history if op.is_client]
    independent = (
        all(op.f in REGISTER_FUNCTIONS for op in clients) and len({op.key for op in clients}) > 1
    )
    whole: dict[int, Operation] = {}
    for one in history.operations:
        whole[one.index] = one
        if one.completion_index is not None:
            whole[one.completion_index] = one
    for index, (op, process) in enumerate(_in_order(history)):
        fields: dict[str, Any] = {"index": index, "time": op.time_ns}
        if op.is_client:
            fields |= _event(op, process, whole[op.index], independent=independent)
        else:
            fields |= {"process": Keyword(NEMESIS), "type": Keyword("info"), "f": Keyword(op.f)}
            fields |= {"value": op.value, "by": f"{op.process} {op.key or ''}".strip()}
        yield encode_edn(fields) + "\n"


def _in_order(history: History) -> Iterator[tuple[Op, int | str]]:
    """Yield events with their processes, at equal times invocations first."""
    events = [op for op in history if op.f not in IGNORED]
    numbers = [op.process for op in events if isinstance(op.process, int)]
    fresh = itertools.count(1 + max(numbers, default=0))
    now: dict[int | str, int | str] = {}  # the current number of each process
    for _, together in itertools.groupby(events, key=lambda op: op.time_ns):
        begun, done, ended = [], [], set()
        for op in together:
            process = op.process
            if op.type is not OpType.INVOKE:
                ended.add(op.process)
                done.append((op, now.get(op.process, process)))
                continue
            if op.process in ended and op.is_client:
                now[op.process] = next(fresh)
            begun.append((op, now.get(op.process, process)))
        yield from begun
        yield from done


def _event(
    op: Op, process: int | str, operation: Operation, *, independent: bool
) -> dict[str, Any]:
    """Return a client's event as the map Jepsen would have written."""
    kind, f, value, more = _said(op, operation)
    fields: dict[str, Any] = {"process": process, "type": Keyword(kind.value), "f": Keyword(f)}
    if independent:
        fields["value"] = [op.key, value]
    else:
        fields["value"] = value
        if op.key is not None:
            fields["key"] = op.key
    named = (("error", op.error), ("node", op.node), ("meta", op.meta))
    return fields | more | {name: given for name, given in named if given is not None}


def _said(op: Op, operation: Operation) -> tuple[OpType, str, Any, dict[str, Any]]:
    """Return type, function and value of an event in Jepsen's form, and the extra entries."""
    value, answered = op.value, operation.outcome is OpType.OK
    asks = op.type is OpType.INVOKE
    if op.f == "txn" and isinstance(value, list | tuple):
        return op.type, op.f, [_micro(mop) for mop in value], {}
    if op.f == "read" and answered and not asks and value is None:
        return op.type, op.f, None, {"absent": True}
    if value is None and not isinstance(operation.input, dict):
        value = operation.input  # Jepsen's completions repeat what was asked
    if op.f != "cas" or not isinstance(operation.input, list | tuple):
        return op.type, op.f, value, {}
    output = operation.output
    if not answered or swapped(output):
        return op.type, op.f, operation.input if asks else _swap(operation), {}
    if not isinstance(output, dict) or "seen" not in output:
        refused = {} if asks else {"refused": True}
        return op.type if asks else OpType.FAIL, op.f, operation.input, refused
    seen = None if asks else output["seen"]
    more = {"refused": operation.input}
    return op.type, "read", seen, more if asks or seen is not None else more | {"absent": True}


def _swap(operation: Operation) -> Any:
    """Return [seen, new] of a compare-and-set that swapped."""
    output, asked = operation.output, operation.input
    if isinstance(output, list | tuple):
        return output
    return [output["seen"], asked[1]] if isinstance(output, dict) and "seen" in output else asked


def _micro(mop: Any) -> Any:
    if isinstance(mop, list | tuple) and mop and str(mop[0]) in MICRO_OPERATIONS:
        return [Keyword(mop[0]), *mop[1:]]
    return mop
