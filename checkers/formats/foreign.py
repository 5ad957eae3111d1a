"""Loads a history from a file of any supported format.

`load` recognises the format by the content: Jepsen's EDN (one vector, one list or a stream of
maps), its `history.txt` or its log, elle-cli's JSON (one array, or an object a line), Porcupine's
logs of Jepsen runs, a file of etcd's robustness reports, or our own `history.jsonl`; each also
compressed by gzip. It recognises the kind of operations as well, and suggests the model that judges
them; `registry.check_file` continues from there.

The order of events is determined by `ordering`. Every error of a file raises MalformedHistory with
its name and the line.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from squall.checkers.assumptions import NOTHING_SAID, Assumptions
from squall.checkers.budget import UNTIMED, Meter
from squall.checkers.formats import edn, etcd_reports, jepsen_log, whole_operations
from squall.checkers.formats.dialects import HEADER, TRANSACTIONAL, to_history
from squall.checkers.formats.jsonl import COARSE_SHARE, read_history, ties_of
from squall.checkers.formats.translations import Record, guess_model, is_client
from squall.checkers.formats.whole_operations import EVENT
from squall.checkers.history import Accounting, History, MalformedHistory
from squall.checkers.text.words import counted

FILE_BYTES_MAX: Final = 4 << 30
"""The largest file read: a history of ten million operations is half of it."""

UNZIPPED_BYTES_MAX: Final = 1 << 30
"""The most that a compressed file may hold."""

THINGS_BETWEEN_LOOKS: Final = 4096
"""Lines or maps read between two checks of the budget: some milliseconds."""

READABLE: Final = (
    "readable are Jepsen's history.edn, history.txt and jepsen.log, elle-cli's JSON, Porcupine's "
    "logs, etcd's robustness reports and Squall's history.jsonl"
)
"""The supported formats, for the message that refuses a file."""

MIXED: Final = "etcd+watch"
"""The model of a file that holds both requests to etcd and watches."""

_OURS = re.compile(rb'\s*\{[^{}\n]*"squall"\s*:')
_GZIP: Final = b"\x1f\x8b"
_JEPSEN: Final = b"JEPSEN"


class Foreign(NamedTuple):
    """A history that was read, and its suggested model.

    `model` is a name of `registry.JUDGES`, or "" when nothing fits. `format` is the kind of file.
    `timed` is false if the file does not order its events in real time.
    """

    history: History
    model: str
    format: str
    accounting: Accounting = Accounting()
    timed: bool = True


def load(
    data: bytes,
    name: str = "history",
    model: str | None = None,
    *,
    meter: Meter | None = None,
    assume: Assumptions = NOTHING_SAID,
) -> Foreign:
    """Read a file's content; raises MalformedHistory, and OutOfBudget when the meter does.

    `name` is the file's name in messages; `model` overrides what its operations look like, and
    `assume` what its values seem to mean.
    """
    meter = meter or Meter(UNTIMED)
    if data.startswith(_GZIP):
        data = _unzipped(data, name, meter)
    if len(data) > FILE_BYTES_MAX:
        raise MalformedHistory(f"{name}: {len(data):,} bytes; the most is {FILE_BYTES_MAX:,}")
    data = data.removeprefix(codecs.BOM_UTF8)
    if _OURS.match(data):
        history = read_history(_watched(io.BytesIO(data), meter), name).history
        model = model or _own_model(history, name)
        return _of_own(_told_apart(history, model, data), model, name)
    text = _text(data, name)
    lines = text.count("\n") + (not text.endswith("\n"))
    kind, records = _records(text, name, meter)
    if kind == "etcd-robustness":
        history, accounting = etcd_reports.to_history([(name, records)])
        accounting = _with_lines(accounting, lines)
        return Foreign(history, model or guess_own(history), kind, accounting)
    model = model or _guess(records, name)
    told = to_history(records, name, model, log=kind == "log", assume=assume, lines=lines)
    accounting = told.accounting
    if kind == WHOLE:
        accounting = msgspec.structs.replace(
            accounting,
            events=len(records) // 2,
            notes=(whole_operations.NOTE, *accounting.notes),
        )
    history = _told_apart(told.history, model, data)
    return Foreign(history, model, kind, accounting, told.timed)


def _told_apart(history: History, model: str, data: bytes) -> History:
    """Keep true apart from 1 and false from 0 where transactions look values up: as texts."""
    if model.partition(":")[0] not in TRANSACTIONAL or not (b"true" in data or b"false" in data):
        return history
    mark = "#" if b'"true"' in data or b'"false"' in data else ""
    ops = [
        msgspec.structs.replace(op, value=_as_texts(op.value, mark)) if op.value else op
        for op in history
    ]
    return History(ops, header=history.header)


def _as_texts(value: Any, mark: str) -> Any:
    """Write every true and false in a value as a text."""
    if isinstance(value, bool):
        return f"{mark}{value}".lower()
    return [_as_texts(one, mark) for one in value] if isinstance(value, list) else value


def _check_words(records: Sequence[Record], name: str) -> None:
    """Raise where a type or a function is no word at all; which words there are comes later."""
    for line, fields in records:
        for field in ("type", "f"):
            word = fields.get(field)
            if word is not None and not isinstance(word, str):
                raise MalformedHistory(
                    f"{name}:{line}: an operation of type {fields.get('type')!r:.60} and f "
                    f"{fields.get('f')!r:.60}; a type is invoke, ok, fail or info, and f a name"
                )


def load_report(
    files: Sequence[tuple[str, bytes]], model: str | None = None, *, meter: Meter | None = None
) -> Foreign:
    """Read the files of one of etcd's robustness reports as one history; raises as `load` does."""
    meter = meter or Meter(UNTIMED)
    read: list[tuple[str, list[Record]]] = []
    lines = 0
    for name, data in files:
        text = _text(data.removeprefix(codecs.BOM_UTF8), name)
        lines += text.count("\n") + (bool(text) and not text.endswith("\n"))
        read.append((name, list(_watched(_json(text, name), meter))))
    history, accounting = etcd_reports.to_history(read)
    accounting = _with_lines(accounting, lines)
    return Foreign(history, model or guess_own(history), "etcd-robustness", accounting)


def _of_own(history: History, model: str, name: str) -> Foreign:
    """Wrap a history in our own format, every operation of which is judged.

    Raises MalformedHistory where the clock orders next to nothing of what one client did in turn.
    """
    calls, touching, shared = ties_of(history)
    notes: tuple[str, ...] = ()
    if shared:
        told = f"{counted(shared, 'event')} at the same time as another client's"
        notes = (f"{told}: taken as concurrent",)
    if touching > COARSE_SHARE * calls:
        raise MalformedHistory(
            f"{name}: {touching} of {calls} calls have the time_ns of the same client's previous "
            f"answer: the clock is too coarse to order them; record time.monotonic_ns()"
        )
    if touching:
        calls_so = counted(touching, "call")
        told = f"{calls_so} at the time of the same client's previous answer: taken as concurrent"
        notes = (*notes, f"{told} with it")
    accounting = Accounting(
        lines=1 + len(history),
        events=len(history),
        operations=len(history.operations),
        notes=notes,
    )
    return Foreign(history, model, "jsonl", accounting)


def _own_model(history: History, name: str) -> str:
    """Guess the model; where the header names one or a workload, ambiguity is no error."""
    try:
        return guess_own(history, name)
    except MalformedHistory:
        if history.header.get("model") or history.header.get("workload"):
            return ""
        raise


def guess_own(history: History, name: str = "FILE") -> str:
    """Suggest the model of a history in our own format by what its operations look like."""
    return _guess(
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


def _guess(records: Sequence[Record], name: str) -> str:
    """Suggest a model; watches beside requests to etcd are judged together with them."""
    others = [one for one in records if one.fields.get("f") != "watch"]
    if len(others) == len(records):
        return guess_model(records, name)
    if not any(is_client(one.fields) for one in others):
        return "watch"
    return MIXED if _requests(others) else ""


def _requests(records: Sequence[Record]) -> bool:
    """Whether all functions are requests to etcd."""
    return all(
        one.fields.get("f") in etcd_reports.REQUESTS for one in records if is_client(one.fields)
    )


def _with_lines(accounting: Accounting, lines: int) -> Accounting:
    return msgspec.structs.replace(accounting, lines=lines)


def _unzipped(data: bytes, name: str, meter: Meter) -> bytes:
    """Decompress gzip, up to the maximal length of a history."""
    unzip = zlib.decompressobj(wbits=31)
    whole = bytearray()
    try:
        rest = data
        while rest or not unzip.eof:
            meter.look()
            piece = unzip.decompress(rest, 1 << 24)
            whole += piece
            if len(whole) > UNZIPPED_BYTES_MAX:
                raise MalformedHistory(
                    f"{name}: more than {UNZIPPED_BYTES_MAX:,} bytes when it is decompressed"
                )
            if unzip.eof:
                rest = unzip.unused_data.lstrip(b"\0")
                if rest:
                    unzip = zlib.decompressobj(wbits=31)
                    continue
                break
            rest = unzip.unconsumed_tail
            if not rest and not piece:
                raise MalformedHistory(f"{name}: the compressed file ends in the middle")
    except zlib.error as error:
        raise MalformedHistory(f"{name}: compressed by gzip, but damaged: {error}") from None
    return bytes(whole)


def _text(data: bytes, name: str) -> str:
    """Return a file's text; raises MalformedHistory if it is not text."""
    if data.startswith(_JEPSEN) or name.endswith((".fressian", ".jepsen")):
        raise MalformedHistory(f"{name}:1: Jepsen's binary format; {READABLE}")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise MalformedHistory(f"{name}:1: not UTF-8 text but UTF-16; write it as UTF-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MalformedHistory(
            f"{name}:{line}: not UTF-8 text: {error.reason}; {READABLE}"
        ) from None
    if (at := text.find("\0")) >= 0:
        raise MalformedHistory(
            f"{name}:{_line_of(text, at)}: a NUL byte; this is no text; {READABLE}"
        )
    return text


T = TypeVar("T")


def _watched(things: Iterable[T], meter: Meter) -> Iterator[T]:
    """Pass items on, and check the budget at intervals: reading costs time and memory."""
    for number, thing in enumerate(things):
        if number % THINGS_BETWEEN_LOOKS == 0:
            meter.look()
        yield thing


def _records(text: str, name: str, meter: Meter) -> tuple[str, list[Record]]:
    """Read the maps of a file with the numbers of their lines."""
    begin = text.lstrip()[:1]
    if begin not in {"", *"[{(#;,"} and jepsen_log.is_log(text):
        kind = "log" if jepsen_log.is_porcupine(text) else "jepsen-log"
        return kind, list(_watched(jepsen_log.read(text, name), meter))
    if begin in {"[", "{"} and _looks_like_json(text):
        records = list(_watched(_json(text, name), meter))
        kind = _shape_of(records, name)
        if kind == WHOLE:
            records = whole_operations.events(records, name)
        _check_words(records, name)
        return kind, [_normal(one) for one in records]
    if begin == "<" or _looks_like_csv(text):
        kind = "a page" if begin == "<" else "a table"
        raise MalformedHistory(f"{name}:1: this looks like {kind}, not like a history; {READABLE}")
    try:
        records = [
            Record(line, _map(form, f"{name}:{line}"))
            for line, form in _watched(edn.read_numbered(text), meter)
        ]
    except edn.MalformedEdn as error:
        raise MalformedHistory(_located(name, str(error))) from None
    except RecursionError:
        raise MalformedHistory(f"{name}: nested too deeply") from None
    if _TUPLE in text:
        for record in records:
            _untuple(record)
    if records and "valid?" in records[0].fields and "type" not in records[0].fields:
        line = records[0].line
        raise MalformedHistory(f"{name}:{line}: these are results; give the history beside them")
    _check_words(records, name)
    return "edn", [_normal(one) for one in records]


WHOLE: Final = "operations"
"""The format of a file that holds one record an operation."""

_TUPLE: Final = "#jepsen.independent.Tuple{"


def _untuple(record: Record) -> None:
    """Write an independent key and its value as a pair, where it was printed as a record."""
    value = record.fields.get("value")
    if isinstance(value, dict) and value.keys() == {"key", "value"}:
        record.fields["value"] = [value["key"], value["value"]]


def _shape_of(records: Sequence[Record], name: str) -> str:
    """Return the format of a file of JSON objects; raises MalformedHistory if it is none of ours.

    A format with a whole operation in one record can be read only if its fields are known.
    """
    if not records:
        return "json"
    line, fields = records[0]
    if fields.get("type") in _TYPES:
        whole = fields["type"] != "invoke" and "time" not in fields
        return WHOLE if whole and whole_operations.is_whole(fields) else "json"
    if etcd_reports.is_report(fields):
        return "etcd-robustness"
    if "squall" in fields:
        raise MalformedHistory(f"{name}:{line}: Squall's header line is {HEADER}, in one line")
    if whole_operations.is_whole(fields):
        return WHOLE
    if any(f"{one}time" in fields or f"{one}_time" in fields or one in fields for one in _SPANS):
        what = "one record an operation"
    elif "type" in fields:
        return "json"
    else:
        what = (
            f"an event without a type, which is one of invoke, ok, fail and info: {_short(fields)}"
        )
    raise MalformedHistory(
        f"{name}:{line}: {what}; write two events an operation, {EVENT} and the same with its "
        f"outcome as type (ok, fail, info), its answer as value and its own time, or give another "
        f"file: {READABLE}"
    )


_TYPES: Final = ("invoke", "ok", "fail", "info")

_SPANS: Final = (
    "start",
    "end",
    "call",
    "return",
    "begin",
    "finish",
    "invoke",
    "invoked",
    "duration",
)


def _normal(record: Record) -> Record:
    """Normalise an event: the function's synonyms, reads without their answer."""
    fields = record.fields
    if "f" in fields and fields["f"] is None:
        del fields["f"]
    value = fields.get("value")
    if (
        isinstance(value, list)
        and fields.get("type") != "ok"
        and fields.get("f") not in {"cas", "write"}
        and any(isinstance(mop, list) and len(mop) == 2 for mop in value)
        and all(isinstance(mop, list) and mop and mop[0] in _MICRO for mop in value)
    ):
        fields["value"] = [[*mop, None] if _asks(mop) else mop for mop in value]
    return record


_MICRO: Final = ("r", "w", "append", "read", "write")


def _asks(mop: list[Any]) -> bool:
    return len(mop) == 2 and mop[0] in ("r", "read")


def _looks_like_csv(text: str) -> bool:
    """Whether the first line has two commas or tabs, and nothing that EDN or JSON would have."""
    first = text.lstrip().partition("\n")[0]
    return first.count(",") + first.count("\t") >= 2 and not re.search(r"[\[\]{}()]", first)


def _located(name: str, message: str) -> str:
    """Turn "line 3: what" into "name:3: what"."""
    found = re.fullmatch(r"line (\d+): (.*)", message, re.DOTALL)
    return f"{name}:{found[1]}: {found[2]}" if found else f"{name}: {message}"


def _looks_like_json(text: str) -> bool:
    """JSON's first key is a string followed by a colon; EDN's is a keyword."""
    return re.match(r"\s*\[?\s*(\{\s*(\"[^\"]*\"\s*:|\})|\])", text) is not None


def _map(form: Any, where: str) -> dict[str, Any]:
    if not isinstance(form, dict):
        raise MalformedHistory(f"{where}: an operation is a map, not {_short(form)}; {READABLE}")
    return form


def _short(form: Any) -> str:
    text = repr(form)
    return text if len(text) <= 60 else text[:57] + "..."


def _line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a map of pairs; raises ValueError where a key is there twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for at, key in enumerate(keys) if key in keys[:at])
        raise ValueError(f"a map with the key {twice!r:.40} twice")
    return made


_JSON_BLANK = re.compile(r"[\s,]*")


def _json(text: str, name: str) -> Iterator[Record]:
    """Read one array of objects, or objects one after the other."""
    if not text.strip():
        return
    decode = json.JSONDecoder(object_pairs_hook=_unique).raw_decode
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
