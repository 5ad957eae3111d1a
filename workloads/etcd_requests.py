"""Requests and answers as `squall.checkers.etcd.model` states them, from and to those of a client.

The history holds texts without the run's prefix; a client sends bytes with it. A value may be a
number as well: `value` says how to read it back. Nothing is decided here, and nothing drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from squall.workloads import client


def to_request(f: str, given: dict[str, Any], prefix: str) -> client.Request:
    """Return what a client sends for an operation of the history; raises KeyError."""
    return _REQUESTS[f](given, prefix)


def answer_of(
    answer: client.Answer, prefix: str, value: Callable[[bytes], Any] = bytes.decode
) -> dict[str, Any]:
    """Return an answer as the history holds it."""
    return {"revision": answer.revision} | _contents(answer, len(prefix.encode()), value)


def key_bytes(given: dict[str, Any], name: str, prefix: str) -> bytes:
    """Return the key that `given` names so, as the client sends it; empty if it names none."""
    text = given.get(name)
    return b"" if text is None else f"{prefix}{text}".encode()


def _text(value: str | int) -> bytes:
    return str(value).encode()


def _range(given: dict[str, Any], prefix: str) -> client.Request:
    return client.Range(
        key=key_bytes(given, "key", prefix),
        range_end=key_bytes(given, "end", prefix),
        revision=given.get("revision", 0),
        limit=given.get("limit", 0),
        serializable=given.get("serializable", False),
    )


def _put(given: dict[str, Any], prefix: str) -> client.Request:
    return client.Put(key=key_bytes(given, "key", prefix), value=_text(given["value"]))


def _delete(given: dict[str, Any], prefix: str) -> client.Request:
    return client.Delete(
        key=key_bytes(given, "key", prefix), range_end=key_bytes(given, "end", prefix)
    )


def _txn(given: dict[str, Any], prefix: str) -> client.Request:
    return client.Txn(
        compares=tuple(_compare(guard, prefix) for guard in given.get("if", ())),
        success=tuple(to_request(f, inner, prefix) for f, inner in given.get("then", ())),
        failure=tuple(to_request(f, inner, prefix) for f, inner in given.get("else", ())),
    )


def _compare(guard: list[Any], prefix: str) -> client.Compare:
    key, target, operator, operand = guard
    operand = _text(operand) if target == "value" else operand
    return client.Compare(f"{prefix}{key}".encode(), target, operator, operand)


def _compact(given: dict[str, Any], _prefix: str) -> client.Request:
    return client.Compact(revision=given["revision"])


_REQUESTS = {"range": _range, "put": _put, "delete": _delete, "txn": _txn, "compact": _compact}


def _contents(answer: client.Answer, skipped: int, value: Callable[[bytes], Any]) -> dict[str, Any]:
    match answer:
        case client.RangeAnswer():
            kvs = [_key_value(found, skipped, value) for found in answer.kvs]
            return {"kvs": kvs, "count": answer.count}
        case client.DeleteAnswer():
            return {"deleted": answer.deleted}
        case client.TxnAnswer():
            inner = [_contents(each, skipped, value) for each in answer.answers]
            return {"succeeded": answer.succeeded, "answers": inner}
        case _:
            return {}


def _key_value(found: client.KeyValue, skipped: int, value: Callable[[bytes], Any]) -> list[Any]:
    return [
        found.key[skipped:].decode(),
        value(found.value),
        found.create_revision,
        found.mod_revision,
        found.version,
    ]
