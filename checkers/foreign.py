"""Histories of other tools, in our words: Jepsen's EDN and JSON, Porcupine's logs of Jepsen runs.

Dialects differ where it matters. In Knossos a read that answered nil is one whose answer nobody
kept, and a failed compare-and-set never happened. In Porcupine's etcd logs nil is an absent key and
a failed compare-and-set is an answer: the value was not the one expected. The caller says which.
Files have an order and often no time, so the place in the file is the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from checkers import edn
from checkers.history import History, MalformedHistory, Op, OpType

_LOG_LINE = re.compile(r"INFO\s+jepsen\.util\s+-\s+(\d+)\s+:(\w+)\s+:(\w+)\s+(.*)")
_TYPES: Final = {one.value: one for one in OpType}


def read_edn(text: str, name: str = "history.edn") -> list[dict[str, Any]]:
    """Read a history that is one vector, one list or a stream of maps; raises MalformedHistory."""
    try:
        return _maps(edn.read(text), name)
    except edn.MalformedEdn as error:
        raise MalformedHistory(f"{name}: {error}") from None


def read_json(data: bytes, name: str = "history.json") -> list[dict[str, Any]]:
    """Read elle-cli's JSON, one array of objects; raises MalformedHistory."""
    try:
        return _maps([msgspec.json.decode(data)], name)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedHistory(f"{name}: {error}") from None


def read_log(lines: Iterable[str], name: str = "etcd.log") -> list[dict[str, Any]]:
    """Read the lines `INFO  jepsen.util - 0 :invoke :read nil`; others are skipped."""
    found = []
    for number, line in enumerate(lines, 1):
        match = _LOG_LINE.match(line)
        if match:
            try:
                value = next(edn.read(match[4]), None)
            except edn.MalformedEdn as error:
                raise MalformedHistory(f"{name}:{number}: {error}") from None
            found.append(
                {"process": int(match[1]), "type": match[2], "f": match[3], "value": value}
            )
    return found


def _maps(forms: Iterable[Any], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for form in forms:
        for one in form if isinstance(form, list) else [form]:
            if not isinstance(one, dict):
                raise MalformedHistory(f"{name}: an operation is a map, not {one!r}")
            found.append(one)
    return found


def to_history(maps: Iterable[dict[str, Any]], *, name: str, knossos: bool) -> History:
    """Make a history of one key out of Jepsen's operations; `knossos` chooses the dialect."""
    return History(list(_ops(maps, name, knossos)))


def _ops(maps: Iterable[dict[str, Any]], name: str, knossos: bool) -> Iterator[Op]:
    asked: dict[int, Any] = {}
    index = 0
    for number, one in enumerate(maps, 1):
        process, kind, f = one.get("process"), one.get("type"), one.get("f")
        if not isinstance(process, int):
            continue  # the nemesis
        if kind not in _TYPES or not isinstance(f, str):
            raise MalformedHistory(f"{name}: operation {number} has type {kind!r} and f {f!r}")
        outcome, value = _TYPES[kind], one.get("value")
        if outcome is OpType.INVOKE:
            asked[process] = value
            value = None if f == "read" else value
        elif outcome is OpType.OK and f == "cas":
            value = {"swapped": True}
        elif outcome is OpType.FAIL and f == "cas" and not knossos:
            outcome, value = OpType.OK, {"swapped": False}
        elif outcome is OpType.OK and f == "read" and knossos and value is None:
            outcome = OpType.FAIL  # its answer was not kept, so it constrains nothing
        yield Op(
            index=index,
            time_ns=index,
            process=process,
            type=outcome,
            f=f,
            key="register",
            value=value,
        )
        index += 1
