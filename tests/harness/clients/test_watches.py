"""The gRPC client's watches, against a real node on loopback."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from squall.harness.clients.etcd import GrpcKv
from squall.workloads.client import (
    Compact,
    Definite,
    Delete,
    Indefinite,
    Put,
    Txn,
    Watch,
    WatchAnswer,
    WatchStream,
)
from tests.node.server.processes import Cluster, Node

S = 1_000_000_000
PATIENCE_NS = 30 * S


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    cluster = Cluster(1, tmp_path)
    cluster.start()
    yield cluster.nodes[0]
    cluster.stop()


@pytest.fixture
async def client(node: Node) -> AsyncIterator[GrpcKv]:
    kv = GrpcKv("n1", node.endpoint)
    yield kv
    await kv.close()


async def begun(client: GrpcKv, request: Watch) -> WatchStream:
    """Open a watch and take its confirmation."""
    stream = await client.watch(request)
    created = await stream.next(PATIENCE_NS)
    assert created is not None
    assert created.created
    return stream


async def until(stream: WatchStream, enough: Callable[[WatchAnswer], Any]) -> list[WatchAnswer]:
    """Take answers up to the first that is enough."""
    answers = []
    while True:
        answer = await stream.next(PATIENCE_NS)
        assert answer is not None, "nothing came"
        answers.append(answer)
        if enough(answer):
            return answers


def told(answers: list[WatchAnswer]) -> list[tuple[bool, bytes, int]]:
    return [(e.deleted, e.kv.key, e.kv.mod_revision) for a in answers for e in a.events]


async def test_a_watch_is_told_of_changes_in_order_and_of_progress_when_it_asks(client):
    stream = await begun(client, Watch(b"a", b"z"))
    await client.call(Put(b"a", b"1"))
    await client.call(Txn(success=(Put(b"b", b"2"), Delete(b"a"))))
    await stream.ask_progress()
    answers = await until(stream, lambda answer: answer.is_progress)
    assert told(answers) == [(False, b"a", 2), (False, b"b", 3), (True, b"a", 3)]
    assert answers[-1].revision == 3
    assert stream.elapsed_ns > 0
    await stream.close()


async def test_filters_the_past_and_the_value_before_are_asked_for_on_the_wire(client):
    for value in (b"1", b"2"):
        await client.call(Put(b"a", value))
    await client.call(Delete(b"a"))
    stream = await begun(client, Watch(b"a", start_revision=3, no_delete=True, prev_kv=True))
    await stream.ask_progress()
    answers = await until(stream, lambda answer: answer.is_progress)
    assert told(answers) == [(False, b"a", 3)]
    assert answers[0].events[0].prev_kv.value == b"1"
    await stream.close()


async def test_waiting_in_vain_loses_nothing(client):
    stream = await begun(client, Watch(b"a"))
    assert await stream.next(1) is None
    await client.call(Put(b"a", b"1"))
    assert told(await until(stream, lambda answer: answer.events)) == [(False, b"a", 2)]
    await stream.close()


async def test_a_watch_from_before_the_compaction_is_canceled(client):
    for _ in range(3):
        await client.call(Put(b"a", b"1"))
    await client.call(Compact(4))
    stream = await begun(client, Watch(b"a", start_revision=2))
    (answer,) = await until(stream, lambda answer: answer.canceled)
    assert answer.compact_revision == 4
    await stream.close()


async def test_a_killed_node_breaks_the_stream_for_good(client, node):
    stream = await begun(client, Watch(b"a"))
    node.stop(signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(Indefinite):
            await until(stream, lambda _: False)
    await stream.ask_progress()
    await stream.close()
    with pytest.raises(Definite, match="failed to connect"):
        await begun(client, Watch(b"a"))


async def test_hanging_up_ends_the_watch_and_closing_twice_is_no_error(client):
    stream, other = await begun(client, Watch(b"a")), await begun(client, Watch(b"a"))
    await stream.close()
    await stream.close()
    with pytest.raises(Indefinite, match="its own side"):
        await stream.next(PATIENCE_NS)
    await client.close()
    with pytest.raises(Indefinite):
        await other.next(PATIENCE_NS)
    await other.close()


async def test_a_refused_connection_is_definite():
    client = GrpcKv("n1", "127.0.0.1:1")
    with pytest.raises(Definite, match="failed to connect"):
        await client.watch(Watch(b"a"))
    await client.close()
