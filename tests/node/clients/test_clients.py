"""Two independent clients tell one story of a node, and a real etcd tells the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.node.real_etcd import Etcd
from tests.node.server.processes import Cluster
from tests.patience import PATIENCE_S, until

HERE = Path(__file__).resolve().parent
STORIES = ("aetcd_story.py", "pyetcd_story.py")

STORY = """\
put k=1 at revision 2
put k=2 over 1
get k: 2 version 2 mod 3
get missing: None
get p/: p/c p/b p/a
delete p/: 3 keys
delete missing: False
txn k==2: then, revision 8
txn k==9: else, k is 3
replace 3 by 4: True
heard PUT w/1=a
heard PUT w/2=b
heard DELETE w/1=
lease granted for 600 keys b'leased'
refreshed to 600
get leased: None
acquired by one: True
acquired by two at once: False
released by one: True
acquired by two then: True
held by one: False
released by two: True
leader known
members: {names}
compacted twice: etcdserver: mvcc: required revision has been compacted
"""


def told(story: str, endpoint: str) -> str:
    """Run a client's story in a process of its own; returns what it said, an error included."""
    done = subprocess.run(
        [sys.executable, str(HERE / story), endpoint],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("story", STORIES)
def test_a_client_nobody_here_wrote_works_through_any_member(
    story: str, cluster_of: Callable[[int], Cluster]
) -> None:
    cluster = cluster_of(3)
    cluster.start()
    node = next(node for node in cluster.nodes if node is not cluster.leader())
    until(lambda: all(m["name"] for m in node.status()["members"]), "all names")
    assert told(story, node.endpoint) == STORY.format(names="n1 n2 n3")


@pytest.mark.parametrize("story", STORIES)
def test_it_cannot_tell_the_node_from_etcd(story: str, program: Any, tmp_path: Path) -> None:
    """The story above is what a real etcd makes of it, not what we think it should."""
    etcd = Etcd(program("etcd"), tmp_path / "etcd", 0)
    try:
        etcd.wait_ready()
        assert told(story, etcd.endpoint) == STORY.format(names="r1")
    finally:
        etcd.stop()
