"""Clients and members over TLS: who is let in, under which name, and what listeners hear."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from squall.node.config import settings as config
from squall.node.config.endpoints import ConfigError
from squall.node.peer.transport import PROTOCOL_VERSION, Hello, frame
from tests.node.etcdctl import COMMAND_TIMEOUT_S, Etcdctl
from tests.node.ports import free_ports
from tests.node.server.processes import Node
from tests.node.tls.authority import Authority
from tests.patience import PATIENCE_S, until


class SecureNode(Node):
    """A node whose URLs are all https."""

    authority: Authority
    scheme = "https"

    @property
    def peer_url(self) -> str:
        return f"https://127.0.0.1:{self.peer}"

    def start(self, initial_cluster: str) -> None:
        cert, key = self.authority.issue(self.name)
        client, http = f"https://{self.endpoint}", f"https://127.0.0.1:{self.http}"
        secure = [f"--cert-file={cert}", f"--key-file={key}", "--client-cert-auth"]
        secure += [f"--trusted-ca-file={self.authority.file}", "--peer-client-cert-auth"]
        secure += [f"--peer-cert-file={cert}", f"--peer-key-file={key}"]
        secure += [f"--peer-trusted-ca-file={self.authority.file}", "--bcrypt-cost=4"]
        urls = [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        urls += [f"--listen-metrics-urls={http}"]
        given, self.extra = self.extra, [*urls, *secure, *self.extra]
        super().start(initial_cluster)
        self.extra = given

    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.load_cert_chain(*self.authority.issue("observer"))
        return context


class SecureEtcdctl:
    """The real etcdctl with certificates in any name."""

    def __init__(self, program: str, endpoints: str, authority: Authority) -> None:
        self._etcdctl = Etcdctl(program, endpoints=endpoints)
        self.authority = authority

    def run(
        self,
        *words: str,
        name: str | None = "root",
        endpoints: str = "",
        timeout_s: int = COMMAND_TIMEOUT_S,
    ) -> tuple[int, str]:
        """Return the exit code and what was said; `name` is that in the certificate."""
        shown = [f"--cacert={self.authority.file}"]
        if name is not None:
            cert, key = self.authority.issue(name)
            shown += [f"--cert={cert}", f"--key={key}"]
        return self._etcdctl.run(*shown, *words, endpoints=endpoints, timeout_s=timeout_s)

    def gets_in(self, name: str | None = "root") -> bool:
        """Try to read; etcdctl cannot tell a closed door from a slow server and tries for long."""
        return self.run("get", "k", name=name, timeout_s=5)[0] == 0

    def __call__(self, *words: str, name: str | None = "root") -> str:
        code, text = self.run(*words, name=name)
        assert code == 0, text
        return "".join(line for line in text.splitlines(True) if not line.startswith('{"level"'))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def trio(cluster_of: Any, authority: Authority, tmp_path: Path) -> Any:
    """Three nodes that talk to everybody over mutual TLS."""
    cluster = cluster_of(3)
    cluster.nodes = []
    for number in (1, 2, 3):
        node = SecureNode(f"n{number}", tmp_path)
        node.authority = authority
        cluster.nodes.append(node)
    cluster.initial = ",".join(f"{node.name}={node.peer_url}" for node in cluster.nodes)
    cluster.start()
    return cluster


def test_etcdctl_over_mutual_tls_is_who_its_certificate_says(
    trio: Any, program: Any, authority: Authority, tmp_path: Path
) -> None:
    endpoints = ",".join(f"https://{node.endpoint}" for node in trio.nodes)
    etcdctl = SecureEtcdctl(program("etcdctl"), endpoints, authority)
    assert etcdctl("put", "k", "v") == "OK\n"
    assert etcdctl("get", "k") == "k\nv\n"
    assert etcdctl("endpoint", "health").count("is healthy") == 3
    assert "https://" in until(
        lambda: (text := etcdctl("member", "list")).count("started") == 3 and text, "all published"
    )
    assert not etcdctl.gets_in(name=None), "no certificate, no answer"
    stranger = SecureEtcdctl(program("etcdctl"), endpoints, Authority(tmp_path, "other"))
    stranger.authority.file = authority.file  # it trusts them, they do not trust it
    assert not stranger.gets_in()
    users(etcdctl, trio.nodes)
    for node in trio.nodes:
        words = node.log_path.read_text()
        assert "PRIVATE KEY" not in words
        assert "rootpw" not in words


def users(etcdctl: SecureEtcdctl, nodes: list[Node]) -> None:
    """With authentication, the common name is the user."""
    etcdctl("user", "add", "root:rootpw")
    etcdctl("user", "add", "ann", "--no-password")
    etcdctl("role", "add", "r")
    etcdctl("role", "grant-permission", "r", "read", "k")
    etcdctl("user", "grant-role", "ann", "r")
    etcdctl("auth", "enable")
    for node in nodes:  # who reads has heard of it; the read itself may have come before
        etcdctl.run("get", "k", endpoints=f"https://{node.endpoint}")
    assert etcdctl("get", "k", name="ann") == "k\nv\n"
    for words, name in ((("put", "k", "x"), "ann"), (("get", "k"), "eve"), (("defrag",), "ann")):
        code, said = etcdctl.run(*words, name=name)
        assert code != 0
        assert "permission denied" in said
    assert etcdctl("put", "k", "w") == "OK\n"
    assert etcdctl("get", "k", "--user=root:rootpw", name="ann") == "k\nw\n"
    code, said = etcdctl.run("get", "k", "--user=ann:anything", name="ann")
    assert code != 0
    assert "password was given for no password user" in said


def test_a_peer_port_takes_nobody_without_a_certificate(trio: Any, authority: Authority) -> None:
    node = trio.nodes[0]
    known = ssl.create_default_context(cafile=str(authority.file))
    known.load_cert_chain(*authority.issue("somebody"))
    anonymous = ssl.create_default_context(cafile=str(authority.file))
    assert heard(node, known), "a hello that asks for the members is answered"
    assert not heard(node, anonymous)
    assert heard(node, None)[:1] in (b"", b"\x15"), "nothing, or a TLS alert"


def test_curl_gets_pages_over_tls_whichever_http_it_speaks(
    trio: Any, authority: Authority, program: Any
) -> None:
    node = trio.nodes[0]
    cert, key = authority.issue("observer")
    for version in ("--http1.1", "--http2"):
        for path, words in (("health", '"health":"true"'), ("metrics", "etcd_server_has_leader 1")):
            done = subprocess.run(
                [
                    *(program("curl"), "-sS", version, "--cacert", str(authority.file)),
                    *("--cert", str(cert), "--key", str(key)),
                    *("-w", " %{http_code} %{http_version}", f"https://{node.endpoint}/{path}"),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            assert words in done.stdout, done.stderr
            assert done.stdout.split()[-2:] == ["200", version.removeprefix("--http")]
    done = subprocess.run(
        [
            program("curl"),
            "-sS",
            "--cacert",
            str(authority.file),
            f"https://{node.endpoint}/health",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode != 0) == ("", True)  # no certificate, no answer


def heard(node: Node, context: ssl.SSLContext | None) -> bytes:
    """Return the first that a node says to a hello on its peer port; empty when it hangs up."""
    hello = frame(msgspec.msgpack.encode(Hello(PROTOCOL_VERSION, 0, 0, 0)))
    try:
        with socket.create_connection(("127.0.0.1", node.peer), timeout=PATIENCE_S) as raw:
            if context is None:
                raw.sendall(hello)
                return raw.recv(1)
            with context.wrap_socket(raw, server_hostname="127.0.0.1") as secure:
                secure.sendall(hello)
                # TLS 1.3 tells a client that it is refused only when it reads.
                return secure.recv(1)
    except (ConnectionError, ssl.SSLError):
        return b""


def test_a_certificate_that_was_taken_back_is_refused(
    cluster_of: Any, authority: Authority, program: Any, tmp_path: Path
) -> None:
    node = SecureNode("n1", tmp_path)
    node.authority = authority
    cluster = cluster_of(1)
    cluster.nodes, cluster.initial = [node], f"n1={node.peer_url}"
    lost, _ = authority.issue("lost")
    node.extra = [f"--client-crl-file={authority.revoke(lost)}"]
    cluster.start()

    def got(name: str, *, issue: bool) -> str:
        cert = authority.issue(name)[0] if issue else lost
        done = subprocess.run(
            [
                *(program("curl"), "-s", "--cacert", str(authority.file), "--cert", str(cert)),
                *("--key", str(cert.with_suffix(".key")), f"https://{node.endpoint}/health"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    assert got("lost", issue=False) == ""
    assert '"health":"true"' in got("kept", issue=True)


def test_a_lone_node_with_a_certificate_of_its_own_making_serves(
    cluster_of: Any, program: Any
) -> None:
    node = cluster_of(1).nodes[0]
    client = f"https://{node.endpoint}"
    node.extra = ["--auto-tls", f"--listen-client-urls={client}"]
    node.start(f"n1={node.peer_url}")
    until(node.has_leader, "a leader")
    made = node.directory / node.name / "fixtures" / "client"
    etcdctl = Etcdctl(program("etcdctl"), endpoints=client)
    assert etcdctl(f"--cacert={made / 'cert.pem'}", "put", "a", "b") == "OK\n"
    assert (made / "key.pem").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--listen-client-urls=https://h:1"], "https URLs need --cert-file"),
        (["--listen-peer-urls=https://h:1"], "https URLs need --peer-cert-file"),
        (["--cert-file=c"], "go together"),
        (["--peer-key-file=k"], "--peer-cert-file and --peer-key-file go together"),
        (["--client-cert-auth"], "needs --trusted-ca-file"),
        (["--bcrypt-cost=3"], "--bcrypt-cost"),
    ],
)
def test_half_a_certificate_is_refused(words: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        config.parse(words, {})


def test_a_key_that_does_not_fit_its_certificate_is_told_at_the_start(
    cluster_of: Any, authority: Authority
) -> None:
    node = cluster_of(1).nodes[0]
    (cert, _), (_, key) = authority.issue("one"), authority.issue("two")
    node.extra = [f"--listen-client-urls=https://127.0.0.1:{free_ports(1)[0]}"]
    node.extra += [f"--cert-file={cert}", f"--key-file={key}"]
    node.start(f"n1={node.peer_url}")
    assert node.ended() == 3
    last = node.log()[-1]
    assert last["event"] == "cannot-start"
    assert str(cert) in last["msg"]
