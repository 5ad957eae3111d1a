"""Watches: whatever a client does and however slow it is, it hears everything once, in order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from squall.node.mvcc.commands import Compact, DeleteRange, Put, Txn, encode
from squall.node.mvcc.keyvalue import KeyValue
from squall.node.mvcc.store import Store
from squall.node.mvcc.watch.stream import (
    DUPLICATE_ID,
    EMPTY_RANGE,
    MAX_OWED,
    NO_ID,
    WatchAnswer,
    WatchStream,
)
from squall.node.mvcc.watch.watchers import Interest, Limits

ALL = Interest(b"\0", b"\0")


class Client:
    """A stream over a store, and everything it has read."""

    def __init__(self, store: Store, max_bytes: int = 1 << 20) -> None:
        self.stream = WatchStream(store.watches, max_bytes, lambda: None)
        self.answers: list[WatchAnswer] = []

    def read(self) -> list[WatchAnswer]:
        fresh = []
        while (answer := self.stream.take()) is not None:
            fresh.append(answer)
        self.answers += fresh
        return fresh

    def heard(self, watch_id: int = 0) -> list[tuple[bytes, int, bool]]:
        self.read()
        return [
            (event.kv.key, event.kv.mod_revision, bool(event.kv.version))
            for answer in self.answers
            if answer.watch_id == watch_id
            for event in answer.events
        ]


def apply(store: Store, *commands: object) -> None:
    for command in commands:
        store.apply(1, 1, encode(command))  # type: ignore[arg-type]


def put(key: bytes, value: bytes = b"v") -> Put:
    return Put(key, value)


def test_a_watch_is_confirmed_before_its_first_event() -> None:
    store = Store()
    apply(store, put(b"a"))
    client = Client(store)
    client.stream.create(Interest(b"a", start_revision=1))
    first, second = client.read()
    assert (first.created, first.events) == (True, [])
    assert [event.kv.key for event in second.events] == [b"a"]


def test_a_watch_without_a_start_hears_only_of_what_comes() -> None:
    store = Store()
    apply(store, put(b"a"))
    client = Client(store)
    client.stream.create(Interest(b"a"))
    apply(store, put(b"b"), put(b"a"), DeleteRange(b"a"))
    assert client.heard() == [(b"a", 4, True), (b"a", 5, False)]


def test_a_watch_from_a_future_revision_hears_nothing_earlier() -> None:
    store = Store()
    client = Client(store)
    client.stream.create(Interest(b"a", start_revision=4))
    apply(store, put(b"a"), put(b"a"))
    assert client.heard() == []
    apply(store, put(b"a"), put(b"a"))
    assert client.heard() == [(b"a", 4, True), (b"a", 5, True)]


def test_the_events_of_a_transaction_come_in_one_answer() -> None:
    store = Store()
    client = Client(store)
    client.stream.create(ALL)
    apply(store, Txn((), (put(b"a"), put(b"b"), put(b"c"))))
    assert [len(answer.events) for answer in client.read()] == [0, 3]


def test_only_a_client_that_asked_for_fragments_gets_a_revision_in_pieces() -> None:
    store = Store()
    whole, pieces = Client(store, max_bytes=1000), Client(store, max_bytes=1000)
    whole.stream.create(ALL)
    pieces.stream.create(ALL, fragment=True)
    apply(store, Txn((), tuple(put(b"%d" % n, b"x" * 700) for n in range(3))))
    assert [(len(a.events), a.fragment) for a in whole.read()[1:]] == [(3, False)]
    assert [(len(a.events), a.fragment) for a in pieces.read()[1:]] == [
        (1, True),
        (1, True),
        (1, False),
    ]


def test_below_the_compaction_a_watch_ends_and_says_why() -> None:
    store = Store()
    apply(store, put(b"a"), put(b"a"), put(b"a"), Compact(3))
    client = Client(store)
    client.stream.create(Interest(b"a", start_revision=2))
    client.stream.create(Interest(b"a", start_revision=3))
    *_, ended, events = client.read()
    assert (ended.watch_id, ended.canceled, ended.compact_revision) == (0, True, 3)
    assert [event.kv.mod_revision for event in events.events] == [3, 4]


def test_a_delete_at_the_compacted_revision_is_still_delivered() -> None:
    store = Store()
    apply(store, put(b"a"), DeleteRange(b"a"), Compact(3))
    client = Client(store)
    client.stream.create(Interest(b"a", start_revision=3))
    assert client.heard() == [(b"a", 3, False)]


def test_a_compaction_takes_nothing_from_a_watch_that_was_a_little_behind() -> None:
    store = Store()
    client = Client(store)
    client.stream.create(Interest(b"a"))
    apply(store, put(b"a"), put(b"a"), put(b"a"), Compact(4))
    assert client.heard() == [(b"a", 2, True), (b"a", 3, True), (b"a", 4, True)]


def test_progress_is_promised_only_when_everything_up_to_it_was_delivered() -> None:
    store = Store()
    apply(store, put(b"a"), put(b"b"))
    client = Client(store)
    client.stream.request_progress()
    client.stream.create(Interest(b"a", start_revision=1))
    created, event, progress = client.read()
    assert (created.created, len(event.events)) == (True, 1)
    assert (progress.watch_id, progress.revision, progress.events) == (NO_ID, 3, [])


def test_an_idle_watch_that_asked_is_told_of_progress_and_a_busy_one_is_not() -> None:
    store = Store()
    client = Client(store)
    client.stream.create(Interest(b"a"), progress_notify=True)
    client.stream.create(Interest(b"b"))
    client.read()
    client.stream.notify_progress()  # the first interval begins
    assert client.read() == []
    apply(store, put(b"c"))
    client.stream.notify_progress()
    assert [(a.watch_id, a.revision) for a in client.read()] == [(0, 2)]
    apply(store, put(b"a"))
    client.stream.notify_progress()
    assert all(answer.events for answer in client.read())


def test_filters_and_previous_values() -> None:
    store = Store()
    client = Client(store)
    client.stream.create(Interest(b"a", no_put=True, prev_kv=True))
    client.stream.create(Interest(b"a", no_delete=True))
    apply(store, put(b"a", b"1"), DeleteRange(b"a"))
    assert client.heard(0) == [(b"a", 3, False)]
    assert client.heard(1) == [(b"a", 2, True)]
    previous = [e.previous for a in client.answers for e in a.events if a.watch_id == 0]
    assert previous == [KeyValue(b"a", b"1", 2, 2, 1)]


def test_ids_are_chosen_by_the_stream_or_by_the_client_and_never_twice() -> None:
    client = Client(Store())
    client.stream.create(ALL, watch_id=1)
    client.stream.create(ALL)
    client.stream.create(ALL)
    client.stream.create(ALL, watch_id=2)
    client.stream.create(Interest(b"b", b"a"))
    assert [(a.watch_id, a.cancel_reason) for a in client.read()] == [
        (1, ""),
        (0, ""),
        (2, ""),
        (NO_ID, DUPLICATE_ID),
        (NO_ID, EMPTY_RANGE),
    ]


def test_a_cancelled_watch_says_no_more() -> None:
    store = Store()
    client = Client(store)
    client.stream.create(ALL)
    apply(store, put(b"a"))
    client.stream.cancel(0)
    client.stream.cancel(7)
    assert [(a.created, a.canceled) for a in client.read()] == [(True, False), (False, True)]
    assert store.watches.count == 0


def test_a_snapshot_under_a_watch_loses_and_repeats_nothing() -> None:
    ahead, behind = Store(), Store()
    apply(ahead, put(b"a"), put(b"a"))
    apply(behind, put(b"a"), put(b"a"))
    client = Client(behind)
    client.stream.create(Interest(b"a", start_revision=1))
    client.stream.create(Interest(b"a", start_revision=5))
    client.read()
    apply(ahead, put(b"b"), put(b"a"), put(b"a"))
    behind.restore(ahead.snapshot())
    assert client.heard(0) == [(b"a", n, True) for n in (2, 3, 5, 6)]
    assert client.heard(1) == [(b"a", 5, True), (b"a", 6, True)]
    apply(ahead, put(b"a"), put(b"a"), Compact(8))
    behind.restore(ahead.snapshot())
    assert {a.compact_revision for a in client.read()} == {8}


STEPS = st.lists(
    st.one_of(
        st.builds(put, st.sampled_from([b"a", b"b", b"c"])),
        st.builds(DeleteRange, st.sampled_from([b"a", b"b"])),
        st.just(Txn((), (put(b"a"), put(b"b")))),
        st.tuples(st.just("read"), st.integers(1, 3)),
        st.tuples(st.just("watch"), st.integers(0, 12)),
        st.just("progress"),
        st.just("replace"),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(1, 4), st.sampled_from([1, 3, 8192]), st.sampled_from([1, 70, 1 << 20]))
def test_every_watch_hears_everything_once_however_slow(
    steps: list[object], recent: int, scanned: int, batch_bytes: int
) -> None:
    store = Store(Limits(recent=recent, scanned=scanned, batch_bytes=batch_bytes))
    client = Client(store)
    starts: list[int] = []
    for step in steps:
        if step == "progress":
            client.stream.request_progress()
        elif step == "replace":
            store.restore(store.snapshot())
        elif isinstance(step, tuple) and step[0] == "watch":
            starts.append(step[1] or store.revision + 1)
            client.stream.create(Interest(b"a", b"c", step[1]))
        elif isinstance(step, tuple):
            for _ in range(step[1]):
                answer = client.stream.take()
                if answer is not None:
                    client.answers.append(answer)
                    if answer.watch_id == NO_ID:
                        promised(store, client, starts, answer.revision)
        else:
            apply(store, step)
    client.read()
    for watch_id, start in enumerate(starts):
        assert client.heard(watch_id) == expected(store, start, store.revision)
    for answer in client.answers:
        assert all(event.kv.mod_revision <= answer.revision for event in answer.events)


def promised(store: Store, client: Client, starts: list[int], revision: int) -> None:
    for watch_id, start in enumerate(starts):
        heard = [
            event.kv.mod_revision
            for answer in client.answers
            if answer.watch_id == watch_id
            for event in answer.events
        ]
        assert heard == [mod for _, mod, _ in expected(store, start, revision)]


def expected(store: Store, start: int, end: int) -> list[tuple[bytes, int, bool]]:
    return [
        (kv.key, kv.mod_revision, bool(kv.version))
        for kv in store.events_since(start)
        if b"a" <= kv.key < b"c" and kv.mod_revision <= end
    ]


def test_a_client_that_reads_nothing_is_owed_a_bounded_number_of_promises() -> None:
    store = Store()
    client = Client(store)
    for _ in range(700):
        client.stream.create(ALL, progress_notify=True)
    for _ in range(100):
        client.stream.notify_progress()
    assert len(client.read()) <= MAX_OWED + 700
