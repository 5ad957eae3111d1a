"""Reads files that hold one record an operation: with its call and its return.

    {"op": "write", "key": "x", "value": 1, "client": 0, "start": 0.10, "end": 0.20, "status": "ok"}

and the same as Porcupine's `Operation` is written in JSON:

    {"ClientId": 0, "Input": {"op": "put", "key": "x", "value": "a"}, "Call": 0, "Output": null,
     "Return": 100}

Each becomes two events, as other tools write them. Names of fields may be in any case, with or
without underscores; those of functions are taken as they are, in lower case. A record without a
client is the only one of its client. What is not understood is refused, with what to write instead:
a number for a function, a map for an answer, a status that is neither ok, fail nor info.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from squall.checkers.formats.translations import ASKS_NOTHING, Record
from squall.checkers.history import MalformedHistory

NOTE: Final = "one record an operation: each is its call and its return"

_CALLS: Final = ("call", "start", "starttime", "begin", "begintime", "invoke", "invoked", "called")
_RETURNS: Final = (
    *("return", "end", "endtime", "finish", "finishtime", "finished", "complete", "completed"),
    *("returned", "stop", "returntime"),
)
_CLIENTS: Final = ("process", "client", "clientid", "worker", "workerid", "thread", "threadid")
_FUNCTIONS: Final = ("f", "op", "function", "operation", "method", "action", "type")
_ARGUMENTS: Final = ("value", "argument", "arg", "input")
_ANSWERS: Final = ("output", "answer", "result", "response")
_STATUS: Final = ("status", "outcome", "ok", "success")
_ERRORS: Final = ("error", "err")

_OUTCOMES: Final = {
    **dict.fromkeys(("ok", "success", "succeeded", "true", "none"), "ok"),
    **dict.fromkeys(("fail", "failed", "failure", "false"), "fail"),
    **dict.fromkeys(("info", "unknown", "timeout", "indeterminate", "crashed"), "info"),
}

WRITE: Final = (
    '{"process": 0, "f": "write", "key": "x", "value": 1, "start": 1000, "end": 2000, '
    '"status": "ok"}'
)
"""A record as it is read."""

EVENT: Final = '{"process": 0, "type": "invoke", "f": "write", "value": 1, "time": 1000}'
"""One event as elle-cli's JSON has it."""


def is_whole(fields: dict[str, Any]) -> bool:
    """Whether a record has both a call and a return, or would if somebody had not left it out."""
    names = _plain(fields)
    return any(one in names for one in _CALLS) and any(one in names for one in _RETURNS)


def events(records: Sequence[Record], name: str) -> list[Record]:
    """Make two events of each operation; raises MalformedHistory with the line."""
    made: list[Record] = []
    for number, (line, fields) in enumerate(records):
        made += _events(_plain(fields), number, line, f"{name}:{line}")
    return made


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields by their names without case, blanks and underscores."""
    return {str(key).lower().replace("_", "").replace("-", ""): fields[key] for key in fields}


def _events(fields: dict[str, Any], number: int, line: int, where: str) -> list[Record]:
    call, ret = _first(fields, _CALLS), _first(fields, _RETURNS)
    for time in (call, ret):
        if isinstance(time, bool) or not isinstance(time, int | float | None):
            raise MalformedHistory(f"{where}: a time is a number, not {time!r:.60}; {_instead()}")
    if call is None:
        raise MalformedHistory(f"{where}: an operation without the time of its call; {_instead()}")
    if ret is not None and ret < call:
        raise MalformedHistory(f"{where}: it returned at {ret}, before its call at {call}")
    f, key, asked, answer, answered, has_value = _said(fields, where)
    outcome = _outcome(fields, ret, where)
    process = _first(fields, _CLIENTS)
    if process is None:
        process = f"op{number}"
    event = {"process": process, "f": f} | ({"key": key} if key is not None else {})
    if f in ASKS_NOTHING:
        told = answer if answered else asked
        asked = None
        if isinstance(told, dict) and answered and set(_plain(told)) <= {"value", "ok", "error"}:
            told = _plain(told).get("value")
    else:
        told = _acknowledged(f, asked, answer, answered, where)
    error = _first(fields, _ERRORS)
    begin: dict[str, Any] = {"value": asked}
    end: dict[str, Any] = {"value": told if outcome == "ok" else asked}
    if not has_value:  # who reads the events says what is missing
        begin, end = ({}, {}) if f not in ASKS_NOTHING else (begin, {})
    if error is not None and outcome != "ok":
        end["error"] = str(error)
    return [
        Record(line, {**event, **begin, "type": "invoke", "time": call}),
        Record(line, {**event, **end, "type": outcome, "time": call if ret is None else ret}),
    ]


def _said(fields: dict[str, Any], where: str) -> tuple[str, Any, Any, Any, bool, bool]:
    """Return function, key, argument and answer; whether it has an answer, and any value at all."""
    given = fields
    if isinstance(fields.get("input"), dict):
        given = fields | _plain(fields["input"])
        given.pop("input")
    f = _first({**given, "type": None} if _typed(given) else given, _FUNCTIONS)
    mops = _first(given, _ARGUMENTS)
    if f is None and isinstance(mops, list) and all(isinstance(mop, list) for mop in mops):
        f = "txn"
    if not isinstance(f, str) or not f.strip():
        raise MalformedHistory(
            f"{where}: an operation whose function has no name: {f!r:.40}; {_instead()}"
        )
    there = [one for one in _ANSWERS if one in given]
    return (
        f.strip().lower(),
        given.get("key"),
        _first(given, _ARGUMENTS),
        given[there[0]] if there else None,
        bool(there),
        bool(there) or any(name in given for name in _ARGUMENTS),
    )


def _acknowledged(f: str, asked: Any, answer: Any, answered: bool, where: str) -> Any:
    """Return what a function that has an argument was answered with."""
    if not answered or answer is None or answer == "":
        return asked
    if f == "cas" or isinstance(asked, dict):
        return answer
    if isinstance(answer, dict):
        if set(_plain(answer)) <= {"value", "ok", "error"}:
            return _plain(answer).get("value") or asked
        raise MalformedHistory(
            f"{where}: an answer to {f} that is a map: {answer!r:.60}; {_instead()}"
        )
    return answer


def _typed(fields: dict[str, Any]) -> bool:
    """Whether the type of a record says how it ended."""
    return fields.get("type") in ("ok", "fail", "info")


def _outcome(fields: dict[str, Any], ret: Any, where: str) -> str:
    said = fields["type"] if _typed(fields) else _first(fields, _STATUS)
    if said is None:
        return "info" if ret is None or _first(fields, _ERRORS) else "ok"
    outcome = _OUTCOMES.get(str(said).lower())
    if outcome is None:
        raise MalformedHistory(
            f"{where}: a status {said!r:.40}, which is none of ok, fail and info; {_instead()}"
        )
    if outcome == "ok" and ret is None:
        raise MalformedHistory(f"{where}: it is ok and never returned; {_instead()}")
    return outcome


def _first(fields: dict[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _instead() -> str:
    return f"write {WRITE}, or a history of events, two an operation: {EVENT}"


__all__ = ["EVENT", "NOTE", "WRITE", "events", "is_whole"]
