"""Clusters of real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from squall.node.server.event_loop import new_loop
from tests.node.server.processes import Cluster


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what is asynchronous on both loops a node may have: they differ where connections end."""
    return {make.__module__: make for make in (asyncio.new_event_loop, new_loop)}


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
