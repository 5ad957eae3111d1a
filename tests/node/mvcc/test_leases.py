"""Leases: keys that hang on one go with it, and none ends before its time."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from squall.node.mvcc.commands import DeleteRange, LeaseGrant, LeaseRevoke, Put, Range, Txn, encode
from squall.node.mvcc.errors import LEASE_EXISTS, LEASE_NOT_FOUND, LEASE_RENEWED, RequestError
from squall.node.mvcc.lease.lessor import RETRY_US, US_PER_S, Lessor
from squall.node.mvcc.store import Store

TERM = 5


def apply(store: Store, *commands: Any, term: int = TERM) -> Any:
    result: Any = None
    for command in commands:
        result = store.apply(1, term, encode(command))
    return result


def refusal(result: Any) -> str:
    assert isinstance(result, RequestError), result
    return result.text


def test_revoking_deletes_all_keys_at_one_revision() -> None:
    store = Store()
    apply(store, LeaseGrant(1, 9), Put(b"b", lease=1), Put(b"a", lease=1), Put(b"c"))
    assert store.leases.keys_of(1) == [b"a", b"b"]
    assert apply(store, LeaseRevoke(1)).revision == store.revision == 5
    assert [(kv.key, kv.mod_revision, kv.sub) for kv in store.events_since(5)] == [
        (b"a", 5, 0),
        (b"b", 5, 1),
    ]
    assert refusal(apply(store, LeaseRevoke(1))) == LEASE_NOT_FOUND


def test_granting_and_revoking_nothing_adds_no_revision() -> None:
    store = Store()
    apply(store, LeaseGrant(1, 9), LeaseRevoke(1))
    assert store.revision == 1
    apply(store, LeaseGrant(1, 9))
    assert refusal(apply(store, LeaseGrant(1, 9))) == LEASE_EXISTS


def test_a_key_hangs_on_the_lease_of_its_last_write_alone() -> None:
    store = Store()
    apply(store, LeaseGrant(1, 9), LeaseGrant(2, 9))
    apply(store, Put(b"a", lease=1), Put(b"b", lease=1), Put(b"c", lease=1), Put(b"d", lease=1))
    apply(store, Put(b"a", lease=2), Put(b"b"), DeleteRange(b"c"), Put(b"d", ignore_lease=True))
    assert (store.leases.keys_of(1), store.leases.keys_of(2)) == ([b"d"], [b"a"])


def test_an_unknown_lease_is_refused_and_leaves_no_trace() -> None:
    store = Store()
    assert refusal(apply(store, Put(b"a", lease=3))) == LEASE_NOT_FOUND
    both = Txn((), (Put(b"a"), Put(b"b", lease=3)))
    assert refusal(apply(store, both)) == LEASE_NOT_FOUND
    assert (store.revision, store.range(Range(b"a")).count) == (1, 0)


def test_an_expiry_decided_in_another_term_is_void() -> None:
    store = Store()
    apply(store, LeaseGrant(1, 9), Put(b"a", lease=1))
    assert refusal(apply(store, LeaseRevoke(1, term=TERM - 1))) == LEASE_RENEWED
    assert store.range(Range(b"a")).count == 1
    apply(store, LeaseRevoke(1, term=TERM))
    assert store.range(Range(b"a")).count == 0


STEPS = st.lists(
    st.one_of(
        st.builds(LeaseGrant, st.integers(1, 3), st.just(5)),
        st.builds(LeaseRevoke, st.integers(1, 3)),
        st.builds(
            lambda key, lease: Put(key, lease=lease),
            st.sampled_from([b"a", b"b", b"c"]),
            st.integers(0, 3),
        ),
        st.builds(DeleteRange, st.sampled_from([b"a", b"b", b"c"])),
        st.just(Txn((), (Put(b"a", lease=1), Put(b"d", lease=3)))),
        st.just("restore"),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_the_table_always_says_what_the_keys_say_and_survives_a_snapshot(steps: list[Any]) -> None:
    store, twin = Store(), Store()
    for step in steps:
        if step == "restore":
            store.restore(store.snapshot())
        else:
            assert str(apply(store, step)) == str(apply(twin, step))
        held: dict[int, list[bytes]] = {}
        for kv in store.range(Range(b"\0", b"\0")).kvs:
            if kv.lease:
                held.setdefault(kv.lease, []).append(kv.key)
        for lease in store.leases:
            assert store.leases.keys_of(lease.id) == held.pop(lease.id, [])
        assert not held, "a key hangs on a lease that is gone"
    assert store.digest() == twin.digest()
    assert store.snapshot() == twin.snapshot()


def leading(*leases: LeaseGrant, at_us: int = 0) -> tuple[Store, Lessor]:
    store = Store()
    lessor = Lessor(store.leases)
    lessor.set_leading_term(TERM, at_us)
    apply(store, *leases)
    return store, lessor


def due(lessor: Lessor, now_us: int) -> list[int]:
    revocations = lessor.tick(now_us)
    assert all(revocation.term == TERM for revocation in revocations)
    return sorted(revocation.id for revocation in revocations)


def test_a_lease_is_revoked_when_its_time_is_over_and_not_before() -> None:
    _, lessor = leading(LeaseGrant(1, 2), LeaseGrant(2, 3))
    assert lessor.deadline_us == 2 * US_PER_S
    assert due(lessor, 2 * US_PER_S - 1) == []
    assert due(lessor, 2 * US_PER_S) == [1]
    assert due(lessor, 3 * US_PER_S) == [2]


def test_a_renewed_lease_has_its_full_time_again() -> None:
    _, lessor = leading(LeaseGrant(1, 2))
    assert lessor.renew(1, 1_900_000) == 2
    assert due(lessor, 3_899_999) == []
    assert lessor.remaining_s(1, 2_900_000) == 1
    assert due(lessor, 3_900_000) == [1]


def test_what_expires_cannot_be_renewed_and_is_proposed_again_until_it_is_gone() -> None:
    store, lessor = leading(LeaseGrant(1, 2))
    assert due(lessor, 2 * US_PER_S) == [1]
    assert (lessor.renew(1, 2 * US_PER_S), lessor.remaining_s(1, 2 * US_PER_S)) == (0, -1)
    assert due(lessor, 2 * US_PER_S + RETRY_US) == [1]
    apply(store, LeaseRevoke(1, TERM))
    assert due(lessor, 2 * US_PER_S + 2 * RETRY_US) == []
    assert lessor.renew(1, 99 * US_PER_S) == 0


def test_a_new_leader_gives_every_lease_its_full_time_again() -> None:
    store, lessor = leading(LeaseGrant(1, 2), LeaseGrant(2, 5))
    lessor.set_leading_term(0, 1_500_000)
    assert lessor.tick(9 * US_PER_S) == [], "who does not lead decides nothing"
    apply(store, LeaseGrant(3, 2))
    lessor.set_leading_term(TERM, 10 * US_PER_S)
    assert due(lessor, 12 * US_PER_S - 1) == []
    assert due(lessor, 12 * US_PER_S) == [1, 3]
    apply(store, LeaseRevoke(1, TERM), LeaseRevoke(3, TERM))
    assert due(lessor, 15 * US_PER_S) == [2]


def test_an_id_that_is_granted_anew_has_its_own_time() -> None:
    store, lessor = leading(LeaseGrant(1, 2))
    apply(store, LeaseRevoke(1))
    lessor.set_leading_term(TERM, 1_000_000)
    apply(store, LeaseGrant(1, 2))
    assert due(lessor, 2_999_999) == []
    assert due(lessor, 3_000_000) == [1]
