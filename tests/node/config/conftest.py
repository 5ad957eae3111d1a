"""Clusters of real processes."""

from tests.node.server.conftest import cluster_of

__all__ = ["cluster_of"]
