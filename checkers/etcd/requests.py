"""What a request to etcd may do: to which keys, and what its answer says that it did.

A transaction holds further requests, and which of its two branches ran is for its answer to say; as
long as nobody knows, it may have done what either branch does. This module knows no order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

PUT, DELETE = "put", "delete"


def needs_keys(f: str, request: Any) -> bool:
    """Whether a request does nothing unless a key is there: a transaction that asks for it."""
    return (
        f == "txn"
        and any(there for _, there in guarded(request, {"succeeded": True}))
        and not any(inner in {PUT, DELETE} for inner, _ in request.get("else", ()))
    )


class Effects(NamedTuple):
    """What a request may change: values it puts, by key, keys and ranges it deletes."""

    puts: dict[str, Any]
    deletes: set[str]
    ranges: list[tuple[str, str]]

    def touches(self, key: str) -> bool:
        """Whether a key may be changed."""
        return (
            key in self.puts
            or key in self.deletes
            or any(first <= key < end for first, end in self.ranges)
        )

    def within(self, first: str, end: str) -> bool:
        """Whether a key of [first, end) may be changed."""
        return any(first <= key < end for key in (*self.puts, *self.deletes)) or any(
            first < other_end and other < end for other, other_end in self.ranges
        )


def effects_of(f: str, request: Any) -> Effects:
    """Everything that a request could change, in either branch."""
    found = Effects({}, set(), [])
    _collect(f, request, found)
    return found


def _collect(f: str, request: Any, found: Effects) -> None:
    if f == PUT:
        found.puts[request["key"]] = request["value"]
    elif f == DELETE:
        end = request.get("end")
        if end is None:
            found.deletes.add(request["key"])
        else:
            found.ranges.append((request["key"], end))
    elif f == "txn":
        for inner, one in (*request.get("else", ()), *request.get("then", ())):
            _collect(inner, one, found)


def changed(f: str, request: Any, answer: Any) -> bool:
    """Whether a request that was answered like this changed anything."""
    if f == PUT:
        return True
    if f == DELETE:
        return bool(answer.get("deleted"))
    return f == "txn" and any(changed(*one) for one in ran(request, answer))


def ran(request: Any, answer: Any) -> Iterator[tuple[str, Any, Any]]:
    """The requests of a transaction's branch that ran, each with its answer."""
    branch = request.get("then" if answer.get("succeeded") else "else", ())
    answers = answer.get("answers") or [{}] * len(branch)
    for (inner, one), said in zip(branch, answers, strict=False):
        yield inner, one, said


def requests_of(f: str, request: Any) -> list[Any]:
    """A request, or those within a transaction."""
    if f != "txn":
        return [request]
    inner = [*request.get("then", ()), *request.get("else", ())]
    return [one for name, given in inner for one in requests_of(name, given)]


def keys_of(f: str, request: Any) -> list[str]:
    """The keys a request names."""
    return [one["key"] for one in requests_of(f, request) if "key" in one]


def guarded(request: Any, answer: Any) -> Iterator[tuple[str, bool]]:
    """Keys with whether they were there when a transaction ran, by what is known of its guards.

    All of them held if it succeeded. If not, one of them did not: known only if it is alone.
    """
    guards = request.get("if") or ()
    held = bool(answer.get("succeeded"))
    if held or len(guards) == 1:
        for key, target, op, operand in guards:
            if target == "value":
                if held:
                    yield key, True
            elif operand == 0 and (op, held) in _ABSENT:
                yield key, False
            elif (operand == 0 and (op, held) in _PRESENT) or (op == "=" and held):
                yield key, True


_ABSENT: Final = frozenset({("=", True), ("!=", False), (">", False)})
"""(operator, whether the guard held) of a comparison with 0 that says: the key is absent."""

_PRESENT: Final = frozenset({("=", False), ("!=", True), (">", True)})
"""The same of one that says: it is there."""
