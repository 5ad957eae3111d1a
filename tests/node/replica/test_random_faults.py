"""Whole clusters under random faults keep every promise, and work again when the faults stop."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from squall.node.replica import Outcome
from tests.node.replica.cluster import Cluster

SEEDS = 30


def knobs_of(rng: Random) -> dict[str, Any]:
    """Draw a protocol: small limits reach rare paths."""
    return {
        "election_us": rng.choice([20_000, 100_000, 500_000]),
        "heartbeat_us": rng.choice([5_000, 10_000]),
        "pre_vote": rng.random() < 0.8,
        "check_quorum": rng.random() < 0.8,
        "max_batch_entries": rng.choice([1, 2, 64]),
        "max_inflight": rng.choice([1, 3, 256]),
        "snapshot_count": rng.choice([5, 30, 10_000]),
        "catch_up_entries": rng.choice([0, 3, 50]),
        "snapshot_chunk_bytes": rng.choice([16, 200, 100_000]),
        "segment_bytes": rng.choice([256, 4096, 65_536]),
        "max_wals": rng.choice([0, 2]),
        "max_snapshots": rng.choice([0, 2]),
        "max_apply": rng.choice([1, 512]),
        "retry_us": rng.choice([20_000, 500_000]),
        "digest_every": 4,
        "background_snapshots": rng.random() < 0.5,
    }


def inject_faults(cluster: Cluster, rng: Random, steps: int) -> None:
    """Ask, break and mend at random."""
    size = cluster.size
    slow = rng.choice([2_000, 30_000, 200_000])
    for _ in range(steps):
        roll = rng.random()
        n = rng.randint(1, size)
        node = cluster.nodes[n]
        if roll < 0.45:
            cluster.propose(n, b"c%d" % cluster.tickets)
        elif roll < 0.75:
            cluster.read(n)
        elif roll < 0.80:
            if node.replica is not None:
                cluster.crash(n, torn=rng.random() < 0.5)
        elif roll < 0.88:
            for each in cluster.nodes.values():
                if each.replica is None and rng.random() < 0.7:
                    cluster.start(each.id)
        elif roll < 0.92:
            cluster.cut = {
                (a, b)
                for a in range(1, size + 1)
                for b in range(1, size + 1)
                if a != b and rng.random() < 0.3
            }
        elif roll < 0.96:
            cluster.cut.clear()
        else:
            cluster.loss = rng.choice([0.0, 0.05, 0.3])
            cluster.duplicate = rng.choice([0.0, 0.1])
            cluster.delay_us = rng.choice([(100, 500), (200, 5_000), (100, slow)])
            cluster.disk_us = rng.choice([(10, 100), (100, 2_000), (100, slow)])
        cluster.run(rng.choice([10, 500, 5_000, 50_000]))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_cluster_keeps_its_promises_under_random_faults(seed: int) -> None:
    """Drop, duplicate, reorder, cut, crash with unsynced loss: nothing promised is broken."""
    rng = Random(f"faults {seed}")
    cluster = Cluster(rng.choice([3, 5]), seed, **knobs_of(rng))
    inject_faults(cluster, rng, 400)
    cluster.heal()
    cluster.disk_us = (10, 100)
    cluster.run(5_000_000)
    last = cluster.propose(1, b"last")
    cluster.run(2_000_000)
    assert cluster.replies[last].outcome == Outcome.DONE, cluster.replies[last]
    assert set(cluster.commands) | set(cluster.barriers) >= set(cluster.replies)
    cluster.agree()
