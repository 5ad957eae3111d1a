"""What a node said about itself: its structured log, one JSON object a line.

From it come the terms the node believes it led, the digests of its state machine, and its own
failed assertions. A node's clock is lied to by the nemesis: `ts` is shown, never compared. Lines
that are no JSON (a dying interpreter's traceback) are evidence too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from checkers.evidence import NodeEvidence, StateDigest

EVENTS_MAX: Final = 20_000
"""Events kept for the report; state digests are counted, not kept."""

LAST_WORDS_LINES_MAX: Final = 40
"""Lines of a traceback that are kept."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class NodeLog(NamedTuple):
    """What one node's log says, in its own order."""

    led_terms: tuple[int, ...] = ()
    digests: tuple[StateDigest, ...] = ()
    assertions: tuple[str, ...] = ()
    events: tuple[dict[str, Any], ...] = ()
    lines: int = 0

    def join(self, evidence: NodeEvidence) -> NodeEvidence:
        """Add this to what the WAL said."""
        return msgspec.structs.replace(
            evidence,
            led_terms=self.led_terms,
            digests=self.digests,
            assertions=self.assertions,
            log_missing=evidence.log_missing or not self.lines,
        )


def read_log(lines: Iterable[str | bytes]) -> NodeLog:
    """Read a node's log; what is cut or strange is skipped, not fatal."""
    led: dict[int, None] = {}
    digests: list[StateDigest] = []
    assertions: list[str] = []
    events: list[dict[str, Any]] = []
    traceback: list[str] = []
    count = 0
    for line in lines:
        text = line.decode(errors="replace") if isinstance(line, bytes) else line
        text = text.rstrip()
        if not text:
            continue
        count += 1
        record = _record(text)
        if record is None:
            if traceback or text.startswith("Traceback "):
                traceback.append(text)
            # The exception's own line is the first that is not indented: the traceback is over.
            if len(traceback) > 1 and not text.startswith((" ", "Traceback ")):
                assertions.append("\n".join(traceback[-LAST_WORDS_LINES_MAX:]))
                traceback = []
            continue
        event = record.get("event")
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
        if event and len(events) < EVENTS_MAX:
            events.append(record)
    if traceback:
        assertions.append("\n".join(traceback[-LAST_WORDS_LINES_MAX:]))
    return NodeLog(tuple(led), tuple(digests), tuple(assertions), tuple(events), count)


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
