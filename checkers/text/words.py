"""Counts and enumerations within sentences."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun: "1 key", "1,204 keys"; `plural` where it is not noun + s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Sequence[str]) -> str:
    """Enumerate names: "n1", "n1 and n2", "n1, n2 and n3"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
