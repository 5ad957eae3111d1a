"""Authentication as etcdctl's users meet it, on three real processes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from tests.node.etcdctl import Etcdctl
from tests.node.server.processes import Cluster, Node
from tests.patience import PATIENCE_S, until

MakeCluster = Callable[[int], Cluster]
DENIED = "etcdserver: permission denied"


@pytest.fixture
def etcdctl(program: Any, cluster_of: MakeCluster) -> Etcdctl:
    path = program("etcdctl")
    cluster = cluster_of(3)
    for node in cluster.nodes:
        node.extra = ["--bcrypt-cost=4"]
    cluster.start()
    return Etcdctl(path, cluster)


ROOT, ANN, BOB = "root:rootpw", "ann:annpw", "bob:bobpw"


def secure(etcdctl: Etcdctl) -> None:
    """Make root, ann (reads and writes /ann/, reads /shared) and bob (nothing)."""
    for user in (ROOT, ANN, BOB):
        assert etcdctl("user", "add", user) == f"User {user.partition(':')[0]} created\n"
    etcdctl("role", "add", "ann-role")
    etcdctl("role", "grant-permission", "ann-role", "readwrite", "/ann/", "--prefix")
    etcdctl("role", "grant-permission", "ann-role", "read", "/shared")
    etcdctl("user", "grant-role", "ann", "ann-role")
    etcdctl("put", "/shared", "before")
    etcdctl("put", "/secret", "before")
    assert etcdctl("auth", "enable") == "Authentication Enabled\n"
    for node in etcdctl.cluster.nodes:  # who authenticates a user has heard of it
        etcdctl("get", "/shared", endpoints=node.endpoint, user=ROOT)


def test_users_do_what_their_roles_permit_and_no_more(etcdctl: Etcdctl) -> None:
    secure(etcdctl)
    keys(etcdctl)
    transactions(etcdctl)
    watches(etcdctl)
    administration(etcdctl)
    passwords(etcdctl)
    assert etcdctl("auth", "disable", user=ROOT) == "Authentication Disabled\n"
    assert etcdctl("get", "/secret") == "/secret\nbefore\n"
    log = "".join(node.log_path.read_text() for node in etcdctl.cluster.nodes)
    assert "annpw" not in log
    assert "$2b$" not in log


def keys(etcdctl: Etcdctl) -> None:
    etcdctl.refused("user name is empty", "get", "/shared")
    etcdctl.refused("user name is empty", "put", "/shared", "x")
    etcdctl.refused("authentication failed, invalid user ID or password", "get", "x", user="ann:no")
    etcdctl.refused("authentication failed, invalid user ID or password", "get", "x", user="eve:no")
    assert etcdctl("put", "/ann/a", "1", user=ANN) == "OK\n"
    assert etcdctl("get", "/ann/a", user=ANN) == "/ann/a\n1\n"
    assert etcdctl("get", "/ann/", "--prefix", "--keys-only", user=ANN) == "/ann/a\n\n"
    assert etcdctl("get", "/shared", user=ANN) == "/shared\nbefore\n"
    etcdctl.refused(DENIED, "put", "/shared", "x", user=ANN)
    etcdctl.refused(DENIED, "del", "/shared", user=ANN)
    etcdctl.refused(DENIED, "get", "/secret", user=ANN)
    etcdctl.refused(DENIED, "get", "/", "--prefix", user=ANN)
    etcdctl.refused(DENIED, "get", "", "--from-key", user=ANN)
    etcdctl.refused(DENIED, "get", "/ann/a", user=BOB)
    assert etcdctl("get", "/", "--prefix", "--keys-only", user=ROOT).split() == [
        "/ann/a",
        "/secret",
        "/shared",
    ]
    assert "2 keys" not in etcdctl("del", "/ann/", "--prefix", "--prev-kv", user=ANN)


def transactions(etcdctl: Etcdctl) -> None:
    allowed = 'value("/shared") = "before"\n\nput /ann/t 1\n\nget /shared\n\n'
    assert etcdctl("txn", stdin=allowed, user=ANN) == "SUCCESS\n\nOK\n"
    for forbidden in (
        'value("/secret") = "before"\n\nput /ann/t 1\n\n\n',
        "\nput /ann/t 2\nput /secret 1\n\n\n",
        'value("/shared") = "before"\n\nput /ann/t 2\n\nget /secret\n\n',
        "\nget /secret\n\n\n",
    ):
        etcdctl.refused(DENIED, "txn", stdin=forbidden, user=ANN)
    assert etcdctl("get", "/ann/t", "--print-value-only", user=ANN) == "1\n"


def watches(etcdctl: Etcdctl) -> None:
    etcdctl.refused(DENIED, "watch", "/secret", user=ANN)
    etcdctl.refused(DENIED, "watch", "/", "--prefix", user=ANN)
    stub = stubs.WatchStub(etcdctl.cluster.nodes[0].channel)
    token = token_of(etcdctl.cluster.nodes[0], ANN)
    requests = [
        pb.WatchRequest(create_request=pb.WatchCreateRequest(key=key, start_revision=1))
        for key in (b"/secret", b"/ann/t")
    ]
    answers = stub.Watch(iter(requests), metadata=(("token", token),), timeout=PATIENCE_S)
    denied, created, event = next(answers), next(answers), next(answers)
    assert denied.created
    assert denied.canceled
    assert denied.watch_id == -1
    assert denied.cancel_reason == f"rpc error: code = PermissionDenied desc = {DENIED}"
    assert created.created
    assert not created.canceled
    assert event.events[0].kv.key == b"/ann/t"
    answers.cancel()


def administration(etcdctl: Etcdctl) -> None:
    for words in (
        ("user", "list"),
        ("user", "add", "x:y"),
        ("user", "get", "root"),
        ("role", "list"),
        ("role", "get", "root"),
        ("role", "grant-permission", "ann-role", "readwrite", "/", "--prefix"),
        ("user", "grant-role", "ann", "root"),
        ("auth", "disable"),
        ("defrag",),
        ("alarm", "disarm"),
        ("member", "add", "x", "--peer-urls=http://127.0.0.1:1"),
        ("member", "remove", "1"),
    ):
        etcdctl.refused(DENIED, *words, user=ANN)
    assert "Roles: ann-role" in etcdctl("user", "get", "ann", user=ANN)
    shown = etcdctl("role", "get", "ann-role", user=ANN)
    assert re.search(r"KV Read:\s+\[/ann/, /ann0\) \(prefix /ann/\)\s+/shared", shown)
    assert etcdctl("user", "list", user=ROOT).split() == ["ann", "bob", "root"]
    assert etcdctl("role", "list", user=ROOT).split() == ["ann-role", "root"]
    etcdctl.refused("invalid auth management", "user", "delete", "root", user=ROOT)
    etcdctl.refused("user name already exists", "user", "add", "ann:x", user=ROOT)
    etcdctl.refused("role name not found", "user", "grant-role", "ann", "none", user=ROOT)
    assert etcdctl("member", "list", user=ANN).count("started") == 3
    assert etcdctl("endpoint", "health", user=BOB).count("is healthy") == 3
    grants = etcdctl("lease", "grant", "600", user=ANN)
    lease = grants.split()[1]
    etcdctl("put", "/secret", "before", f"--lease={lease}", user=ROOT)
    etcdctl.refused(DENIED, "lease", "revoke", lease, user=ANN)
    etcdctl.refused(DENIED, "put", "/ann/l", "x", f"--lease={lease}", user=ANN)
    etcdctl.refused(DENIED, "lease", "timetolive", lease, "--keys", user=ANN)
    assert "remaining" in etcdctl("lease", "timetolive", lease, user=ANN)
    etcdctl("put", "/secret", "before", user=ROOT)


def passwords(etcdctl: Etcdctl) -> None:
    node = etcdctl.cluster.nodes[0]
    token = token_of(node, ANN)
    assert got(node, token, b"/ann/t") == "OK"
    etcdctl("user", "passwd", "ann", "--interactive=false", stdin="other", user=ROOT)
    until(lambda: got(node, token, b"/ann/t") != "OK", "the change everywhere")
    assert got(node, token, b"/ann/t") == "UNAUTHENTICATED etcdserver: invalid auth token"
    etcdctl.refused("authentication failed", "get", "/ann/t", user=ANN)
    assert etcdctl("get", "/ann/t", "--print-value-only", user="ann:other") == "1\n"
    etcdctl("role", "revoke-permission", "ann-role", "/ann/", "--prefix", user=ROOT)
    etcdctl.refused(DENIED, "get", "/ann/t", user="ann:other")
    etcdctl("role", "delete", "ann-role", user=ROOT)
    etcdctl.refused(DENIED, "get", "/shared", user="ann:other")
    etcdctl("user", "delete", "ann", user=ROOT)
    etcdctl.refused("authentication failed", "get", "/shared", user="ann:other")


def token_of(node: Node, user: str) -> str:
    name, _, password = user.partition(":")
    request = pb.AuthenticateRequest(name=name, password=password)
    return stubs.AuthStub(node.channel).Authenticate(request, timeout=PATIENCE_S).token


def got(node: Node, token: str, key: bytes) -> str:
    """Return how a read with a token ends."""
    try:
        node.kv.Range(pb.RangeRequest(key=key), metadata=(("token", token),), timeout=PATIENCE_S)
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()}"
    return "OK"


EXPIRED = "UNAUTHENTICATED etcdserver: invalid auth token"


def enable(node: Node) -> None:
    auth = stubs.AuthStub(node.channel)
    auth.UserAdd(pb.AuthUserAddRequest(name="root", password="pw"), timeout=PATIENCE_S)
    auth.RoleAdd(pb.AuthRoleAddRequest(name="root"), timeout=PATIENCE_S)
    auth.UserGrantRole(pb.AuthUserGrantRoleRequest(user="root", role="root"), timeout=PATIENCE_S)
    auth.AuthEnable(pb.AuthEnableRequest(), timeout=PATIENCE_S)


def test_a_token_is_good_at_every_node(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(3)
    for node in cluster.nodes:
        node.extra = ["--bcrypt-cost=4"]
    cluster.start()
    first = cluster.nodes[0]
    with pytest.raises(grpc.RpcError, match="etcdserver: authentication is not enabled"):
        token_of(first, "root:x")
    enable(first)
    for node in cluster.nodes:
        token_of(node, "root:pw")  # who issues one has heard that they are asked for
    token = token_of(first, "root:pw")
    for node in cluster.nodes:
        assert got(node, token, b"k") == "OK"
    forged = token[:-8] + "x" * 4 + token[-4:]
    assert got(first, forged, b"k") == EXPIRED
    assert got(first, "nonsense.99999999999999999999", b"k") == EXPIRED


def test_a_token_ends_when_it_was_not_used_for_its_time(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    (node,) = cluster.nodes
    node.extra = ["--bcrypt-cost=4", "--auth-token-ttl=1"]
    cluster.start()
    enable(node)
    token = token_of(node, "root:pw")
    issued = time.monotonic()
    # Not asked for with the token itself: that would keep it alive.
    until(lambda: time.monotonic() > issued + 1.2, "the token's time is over")
    assert got(node, token, b"k") == EXPIRED
