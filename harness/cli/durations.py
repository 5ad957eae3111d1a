"""Durations with a unit: `60s`, `500ms`, `2m`, `1h`. A bare number is refused as ambiguous."""

from __future__ import annotations

import re

from squall.harness.vocabulary import NS_PER_MS, NS_PER_S

_UNITS_NS = {"ms": NS_PER_MS, "s": NS_PER_S, "m": 60 * NS_PER_S, "h": 3600 * NS_PER_S}
_SHAPE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_duration_ns(text: str) -> int:
    """Return nanoseconds; raises ValueError that says what to write instead."""
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        example = f"{text.strip()}s" if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else "60s"
        raise ValueError(f"{text!r} is no duration; say the unit, as in {example} (ms, s, m, h)")
    duration_ns = round(float(found[1]) * _UNITS_NS[found[2]])
    if duration_ns <= 0:
        raise ValueError(f"{text!r} is no time at all")
    return duration_ns


def show_duration(duration_ns: int) -> str:
    """Return a duration as text that `parse_duration_ns` accepts."""
    for unit, size_ns in reversed(_UNITS_NS.items()):
        if duration_ns % size_ns == 0:
            return f"{duration_ns // size_ns}{unit}"
    return f"{duration_ns / NS_PER_MS:g}ms"
