"""Any checker's `stats` as tables, without knowledge of their keys.

A mapping of like mappings, or a list of them, becomes a table; anything else stays a list of names
with values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COLUMNS_MAX = 12
ROWS_MAX = 60


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: the first column names the rows. Missing cells are None."""

    columns: list[str]
    rows: list[tuple[str, list[Any]]]
    omitted: int


def grid(held: Any) -> Grid | None:
    """Return a mapping or list of mappings as a table; None if it has another shape."""
    if isinstance(held, Mapping):
        named = [(str(name), inner) for name, inner in held.items()]
    elif isinstance(held, list | tuple):
        named = [(str(at), inner) for at, inner in enumerate(held, start=1)]
    else:
        return None
    if len(named) < 2 or not all(isinstance(inner, Mapping) and inner for _, inner in named):
        return None
    flat = [(name, _flat(inner)) for name, inner in named[:ROWS_MAX]]
    columns = list(dict.fromkeys(column for _, row in flat for column in row))
    if len(columns) > COLUMNS_MAX:
        return None
    rows = [(name, [row.get(column) for column in columns]) for name, row in flat]
    return Grid(columns, rows, len(named) - len(rows))


def _flat(inner: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a nested mapping by one level: {"ms": {"p50": 1}} -> {"ms p50": 1}."""
    found: dict[str, Any] = {}
    for name, held in inner.items():
        if isinstance(held, Mapping) and held:
            found.update({f"{name} {deeper}": value for deeper, value in held.items()})
        else:
            found[str(name)] = held
    return found
