"""Members come, go and are promoted under random faults, and nothing promised is broken."""

from __future__ import annotations

from random import Random

import pytest

from squall.node.raft.membership import ADD, ADD_LEARNER, PROMOTE, REMOVE
from squall.node.replica import Outcome
from tests.node.replica.cluster import Cluster
from tests.node.replica.test_random_faults import knobs_of

SEEDS = 12
JOINERS = 4


def churn(cluster: Cluster, rng: Random, steps: int) -> None:
    """Change the members, transfer leadership, ask, break and mend at random."""
    everyone = list(cluster.nodes)
    for _ in range(steps):
        roll = rng.random()
        n = rng.choice(everyone)
        node = cluster.nodes[n]
        if roll < 0.4:
            cluster.propose(n, b"c%d" % cluster.tickets)
        elif roll < 0.6:
            cluster.read(n)
        elif roll < 0.75:
            target = rng.choice(everyone)
            if target > cluster.size and not cluster.nodes[target].boots:
                cluster.start(target)
            cluster.change(n, rng.choice([ADD, ADD_LEARNER, PROMOTE, REMOVE]), target)
        elif roll < 0.78:
            cluster.transfer(n, rng.choice(everyone))
        elif roll < 0.82:
            if node.replica is not None:
                cluster.crash(n, torn=rng.random() < 0.5)
        elif roll < 0.92:
            for each in cluster.nodes.values():
                if each.replica is None and each.boots and rng.random() < 0.7:
                    cluster.start(each.id)
        elif roll < 0.96:
            cluster.cut = {
                (a, b) for a in everyone for b in everyone if a != b and rng.random() < 0.25
            }
        else:
            cluster.cut.clear()
            cluster.loss = rng.choice([0.0, 0.1])
            cluster.duplicate = rng.choice([0.0, 0.1])
        cluster.run(rng.choice([10, 500, 5_000, 50_000]))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_members_change_under_random_faults(seed: int) -> None:
    """One leader a term, one history, and work goes on in the end with whoever is a member."""
    rng = Random(f"membership {seed}")
    # Without either of them a removed member disturbs the others for ever (thesis §4.2.3).
    knobs = knobs_of(rng) | {"check_quorum": True}
    cluster = Cluster(rng.choice([1, 3, 5]), seed, joiners=JOINERS, **knobs)
    churn(cluster, rng, 400)
    cluster.heal()
    cluster.disk_us = (10, 100)
    cluster.run(4_000_000)
    leader = cluster.leader()
    assert leader is not None
    last = cluster.propose(leader, b"last")
    cluster.run(2_000_000)
    assert cluster.replies[last].outcome == Outcome.DONE, cluster.replies[last]
    cluster.agree(cluster.members_now())
