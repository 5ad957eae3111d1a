"""The worlds a run can take place in, by name. Each is loaded only when it is asked for.

A world's module has one function, `conduct_run` (`harness.trial.Conductor`). Loading containers
costs the Docker SDK and gRPC; loading the simulator costs the node. Judging an old run needs
neither.
"""

from __future__ import annotations

import importlib

from harness.cluster import HarnessError
from harness.trial import Conductor
from harness.vocabulary import AUTO, WORLDS


def settle(world: str) -> tuple[str, str]:
    """Return the world to use, and why not the preferred one (empty when it is that)."""
    if world != AUTO:
        return world, ""
    try:
        importlib.import_module("harness.cluster.docker_engine").Docker().close()
    except HarnessError as error:
        return "sim", str(error)
    return "docker", ""


def conductor_of(world: str) -> Conductor:
    """Return what conducts a run in the named world; raises HarnessError if it is not there."""
    try:
        conductor: Conductor = importlib.import_module(WORLDS[world]).conduct_run
    except ImportError as error:
        raise HarnessError(f"this installation lacks the world {world!r}: {error}") from error
    return conductor
