"""How times, values and operations are written, the same in every output.

Times are seconds of the history's clock, with three decimals ("31.204 s"); zero is the first client
operation, and no wall clock is shown. A duration is written in the unit that suits its length. A
value is shown as a reader would type it, cut at a stated length, and never interpreted. A number
with its noun is written by `squall.checkers.text.words.counted`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from squall.checkers.history import Operation, OpType

VALUE_CHARS_MAX = 160
"""Most characters shown of a value; the history file has all of it."""

GLYPHS = {"valid": "✓", "invalid": "✗", "unknown": "?", "error": "!"}
OUTCOME_GLYPHS = {"ok": "●", "info": "◐", "fail": "○"}


def seconds(at_ns: int) -> str:
    """Write a time of the history's clock: "31.204 s"."""
    return f"{at_ns / 1e9:.3f} s"


def duration(span_ns: float | None) -> str:
    """Write a length of time with three digits and a unit: "812 µs", "1.84 ms", "1.90 s"."""
    if span_ns is None:
        return "–"
    if span_ns < 999_500:
        return f"{span_ns / 1e3:.0f} µs"
    if span_ns < 999_500_000:
        return f"{_three(span_ns / 1e6)} ms"
    if span_ns < 120e9:
        return f"{span_ns / 1e9:.2f} s"
    minutes, rest_s = divmod(round(span_ns / 1e9), 60)
    return f"{minutes} min {rest_s:02d} s"


def _three(number: float) -> str:
    """Round to three significant digits: 8.40, 21.9, 112."""
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def count(number: int) -> str:
    """Write a count with separated thousands: "1,204"."""
    return f"{number:,}"


def shortened(text: str, limit: int = VALUE_CHARS_MAX) -> str:
    """Cut a text at `limit` characters and say how many were cut."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def value(anything: Any, limit: int = VALUE_CHARS_MAX) -> str:
    """Write a value of the database; None, the absent value, is "nil"."""
    if anything is None:
        return "nil"
    if isinstance(anything, str):
        return shortened(anything, limit)
    if isinstance(anything, bytes):
        return shortened(anything.decode("utf-8", "backslashreplace"), limit)
    if isinstance(anything, bool | int | float):
        return str(anything)
    return shortened(json.dumps(anything, ensure_ascii=False, default=str), limit)


def request(operation: Operation) -> str:
    """Write the request of an operation, with its key: "write k7 5", "cas k7 3 → 5", "read k7"."""
    key = "" if operation.key is None else f" {shortened(str(operation.key), 60)}"
    return f"{operation.f}{key} {argument(operation, 60)}".rstrip()


def argument(operation: Operation, limit: int = VALUE_CHARS_MAX) -> str:
    """Write the argument of an operation: "5", "3 → 5" for a cas, "" for nothing."""
    given = operation.input
    if operation.f == "cas" and isinstance(given, list | tuple) and len(given) == 2:
        return f"{value(given[0], limit // 2)} → {value(given[1], limit // 2)}"
    if mops := micro_operations(given):
        asked = (f"{f} {key}" if it is None else f"{f} {key} {value(it)}" for f, key, it in mops)
        return shortened(", ".join(asked), limit)
    return "" if given is None else value(given, limit)


def micro_operations(anything: Any) -> list[tuple[str, str, Any]]:
    """Split a transaction, [["r", "x", null], ["append", "y", 1]]; [] for anything else."""
    found = []
    for one in anything if isinstance(anything, list | tuple) else ():
        if not isinstance(one, list | tuple) or len(one) != 3 or not isinstance(one[0], str):
            return []
        found.append((one[0], value(one[1]), one[2]))
    return found


def exchange(operation: Operation) -> str:
    """Write request and answer of an operation: "read k7 → 3", "write k7 5", "write k7 6 ?"."""
    asked = request(operation)
    if operation.outcome is OpType.INFO:
        return f"{asked} ?"
    if operation.outcome is OpType.FAIL:
        return f"{asked} failed"
    answered = answer(operation, 60)
    return f"{asked} → {answered}" if answered else asked


def answer(operation: Operation, limit: int = VALUE_CHARS_MAX) -> str:
    """Write the answer of an operation; "" where it only acknowledges the request."""
    found = operation.output
    if operation.outcome is OpType.OK and operation.f == "cas":
        swapped = found.get("swapped") if isinstance(found, dict) else found
        if swapped is False:
            seen = isinstance(found, dict) and "seen" in found
            return f"refused, saw {value(found['seen'], limit)}" if seen else "refused"
        return "" if swapped in (True, None) or found == operation.input else value(found, limit)
    if mops := micro_operations(found):
        asked = [it for _, _, it in micro_operations(operation.input)]
        # A micro-operation that was asked with a value is answered with the same value: left out.
        answered = [
            f"{key} {value(it)}"
            for at, (_, key, it) in enumerate(mops)
            if at >= len(asked) or asked[at] is None
        ]
        return shortened(", ".join(answered), limit)
    if found is None:
        # A write has no answer to show; a read that finds nothing has: nil.
        read = operation.f in {"get", "range"} or operation.f.endswith("read")
        return value(None) if read and operation.outcome is OpType.OK else ""
    return "" if found == operation.input else value(found, limit)


def facts(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Flatten a mapping into rows (dotted name, text), in its own order."""
    rows: list[tuple[str, str]] = []
    for name, held in mapping.items():
        if isinstance(held, Mapping) and held:
            rows.extend((f"{name}.{inner}", text) for inner, text in facts(held))
        else:
            rows.append((str(name), _fact(held)))
    return rows


def _fact(held: Any) -> str:
    if held is None:
        return "–"
    if isinstance(held, bool):
        return "yes" if held else "no"
    if isinstance(held, list | tuple) and not any(
        isinstance(one, list | tuple | Mapping) for one in held
    ):
        return ", ".join(value(one) for one in held) or "none"
    return value(held, 400)
