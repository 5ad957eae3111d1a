"""Leases, locks, elections, mirrors, alarms, members: the real etcdctl and real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.node.etcdctl import Etcdctl
from tests.node.server.processes import Cluster, Node
from tests.patience import PATIENCE_S, until


@pytest.fixture
def etcdctl(program: Any, cluster_of: Callable[[int], Cluster]) -> Etcdctl:
    path = program("etcdctl")
    cluster = cluster_of(5)
    cluster.start()
    return Etcdctl(path, cluster)


@contextmanager
def running(etcdctl: Etcdctl, *words: str, endpoints: str = "") -> Iterator[Background]:
    """Run a command of etcdctl that goes on until it is interrupted."""
    process = subprocess.Popen(
        etcdctl.command(*words, endpoints=endpoints),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
    try:
        yield Background(process)
    finally:
        process.kill()
        process.wait()


class Background:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)


def test_leases_locks_elections_mirrors_and_alarms(etcdctl: Etcdctl) -> None:
    """One test of many commands: five processes take seconds to start."""
    leases(etcdctl)
    leases_outlive_their_leader(etcdctl)
    locks(etcdctl)
    elections(etcdctl)
    mirrors(etcdctl)
    alarms(etcdctl)
    leadership_moves(etcdctl)


def granted(etcdctl: Etcdctl, seconds: int) -> str:
    return etcdctl("lease", "grant", str(seconds)).split()[1]


def leases(etcdctl: Etcdctl) -> None:
    lease = granted(etcdctl, 600)
    etcdctl("put", "leased/b", "1", f"--lease={lease}")
    etcdctl("put", "leased/a", "2", f"--lease={lease}")
    for node in etcdctl.cluster.nodes:
        said = etcdctl("lease", "timetolive", lease, "--keys", endpoints=node.endpoint)
        assert "granted with TTL(600s)" in said
        assert 0 < remaining_s(said) <= 600
        assert "attached keys([leased/a leased/b])" in said
        assert "keepalived with TTL(600)" in etcdctl(
            "lease", "keep-alive", "--once", lease, endpoints=node.endpoint
        )
        etcdctl("get", "leased/a", endpoints=node.endpoint)
        assert lease in etcdctl("lease", "list", endpoints=node.endpoint)
    assert etcdctl("lease", "revoke", lease) == f"lease {lease} revoked\n"
    assert etcdctl("get", "leased/", "--prefix") == ""
    assert "already expired" in etcdctl("lease", "timetolive", lease)
    assert "etcdserver: requested lease not found" in etcdctl.run("lease", "revoke", lease)[1]
    assert "requested lease not found" in etcdctl.run("put", "x", "y", f"--lease={lease}")[1]

    short = until(lambda: used_in_time(etcdctl), "a key written under a short lease")
    until(lambda: etcdctl("get", "leased/short") == "", "the lease's end")
    assert "already expired" in etcdctl("lease", "timetolive", short)


def remaining_s(said: str) -> int:
    (found,) = re.findall(r"remaining\((\d+)s\)", said)
    return int(found)


def used_in_time(etcdctl: Etcdctl) -> str | None:
    """Write a key under a lease that lapses soon, perhaps before the key is written."""
    short = granted(etcdctl, 1)
    code, said = etcdctl.run("put", "leased/short", "1", f"--lease={short}")
    assert code == 0 or "requested lease not found" in said, said
    return None if code else short


def leases_outlive_their_leader(etcdctl: Etcdctl) -> None:
    lease = granted(etcdctl, 600)
    before = etcdctl.cluster.leader()
    etcdctl.cluster.kill(before)
    etcdctl.cluster.leader()
    survivor = etcdctl.cluster.running[0]
    assert remaining_s(etcdctl("lease", "timetolive", lease, endpoints=survivor.endpoint)) > 0
    etcdctl.cluster.start(before)
    etcdctl("lease", "revoke", lease)


LOCK = ("lock", "mutex", "--ttl=60")  # the 10 s it has by default may pass on a busy machine


def locks(etcdctl: Etcdctl) -> None:
    first_node, second_node, *_ = etcdctl.cluster.nodes
    with running(etcdctl, *LOCK, endpoints=first_node.endpoint) as first:
        held = first.line()
        assert held.startswith("mutex/")
        with running(etcdctl, *LOCK, endpoints=second_node.endpoint) as second:
            queue = until(
                lambda: (
                    (
                        keys := etcdctl(
                            "get", "mutex/", "--prefix", "--keys-only", "--sort-by=CREATE"
                        ).split()
                    )
                    and len(keys) == 2
                    and keys
                ),
                "both in the queue",
            )
            assert queue[0] == held
            first.interrupt()
            assert second.line() == queue[1]
            second.interrupt()
    assert etcdctl("lock", "mutex2", "echo", "inside") == "inside\n"


def elections(etcdctl: Etcdctl) -> None:
    with running(etcdctl, "elect", "office", "first") as first:
        assert first.line().startswith("office/")
        assert first.line() == "first"
        with (
            running(etcdctl, "elect", "office", "second") as second,
            running(etcdctl, "elect", "-l", "office") as observer,
        ):
            assert observer.line().startswith("office/")
            assert observer.line() == "first"
            first.interrupt()
            assert second.line().startswith("office/")
            assert second.line() == "second"
            assert observer.line().startswith("office/")
            assert observer.line() == "second"


def mirrors(etcdctl: Etcdctl) -> None:
    source, *_, target = etcdctl.cluster.nodes
    etcdctl("put", "from/a", "1")
    with running(
        etcdctl,
        "make-mirror",
        "--prefix=from/",
        "--dest-prefix=to/",
        target.endpoint,
        endpoints=source.endpoint,
    ):
        until(lambda: etcdctl("get", "to/a") == "to/a\n1\n", "what was there")
        etcdctl("put", "from/b", "2")
        until(lambda: etcdctl("get", "to/b") == "to/b\n2\n", "what came")
        etcdctl("del", "from/a")
        until(lambda: etcdctl("get", "to/a") == "", "what went")


def alarms(etcdctl: Etcdctl) -> None:
    assert etcdctl("alarm", "list") == ""
    node = etcdctl.cluster.nodes[0]
    node.stop(signal.SIGTERM)
    node.extra = ["--quota-backend-bytes", "10"]
    etcdctl.cluster.start(node)
    code, said = etcdctl.run("put", "too", "much", endpoints=node.endpoint)
    assert code != 0
    assert "etcdserver: mvcc: database space exceeded" in said
    others = ",".join(other.endpoint for other in etcdctl.cluster.nodes[1:])
    assert "database space exceeded" in etcdctl.run("put", "too", "much", endpoints=others)[1]
    assert "alarm:NOSPACE" in etcdctl("alarm", "list", endpoints=others)
    assert node.http_get("/health")[0] == 503
    until(lambda: node.http_get("/health?exclude=NOSPACE")[0] == 200, "health but for the alarm")
    node.stop(signal.SIGTERM)
    node.extra = []
    etcdctl.cluster.start(node)
    assert "alarm:NOSPACE" in etcdctl("alarm", "disarm")
    assert etcdctl("alarm", "list") == ""
    assert etcdctl("put", "no longer", "too much") == "OK\n"


def leadership_moves(etcdctl: Etcdctl) -> None:
    leader = etcdctl.cluster.leader()
    heir = next(node for node in etcdctl.cluster.nodes if node is not leader)
    until(lambda: led_by(etcdctl, heir), "the heir's leadership")
    nobody = ("move-leader", "1234567890abcdef")
    # It asks all who leads, and only then the one that did.
    until(lambda: "etcdserver: bad leader transferee" in etcdctl.run(*nobody)[1], "its refusal")


def led_by(etcdctl: Etcdctl, heir: Node) -> bool:
    """Move leadership; an election of its own may come before, or soon after."""
    if etcdctl.cluster.leader() is heir:
        return True
    code, said = etcdctl.run("move-leader", heir.status()["member_id"])
    assert code or "Leadership transferred" in said, said
    return etcdctl.cluster.leader() is heir


def test_a_sixth_member_joins_serves_and_leaves(etcdctl: Etcdctl, tmp_path: Path) -> None:
    for number in range(20):
        etcdctl("put", f"old/{number}", "x")
    sixth = Node("n6", tmp_path)
    sixth.extra = ["--initial-cluster-state", "existing"]
    try:
        joins_serves_and_leaves(etcdctl, sixth)
    finally:
        if sixth.process is not None:
            sixth.stop(signal.SIGKILL)


def joins_serves_and_leaves(etcdctl: Etcdctl, sixth: Node) -> None:
    cluster = etcdctl.cluster
    everyone = f"{cluster.initial},n6={sixth.peer_url}"

    sixth.start(everyone)  # nobody added it yet
    assert sixth.ended() == 3
    assert "etcdctl member add" in sixth.events("cannot-join")[0]["msg"]

    said = etcdctl("member", "add", "n6", "--learner", f"--peer-urls={sixth.peer_url}")
    member = said.split()[1]
    sixth.start(everyone)
    until(sixth.has_leader, "the new member's leader")
    until(
        lambda: (
            "rpc not supported for learner" in etcdctl.run("get", "a", endpoints=sixth.endpoint)[1]
        ),
        "a learner that knows it is one",
    )
    until(lambda: etcdctl.run("member", "promote", member)[0] == 0, "the promotion")
    until(lambda: f"{member}, started, n6" in etcdctl("member", "list"), "its name")
    assert etcdctl("get", "old/19", endpoints=sixth.endpoint) == "old/19\nx\n"
    assert etcdctl("put", "new", "y", endpoints=sixth.endpoint) == "OK\n"

    sixth.stop(signal.SIGKILL)
    sixth.start(everyone)
    until(sixth.has_leader, "its leader after a crash")
    assert etcdctl("get", "new", endpoints=sixth.endpoint) == "new\ny\n"
    everywhere = ",".join(node.endpoint for node in (*cluster.nodes, sixth))
    until(lambda: is_one_hash(etcdctl, everywhere), "the same everywhere")

    leader = cluster.leader()
    leader_id = leader.status()["member_id"]
    rest = ",".join(n.endpoint for n in (*cluster.nodes, sixth) if n is not leader)
    assert "removed from cluster" in etcdctl("member", "remove", leader_id, endpoints=rest)
    until(
        lambda: etcdctl.run("put", "after", "z", endpoints=rest)[1] == "OK\n", "life after a leader"
    )
    said = etcdctl("member", "remove", member, endpoints=sixth.endpoint)
    assert "removed from cluster" in said, "through the one that goes, as with etcd"
    rest = ",".join(node.endpoint for node in cluster.nodes if node is not leader)
    # Each member lists what it has applied so far, as etcd's do.
    until(
        lambda: etcdctl("member", "list", endpoints=rest).count("started") == 4, "four members left"
    )


def is_one_hash(etcdctl: Etcdctl, endpoints: str) -> bool:
    """Whether all hold the same just now; one that lags hashes an older revision."""
    said = json.loads(etcdctl("endpoint", "hashkv", "-w", "json", endpoints=endpoints))
    return len({one["HashKV"]["hash"] for one in said}) == 1
