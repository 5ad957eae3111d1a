"""What the store and its front refuse, in etcd's exact words; a refusal changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from squall.node.mvcc import validation
from squall.node.mvcc.commands import Compact, Compare, DeleteRange, Put, Range, Txn, encode
from squall.node.mvcc.errors import RequestError
from squall.node.mvcc.store import Store


def applied(*commands: Any) -> tuple[Store, list[Any]]:
    store = Store()
    return store, [store.apply(i, 1, encode(command)) for i, command in enumerate(commands, 1)]


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Range(b""), "etcdserver: key is not provided"),
        (Put(b""), "etcdserver: key is not provided"),
        (DeleteRange(b""), "etcdserver: key is not provided"),
        (Put(b"k", b"v", ignore_value=True), "etcdserver: value is provided"),
        (Put(b"k", lease=3, ignore_lease=True), "etcdserver: lease is provided"),
        (Range(b"k", sort_order=9), "etcdserver: invalid sort option"),
        (Txn((Compare(b"", 0, 0, 0),)), "etcdserver: key is not provided"),
        (
            Txn(success=tuple(Put(b"%d" % i) for i in range(129))),
            "etcdserver: too many operations in txn request",
        ),
        (
            Txn(success=(*(Put(b"%d" % i) for i in range(127)), Txn(success=(Put(b"x"),) * 2))),
            "etcdserver: too many operations in txn request",
        ),
        (
            Txn(success=(Put(b"k"), Put(b"k"))),
            "etcdserver: duplicate key given in txn request",
        ),
        (
            Txn(failure=(DeleteRange(b"a", b"z"), Put(b"k"))),
            "etcdserver: duplicate key given in txn request",
        ),
        (
            Txn(success=(DeleteRange(b"a", b"z"), Txn(failure=(Put(b"k"),)))),
            "etcdserver: duplicate key given in txn request",
        ),
    ],
)
def test_a_malformed_request_is_refused_in_etcds_words(request_: Any, text: str) -> None:
    with pytest.raises(RequestError) as refusal:
        validation.check(request_)
    assert refusal.value.text == text


@pytest.mark.parametrize(
    "request_",
    [
        Txn(success=(Put(b"k"),), failure=(Put(b"k"),)),
        Txn(success=(Txn(success=(Put(b"k"),), failure=(Put(b"k"),)),)),
        Txn(success=(DeleteRange(b"a", b"c"), Put(b"c"))),
        Txn(success=(DeleteRange(b"a", b"\0"), Put(b"c"))),  # etcd lets this through as well
        Txn(success=(DeleteRange(b"a"), DeleteRange(b"a"))),
        Txn(success=tuple(Put(b"%d" % i) for i in range(128))),
    ],
)
def test_what_can_only_happen_once_is_allowed(request_: Any) -> None:
    validation.check(request_)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (Put(b"new", ignore_value=True), "etcdserver: key not found"),
        (Put(b"k", b"v", lease=5), "etcdserver: requested lease not found"),
        (Compact(9), "etcdserver: mvcc: required revision is a future revision"),
        (Compact(1), "etcdserver: mvcc: required revision has been compacted"),
        (Compact(2), "etcdserver: mvcc: required revision has been compacted"),
        (
            Txn(success=(Put(b"x"), Put(b"new", ignore_lease=True))),
            "etcdserver: key not found",
        ),
        (
            Txn(success=(Put(b"x"), Range(b"k", revision=99))),
            "etcdserver: mvcc: required revision is a future revision",
        ),
        (
            Txn(success=(Put(b"x"), Range(b"k", revision=1))),
            "etcdserver: mvcc: required revision has been compacted",
        ),
    ],
)
def test_a_command_refused_by_the_store_changes_nothing(command: Any, text: str) -> None:
    store, _ = applied(Put(b"k", b"1"), Put(b"k", b"2"), Compact(2))
    before = store.range(Range(b"\0", b"\0"))
    result = store.apply(4, 1, encode(command))
    assert isinstance(result, RequestError)
    assert result.text == text
    assert store.range(Range(b"\0", b"\0")) == before


def test_a_txn_that_fails_half_way_takes_everything_back() -> None:
    """Validation never lets this through; the store must be atomic all the same."""
    store, _ = applied(Put(b"k", b"1"))
    before = store.snapshot()
    half = Txn(success=(Put(b"x"), DeleteRange(b"k"), Put(b"k", ignore_value=True)))
    result = Store.apply(store, 2, 1, encode(half))
    assert isinstance(result, RequestError)
    other = Store()
    other.restore(before)
    assert store.range(Range(b"\0", b"\0")) == other.range(Range(b"\0", b"\0"))
    assert store.events_since(0) == other.events_since(0)


def test_reads_below_the_compaction_and_above_now_are_refused() -> None:
    store, _ = applied(Put(b"k", b"1"), Put(b"k", b"2"), Put(b"k", b"3"), Compact(3))
    assert store.range(Range(b"k", revision=3)).kvs[0].value == b"2"
    with pytest.raises(RequestError, match="has been compacted"):
        store.range(Range(b"k", revision=2))
    with pytest.raises(RequestError, match="is a future revision"):
        store.range(Range(b"k", revision=5))


def test_a_delete_at_the_compacted_revision_can_still_be_watched() -> None:
    store, _ = applied(Put(b"k", b"1"), DeleteRange(b"k"), Put(b"j", b"1"), Compact(3))
    assert [(e.key, e.version) for e in store.events_since(3)] == [(b"k", 0), (b"j", 1)]
    store.apply(5, 1, encode(Compact(4)))
    assert [e.key for e in store.events_since(0)] == [b"j"]


def test_the_digest_tells_any_two_histories_apart() -> None:
    histories = [
        (Put(b"a", b"1"), Put(b"b", b"1")),
        (Put(b"b", b"1"), Put(b"a", b"1")),
        (Put(b"a", b"1"), Put(b"b", b"2")),
        (Put(b"a", b"1"),),
        (Put(b"a", b"1"), DeleteRange(b"nothing")),
        (Put(b"a", b"1"), Put(b"b", b"1"), Compact(2)),
        (),
    ]
    digests = {applied(*history)[0].digest() for history in histories}
    assert len(digests) == len(histories)


def test_the_same_commands_at_other_places_in_the_log_are_another_history() -> None:
    first, second = Store(), Store()
    first.apply(1, 1, encode(Put(b"a")))
    second.apply(2, 1, encode(Put(b"a")))
    assert first.digest() != second.digest()
