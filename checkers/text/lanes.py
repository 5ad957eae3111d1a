"""Histories drawn as text: one lane a process, time to the right, for tests and for proofs.

    p0: |--write x 1--|
    p1:                  |-read x nil-|
    p2:       |-cas x 1 2 saw 3 @n2 revision=7-|
    p3:                       |-write x 4---?

`|...|` was acknowledged, `|...!` failed, `|...?` is indeterminate. The column of an opening bar is
the time of the invocation, that of the closing mark the time of the completion; one column is one
millisecond, and equal columns are equal times. Inside: function, key, arguments. A read has what it
returned (`nil`: absent); `cas x 1 2` swapped, `cas x 1 2 saw 3` was refused and saw 3, `cas x 1 2
refused` was refused without reporting the value. Then, in any order, `@n2` is the node,
`name=value` adds evidence (`meta`), `final` marks the final phase and `"..."` is the error's text.
A lane called p<number> is a client's, as is one with another name; one called `nemesis` or
`nemesis/<kind>` is the nemesis: function, fault id, and `name=value` into its value.

Other data types use the same form: `get`, `dequeue` and `acquire` are followed by their answer,
other functions by their argument; `[1,2]` is a list. A transaction is `txn` and its
micro-operations, `txn append:x:1 r:x:[1] w:y:2 r:y:nil`, reads with their answers; one with an
answer to another question is `txn append:x:1 answered append:x:2`. If the argument is a map the
answer follows: `put store {"key":"a","value":1} {"revision":2}`.

`parse` reads what `render` writes, with the same intervals in the same order. Lines starting with #
are comments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from squall.checkers.history import (
    History,
    MalformedHistory,
    Op,
    Operation,
    OpType,
    is_client,
    process_name,
)
from squall.checkers.linearizability.registers import FOREVER, swapped
from squall.checkers.transactions.operations import mismatch

COLUMN_NS: Final = 1_000_000
"""The duration of one column: a millisecond."""

TXN: Final = "txn"
"""The function whose arguments are micro-operations."""

READS: Final = frozenset({"read", "serializable-read"})
"""Functions whose one argument in a lane is the value they returned."""

ANSWERED: Final = READS | {"get", "dequeue", "drain", "acquire", "generate"}
"""Functions whose single argument in a lane is their answer, if they were given nothing.

Of other functions the first argument is what was given, the second the answer, if that differs.
"""

INSTEAD: Final = "answered"
"""Separates what a transaction asked from the answer, if that is to another question."""

MOVED: Final = frozenset({"from", "to", "amount"})
"""The arguments of a transfer."""

_LANE = re.compile(r"(?P<process>[\w/-]+):(?P<rest>.*)")
_INTERVAL = re.compile(r"\|(?P<text>[^|!?]*)(?P<end>[|!?])")
_WORD = re.compile(r'"[^"]*"|\S+')
_ENDS: Final = {"|": OpType.OK, "!": OpType.FAIL, "?": OpType.INFO}
_MARKS: Final = {outcome: mark for mark, outcome in _ENDS.items()}


def parse(text: str, *, header: dict[str, Any] | None = None) -> History:
    """Read lanes; raises MalformedHistory naming the line."""
    events: list[tuple[int, int, Op]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        lane = _LANE.fullmatch(line)
        if lane is None:
            raise MalformedHistory(f"line {number}: not a lane (`p0: |-read x 1-|`): {line!r}")
        name = lane["process"]
        process: int | str = int(name[1:]) if re.fullmatch(r"p\d+", name) else name
        offset = lane.start("rest")
        leftover = _INTERVAL.sub("", lane["rest"]).strip()
        if leftover:
            raise MalformedHistory(f"line {number}: outside of any |...|: {leftover!r}")
        for found in _INTERVAL.finditer(lane["rest"]):
            try:
                invoke, completion = _ops(process, found["text"], _ENDS[found["end"]])
            except (IndexError, ValueError) as error:
                raise MalformedHistory(f"line {number}: {found.group()!r}: {error}") from None
            # At equal times invocations come first: an interval is closed.
            events.append((offset + found.start(), 0, invoke))
            events.append((offset + found.end() - 1, 1, completion))
    events.sort(key=lambda event: event[:2])
    return History(
        [
            Op(
                index=index,
                time_ns=column * COLUMN_NS,
                process=op.process,
                type=op.type,
                f=op.f,
                key=op.key,
                value=op.value,
                error=op.error,
                node=op.node,
                meta=op.meta,
            )
            for index, (column, _, op) in enumerate(events)
        ],
        header=header,
    )


def _ops(process: int | str, text: str, end: OpType) -> tuple[Op, Op]:
    """Parse the text between two bars."""
    words: list[str] = []
    node, error = None, None
    meta: dict[str, Any] = {}
    for word in _WORD.findall(text.strip().strip("-").strip()):
        if word.startswith('"'):
            error = word.strip('"')
        elif word.startswith(("{", "[")):
            words.append(word)
        elif word.startswith("@"):
            node = word[1:]
        elif "=" in word:
            name, _, value = word.partition("=")
            meta[name] = value.split(",") if name == "targets" else _evidence(value)
        elif word == "final":
            meta["final"] = True
        else:
            words.append(word)
    if len(words) < 2:
        raise ValueError("a function and a key, at least")
    f, arguments = words[0], words[2:]
    key = words[1] if f != TXN and words[1] != "-" else None
    if arguments and arguments[0].startswith("{") and f not in ANSWERED:
        key = words[1] if words[1] != "-" else None
        given, *rest = map(_evidence, arguments)
        answer = rest[0] if rest else None
    elif f == TXN:
        given, answer = _micro_operations(words[1:])
    else:
        given, answer = _given_and_answer(f, arguments)
    if not is_client(process):
        # In lanes the intent of a fault and its result are the same.
        given, answer, meta = (meta, meta, {}) if f == "start" else ({}, meta, {})
    invoke = Op(
        index=0,
        time_ns=0,
        process=process,
        type=OpType.INVOKE,
        f=f,
        key=key,
        value=given,
        node=node,
    )
    completion = Op(
        index=0,
        time_ns=0,
        process=process,
        type=end,
        f=f,
        key=key,
        value=answer if end is OpType.OK else None,
        error=error,
        node=node,
        meta=meta or None,
    )
    return invoke, completion


def _given_and_answer(f: str, arguments: list[str]) -> tuple[Any, Any]:
    if f == "cas":
        expected, new, *rest = arguments
        given = [_value(expected), _value(new)]
        if not rest:
            return given, {"swapped": True, "seen": given[0]}
        if rest[0] == "refused":
            return given, {"swapped": False}
        if rest[0] == "swapped":
            return given, {"swapped": True, "seen": _value(rest[1])}
        if rest[0] == "answered":
            return given, _value(rest[1])
        if rest[0] != "saw":
            raise ValueError(f"`saw VALUE`, `swapped VALUE` or `refused`, not {rest[0]!r}")
        return given, {"swapped": False, "seen": _value(rest[1])}
    if f == "transfer":
        source, target, amount = map(_value, arguments)
        return {"from": source, "to": target, "amount": amount}, None
    if f in ANSWERED and len(arguments) < 2:
        return None, _value(arguments[0]) if arguments else None
    words = [_value(word) for word in arguments[:2]] + [None, None]
    return words[0], words[1]


def _micro_operations(words: list[str]) -> tuple[Any, Any]:
    """Read `append:x:1 r:x:[1,2]`: what was asked, and what was answered."""
    if INSTEAD in words:
        at = words.index(INSTEAD)
        return _micro_operations(words[:at])[0], _micro_operations(words[at + 1 :])[1]
    asked, answered = [], []
    for word in words:
        f, key, value = word.split(":", 2)
        answered.append([f, _value(key), _value(value)])
        asked.append([f, _value(key), None if f == "r" else _value(value)])
    return asked, answered


def _value(word: str) -> Any:
    if word == "nil":
        return None
    if word[:1] in {"[", "{"}:
        return json.loads(word)
    return int(word) if re.fullmatch(r"-?\d+", word) else word


def _evidence(word: str) -> Any:
    """Read an int, true, false, nil or a plain word."""
    if word in {"true", "false"}:
        return word == "true"
    return _value(word)


def render(operations: Sequence[Operation]) -> str:
    """Write operations as lanes, keeping their order but not their distances."""
    if not operations:
        return ""
    end = max(_last(operation) for operation in operations) + 1
    spans = []
    answered: dict[int | str, tuple[int, int]] = {}
    ordered = sorted(operations, key=lambda one: one.index)
    latest = {operation.process: operation.index for operation in ordered}
    called_next: dict[int, int] = {}
    for at, operation in enumerate(ordered):
        if _open(operation) and operation.index != latest[operation.process]:
            called_next[operation.index] = next(
                one.invoked_ns for one in ordered[at + 1 :] if one.process == operation.process
            )
    for operation in ordered:
        # A process that calls in the instant in which it was answered was answered first.
        before, turn = answered.get(operation.process, (-1, 0))
        call = (operation.invoked_ns, turn + 1 if before == operation.invoked_ns else 0)
        # An answer nobody got lies behind everything else, unless its process went on without it.
        following = called_next.get(operation.index)
        until = (
            following if following is not None else (end if _open(operation) else _last(operation))
        )
        ret = (until, call[1] + 1 if until == call[0] else 1 if following is None else -1)
        answered[operation.process] = ret
        spans.append((operation, call, ret))
    columns = _columns(spans)
    lanes: dict[int | str, list[tuple[int, str]]] = {}
    for operation, call, ret in sorted(spans, key=lambda span: span[1]):
        start, stop = columns[call], columns[ret]
        label = describe(operation)
        filled = f"-{label}-".ljust(stop - start - 1, "-")
        text = f"|{filled}{_MARKS[operation.outcome]}"
        lanes.setdefault(operation.process, []).append((start, text))
    names = _names(lanes)
    margin = max(map(len, names.values()))
    lines = []
    for process, spans_of in lanes.items():
        line = names[process].ljust(margin)
        for start, text in spans_of:
            line = line.ljust(margin + start) + text
        lines.append(line)
    return "\n".join(lines)


def _columns(
    spans: Iterable[tuple[Operation, tuple[int, int], tuple[int, int]]],
) -> dict[tuple[int, int], int]:
    """Assign every moment a column such that the order is kept and every label fits."""
    spans = list(spans)
    ending: dict[tuple[int, int], list[tuple[tuple[int, int], int]]] = {}
    moments: set[tuple[int, int]] = set()
    for operation, call, ret in spans:
        moments |= {call, ret}
        ending.setdefault(ret, []).append((call, len(describe(operation)) + 3))
    columns: dict[tuple[int, int], int] = {}
    column = -2
    for moment in sorted(moments):
        column += 2
        for call, width in ending.get(moment, ()):
            column = max(column, columns[call] + width)
        columns[moment] = column
    return columns


def _open(operation: Operation) -> bool:
    return operation.outcome is OpType.INFO


def _last(operation: Operation) -> int:
    until = operation.completed_ns
    return operation.invoked_ns if until is None or until >= FOREVER else until


def _names(processes: Iterable[int | str]) -> dict[int | str, str]:
    """Give each lane a distinct name in the characters that a lane's name may have."""
    names: dict[int | str, str] = {}
    for process in processes:
        name = plain = re.sub(r"[^\w/-]", "_", process_name(process)) or "_"
        again = 1
        while name in names.values():
            again += 1
            name = f"{plain}_{again}"
        names[process] = name
    return {process: f"{name}: " for process, name in names.items()}


def describe(operation: Operation) -> str:
    """Describe an operation in the notation of the lanes."""
    f, words = operation.f, [operation.f]
    answered = operation.outcome is OpType.OK
    if f != TXN or isinstance(operation.input, dict):
        words.append(operation.key or "-")
    if f == "cas" and isinstance(operation.input, list | tuple):
        words += map(value_text, operation.input)
        if answered and not swapped(operation.output):
            output = operation.output
            known = isinstance(output, dict) and "seen" in output
            words += ["saw", value_text(output["seen"])] if known else ["refused"]
        elif answered and isinstance(operation.output, dict):
            seen = operation.output.get("seen", operation.input[0])
            words += ["swapped", value_text(seen)] if seen != operation.input[0] else []
        elif answered and isinstance(operation.output, list):
            same = operation.output == list(operation.input)
            words += [] if same else ["answered", value_text(operation.output)]
    elif isinstance(operation.input, dict) and not (
        f == "transfer" and operation.input.keys() >= MOVED
    ):
        words.append(value_text(operation.input))
        if answered:
            words.append(value_text(operation.output))
    elif f == TXN:
        asked, mops = operation.input, operation.output if answered else operation.input
        if answered and _answered_otherwise(asked, mops):
            words += [*map(_micro_text, asked), INSTEAD]
        words += map(_micro_text, mops) if isinstance(mops, list | tuple) else [value_text(mops)]
    elif f == "transfer" and isinstance(operation.input, dict):
        words += [value_text(operation.input[name]) for name in ("from", "to", "amount")]
    elif f in READS or (f in ANSWERED and (operation.input is None or not answered)):
        if answered:
            words.append(value_text(operation.output))
    else:
        given, answer = operation.input, operation.output
        told = answered and answer is not None and answer is not True and answer != given
        if told or operation.input is not None:
            words.append(value_text(operation.input))
        if told or (answered and f in ANSWERED):
            words.append(value_text(operation.output))
    if operation.node:
        words.append("@" + operation.node)
    meta = operation.meta or {}
    words += [f"{name}={value_text(meta[name])}" for name in ("revision", "mod") if name in meta]
    if meta.get("final"):
        words.append("final")
    return " ".join(words)


def _answered_otherwise(asked: Any, answered: Any) -> bool:
    lists = isinstance(asked, list | tuple) and isinstance(answered, list | tuple)
    return lists and mismatch(asked, answered) is not None


def _micro_text(mop: Any) -> str:
    return ":".join(map(value_text, mop)) if isinstance(mop, list | tuple) else value_text(mop)


def value_text(value: Any) -> str:
    """Write a value compactly: nil if absent, no spaces."""
    if value is None:
        return "nil"
    if type(value) is int:
        return str(value)
    if isinstance(value, str) and re.fullmatch(r"[\w.:/+-]+", value):
        return value
    try:
        text = json.dumps(value, separators=(",", ":"), default=str)
    except (TypeError, ValueError):
        text = str(value)  # a map with keys that JSON does not allow
    return text.replace(" ", "_")
