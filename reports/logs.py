"""What the nodes said, put on the controller's time as well as that can be done.

A line may begin with the time at which the engine received it (the host's clock, which the nemesis
cannot touch); else the node's own `ts` is used, which a clock fault may have moved: such a line is
marked. Lines that carry no time at all are kept where they stood.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from checkers.evidence import NodeEvidence
from reports import words

LINE_CHARS_MAX = 400
EXCERPT_LINES_MAX = 200
TAIL_LINES = 30
MARGIN_NS = 1_000_000_000
"""How much before and after an anomaly its log excerpt shows."""

_MEMBERS = {"leader", "candidate", "to", "target", "member", "members", "member_id", "left"}
"""Fields of a node's log that hold ids of members."""
_HIDDEN = {"ts", "level", "msg", "event", "at_ns"}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of one node. `at_ns` is on the history's clock, None if nobody can tell."""

    node: str
    at_ns: int | None
    trusted: bool  # whether the time is the host's rather than the node's own
    level: str
    event: str
    message: str
    text: str


def members_of(nodes: Iterable[NodeEvidence]) -> dict[str, str]:
    """Return the names of members by their ids, as nodes write these: decimal or hexadecimal."""
    found: dict[str, str] = {}
    for node in nodes:
        if node.member_id:
            found |= {str(node.member_id): node.node, f"{node.member_id:x}": node.node}
    return found


def log_lines(
    node_logs: Mapping[str, Sequence[str]], zero: str, members: Mapping[str, str] | None = None
) -> dict[str, list[LogLine]]:
    """Read every node's lines, whatever their format.

    `zero` is the wall time at which the history's clock began; without it only lines that carry
    the history's time are placed. `members` names members by their ids.
    """
    epoch = _moment(zero)
    members = members or {}
    return {
        node: [
            _line(node, line.rstrip("\n"), epoch, members)
            for line in node_logs[node]
            if line.strip()
        ]
        for node in sorted(node_logs)
    }


def _line(node: str, raw: str, epoch: datetime | None, members: Mapping[str, str]) -> LogLine:
    first, _, rest = raw.partition(" ")
    received = _moment(first) if rest else None
    body = rest if received else raw
    said = _object(body)
    if said is None:
        return LogLine(node, _since(received, epoch), True, "", "", body, _cut(body))
    if isinstance(said.get("at_ns"), int):
        at_ns, trusted = said["at_ns"], True
    else:
        own = _moment(str(said.get("ts", "")))
        at_ns, trusted = _since(received or own, epoch), received is not None
    message = str(said.get("msg") or said.get("error") or said.get("event") or body)
    details = " ".join(
        f"{name}={words.value(_named(name, held, members), 80)}"
        for name, held in said.items()
        if name not in _HIDDEN
    )
    return LogLine(
        node,
        at_ns,
        trusted,
        str(said.get("level", "")),
        str(said.get("event", "")),
        message,
        _cut(f"{message}  {details}".rstrip()),
    )


def _named(field: str, held: Any, members: Mapping[str, str]) -> Any:
    """Write n1 for a member's id, where a field holds one or a list of them."""
    if field not in _MEMBERS:
        return held
    if isinstance(held, list):
        return [_named(field, one, members) for one in held]
    return members.get(str(held), held)


def _object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _moment(text: str) -> datetime | None:
    if len(text) < 19 or not text[:4].isdigit():
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _since(moment: datetime | None, epoch: datetime | None) -> int | None:
    if moment is None or epoch is None:
        return None
    return round((moment - epoch).total_seconds() * 1e6) * 1000


def _cut(text: str) -> str:
    return words.shortened(text, LINE_CHARS_MAX)


def around(
    lines: Mapping[str, Sequence[LogLine]], window_ns: tuple[int, int]
) -> tuple[list[LogLine], int]:
    """Merge what all nodes said around a window; returns the lines shown and how many were not."""
    begin, end = window_ns[0] - MARGIN_NS, window_ns[1] + MARGIN_NS
    placed = [
        (line.at_ns, line)
        for said in lines.values()
        for line in said
        if line.at_ns is not None and begin <= line.at_ns <= end
    ]
    merged = [line for _, line in sorted(placed, key=lambda each: each[0])]
    return merged[:EXCERPT_LINES_MAX], max(0, len(merged) - EXCERPT_LINES_MAX)
