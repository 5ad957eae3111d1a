"""Log lines of the nodes, placed on the history's clock as far as that is possible.

A line may begin with the time at which the container engine received it: the host's clock, which
the nemesis cannot change. Else the node's own `ts` is used, which a clock fault may have shifted:
such a line is marked as untrusted. A line without a time keeps its place among its node's lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from squall.checkers.evidence import NodeEvidence
from squall.reports import formatting

LINE_CHARS_MAX = 400
EXCERPT_LINES_MAX = 200
TAIL_LINES = 30
MARGIN_NS = 1_000_000_000
"""Time shown before and after an anomaly in its log excerpt."""

_MEMBERS = {"leader", "candidate", "to", "target", "member", "members", "member_id", "left"}
"""Fields of a node's log that hold member ids."""
_HIDDEN = {"ts", "level", "msg", "event", "at_ns"}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of one node. `at_ns` is on the history's clock, None if it cannot be placed."""

    node: str
    at_ns: int | None
    trusted: bool  # whether the time is the host's rather than the node's own
    level: str
    event: str
    message: str
    text: str


def members_of(nodes: Iterable[NodeEvidence]) -> dict[str, str]:
    """Return the names of members by their ids as nodes write them, decimal or hexadecimal."""
    found: dict[str, str] = {}
    for node in nodes:
        if node.member_id:
            found |= {str(node.member_id): node.node, f"{node.member_id:x}": node.node}
    return found


def log_lines(
    node_logs: Mapping[str, Sequence[str]], zero: str, members: Mapping[str, str] | None = None
) -> dict[str, list[LogLine]]:
    """Parse every node's lines: JSON objects, or any text.

    `zero` is the wall time at which the history's clock began; without it only lines that carry
    the history's time are placed. `members` maps member ids to names.
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
    fields = _object(body)
    if fields is None:
        return LogLine(node, _since(received, epoch), True, "", "", body, _cut(body))
    if isinstance(fields.get("at_ns"), int):
        at_ns, trusted = fields["at_ns"], True
    else:
        own = _moment(str(fields.get("ts", "")))
        at_ns, trusted = _since(received or own, epoch), received is not None
    message = str(fields.get("msg") or fields.get("error") or fields.get("event") or body)
    details = " ".join(
        f"{name}={formatting.value(_named(name, held, members), 80)}"
        for name, held in fields.items()
        if name not in _HIDDEN
    )
    return LogLine(
        node,
        at_ns,
        trusted,
        str(fields.get("level", "")),
        str(fields.get("event", "")),
        message,
        _cut(f"{message}  {details}".rstrip()),
    )


def _named(field: str, held: Any, members: Mapping[str, str]) -> Any:
    """Replace member ids by names, in fields that hold an id or a list of ids."""
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
    return formatting.shortened(text, LINE_CHARS_MAX)


def around(
    lines: Mapping[str, Sequence[LogLine]], window_ns: tuple[int, int]
) -> tuple[list[LogLine], int]:
    """Merge the lines of all nodes around a window; returns lines and how many are omitted."""
    begin, end = window_ns[0] - MARGIN_NS, window_ns[1] + MARGIN_NS
    placed = [
        (line.at_ns, line)
        for of_node in lines.values()
        for line in of_node
        if line.at_ns is not None and begin <= line.at_ns <= end
    ]
    merged = [line for _, line in sorted(placed, key=lambda each: each[0])]
    return merged[:EXCERPT_LINES_MAX], max(0, len(merged) - EXCERPT_LINES_MAX)
