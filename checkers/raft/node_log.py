"""Reads a node's structured log: one JSON object a line.

From it come the terms the node logged as its own leadership, the digests of its state machine, and
its failed assertions. The nemesis skews node clocks: `ts` is shown, never compared.

Lines that are not JSON may be a traceback. It counts as the node's crash if it ends in an
AssertionError, or if only the end of the log or the next start follows: a traceback that the node
logged and survived is not a crash.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from squall.checkers.evidence import NodeEvidence, StateDigest

EVENTS_MAX: Final = 20_000
"""Events kept for the report; state digests are counted, not kept."""

REFUSED: Final = "damaged"
"""The event of a node that refuses to start from its data directory."""

TRACEBACK_LINES_MAX: Final = 40
"""Lines of a traceback that are kept."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class NodeLog(NamedTuple):
    """What one node logged, in the log's order."""

    led_terms: tuple[int, ...] = ()
    digests: tuple[StateDigest, ...] = ()
    assertions: tuple[str, ...] = ()
    events: tuple[dict[str, Any], ...] = ()
    lines: int = 0
    refusals: tuple[str, ...] = ()

    def join(self, evidence: NodeEvidence) -> NodeEvidence:
        """Add this to what the WAL contains."""
        return msgspec.structs.replace(
            evidence,
            led_terms=self.led_terms,
            digests=self.digests,
            assertions=self.assertions,
            refusals=self.refusals,
            log_missing=evidence.log_missing or not self.lines,
        )


def read_log(lines: Iterable[str | bytes], *, alive: bool = False) -> NodeLog:
    """Read a node's log; truncated or unknown lines are skipped.

    `alive`: the node ran when its log was copied, so a traceback at the end did not end it.
    """
    led: dict[int, None] = {}
    digests: list[StateDigest] = []
    assertions: list[str] = []
    refusals: list[str] = []
    events: list[dict[str, Any]] = []
    trace = _Traceback(assertions)
    count = 0
    for line in lines:
        text = line.decode(errors="replace") if isinstance(line, bytes) else line
        text = text.rstrip()
        if not text:
            continue
        count += 1
        record = _record(text)
        if record is None:
            trace.take(text)
            continue
        event = record.get("event")
        trace.end(died=event == "started")
        if event == "state-digest":
            if (digest := _digest(record)) is not None:
                digests.append(digest)
            continue
        if event == "became-leader" and isinstance(record.get("term"), int):
            led[record["term"]] = None
        elif event == "fatal":
            parts = [str(record.get("error") or record.get("msg") or "fatal")]
            if record.get("traceback"):
                parts.append(str(record["traceback"]))
            assertions.append("\n".join(parts))
        elif event == REFUSED:
            refusals.append(str(record.get("msg") or record.get("error") or "(no words)"))
        if event and len(events) < EVENTS_MAX:
            events.append(record)
    trace.end(died=not alive)
    return NodeLog(
        tuple(led), tuple(digests), tuple(assertions), tuple(events), count, tuple(refusals)
    )


class _Traceback:
    """A traceback among the lines, and whether the node crashed by it."""

    def __init__(self, assertions: list[str]) -> None:
        self._assertions = assertions
        self._lines: list[str] = []

    def take(self, text: str) -> None:
        """Take a line that is not JSON."""
        if text.startswith("Traceback "):
            self.end(died=False)
            self._lines = [text]
        elif self._lines:
            self._lines.append(text)

    def end(self, *, died: bool) -> None:
        """End the traceback: another record or the end of the log follows."""
        asserted = any(line.startswith("AssertionError") for line in self._lines)
        if self._lines and (died or asserted):
            self._assertions.append("\n".join(self._lines[-TRACEBACK_LINES_MAX:]))
        self._lines = []


def _record(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _digest(record: dict[str, Any]) -> StateDigest | None:
    try:
        return StateDigest(
            index=int(record["index"]),
            term=int(record.get("term", 0)),
            revision=int(record.get("revision", 0)),
            digest=str(record["digest"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
