"""A history as data for Porcupine's visualiser: intervals, and partial linearizations.

    {"Partitions": [{"History": [{"ClientId", "Start", "End", "Description"}, ...],
                     "PartialLinearizations": [[{"Index", "StateDescription"}, ...], ...],
                     "Largest": {"0": 0, ...}}, ...],
     "Annotations": [{"ClientId", "Tag", "Start", "End", "Description", "Details", ...}, ...]}

This is the JSON that Porcupine embeds in its page. A partition is a key. Its order is complete if
the key is linearizable; otherwise it is the longest that explains everything which answered before
the first answer that nothing explains. `Largest` maps each operation to the longest order it is in.
A key whose search gave up has no order. Faults are annotations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from squall.checkers.budget import Meter
from squall.checkers.faults import fault_windows
from squall.checkers.history import History, Operation, OpType
from squall.checkers.linearizability.checker import calls_of
from squall.checkers.linearizability.models import UNKNOWN, Model
from squall.checkers.linearizability.registers import FOREVER, IGNORED
from squall.checkers.linearizability.search import Call, search
from squall.checkers.verdict import Budget

FAULT_COLOUR = "#ffd6a5"


def visualise(history: History, make: Callable[[], Model], budget: Budget) -> dict[str, Any]:
    """Return the data; orders are searched for within the budget, which all keys share."""
    meter = Meter(budget)
    end_ns = history.duration_ns + 1
    partitions = []
    clients = _numbers(history)
    for operations in history.by_key.values():
        model = make()
        judged = [one for one in operations if one.f not in IGNORED and _matters(one, model)]
        if judged:
            partitions.append(_partition(judged, model, end_ns, meter, clients))
    return {"Partitions": partitions, "Annotations": _annotations(history, end_ns)}


def _numbers(history: History) -> dict[int | str, int]:
    """Number the clients: by their own numbers; those with names follow."""
    processes = dict.fromkeys(one.process for one in history.operations)
    numbers = [process for process in processes if isinstance(process, int)]
    fresh = itertools.count(1 + max(numbers, default=-1))
    return {process: process if isinstance(process, int) else next(fresh) for process in processes}


def _matters(one: Operation, model: Model) -> bool:
    """Whether an operation happened, or may have changed something."""
    return one.outcome is OpType.OK or (
        one.outcome is OpType.INFO and not model.read_only((one.f, one.input), UNKNOWN)
    )


def _partition(
    operations: Sequence[Operation],
    model: Model,
    end_ns: int,
    meter: Meter,
    clients: dict[int | str, int],
) -> dict[str, Any]:
    calls = calls_of(operations)
    order = _order(model, calls, meter)
    state, steps = model.init, []
    show = getattr(model, "show", str)
    for row in order:
        _, state = model.step(state, calls[row].given, calls[row].answer)
        steps.append({"Index": row, "StateDescription": show(state)})
    return {
        "History": [
            {
                "ClientId": clients[one.process],
                "Start": call.call,
                "End": min(call.ret, end_ns),
                "Description": model.describe(call.given, call.answer),
            }
            for one, call in zip(operations, calls, strict=True)
        ],
        "PartialLinearizations": [steps] if steps else [],
        "Largest": {str(row): 0 for row in order},
    }


def _order(model: Model, calls: Sequence[Call], meter: Meter) -> tuple[int, ...]:
    """Return a complete order, or the longest up to the first answer that nothing explains."""
    found = search(model, calls, meter)
    if found.stuck is None:
        return found.order
    # Before that answer, its call and all that answered later were open: they may explain the
    # others.
    at = calls[found.stuck].ret
    rows = [row for row, call in enumerate(calls) if call.call <= at]
    before = [
        calls[row] if calls[row].ret < at else Call(calls[row].call, FOREVER, calls[row].given)
        for row in rows
    ]
    return tuple(rows[row] for row in search(model, before, meter).order)


def _annotations(history: History, end_ns: int) -> list[dict[str, Any]]:
    return [
        {
            "ClientId": 0,
            "Tag": window.kind,
            "Start": window.from_ns,
            "End": end_ns if window.until_ns is None else window.until_ns,
            "Description": window.id,
            "Details": window.detail or ", ".join(window.targets),
            "Annotation": True,
            "TextColor": "",
            "BackgroundColor": FAULT_COLOUR,
        }
        for window in fault_windows(history)
    ]
