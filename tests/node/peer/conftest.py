"""Clusters of real processes, and every event loop that a node may run on."""

from tests.node.server.conftest import cluster_of, pytest_asyncio_loop_factories

__all__ = ["cluster_of", "pytest_asyncio_loop_factories"]
