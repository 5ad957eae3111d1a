"""The possible effects of an etcd request: which keys it may change, and which its answer names.

A transaction holds further requests, and its answer says which of its two branches ran; without an
answer it may have done what either branch does. This module knows no order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from squall.checkers.text.words import counted

PUT, DELETE = "put", "delete"


def needs_keys(f: str, request: Any) -> bool:
    """Whether a request does nothing unless a key is present: a transaction with such a guard."""
    return (
        f == "txn"
        and any(there for _, there in guarded(request, {"succeeded": True}))
        and not any(inner in {PUT, DELETE} for inner, _ in request.get("else", ()))
    )


class Effects(NamedTuple):
    """The possible changes of a request: values it puts, by key, keys and ranges it deletes."""

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
    """Return everything that a request could change, in either branch."""
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
    """Whether a request changed anything, given its answer."""
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


_FIELDS: Final = {
    "range": frozenset({"kvs", "count", "more"}),
    PUT: frozenset({"prev", "prev_kv"}),
    DELETE: frozenset({"deleted", "prev_kvs"}),
    "txn": frozenset({"succeeded", "answers"}),
    "compact": frozenset[str](),
}
"""The fields that an answer to each function may have besides its revision."""

_ALL_FIELDS: Final = frozenset[str]().union(*_FIELDS.values())


def covers(request: Any, key: Any) -> bool:
    """Whether a request covers a key: [key, end), or this key alone."""
    end = request.get("end")
    return bool(key == request["key"] if end is None else request["key"] <= key < end)


def unrelated(f: str, request: Any, answer: Any) -> str | None:
    """Return why an answer cannot belong to a request, whatever the store held; None if it can.

    Misshapen answers pass: `model.misshapen_answer` reports them.
    """
    try:
        return _unrelated(f, request, answer)
    except (TypeError, KeyError, IndexError, ValueError, AttributeError):
        return None


def _unrelated(f: str, request: Any, answer: Any) -> str | None:
    if not isinstance(answer, dict) or f not in _FIELDS:
        return None
    strange = (answer.keys() & _ALL_FIELDS) - _FIELDS[f]
    if strange:
        return f"{', '.join(sorted(strange))} is no part of an answer to a {f}"
    if f == "txn":
        return _unrelated_branch(request, answer)
    if f == "range":
        return _unrelated_range(request, answer)
    previous = answer.get("prev_kvs") or []
    if f == PUT:
        previous = [one for name in ("prev", "prev_kv") if (one := answer.get(name)) is not None]
    for kv in previous:
        key = kv.get("key") if isinstance(kv, dict) else kv[0]
        if not covers(request, key):
            return f"{key} is not among the keys asked for"
    if f == DELETE:
        gone = answer.get("deleted")
        if gone is not None and "end" not in request and gone > 1:
            return f"{gone} deletions of one key"
        if gone is not None and "prev_kvs" in answer and gone != len(previous):
            return f"{gone} deletions, and the values of {len(previous)} before"
    return None


def _unrelated_range(request: Any, answer: Any) -> str | None:
    kvs, count = answer.get("kvs") or [], answer.get("count")
    shown: set[Any] = set()
    for kv in kvs:
        if not covers(request, kv[0]):
            return f"{kv[0]} is not among the keys asked for"
        if kv[0] in shown:
            return f"{kv[0]} comes twice"
        shown.add(kv[0])
        if request.get("revision") and kv[3] > request["revision"]:
            return f"{kv[0]} is of revision {kv[3]}, after the one asked for"
    limit = request.get("limit") or 0
    if limit and len(kvs) > limit:
        return f"{len(kvs)} keys, where at most {limit} were asked for"
    if count is not None and "kvs" in answer and count < len(kvs):
        return f"a count of {count} with {len(kvs)} keys"
    if count is not None and request.get("end") is None and count > 1:
        return f"a count of {count} for one key"
    return None


def _unrelated_branch(request: Any, answer: Any) -> str | None:
    if "succeeded" not in answer or "answers" not in answer:
        return None
    name = "then" if answer["succeeded"] else "else"
    branch = request.get(name) or ()
    answers = answer["answers"]
    if len(answers) != len(branch):
        asked, told = counted(len(branch), "request"), counted(len(answers), "answer")
        return f"its branch `{name}` has {asked}, which got {told}"
    for (inner, one), said in zip(branch, answers, strict=True):
        if wrong := _unrelated(inner, one, said):
            return wrong
    return None


def requests_of(f: str, request: Any) -> list[Any]:
    """Return a request, or those within a transaction."""
    if f != "txn":
        return [request]
    inner = [*request.get("then", ()), *request.get("else", ())]
    return [one for name, given in inner for one in requests_of(name, given)]


def keys_of(f: str, request: Any) -> list[str]:
    """The keys a request names."""
    return [one["key"] for one in requests_of(f, request) if "key" in one]


def guarded(request: Any, answer: Any) -> Iterator[tuple[str, bool]]:
    """Keys with whether they were present when a transaction ran, as far as its guards tell.

    If it succeeded, all guards held. If not, one of them did not: known only if there is just one.
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
"""(operator, whether the guard held) of a comparison with 0 that implies: the key is absent."""

_PRESENT: Final = frozenset({("=", False), ("!=", True), (">", True)})
"""The same of one that implies: the key is present."""
