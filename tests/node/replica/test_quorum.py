"""How many members may fail, and which side of a split goes on: docs/quorum.md, measured.

Every row of the page's two tables comes from replicas on a virtual clock: members are crashed or
cut off, each side is asked for a write and for a linearizable read, and what it answers is the row.
SQUALL_REWRITE=1 writes the tables anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from squall.node.replica import Outcome
from tests.node.replica.cluster import Cluster

PAGE = Path(__file__).resolve().parents[3] / "docs" / "quorum.md"
SIZES = range(1, 10)
SPLITS = ((2, 2), (3, 2), (4, 1), (3, 3), (4, 2), (4, 3), (4, 4), (5, 4), (2, 2, 1), (4, 3, 2))

ELECTION_US = 2_000_000
"""Time enough for the old leader to give up and for a new one to be elected."""
ANSWER_US = 4_000_000
"""More than a request waits before it is given up."""


def started(size: int) -> Cluster:
    # Few entries are kept behind a snapshot: whoever was away for long must be sent one.
    cluster = Cluster(size, seed=size, snapshot_count=20, catch_up_entries=5)
    cluster.run(ELECTION_US)
    assert cluster.leader() is not None
    return cluster


def serves(cluster: Cluster, n: int) -> bool:
    """Ask member `n` for a write and a linearizable read; it answers both or neither."""
    write, read = cluster.propose(n, b"c%d" % cluster.tickets), cluster.read(n)
    cluster.run(ANSWER_US)
    done = {cluster.replies[ticket].outcome == Outcome.DONE for ticket in (write, read)}
    assert len(done) == 1, "it wrote but did not read, or the other way round"
    return done.pop()


def alive(cluster: Cluster) -> list[int]:
    return [n for n, node in cluster.nodes.items() if node.replica is not None]


def crash_the_leader(cluster: Cluster) -> None:
    """Take the member that hurts most: the leader, where there is one."""
    leader = cluster.leader()
    cluster.crash(alive(cluster)[0] if leader is None else leader)
    cluster.run(ELECTION_US)


def heals_whole(cluster: Cluster) -> None:
    """Everybody comes back, serves and has the same; nothing acknowledged is lost."""
    cluster.heal()
    cluster.run(ELECTION_US)
    assert all(serves(cluster, n) for n in cluster.nodes)
    cluster.agree()


def measure(size: int) -> tuple[int, int]:
    """Return (the fewest members that still served, how many had failed by then)."""
    cluster = started(size)
    tolerated = -1
    while alive(cluster) and all(serves(cluster, n) for n in alive(cluster)):
        tolerated += 1
        crash_the_leader(cluster)
    assert not any(serves(cluster, n) for n in alive(cluster)), "some serve and some do not"
    heals_whole(cluster)
    return size - tolerated, tolerated


def cut_into(cluster: Cluster, parts: list[list[int]]) -> None:
    side = {n: number for number, part in enumerate(parts) for n in part}
    cluster.cut = {(a, b) for a in side for b in side if side[a] != side[b]}


def split(sizes: tuple[int, ...], leads: int) -> str:
    """Cut a cluster into parts, the leader in part `leads`; returns which part served."""
    cluster = started(sum(sizes))
    leader = cluster.leader()
    assert leader is not None
    rest = [n for n in cluster.nodes if n != leader]
    parts: list[list[int]] = []
    for number, size in enumerate(sizes):
        own = [leader] if number == leads else []
        parts.append([*own, *(rest.pop() for _ in range(size - len(own)))])
    before = [cluster.propose(n, b"before%d" % n) for n in cluster.nodes]
    cluster.run(ANSWER_US)
    assert all(cluster.replies[ticket].outcome == Outcome.DONE for ticket in before)
    cut_into(cluster, parts)
    cluster.run(ELECTION_US)
    serving = set()
    for number, part in enumerate(parts):
        answers = {serves(cluster, n) for n in part}
        assert len(answers) == 1, f"part {part} is of two minds"
        if answers.pop():
            serving.add(number)
            for _ in range(100):  # more than is kept: the others will need a snapshot
                cluster.propose(part[0], b"c%d" % cluster.tickets)
                cluster.run(20_000)
    heals_whole(cluster)
    assert len(serving) <= 1, "two parts served"
    return f"the {sizes[serving.pop()]}" if serving else "none"


def tables() -> list[str]:
    failures = ["| members | majority | failures tolerated |", "| ---: | ---: | ---: |"]
    failures += ["| {} | {} | {} |".format(size, *measure(size)) for size in SIZES]
    splits = ["| members | cut into | goes on |", "| ---: | :---: | :---: |"]
    for sizes in SPLITS:
        goes_on = {split(sizes, leads) for leads in range(len(sizes))}
        assert len(goes_on) == 1, f"{sizes}: it depends on where the leader was"
        parts = " : ".join(map(str, sizes))
        splits.append(f"| {sum(sizes)} | {parts} | {goes_on.pop()} |")
    return ["\n".join(failures), "\n".join(splits)]


def test_the_tables_of_the_page_are_what_the_replicas_do() -> None:
    page = PAGE.read_text()
    shown = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    assert len(shown) == 2
    for old, new in zip(shown, tables(), strict=True):
        if os.environ.get("SQUALL_REWRITE"):
            page = page.replace(old, new + "\n")
        else:
            assert old == new + "\n"
    PAGE.write_text(page)
