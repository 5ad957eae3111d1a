"""The size a node shows is about that of the file `etcdctl snapshot save` would write."""

from __future__ import annotations

import pytest
from aetcd.rpc import rpc_pb2 as pb

from squall.node.api import snapshot
from squall.node.bootstrap.bolt import writing
from squall.node.mvcc.commands import Compact, Put, encode
from tests.node.api.alone import Alone

STATUS = "/etcdserverpb.Maintenance/Status"


@pytest.mark.parametrize(
    ("versions", "value_bytes"),
    [(0, 0), (1, 10), (100, 10), (3000, 10), (2000, 256), (20, 300_000)],
)
async def test_the_size_is_about_that_of_the_file(versions: int, value_bytes: int) -> None:
    node = Alone()
    for number in range(versions):
        await node.propose(encode(Put(b"key%06d" % number, b"x" * value_bytes, 0)))
    status, _, _ = await node.call(STATUS, pb.StatusRequest())
    saved = writing.plan(snapshot._buckets(node)).size_bytes
    assert status.dbSize == status.dbSizeInUse
    assert 0.9 * saved <= status.dbSize <= 1.1 * saved
    if not versions:
        assert status.dbSize == saved


async def test_the_size_goes_down_with_a_compaction() -> None:
    node = Alone()
    for _ in range(100):
        await node.propose(encode(Put(b"key", b"x" * 1000, 0)))
    before, _, _ = await node.call(STATUS, pb.StatusRequest())
    await node.propose(encode(Compact(100)))
    after, _, _ = await node.call(STATUS, pb.StatusRequest())
    assert after.dbSize < before.dbSize
