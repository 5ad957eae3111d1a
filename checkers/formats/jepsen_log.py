"""Reads operations from the log of a Jepsen test, and from its `history.txt`.

One event a line: process, type, function, value and, if there is one, the error.

    INFO  jepsen.util - 0  :invoke  :read  nil
    INFO [2026-01-02 03:04:05,678] jepsen worker 0 - jepsen.util 0  :invoke  :read  nil
    2026-01-02 03:04:05,678{GMT}  INFO  [jepsen worker 0] jepsen.util: 0  :invoke  :read  nil
    0  :invoke  :read  nil

These are, in order, lines of Porcupine's logs, of a console, of `jepsen.log` and of `history.txt`.
Other lines of a log are skipped. A line that begins like an event but is malformed is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from squall.checkers.formats import edn
from squall.checkers.formats.translations import Record
from squall.checkers.history import MalformedHistory

_EVENT = re.compile(
    r"(?:[^\"]*?\bjepsen\.[\w.]+(?::|[ \t]+-)?[ \t]+)?"
    r"(?P<process>:?[\w./\-]+)[ \t]+:(?P<type>invoke|ok|fail|info)[ \t]+(?P<f>\S+)(?P<rest>.*)"
)
_LOOKS = re.compile(r"(?m)^[^\"\n]*?[\w./\-][ \t]+:(?:invoke|ok|fail|info)[ \t]+")
_PORCUPINE = re.compile(r"(?m)^INFO\s+jepsen\.util\s+-\s")


def is_log(text: str) -> bool:
    """Whether a text has lines that look like logged events, or begins as a log does."""
    return text.lstrip().startswith("INFO") or _LOOKS.search(text) is not None


def is_porcupine(text: str) -> bool:
    """Whether these are Porcupine's logs: nil is an absent key there, a failed cas an answer."""
    return _PORCUPINE.match(text.lstrip()) is not None


def read(text: str, name: str) -> Iterator[Record]:
    """Yield the events of a log; raises MalformedHistory with the line."""
    for number, line in enumerate(text.split("\n"), 1):
        if not _LOOKS.match(line):
            continue
        match = _EVENT.fullmatch(line.rstrip("\r"))
        if match is None or not match["f"].startswith((":", "nil")):
            raise MalformedHistory(
                f"{name}:{number}: an event that is not process, type, function, value"
            )
        yield Record(number, _fields(match, f"{name}:{number}"))


def _fields(match: re.Match[str], where: str) -> dict[str, Any]:
    try:
        forms = list(edn.read(match["rest"]))
    except edn.MalformedEdn as error:
        raise MalformedHistory(f"{where}: {str(error).partition(': ')[2]}") from None
    process = match["process"].removeprefix(":")
    fields: dict[str, Any] = {
        "process": int(process) if process.isdecimal() else process,
        "type": match["type"],
        "f": None if match["f"] == "nil" else match["f"][1:],
        "value": forms[0] if forms else None,
    }
    if len(forms) > 1:
        fields["error"] = forms[1] if len(forms) == 2 else forms[1:]
    return fields
