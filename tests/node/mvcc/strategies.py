"""Random commands over a handful of keys, so that they collide."""

from __future__ import annotations

from hypothesis import strategies as st

from squall.node.mvcc.commands import Compact, Compare, DeleteRange, Put, Range, Txn

keys = st.sampled_from([b"a", b"b", b"b\0", b"c", b"cc", b"d"])
ends = st.sampled_from([b"", b"", b"\0", b"b", b"c", b"z"])
values = st.sampled_from([b"", b"1", b"2", b"x" * 40])
revisions = st.integers(0, 14)

ranges = st.builds(
    Range,
    key=keys,
    range_end=ends,
    limit=st.integers(0, 3),
    revision=revisions,
    sort_order=st.integers(0, 2),
    sort_target=st.integers(0, 4),
    keys_only=st.booleans(),
    count_only=st.booleans(),
    min_mod_revision=st.just(0) | revisions,
    max_mod_revision=st.just(0) | revisions,
    min_create_revision=st.just(0) | revisions,
    max_create_revision=st.just(0) | revisions,
)
puts = st.one_of(
    st.builds(Put, key=keys, value=values, prev_kv=st.booleans()),
    st.builds(Put, key=keys, ignore_value=st.booleans(), ignore_lease=st.booleans()),
    st.builds(Put, key=keys, lease=st.just(7)),
)
deletes = st.builds(DeleteRange, key=keys, range_end=ends, prev_kv=st.booleans())
compares = st.one_of(
    st.builds(
        Compare,
        key=keys,
        target=st.sampled_from([0, 1, 2, 4]),
        result=st.integers(0, 3),
        operand=st.integers(0, 4),
        range_end=ends,
    ),
    st.builds(
        Compare,
        key=keys,
        target=st.just(3),
        result=st.integers(0, 3),
        operand=values,
        range_end=ends,
    ),
)


def txns(operations: st.SearchStrategy) -> st.SearchStrategy:
    branch = st.lists(operations, max_size=3).map(tuple)
    return st.builds(
        Txn, compares=st.lists(compares, max_size=2).map(tuple), success=branch, failure=branch
    )


operations = st.recursive(puts | deletes | ranges, txns, max_leaves=6)
commands = st.one_of(puts, puts, deletes, txns(operations), st.builds(Compact, revisions))
