"""HashKV against numbers that a real etcd 3.4 gave for the same requests."""

from __future__ import annotations

import pytest
from aetcd.rpc import kv_pb2
from hypothesis import given
from hypothesis import strategies as st

from squall.node.mvcc.commands import Compact, DeleteRange, Put, Txn, encode
from squall.node.mvcc.errors import RequestError
from squall.node.mvcc.keyvalue import KeyValue, to_protobuf
from squall.node.mvcc.store import Store

HISTORY = (
    Put(b"a", b"1"),
    Put(b"b", b"2"),
    Txn(success=(Put(b"a", b"3"), DeleteRange(b"b"))),
)


def after(*commands: Put | Txn | Compact) -> Store:
    store = Store()
    for index, command in enumerate(commands, 1):
        store.apply(index, 1, encode(command))
    return store


def test_the_hash_is_etcds() -> None:
    store = after(*HISTORY)
    assert store.hash_kv(0).hash == 789_492_798
    assert store.hash_kv(4).hash == 789_492_798
    assert store.hash_kv(3).hash == 1_827_592_406
    assert store.hash_kv(0).compact_revision == -1


def test_the_hash_after_a_compaction_is_etcds() -> None:
    result = after(*HISTORY, Compact(3)).hash_kv(0)
    assert (result.hash, result.compact_revision, result.revision) == (999_854_648, 3, 4)


@pytest.mark.parametrize(
    ("revision", "words"), [(3, "has been compacted"), (5, "is a future revision")]
)
def test_a_revision_that_cannot_be_hashed_is_refused(revision: int, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        after(*HISTORY, Compact(3)).hash_kv(revision)


numbers = st.integers(0, 2**63 - 1)


@given(st.binary(min_size=1), st.binary(), numbers, numbers, st.integers(1, 2**63 - 1), numbers)
def test_a_version_is_encoded_as_protobuf_does(
    key: bytes, value: bytes, created: int, modified: int, version: int, lease: int
) -> None:
    message = kv_pb2.KeyValue(
        key=key,
        value=value,
        create_revision=created,
        mod_revision=modified,
        version=version,
        lease=lease,
    )
    ours = to_protobuf(KeyValue(key, value, created, modified, version, lease))
    assert ours == message.SerializeToString(deterministic=True)
