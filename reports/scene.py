"""What the page's own code draws: the run on one time axis, as plain JSON beside the columns.

All times here are microseconds of the history's clock; `started_at` is its zero by the wall clock,
"" where that is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reports.attempts import Attempt
from reports.counterexample import Card
from reports.faults import FaultRow
from reports.leadership import Leadership
from reports.numbers import Rates


def scene(
    *,
    tried: Sequence[Attempt],
    faults: Sequence[FaultRow],
    led: Leadership,
    rate: Rates,
    cards: Sequence[Card],
    end_ns: int,
    started_at: str,
) -> dict[str, Any]:
    """Gather what the time axis shows."""
    return {
        "end": end_ns // 1000,
        "started": started_at,
        "rate": {
            "bucket": rate.bucket_ns // 1000,
            "ok": rate.ok,
            "info": rate.info,
            "fail": rate.fail,
        },
        "faults": [
            {
                "id": row.window.id,
                "kind": row.window.kind,
                "from": row.from_ns // 1000,
                "until": row.until_ns // 1000,
                "targets": list(row.window.targets),
                "detail": row.window.detail,
            }
            for row in faults
            if row.window.outcome != "skipped"
        ],
        "roles": {
            node: [
                [each.from_ns // 1000, each.until_ns // 1000, each.role, each.term]
                for each in stretches
            ]
            for node, stretches in led.nodes.items()
        },
        "leaderless": [[begin // 1000, end // 1000] for begin, end in led.leaderless],
        "anomalies": [
            {
                "n": card.number,
                "from": card.window_ns[0] // 1000,
                "until": card.window_ns[1] // 1000,
                "ops": [each.index for each in card.witnesses],
                "summary": card.anomaly.summary,
            }
            for card in cards
            if card.window_ns
        ],
        **_lanes(tried),
    }


def _lanes(tried: Sequence[Attempt]) -> dict[str, Any]:
    """Seat every process in a lane; a lane is free again when its process spoke for the last time.

    A process retires after an unknown outcome and another takes its place: sharing lanes keeps the
    drawing as high as there were clients, not as high as there were processes.
    """
    spans: dict[Any, list[int]] = {}
    for each in tried:
        span = spans.setdefault(each.operation.process, [each.operation.invoked_ns, 0])
        span[1] = max(span[1], each.ended_ns)
    lanes: list[int] = []
    seats: list[int] = []
    for begin, end in spans.values():
        seat = next((at for at, free_ns in enumerate(lanes) if free_ns <= begin), len(lanes))
        if seat == len(lanes):
            lanes.append(0)
        lanes[seat] = end
        seats.append(seat)
    return {"processes": list(spans), "seats": seats, "lanes": len(lanes)}


def to_script(data: Mapping[str, Any]) -> str:
    """Write JSON that may stand inside a script element: no character there can end it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
