"""What a node tells over HTTP, beside what a real etcd tells."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aetcd.rpc import rpc_pb2 as pb
from aetcd.rpc import rpc_pb2_grpc as stubs

from tests.node.real_etcd import Etcd
from tests.node.server.processes import Cluster, Node
from tests.patience import PATIENCE_S

MakeCluster = Callable[[int], Cluster]

QUESTIONS = (
    ("GET", "/health"),
    ("GET", "/health?serializable=true"),
    ("GET", "/health?exclude=NOSPACE"),
    ("GET", "/health?exclude=NONSENSE&serializable=false"),
    ("POST", "/health"),
    ("HEAD", "/version"),
    ("GET", "/version"),
    ("GET", "/metrics"),
    ("GET", "/nowhere"),
)


def asked(port: int, method: str, path: str, **headers: str) -> tuple[int, str | None, str]:
    """Return (status, Allow, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.getheader("Allow"), answer.read().decode()
    connection.close()
    return found


def test_every_question_has_etcds_status(
    program: Any, cluster_of: MakeCluster, tmp_path: Path
) -> None:
    etcd = Etcd(program("etcd"), tmp_path / "etcd", 0)
    try:
        cluster = cluster_of(1)
        cluster.start()
        etcd.wait_ready()
        theirs = {each: asked(etcd.client, *each)[:2] for each in QUESTIONS}
        ours = {each: asked(cluster.nodes[0].client, *each)[:2] for each in QUESTIONS}
        assert ours == theirs
        for path in ("/health", "/version"):
            their_words = json.loads(asked(etcd.client, "GET", path)[2])
            our_words = json.loads(asked(cluster.nodes[0].client, "GET", path)[2])
            assert their_words.keys() <= our_words.keys()
            assert path == "/version" or their_words.items() <= our_words.items()
    finally:
        etcd.stop()


def test_the_literal_curl_works_at_the_client_port(program: Any, cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    cluster.start()
    (node,) = cluster.nodes
    node.put(b"k", b"v")  # gRPC and HTTP at one port
    for path, words in (("health", '"health":"true"'), ("metrics", "etcd_server_has_leader 1")):
        done = subprocess.run(
            [program("curl"), "-s", f"http://127.0.0.1:{node.client}/{path}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert words in done.stdout
    assert node.get(b"k").kvs


def test_an_alarm_is_unhealthy_unless_it_is_excluded(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    cluster.start()
    (node,) = cluster.nodes
    member = int(node.status()["member_id"], 16)
    alarm(node, pb.AlarmRequest.ACTIVATE, member)
    status, _, body = asked(node.http, "GET", "/health")
    assert (status, json.loads(body)) == (503, {"health": "false", "reason": "ALARM NOSPACE"})
    assert asked(node.http, "GET", "/health?serializable=true")[0] == 503
    assert asked(node.http, "GET", "/health?exclude=CORRUPT")[0] == 503
    assert asked(node.http, "GET", "/health?exclude=CORRUPT&exclude=NOSPACE")[0] == 200
    alarm(node, pb.AlarmRequest.DEACTIVATE, member)
    assert asked(node.http, "GET", "/health")[0] == 200


def alarm(node: Node, action: int, member: int) -> None:
    request = pb.AlarmRequest(action=action, memberID=member, alarm=pb.NOSPACE)
    stubs.MaintenanceStub(node.channel).Alarm(request, timeout=PATIENCE_S)


def test_metrics_have_etcds_names(program: Any, cluster_of: MakeCluster, tmp_path: Path) -> None:
    etcd = Etcd(program("etcd"), tmp_path / "etcd", 0)
    try:
        cluster = cluster_of(1)
        cluster.start()
        (node,) = cluster.nodes
        node.put(b"k", b"v")
        etcd.wait_ready()
        theirs = families(asked(etcd.client, "GET", "/metrics")[2])
        ours = families(asked(node.client, "GET", "/metrics")[2])
        # Names 3.4 has not got yet; all are 3.5's.
        assert ours.keys() - theirs.keys() <= {"etcd_server_quota_backend_bytes"}
        assert {name: kind for name, kind in ours.items() if theirs.get(name, kind) != kind} == {}
    finally:
        etcd.stop()


def families(text: str) -> dict[str, str]:
    """Return the kind of each metric."""
    lines = (line.split() for line in text.splitlines() if line.startswith("# TYPE"))
    return {name: kind for _, _, name, kind in lines}


def test_only_names_it_knows_itself_by_are_answered_to(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    (node,) = cluster.nodes
    node.extra = ["--host-whitelist", "localhost,127.0.0.1"]
    cluster.start()
    assert asked(node.http, "GET", "/version")[0] == 200
    assert asked(node.http, "GET", "/version", Host="localhost:99")[0] == 200
    assert asked(node.http, "GET", "/version", Host="evil.example")[0] == 421


def test_a_request_without_end_and_one_that_is_none_are_turned_away(
    cluster_of: MakeCluster,
) -> None:
    cluster = cluster_of(1)
    cluster.start()
    (node,) = cluster.nodes
    assert said(node, b"GET /version HTTP/1.1\r\nX: " + b"x" * 20_000).startswith(b"HTTP/1.1 431 ")
    assert said(node, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert said(node, b"GET /version HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 "), "no Host"
    assert said(node, b"GET /version HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_request_may_come_in_pieces_and_what_follows_it_is_not_read(
    cluster_of: MakeCluster,
) -> None:
    cluster = cluster_of(1)
    cluster.start()
    (node,) = cluster.nodes
    request = b"GET /version HTTP/1.1\r\nHost: h\r\n\r\n"
    with socket.create_connection(("127.0.0.1", node.http), timeout=PATIENCE_S) as connection:
        for at in range(len(request)):
            connection.sendall(request[at : at + 1])
        answer = whole(connection)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n\r\n{" in answer
    with socket.create_connection(("127.0.0.1", node.http), timeout=PATIENCE_S) as connection:
        connection.sendall(request + request)
        assert whole(connection).count(b"HTTP/1.1") == 1


def test_the_answer_to_head_has_no_body(cluster_of: MakeCluster) -> None:
    cluster = cluster_of(1)
    cluster.start()
    (node,) = cluster.nodes
    with socket.create_connection(("127.0.0.1", node.http), timeout=PATIENCE_S) as connection:
        connection.sendall(b"HEAD /version HTTP/1.1\r\nHost: h\r\n\r\n")
        assert whole(connection).endswith(b"\r\n\r\n")


def whole(connection: socket.socket) -> bytes:
    """Read until the node closes the connection."""
    return b"".join(iter(lambda: connection.recv(4096), b""))


def said(node: Node, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", node.http), timeout=PATIENCE_S) as connection:
        connection.sendall(data)
        return connection.recv(100)
