"""Values and elements that no operation of the history can have put where they were found.

Such a value is a violation in every order of the operations, unless it is the object's initial
value. The initial value is for the user to state (`assumptions`); this module decides whether a
value can have been the initial one as far as the history shows: there is one for each object, and
no read called after an acknowledged write returns it. One pass over the operations, O(n).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from squall.checkers.history import Operation, OpType
from squall.checkers.linearizability.registers import (
    FOREVER,
    NOTHING,
    Columns,
    RegisterHistory,
    freeze,
)
from squall.checkers.text.lanes import value_text
from squall.checkers.text.proof import Cast, anomaly, who
from squall.checkers.text.words import listed
from squall.checkers.verdict import Anomaly

NAMED_MAX: Final = 4
"""Failed operations named in one anomaly."""


def could_be_initial(register: RegisterHistory, value: Hashable, initial: Hashable = None) -> bool:
    """Whether a value that no operation wrote may have been the initial one.

    It may if no other initial value is evident (no operation read `initial` nor another value
    without a writer), and if no operation read it after an acknowledged write.
    """
    call, ret, seen, wrote = register.columns
    written_ones = {one for one in wrote if one is not NOTHING}
    seen_ns = -FOREVER
    for row, found in enumerate(seen):
        if found is NOTHING or ret[row] == FOREVER:
            continue
        if found == value:
            seen_ns = max(seen_ns, call[row])
        elif found == initial or found not in written_ones:
            return False
    written_ns = min((ret[row] for row, one in enumerate(wrote) if one is not NOTHING), default=0)
    return value not in register.failed and (not written_ones or seen_ns <= written_ns)


def unwritten(columns: Columns, initial: Hashable) -> int | None:
    """Return the first answered row that read what no row wrote; values may be written twice."""
    known = {value for value in columns.wrote if value is not NOTHING}
    for row, value in enumerate(columns.seen):
        if columns.ret[row] == FOREVER or value is NOTHING or value == initial:
            continue
        if value not in known:
            return row
    return None


def unexpected_element(
    key: str | None,
    operations: Sequence[Operation],
    initial: Iterable[Hashable],
    *,
    puts: str,
    takes: str,
) -> Callable[[], Anomaly] | None:
    """Find an element that came out of a collection and was never put in; None if there is none.

    The result is the anomaly. `puts` and `takes` are functions: add and read, enqueue and dequeue.
    """
    known = {freeze(one.input) for one in operations if one.f == puts and _may_have(one)}
    known.update(initial)
    for one in operations:
        if one.f != takes or one.outcome is not OpType.OK or one.output is None:
            continue
        shown = one.output if takes == "read" else [one.output]
        if not isinstance(shown, list | tuple):
            continue  # misshapen: left to the model
        for element in shown:
            if freeze(element) not in known:
                return partial(_explain, key, operations, one, element, puts)
    return None


def _may_have(one: Operation) -> bool:
    return one.outcome is not OpType.FAIL


def _explain(
    key: str | None, operations: Sequence[Operation], shown: Operation, element: Any, puts: str
) -> Anomaly:
    failed = [one for one in operations if one.f == puts and freeze(one.input) == freeze(element)]
    named = failed[:NAMED_MAX]
    cast = Cast([*named, shown])
    name, value = cast.name(shown), value_text(element)
    what = key if key is not None else "the object"
    summary = f"{who(shown)} found {value} in {what}, which nobody ever put there."
    however = f"However, no {puts} of {value} was called, and it was not there at the start."
    if failed:
        summary = f"{who(shown)} found {value} in {what}, whose {puts} had failed."
        names = listed([cast.name(one) for one in named])
        however = f"However, every {puts} of {value} failed for certain: {names}."
    return anomaly(
        "unexpected-element",
        summary,
        [f"Then {value} was put into {what} once: {name} shows it.", however],
        cast,
        data={"element": value},
    )


def hint_of(anomalies: Sequence[Anomaly]) -> str | None:
    """Say how to declare an initial value, if an anomaly may be due to one.

    An anomaly about a value without a writer that may have been the initial one has it in
    `data["initial"]`.
    """
    found = [one.data["initial"] for one in anomalies if "initial" in one.data]
    if not found or len(found) < len(anomalies):
        return None
    if all(isinstance(one, list) for one in found):  # a set's initial elements: all of them
        found = [[element for some in found for element in some]]
    values = {value_text(one) for one in found}
    value = f"'{min(values)}'" if len(values) == 1 else "VALUE"
    return f"if it was there at the start, say so with --initial {value}"
