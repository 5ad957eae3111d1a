"""The backends a run can execute on, by name. Each is loaded only when it is asked for.

A backend's module has one function, `execute` (`squall.harness.run.run.Backend`). Loading the
containers costs the Docker SDK and gRPC; loading the simulator costs the node. Judging a recorded
run needs neither.
"""

from __future__ import annotations

import importlib

from squall.harness.cluster import HarnessError
from squall.harness.run.run import Backend
from squall.harness.vocabulary import AUTO, BACKENDS


def choose(name: str) -> tuple[str, str]:
    """Return the backend to use for `name` (`auto` included).

    The second value is the reason why the preferred backend is not used, "" when it is.
    """
    if name != AUTO:
        return name, ""
    try:
        importlib.import_module("squall.harness.docker.engine").Docker().close()
    except HarnessError as error:
        return "sim", str(error)
    return "docker", ""


def load_backend(name: str) -> Backend:
    """Import a backend and return its `execute`; raises HarnessError if it cannot be imported."""
    try:
        backend: Backend = importlib.import_module(BACKENDS[name]).execute
    except ImportError as error:
        raise HarnessError(f"this installation lacks the world {name!r}: {error}") from error
    return backend
