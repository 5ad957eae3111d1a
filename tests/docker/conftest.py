"""A cluster of stand-in nodes: the faults are real, the database is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from squall.harness.docker.cluster import DockerCluster
from squall.harness.docker.image.build import ensure_image

STANDIN = Path(__file__).parent / "standin" / "node"


@pytest.fixture(scope="session")
def standin_image() -> str:
    """Return the tag of the stand-in's image."""
    return ensure_image(STANDIN, print).tag


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(standin_image: str) -> AsyncIterator[DockerCluster]:
    """Start three stand-ins that the tests of a module share; each test heals its faults."""
    made = DockerCluster(run_id="test-faults", image=standin_image, size=3)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()
