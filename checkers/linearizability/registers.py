"""A key's operations in the form that the register checkers need: parallel columns of plain values.

Four kinds of operation remain: a read observes a value, a write installs one, a successful
compare-and-set does both, and a refused compare-and-set that reports the value it saw is a read of
that value. Operations that failed are dropped; their values are kept only so that a read of one can
be reported as an aborted read. Indeterminate operations (`info`) never return: their return time is
`FOREVER`.

Absent is the value None, the register's initial value by default. This module decides nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final, NamedTuple

from squall.checkers.history import MalformedHistory, Operation, OpType

FOREVER: Final = 1 << 62
"""The return time of an operation that never answered; later than any clock reading in ns."""


class _Nothing:
    """The type of NOTHING: this operation observes (or installs) no value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()

IGNORED: Final = frozenset({"serializable-read"})
"""Reads that may be weaker than linearizable. Other checkers judge them."""


class Columns(NamedTuple):
    """Operations of one register. Row i: an interval [call, ret], what it saw, what it wrote."""

    call: list[int]
    ret: list[int]
    seen: list[Hashable]
    wrote: list[Hashable]


class RegisterHistory(NamedTuple):
    """One key's operations, sorted by how the checkers use them.

    `rows[i]` is the operation behind row i of `columns`. `opaque` are refused compare-and-sets that
    do not report the value they saw; `contradictions` are those refused although they saw the value
    they expected. `failed` maps a value to the operations that failed to write it. `strangers`
    names functions a register does not have.
    """

    columns: Columns
    rows: list[Operation]
    opaque: list[Operation]
    contradictions: list[Operation]
    failed: dict[Hashable, list[Operation]]
    strangers: frozenset[str]


class _Map:
    """The type of _MAP, which is equal to no JSON value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "{}"


_MAP: Final = _Map()
"""Marks a frozen map, which no list can then be taken for."""


def freeze(value: Any) -> Hashable:
    """Make a JSON value hashable, and keep True apart from 1."""
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value  # type: ignore[no-any-return]
    if kind is list or kind is tuple:
        return tuple(map(freeze, value))
    if kind is dict:
        return (_MAP, *sorted((str(key), freeze(inner)) for key, inner in value.items()))
    return (kind.__name__, value)


def thaw(value: Hashable) -> Any:
    """Return the JSON value that `freeze` was given."""
    if not isinstance(value, tuple):
        return value
    if not value:
        return []
    if value[0] is _MAP:
        return {key: thaw(inner) for key, inner in value[1:]}
    kind, inner = value[0], value[-1]
    if len(value) == 2 and type(inner) not in {int, str} and type(inner).__name__ == kind:
        return inner
    return [thaw(one) for one in value]


def register_history(operations: Iterable[Operation]) -> RegisterHistory:
    """Turn one key's operations into columns; raises MalformedHistory on a misshapen cas."""
    columns = Columns([], [], [], [])
    found = RegisterHistory(columns, [], [], [], {}, frozenset())
    strangers: set[str] = set()
    call, ret, seen, wrote = columns
    ok, fail = OpType.OK, OpType.FAIL
    for operation in operations:
        f, outcome = operation.f, operation.outcome
        observed: Hashable = NOTHING
        installed: Hashable = NOTHING
        if f == "read":
            if outcome is not ok:
                continue
            observed = freeze(operation.output)
        elif f == "write":
            installed = freeze(operation.input)
            if outcome is fail:
                found.failed.setdefault(installed, []).append(operation)
                continue
        elif f == "cas":
            expected, new = _arguments(operation)
            if outcome is fail:
                found.failed.setdefault(new, []).append(operation)
                continue
            answer = operation.output
            if outcome is ok and not _is_swap_answer(answer):
                raise MalformedHistory(
                    f'op {operation.index}: a cas answers {{"swapped": true}} or '
                    f'{{"swapped": false, "seen": value}}, this one {answer!r}'
                )
            if outcome is ok and not swapped(answer):
                if not isinstance(answer, dict) or "seen" not in answer:
                    found.opaque.append(operation)
                    continue
                observed = freeze(answer["seen"])
                if observed == expected:
                    found.contradictions.append(operation)
                    continue
            else:
                observed, installed = expected, new
        else:
            if f not in IGNORED:
                strangers.add(f)
            continue
        call.append(operation.invoked_ns)
        until = operation.completed_ns
        ret.append(FOREVER if until is None or outcome is not ok else until)
        seen.append(observed)
        wrote.append(installed)
        found.rows.append(operation)
    return found._replace(strangers=frozenset(strangers))


def _is_swap_answer(answer: Any) -> bool:
    """Whether an answer says if a compare-and-set swapped; a repeated [expected, new] does."""
    if isinstance(answer, dict):
        return "swapped" in answer
    return isinstance(answer, bool) or (isinstance(answer, list | tuple) and len(answer) == 2)


def swapped(answer: Any) -> bool:
    """Whether a compare-and-set's answer says that it replaced the value."""
    return bool(answer.get("swapped")) if isinstance(answer, dict) else bool(answer)


def _arguments(operation: Operation) -> tuple[Hashable, Hashable]:
    given = operation.input
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise MalformedHistory(
            f"op {operation.index}: a cas takes [expected, new], this one has {given!r}"
        )
    return freeze(given[0]), freeze(given[1])
