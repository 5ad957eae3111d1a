"""The key-value store of etcd as a sequential object: what each request answers and changes.

Requests and answers are plain data; keys and values are texts:

    range    {"key", "end"?, "revision"?, "limit"?}   -> {"revision", "kvs", "count"}
    put      {"key", "value"}                         -> {"revision"}
    delete   {"key", "end"?}                          -> {"revision", "deleted"}
    txn      {"if": [[key, target, op, operand]...], "then": [[f, request]...], "else": [...]}
             -> {"revision", "succeeded", "answers"}
    compact  {"revision"}                             -> {"revision"}

`end` makes it [key, end); a kv is [key, value, create_revision, mod_revision, version]; `target` is
value, version, create or mod and `op` one of = != < >. One request that changes something makes one
revision, a txn's changes share it, and a request that changes nothing makes none.

An answer may leave out what its client did not record: only what it says is compared.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final

from sortedcontainers import SortedList

from squall.checkers.linearizability.models import UNKNOWN, Given

FIRST_REVISION: Final = 1
"""The revision of an empty store in which nothing was ever written."""

FUNCTIONS: Final = frozenset({"range", "put", "delete", "txn", "compact"})


TXN_DEPTH_MAX: Final = 8
"""Nested transactions: deeper ones are misshapen."""


KeyValue = list[Any]
"""A key's state as a range shows it: [key, value, create, mod, version]. Never mutated."""

_TARGETS: Final = {"value": 1, "create": 2, "mod": 3, "version": 4}
"""The index in a kv of what a guard compares."""


class Store:
    """A store that is changed in place; `revision` is that of its last change."""

    def __init__(self, revision: int = FIRST_REVISION) -> None:
        self.revision = revision
        self.keys: dict[str, KeyValue] = {}
        self.undo: list[tuple[str, KeyValue | None]] = []  # of the last request: what it replaced
        self._sorted: Any = None  # built by the first range: most requests have a single key

    def apply(self, f: str, request: Any, at: int | None = None) -> tuple[dict[str, Any], bool]:
        """Apply a request as revision `at` (the next one); return its answer, and if it changed."""
        revision = self.revision + 1 if at is None else at
        self.undo.clear()
        answer, changed = self._apply(f, request, revision)
        if changed:
            self.revision = revision
        answer["revision"] = self.revision
        return answer, changed

    def _apply(self, f: str, request: Any, revision: int) -> tuple[dict[str, Any], bool]:
        if f == "put":
            self.put(request["key"], request["value"], revision)
            return {}, True
        if f == "range":
            found = [self.keys[key] for key in self.within(request)]
            limit = request.get("limit") or len(found)
            return {"kvs": found[:limit], "count": len(found)}, False
        if f == "delete":
            gone = list(self.within(request))
            for key in gone:
                self.install(key, None)
            return {"deleted": len(gone)}, bool(gone)
        if f == "txn":
            holds = self.holds(request)
            answers, changed = [], False
            for inner, one in request.get("then" if holds else "else", ()):
                answer, did = self._apply(inner, one, revision)
                answers.append(answer)
                changed = changed or did
            return {"succeeded": holds, "answers": answers}, changed
        if f == "compact":
            return {}, False
        raise ValueError(f"a store has no request {f!r}")

    def put(self, key: str, value: Any, revision: int) -> None:
        """Set a key."""
        old = self.keys.get(key)
        if old is None:
            self.install(key, [key, value, revision, revision, 1])
        else:
            self.install(key, [key, value, old[2], revision, old[4] + 1])

    def install(self, key: str, kv: KeyValue | None) -> None:
        """Set a key to exactly this kv, whatever it held; None: absent."""
        old = self.keys.get(key)
        self.undo.append((key, old))
        if kv is None:
            self.keys.pop(key, None)
        else:
            self.keys[key] = kv
        if self._sorted is not None and (old is None) is not (kv is None):
            (self._sorted.add if old is None else self._sorted.remove)(key)

    def take_back(self) -> None:
        """Undo the last request, except for its revision."""
        for key, kv in reversed(self.undo[:]):
            self.install(key, kv)
        self.undo.clear()

    def within(self, request: Any) -> Iterable[str]:
        """The keys a request covers, in order."""
        key, end = request["key"], request.get("end")
        if end is None:
            return (key,) if key in self.keys else ()
        if self._sorted is None:
            self._sorted = SortedList(self.keys)
        return list(self._sorted.irange(key, end, inclusive=(True, False)))

    def holds(self, txn: Any) -> bool:
        """Whether every guard of a transaction holds."""
        return all(self._holds(guard) for guard in txn.get("if", ()))

    def _holds(self, guard: Any) -> bool:
        key, target, op, operand = guard
        found = self.keys.get(key)
        if found is None and target == "value":
            return False  # as in etcd, a comparison with an absent value is false
        held = 0 if found is None else found[_TARGETS[target]]
        holds = {"=": held == operand, "!=": held != operand}.get(op)
        if holds is None:
            holds = held < operand if op == "<" else held > operand
        return bool(holds)


def agrees(answer: Any, expected: dict[str, Any]) -> bool:
    """Whether an answer states nothing that differs from the expected one."""
    for name, value in expected.items():
        if name not in answer:
            continue
        if name == "answers":
            if len(answer[name]) != len(value) or not all(map(agrees, answer[name], value)):
                return False
        elif name == "kvs":
            said = answer[name]
            if said != value and list(map(list, said)) != list(map(list, value)):
                return False
        elif answer[name] != value and not (name == "revision" and answer[name] is None):
            return False
    return True


class EtcdKv:
    """etcd's store as a model for the search: small histories, no reads of past revisions."""

    name = "etcd"
    functions = FUNCTIONS
    init: Hashable = (FIRST_REVISION, ())

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one request."""
        revision, kvs = state
        store = Store(revision)
        store.keys.update({kv[0]: kv for kv in kvs})
        f, request = given
        expected, changed = store.apply(f, request)
        if answer is not UNKNOWN and not agrees(answer, expected):
            return False, state
        if not changed:
            return True, state
        return True, (store.revision, tuple(sorted(map(tuple, store.keys.values()))))

    def read_only(self, given: Given, answer: Any) -> bool:  # noqa: ARG002 - the protocol's
        """Whether no branch of the request can change anything."""
        f, request = given
        if f == "txn":
            branches = [*request.get("then", ()), *request.get("else", ())]
            return all(inner == "range" for inner, _ in branches)
        return f in {"range", "compact"}

    def describe(self, given: Given, answer: Any) -> str:
        """Describe a request and its answer briefly."""
        return f"{given[0]} {given[1]} -> {answer}"


def misshapen(f: str, request: Any, depth: int = 0) -> str | None:
    """Return what is wrong with a request's shape, or None."""
    if not isinstance(request, dict) or f not in FUNCTIONS or depth > TXN_DEPTH_MAX:
        return f"{f} asks with a map, and transactions are not nested deeply"
    if f == "compact":
        return None
    if f != "txn":
        texts = [request.get("key"), request.get("end", "")]
        numbers = [request.get(name) or 0 for name in ("revision", "limit")]
        if not all(isinstance(one, str) for one in texts):
            return f"the key of a {f} is a text"
        if not all(isinstance(one, int) for one in numbers):
            return "a revision and a limit are numbers"
        if f == "put" and isinstance(request.get("value"), list | dict):
            return "the value of a put is a text"
        return "a put has a value" if f == "put" and "value" not in request else None
    for guard in request.get("if") or ():
        if not _is_guard(guard):
            return "a guard is [key, target, op, operand]"
    for branch in ("then", "else"):
        inner = request.get(branch, [])
        if not isinstance(inner, list) or not all(
            isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) for one in inner
        ):
            return f"{branch} is a list of [function, request]"
        for name, one in inner:
            if wrong := misshapen(name, one, depth + 1):
                return wrong
    return None


def _is_guard(guard: Any) -> bool:
    if not isinstance(guard, list) or len(guard) != 4 or not isinstance(guard[0], str):
        return False
    _, target, op, operand = guard
    if target not in ("value", "version", "create", "mod") or op not in ("=", "!=", "<", ">"):
        return False
    return isinstance(operand, str if op in "<>" and target == "value" else str | int)


def misshapen_answer(answer: Any, depth: int = 0) -> str | None:
    """Return what is wrong with an answer's shape, or None."""
    if not isinstance(answer, dict) or depth > TXN_DEPTH_MAX:
        return "an answer is a map"
    kvs, answers = answer.get("kvs", []), answer.get("answers", [])
    if not isinstance(kvs, list) or not all(_is_kv(kv) for kv in kvs):
        return "kvs are lists of [key, value, create_revision, mod_revision, version]"
    if not isinstance(answers, list):
        return "answers is a list"
    return next(filter(None, (misshapen_answer(one, depth + 1) for one in answers)), None)


def _is_kv(kv: Any) -> bool:
    return (
        isinstance(kv, list)
        and len(kv) == 5
        and isinstance(kv[0], str)
        and all(isinstance(one, int) for one in kv[2:])
    )
