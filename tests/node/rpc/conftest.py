"""The front is tested on every loop that a node may run on."""

from tests.node.server.conftest import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
