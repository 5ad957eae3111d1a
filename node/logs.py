"""The node's log: one JSON object a line, or one line of text, on stderr or wherever asked.

Every line has an `event`, a fixed word for programs, and a `msg` for people. The time is the node's
own wall clock, which a fault may have moved: lines must not be ordered by it.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any, TextIO

import msgspec

LEVELS = ("debug", "info", "warn", "error", "panic", "fatal")
_NAMED_STREAMS = {"default": "stderr", "stderr": "stderr", "stdout": "stdout"}


class Log:
    """Writes lines of at least `level` to every output."""

    def __init__(
        self, outputs: tuple[str, ...] = ("default",), layout: str = "json", level: str = "info"
    ) -> None:
        self._streams: list[TextIO] = [_open(name) for name in outputs]
        self._write_text = layout == "text"
        self._threshold = LEVELS.index(level)

    def debug(self, event: str, msg: str = "", **fields: Any) -> None:
        """Log what only debugging needs."""
        self._emit("debug", event, msg, fields)

    def info(self, event: str, msg: str = "", **fields: Any) -> None:
        """Log what happens in the normal course."""
        self._emit("info", event, msg, fields)

    def warn(self, event: str, msg: str = "", **fields: Any) -> None:
        """Log what the node handles but an operator may want to know."""
        self._emit("warn", event, msg, fields)

    def error(self, event: str, msg: str = "", **fields: Any) -> None:
        """Log a failure."""
        self._emit("error", event, msg, fields)

    def fatal(self, event: str, msg: str = "", **fields: Any) -> None:
        """Log why the node is about to stop; the caller stops it."""
        self._emit("fatal", event, msg, fields)

    def _emit(self, level: str, event: str, msg: str, fields: dict[str, Any]) -> None:
        if LEVELS.index(level) < self._threshold:
            return
        now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
        head = {"ts": now, "level": level, "msg": msg or event, "event": event}
        if self._write_text:
            tail = " ".join(f"{name}={value}" for name, value in fields.items())
            line = f"{now} {level.upper():5} {event}: {msg or event} {tail}".rstrip()
        else:
            line = msgspec.json.encode({**head, **fields}, enc_hook=str).decode()
        for stream in self._streams:
            stream.write(line + "\n")
            stream.flush()


def _open(name: str) -> TextIO:
    if name in _NAMED_STREAMS:
        stream: TextIO = getattr(sys, _NAMED_STREAMS[name])
        return stream
    return Path(name).open("a", encoding="utf-8")
