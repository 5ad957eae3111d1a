"""The operations as compressed columns, small enough to be part of the page.

Layout, before compression: u32 LE length of the header | header (JSON, UTF-8) | columns. A
column is `width` planes of `n` bytes: the lowest bytes of all numbers, then the second bytes, and
so on; equal magnitudes are then adjacent and compress a fifth better than whole integers. The whole
is gzip without a time stamp (the same run gives the same bytes), then base64.

Columns of one operation: `start` (µs since the previous one), `length` (µs the client waited),
`index` (since the previous one), `process`, `f`, `outcome`, `node`, `key`, `input`, `output`,
`error`. The last eight but `process` and `outcome` are indexes into the header's tables, 0 for none
where there may be none. Indexes of values are written relative to the highest one used so far: 0 is
none, 1 a first use, else highest - index + 2.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from squall.checkers.history import OpType
from squall.reports import formatting
from squall.reports.report import Report
from squall.reports.view.attempts import Attempt

OPS_MAX = 1_000_000
"""Most operations a page holds: about 11 MB, drawn in a quarter of a second."""

VALUE_CHARS_MAX = 300

OUTCOME_CODES = {OpType.OK: 0, OpType.INFO: 1, OpType.FAIL: 2}


def on_page(report: Report) -> list[Attempt]:
    """Choose what the page holds: all attempts, or those on the anomalies' keys if too many."""
    attempts, cards = report.attempts, report.cards
    if len(attempts) <= OPS_MAX:
        return attempts
    keys = {key for each in cards for key in (each.anomaly.key, *each.keys)}
    shown = {operation.index for each in cards for operation in each.witnesses}
    chosen = [
        each
        for each in attempts
        if each.operation.key in keys
        or each.operation.index in shown
        or each.operation.outcome is OpType.INFO
    ]
    return chosen[:OPS_MAX]


class _Table:
    """Distinct texts, numbered in order of first use."""

    def __init__(self, *first: str) -> None:
        self.places: dict[str, int] = {text: at for at, text in enumerate(first)}

    def place(self, text: str) -> int:
        return self.places.setdefault(text, len(self.places))

    @property
    def texts(self) -> list[str]:
        return list(self.places)


def encode(attempts: Sequence[Attempt], processes: Iterable[Any]) -> str:
    """Pack the attempts; `processes` is the order in which the page numbers processes."""
    order = {process: at for at, process in enumerate(processes)}
    kinds, nodes, keys, errors = _Table(), _Table(""), _Table(""), _Table("")
    values = _Table("")
    recent = _recency(values)
    columns: dict[str, list[int]] = {name: [] for name in _COLUMNS}
    at_us = index = 0
    for each in attempts:
        operation = each.operation
        start_us = operation.invoked_ns // 1000
        row = (
            start_us - at_us,
            max(0, each.ended_ns // 1000 - start_us),
            operation.index - index,
            order[operation.process],
            kinds.place(operation.f),
            OUTCOME_CODES[operation.outcome],
            nodes.place(operation.node or ""),
            keys.place(operation.key or ""),
            recent(formatting.argument(operation, VALUE_CHARS_MAX)),
            recent(formatting.answer(operation, VALUE_CHARS_MAX)),
            errors.place(formatting.shortened(operation.error or "", VALUE_CHARS_MAX)),
        )
        for name, number in zip(_COLUMNS, row, strict=True):
            columns[name].append(number)
        at_us, index = start_us, operation.index
    header = {
        "n": len(attempts),
        "columns": [[name, _width(columns[name])] for name in _COLUMNS],
        "f": kinds.texts,
        "node": nodes.texts,
        "key": keys.texts,
        "error": errors.texts,
        "value": values.texts,
    }
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    body = b"".join(_planes(columns[name]) for name in _COLUMNS)
    packed = gzip.compress(len(head).to_bytes(4, "little") + head + body, 9, mtime=0)
    return base64.b64encode(packed).decode("ascii")


_COLUMNS = (
    *("start", "length", "index", "process", "f", "outcome"),
    *("node", "key", "input", "output", "error"),
)


def _recency(table: _Table) -> Callable[[str], int]:
    """Return a function that numbers texts by recency: none 0, a first use 1, recent ones small."""
    highest = 0

    def number(text: str) -> int:
        nonlocal highest
        place = table.place(text)
        if place == 0:
            return 0
        if place > highest:
            highest = place
            return 1
        return highest - place + 2

    return number


def _width(numbers: Sequence[int]) -> int:
    return max(1, (max(numbers, default=0).bit_length() + 7) // 8)


def _planes(numbers: Sequence[int]) -> bytes:
    return b"".join(
        bytes((number >> (8 * plane)) & 0xFF for number in numbers)
        for plane in range(_width(numbers))
    )
