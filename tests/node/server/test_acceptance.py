"""The acceptance script, where it lies beside the project: five nodes, plain and over TLS."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.node.server.processes import ROOT, Cluster
from tests.node.tls.authority import Authority
from tests.node.tls.test_tls import SecureNode

SCRIPT = ROOT.parent / "shared" / "acceptance" / "etcdctl_acceptance.sh"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCRIPT.exists(), reason=f"there is no {SCRIPT.name} beside the project"),
]


def passes(endpoints: str, **variables: str) -> None:
    done = subprocess.run(
        ["bash", str(SCRIPT)],
        env={**os.environ, "ENDPOINTS": endpoints, **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    failed = [line for line in done.stdout.splitlines() if not line.startswith("PASS ")]
    assert done.returncode == 0, "\n".join(failed) + done.stderr


def test_nothing_fails(program: Any, cluster_of: Any) -> None:
    program("etcdctl")
    cluster: Cluster = cluster_of(5)
    cluster.start()
    passes(cluster.endpoints)


def test_nothing_fails_over_mutual_tls(program: Any, cluster_of: Any, tmp_path: Path) -> None:
    program("etcdctl")
    authority = Authority(tmp_path)
    cluster: Cluster = cluster_of(5)
    cluster.nodes = [SecureNode(f"n{number}", tmp_path) for number in range(1, 6)]
    for node in cluster.nodes:
        node.authority = authority
    cluster.initial = ",".join(f"{node.name}={node.peer_url}" for node in cluster.nodes)
    cluster.start()
    cert, key = authority.issue("root")
    passes(
        ",".join(f"https://{node.endpoint}" for node in cluster.nodes),
        ETCDCTL_CACERT=str(authority.file),
        ETCDCTL_CERT=str(cert),
        ETCDCTL_KEY=str(key),
    )
