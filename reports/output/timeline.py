"""The time axis of the page as JSON: rates, faults, roles, anomalies and the lanes of processes.

All times are microseconds of the history's clock; `started` is the wall time of its zero, "" where
that is unknown. The page's script draws it, with the operations of `squall.reports.output.columns`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from squall.reports.report import Report
from squall.reports.view.attempts import Attempt


def timeline(report: Report, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return what the time axis shows; `attempts` are those that the page holds."""
    return {
        "end": report.end_ns // 1000,
        "started": report.zero,
        "rate": {
            "bucket": report.rates.bucket_ns // 1000,
            "ok": report.rates.ok,
            "info": report.rates.info,
            "fail": report.rates.fail,
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
            for row in report.faults
            if row.window.outcome != "skipped"
        ],
        "roles": {
            node: [
                [each.from_ns // 1000, each.until_ns // 1000, each.role, each.term]
                for each in periods
            ]
            for node, periods in report.leadership.nodes.items()
        },
        "leaderless": [[begin // 1000, end // 1000] for begin, end in report.leadership.leaderless],
        "anomalies": [
            {
                "n": card.number,
                "from": card.window_ns[0] // 1000,
                "until": card.window_ns[1] // 1000,
                "ops": [each.index for each in card.witnesses],
                "summary": card.anomaly.summary,
            }
            for card in report.cards
            if card.window_ns
        ],
        **_lanes(attempts),
    }


def _lanes(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Assign every process to a lane; a lane is free again after its process's last operation.

    A process retires after an unknown outcome and another replaces it. Because they share lanes,
    the drawing has as many lanes as there were clients, not as there were processes.
    """
    spans: dict[Any, list[int]] = {}
    for each in attempts:
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
    """Write JSON for a script element: no character in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
