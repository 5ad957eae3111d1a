"""The store against a brute-force model: every answer, every past revision, after every command."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from squall.node.mvcc import validation
from squall.node.mvcc.commands import Range, encode
from squall.node.mvcc.errors import RequestError
from squall.node.mvcc.keyvalue import KeyValue
from squall.node.mvcc.results import (
    CompactResult,
    DeleteResult,
    PutResult,
    RangeResult,
    TxnResult,
)
from squall.node.mvcc.store import Store
from tests.node.mvcc import strategies
from tests.node.mvcc.model import Model


def plain_kv(kv: KeyValue | None) -> Any:
    if kv is None:
        return None
    return kv.create_revision, kv.mod_revision, kv.version, kv.value


def plain(result: Any, asked: Any) -> Any:
    """An answer of the store in the model's words; what was not asked for is blanked out."""
    if isinstance(result, RequestError):
        return result.text
    if isinstance(result, CompactResult):
        return "compacted"
    if isinstance(result, PutResult):
        return ("put", plain_kv(result.prev_kv))
    if isinstance(result, DeleteResult):
        return ("deleted", result.deleted, [(kv.key, plain_kv(kv)) for kv in result.prev_kvs])
    if isinstance(result, RangeResult):
        return result.count, result.more, [(kv.key, plain_kv(kv)) for kv in result.kvs]
    assert isinstance(result, TxnResult)
    branch = asked.success if result.succeeded else asked.failure
    return result.succeeded, [plain(r, a) for r, a in zip(result.results, branch, strict=True)]


def expected(answer: Any, asked: Any) -> Any:
    """The model's answer with what was not asked for left out."""
    if isinstance(answer, str):
        return answer
    name = type(asked).__name__
    if name == "Put":
        return ("put", answer if asked.prev_kv else None)
    if name == "DeleteRange":
        return ("deleted", len(answer), answer if asked.prev_kv else [])
    if name == "Txn":
        ok, answers = answer
        branch = asked.success if ok else asked.failure
        return ok, [expected(a, b) for a, b in zip(answers, branch, strict=True)]
    return answer


def valid(command: Any) -> bool:
    if type(command).__name__ == "Compact":
        return True
    try:
        validation.check(command)
    except RequestError:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(st.lists(strategies.commands.filter(valid), max_size=14), st.data())
def test_every_answer_and_every_past_is_the_models(commands: list[Any], data: Any) -> None:
    store, model = Store(), Model()
    for index, command in enumerate(commands, 1):
        result = store.apply(index, 1, encode(command))
        assert plain(result, command) == expected(model.run(command), command)
        assert store.revision == model.revision
        assert store.compacted == model.compacted
    request = data.draw(strategies.ranges)
    assert answer_of(store, request) == model.run(request)
    for revision in range(max(1, model.compacted), model.revision + 1):
        everything = Range(b"\0", b"\0", revision=revision)
        assert answer_of(store, everything) == model.run(everything)


def answer_of(store: Store, request: Range) -> Any:
    try:
        return plain(store.range(request), request)
    except RequestError as refusal:
        return refusal.text


@settings(max_examples=150, deadline=None)
@given(
    st.lists(strategies.commands.filter(valid), max_size=12),
    st.lists(strategies.commands.filter(valid), max_size=6),
)
def test_a_restored_store_goes_on_like_the_one_it_was_taken_from(
    before: list[Any], after: list[Any]
) -> None:
    original = Store()
    for index, command in enumerate(before, 1):
        original.apply(index, 1, encode(command))
    restored = Store()
    restored.apply(1, 1, encode(strategies.Put(b"junk", b"junk")))
    restored.restore(original.snapshot())
    for index, command in enumerate(after, len(before) + 1):
        left = original.apply(index, 2, encode(command))
        right = restored.apply(index, 2, encode(command))
        assert plain(left, command) == plain(right, command)
        assert original.digest() == restored.digest()
    assert original.snapshot() == restored.snapshot()
    assert original.size_bytes == restored.size_bytes
    assert original.hash_kv(0) == restored.hash_kv(0)


@settings(max_examples=150, deadline=None)
@given(st.lists(strategies.commands.filter(valid), max_size=12))
def test_events_tell_the_whole_history_above_the_compaction(commands: list[Any]) -> None:
    store, model = Store(), Model()
    for index, command in enumerate(commands, 1):
        store.apply(index, 1, encode(command))
        model.run(command)
    start = max(1, model.compacted)
    state = dict(model.states[start])
    events = store.events_since(start + 1)
    assert [(e.mod_revision, e.sub) for e in events] == sorted(
        (e.mod_revision, e.sub) for e in events
    )
    for revision in range(start + 1, model.revision + 1):
        for event in (e for e in events if e.mod_revision == revision):
            if event.version:
                state[event.key] = plain_kv(event)
            else:
                del state[event.key]
        assert state == model.states[revision]
