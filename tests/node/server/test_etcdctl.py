"""The real etcdctl against five real processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.node.etcdctl import Etcdctl
from tests.node.server.processes import Cluster
from tests.patience import until


@pytest.fixture
def etcdctl(program: Any, cluster_of: Callable[[int], Cluster]) -> Etcdctl:
    path = program("etcdctl")
    cluster = cluster_of(5)
    cluster.start()
    return Etcdctl(path, cluster)


def test_etcdctl_works_as_against_etcd(etcdctl: Etcdctl) -> None:
    """One test of many commands: five processes take seconds to start."""
    writes_and_reads(etcdctl)
    transactions(etcdctl)
    compaction(etcdctl)
    members_and_endpoints(etcdctl)


def writes_and_reads(etcdctl: Etcdctl) -> None:
    assert etcdctl("put", "foo", "bar") == "OK\n"
    assert etcdctl("get", "foo") == "foo\nbar\n"
    assert etcdctl("put", "foo", "baz", "--prev-kv") == "OK\nfoo\nbar\n"
    first = json.loads(etcdctl("get", "foo", "-w", "json"))["kvs"][0]
    assert first["version"] == 2
    assert etcdctl("get", "foo", f"--rev={first['create_revision']}") == "foo\nbar\n"
    for name in ("p/1", "p/2", "p/3"):
        etcdctl("put", name, "x")
    assert etcdctl("get", "p/", "--prefix", "--keys-only") == "p/1\n\np/2\n\np/3\n\n"
    assert etcdctl("get", "p/", "--prefix", "--limit=2", "--print-value-only") == "x\nx\n"
    assert etcdctl("get", "p/1", "p/3", "--keys-only") == "p/1\n\np/2\n\n"
    for node in etcdctl.cluster.nodes:
        assert etcdctl("get", "foo", endpoints=node.endpoint) == "foo\nbaz\n"
        assert etcdctl("get", "foo", "--consistency=s", endpoints=node.endpoint)
    assert etcdctl("del", "p/", "--prefix") == "3\n"
    assert etcdctl("del", "p/", "--prefix") == "0\n"
    assert etcdctl("del", "foo", "--prev-kv") == "1\nfoo\nbaz\n"


def transactions(etcdctl: Etcdctl) -> None:
    etcdctl("put", "acct", "100")
    text = 'value("acct") = "100"\n\nput acct 50\nget acct\n\nput acct wrong\n\n'
    assert etcdctl("txn", "-i=false", stdin=text) == "SUCCESS\n\nOK\n\nacct\n50\n"
    assert etcdctl("txn", stdin=text).startswith("FAILURE\n\nOK\n")
    code, said = etcdctl.run("txn", stdin="\nput a 1\nput a 2\n\n\n")
    assert code != 0
    assert "etcdserver: duplicate key given in txn request" in said


def compaction(etcdctl: Etcdctl) -> None:
    for number in range(4):
        etcdctl("put", "c", str(number))
    revision = json.loads(etcdctl("get", "c", "-w", "json"))["header"]["revision"]
    assert etcdctl("compaction", str(revision - 1)) == f"compacted revision {revision - 1}\n"
    assert etcdctl("get", "c", f"--rev={revision - 1}") == "c\n2\n"
    for words, text in (
        (("get", "c", f"--rev={revision - 2}"), "required revision has been compacted"),
        (("get", "c", f"--rev={revision + 9}"), "required revision is a future revision"),
        (("compaction", str(revision - 1)), "required revision has been compacted"),
    ):
        code, said = etcdctl.run(*words)
        assert code != 0
        assert text in said
    assert etcdctl("compaction", "--physical", str(revision)) == f"compacted revision {revision}\n"


def members_and_endpoints(etcdctl: Etcdctl) -> None:
    nodes = etcdctl.cluster.nodes
    etcdctl("put", "c", "after the compaction")
    wanted = [f"{node.name}, {node.peer_url}, http://{node.endpoint}, false" for node in nodes]
    until(
        lambda: (text := etcdctl("member", "list")) and all(each in text for each in wanted),
        "all five members with what they published",
    )
    assert etcdctl("member", "list").count(", started, ") == 5
    assert etcdctl("endpoint", "health").count("is healthy") == 5
    assert etcdctl("endpoint", "health", "--cluster").count("is healthy") == 5
    # Five questions one after the other: an election may lie between two of them.
    status = until(lambda: of_one_leader(etcdctl), "one leader in five answers")
    assert [one["Status"]["version"] for one in status] == ["3.5.0"] * 5
    revision = status[0]["Status"]["header"]["revision"]
    for node in nodes:
        etcdctl("get", "c", endpoints=node.endpoint)
    hashes = json.loads(etcdctl("endpoint", "hashkv", f"--rev={revision}", "-w", "json"))
    assert len({one["HashKV"]["hash"] for one in hashes}) == 1
    assert etcdctl("defrag").count("Finished defragmenting") == 5
    assert etcdctl("alarm", "list") == ""


def of_one_leader(etcdctl: Etcdctl) -> list[dict[str, Any]] | None:
    """Return every member's status, once all name the same leader."""
    status = json.loads(etcdctl("endpoint", "status", "-w", "json"))
    leaders = {one["Status"].get("leader") for one in status}
    return status if len(leaders) == 1 and None not in leaders else None
