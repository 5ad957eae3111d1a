"""A few operations as text lanes: one line a process, time to the right, made to be pasted.

    p12: |--write k7 5--|
    p31:                   |--read k7 3--|

`|...|` is ok, `|...!` fail, `|...?` info. Columns keep the order of events exactly and their
distances not at all: what precedes in the drawing preceded in the run.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.history import Operation, OpType
from reports import words

_ENDS = {OpType.OK: "|", OpType.FAIL: "!", OpType.INFO: "?"}


def lanes(operations: Sequence[Operation]) -> str:
    """Draw the operations; those of one process share a line."""
    columns = _columns(operations)
    lines: dict[int | str, str] = {}
    for operation in sorted(operations, key=lambda each: each.index):
        begin, end = columns[operation.index]
        bar = f"|{_label(operation):-^{end - begin - 1}}{_ENDS[operation.outcome]}"
        lines[operation.process] = lines.get(operation.process, "").ljust(begin) + bar
    margin = max((len(f"p{process}: ") for process in lines), default=0)
    return "\n".join(f"{f'p{process}: ':<{margin}}{line}" for process, line in lines.items())


def _label(operation: Operation) -> str:
    given = operation.input
    parts = [operation.f]
    if operation.key is not None:
        parts.append(operation.key)
    if operation.f == "cas" and isinstance(given, list | tuple):
        parts.extend(words.value(each, 40) for each in given)
    elif given is not None:
        parts.append(words.value(given, 40))
    elif operation.outcome is OpType.OK:
        parts.append(words.value(operation.output, 40))
    return " ".join(parts).replace("\n", " ")


def _columns(operations: Sequence[Operation]) -> dict[int, tuple[int, int]]:
    """Give each event a column: later events further right, and room for every label."""
    # At equal times invocations come first: operations that share an instant are concurrent.
    events = [(each.invoked_ns, 0, each.index, each) for each in operations]
    events += [
        (each.completed_ns, 1, each.index, each)
        for each in operations
        if each.completed_ns is not None
    ]
    begins: dict[int, int] = {}
    ends: dict[int, int] = {}
    column = 0
    for _, kind, index, operation in sorted(events, key=lambda event: event[:3]):
        if kind == 0:
            begins[index] = column
        else:
            column = max(column, begins[index] + len(_label(operation)) + 5)
            ends[index] = column
        column += 2
    for operation in operations:  # nobody knows when these ended: they stay open past the rest
        needed = begins[operation.index] + len(_label(operation)) + 5
        ends.setdefault(operation.index, max(column, needed))
    return {index: (begins[index], ends[index]) for index in begins}
