"""Clusters of real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.node.server.processes import Cluster


@pytest.fixture
def cluster_of(tmp_path: Path) -> Iterator[Callable[[int], Cluster]]:
    """Make clusters that are gone after the test; a failing test shows their last log lines."""
    made: list[Cluster] = []

    def make(size: int) -> Cluster:
        cluster = Cluster(size, tmp_path)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.stop()
