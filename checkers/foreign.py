"""Histories of other tools, in our words, whatever file they come in.

`load` finds out by itself what it was given: Jepsen's EDN (one vector, one list or a stream of
maps), elle-cli's JSON (one array, or an object a line), Porcupine's logs of Jepsen runs, or our own
`history.jsonl`. It finds out as well what the operations are about, and suggests the model that
judges them; `catalogue.check_file` goes on from there.

A file has an order, which counts, and often times, which are kept where they agree with the order.
Everything that is wrong with a file raises MalformedHistory with its name and the line.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

from checkers import edn
from checkers.assumptions import NOTHING_SAID, Assumptions
from checkers.budget import Meter
from checkers.dialects import to_history
from checkers.history import History, MalformedHistory
from checkers.jsonl import read_history
from checkers.translations import Record, guess_model
from checkers.verdict import Budget

FILE_BYTES_MAX: Final = 4 << 30
"""The largest file read: a history of ten million operations is half of it."""

THINGS_BETWEEN_LOOKS: Final = 4096
"""Lines or maps read between two looks at the budget: some milliseconds."""

_LOG_LINE = re.compile(r"INFO\s+jepsen\.util\s+-\s+(\S+)\s+:(\w+)\s+:(\w+)\s+(.*)")
_OURS = re.compile(rb'\s*\{\s*"squall"\s*:')


class Foreign(NamedTuple):
    """A history that was read, and what it seems to be about.

    `model` is a name of `catalogue.JUDGES`, or "" when nothing fits. `format` is the kind of file.
    """

    history: History
    model: str
    format: str


def load(
    data: bytes,
    name: str = "history",
    model: str | None = None,
    *,
    meter: Meter | None = None,
    assume: Assumptions = NOTHING_SAID,
) -> Foreign:
    """Read a file's content; raises MalformedHistory, and OutOfBudget when the meter does.

    `name` is what messages call the file; `model` overrides what its operations look like, and
    `assume` what its values seem to mean.
    """
    meter = meter or Meter(Budget())
    if len(data) > FILE_BYTES_MAX:
        raise MalformedHistory(f"{name}: {len(data):,} bytes; the most is {FILE_BYTES_MAX:,}")
    if _OURS.match(data):
        history = read_history(_watched(io.BytesIO(data), meter), name).history
        return Foreign(history, model or _own_model(history, name), "jsonl")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MalformedHistory(f"{name}:{line}: not UTF-8 text: {error.reason}") from None
    if (at := text.find("\0")) >= 0:
        raise MalformedHistory(f"{name}:{_line_of(text, at)}: a NUL byte; this is no text")
    kind, records = _records(text, name, meter)
    model = model or guess_model(records, name)
    history = to_history(records, name, model, log=kind == "log", assume=assume)
    return Foreign(history, model, kind)


def _own_model(history: History, name: str) -> str:
    """Guess, unless the header names the workload: then looks that fit two models matter less."""
    try:
        return guess_own(history, name)
    except MalformedHistory:
        if history.header.get("workload"):
            return ""
        raise


def guess_own(history: History, name: str = "FILE") -> str:
    """Suggest the model of a history of ours by what its operations look like."""
    return guess_model(
        [
            Record(
                0,
                {
                    "type": op.type.value,
                    "f": op.f,
                    "value": op.value,
                    "key": op.key,
                    "process": op.process,
                },
            )
            for op in history[:2000]
            if op.is_client
        ],
        name,
    )


T = TypeVar("T")


def _watched(things: Iterable[T], meter: Meter) -> Iterator[T]:
    """Pass things on, and look at the meter once in a while: reading costs time and memory."""
    for number, thing in enumerate(things):
        if number % THINGS_BETWEEN_LOOKS == 0:
            meter.look()
        yield thing


def _records(text: str, name: str, meter: Meter) -> tuple[str, list[Record]]:
    """Read the maps of a file with the numbers of their lines."""
    begin = text.lstrip()[:1]
    if text.lstrip().startswith("INFO"):
        return "log", list(_watched(_log(text, name), meter))
    if begin in {"[", "{"} and _looks_like_json(text):
        return "json", list(_watched(_json(text, name), meter))
    try:
        return "edn", [
            Record(line, _map(form, f"{name}:{line}"))
            for line, form in _watched(edn.read_numbered(text), meter)
        ]
    except edn.MalformedEdn as error:
        raise MalformedHistory(_located(name, str(error))) from None
    except RecursionError:
        raise MalformedHistory(f"{name}: nested too deeply") from None


def _located(name: str, message: str) -> str:
    """Turn "line 3: what" into "name:3: what"."""
    found = re.fullmatch(r"line (\d+): (.*)", message, re.DOTALL)
    return f"{name}:{found[1]}: {found[2]}" if found else f"{name}: {message}"


def _looks_like_json(text: str) -> bool:
    """JSON's first key is a string followed by a colon; EDN's is a keyword."""
    return re.match(r"\s*\[?\s*(\{\s*(\"[^\"]*\"\s*:|\})|\])", text) is not None


def _map(form: Any, where: str) -> dict[str, Any]:
    if not isinstance(form, dict):
        raise MalformedHistory(f"{where}: an operation is a map, not {_short(form)}")
    return form


def _short(form: Any) -> str:
    text = repr(form)
    return text if len(text) <= 60 else text[:57] + "..."


def _line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


_JSON_BLANK = re.compile(r"[\s,]*")


def _json(text: str, name: str) -> Iterator[Record]:
    """Read one array of objects, or objects one after the other."""
    decode = json.JSONDecoder().raw_decode
    blank = _JSON_BLANK
    at = blank.match(text, 0).end()  # type: ignore[union-attr]
    inside = text[at] == "["
    at += inside
    line, counted = 1, 0
    while True:
        at = blank.match(text, at).end()  # type: ignore[union-attr]
        line += text.count("\n", counted, at)
        counted = at
        if at >= len(text):
            if inside:
                raise MalformedHistory(f"{name}:{line}: ends before the array is closed by ']'")
            return
        if inside and text[at] == "]":
            inside = False
            if text[at + 1 :].strip():
                raise MalformedHistory(f"{name}:{line}: something follows the array's ']'")
            return
        try:
            form, at = decode(text, at)
        except json.JSONDecodeError as error:
            where = _line_of(text, min(error.pos, len(text)))
            raise MalformedHistory(f"{name}:{where}: not JSON: {error.msg}") from None
        except (RecursionError, ValueError) as error:
            raise MalformedHistory(f"{name}:{line}: not JSON: {error}") from None
        yield Record(line, _map(form, f"{name}:{line}"))


def _log(text: str, name: str) -> Iterator[Record]:
    """Read the lines `INFO  jepsen.util - 0 :invoke :read nil`; others are skipped."""
    for number, line in enumerate(text.split("\n"), 1):
        match = _LOG_LINE.match(line)
        if match:
            try:
                value = next(edn.read(match[4]), None)
            except edn.MalformedEdn as error:
                what = str(error).partition(": ")[2]
                raise MalformedHistory(f"{name}:{number}: {what}") from None
            process: int | str = int(match[1]) if match[1].isdecimal() else match[1]
            yield Record(
                number, {"process": process, "type": match[2], "f": match[3], "value": value}
            )
