"""Removes what earlier runs left behind: by label, and only where the owning controller is dead.

A controller that was killed removes nothing, so every run begins by removing the resources of dead
controllers. Resources without the label of a run are never touched, and those of a live controller
only if everything is asked for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import docker.errors
import msgspec
import requests.exceptions

from squall.harness.cluster import HarnessError
from squall.harness.docker.engine import Docker, reason
from squall.harness.docker.labels import RUN, is_alive, owner_of

ATTEMPTS_MAX = 20
RETRY_S = 0.25
"""Five seconds in all: the engine refuses to remove what it is still tearing down."""

PARALLEL_REMOVALS = 8


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed, and the runs it belonged to."""

    runs: tuple[str, ...] = ()
    containers: int = 0
    volumes: int = 0
    networks: int = 0


def clean(all: bool = False) -> Cleaned:  # noqa: A002 - the command line's own word
    """Remove what dead controllers left; with `all`, what live ones own too.

    Raises NoEngineError without an engine, HarnessError when something cannot be removed.
    """
    engine = Docker()
    try:
        return sweep(engine, everything=all)
    finally:
        engine.close()


def sweep(engine: Docker, *, everything: bool = False) -> Cleaned:
    """Remove every run whose controller is dead (or every run)."""
    total = Cleaned()
    for run in _runs(engine, everything=everything):
        removed = remove_run(engine, run)
        total = Cleaned(
            runs=(*total.runs, run),
            containers=total.containers + removed.containers,
            volumes=total.volumes + removed.volumes,
            networks=total.networks + removed.networks,
        )
    return total


def remove_run(engine: Docker, run: str) -> Cleaned:
    """Remove everything labelled with a run; what is already gone is no error."""
    api, named = engine.api, {"label": f"{RUN}={run}"}
    with ThreadPoolExecutor(PARALLEL_REMOVALS) as pool:
        containers = [c["Id"] for c in api.containers(all=True, filters=named)]
        _all(pool, containers, lambda name: api.remove_container(name, force=True, v=True))
        volumes = [v["Name"] for v in api.volumes(filters=named).get("Volumes") or ()]
        _all(pool, volumes, lambda name: api.remove_volume(name, force=True))
        networks = [n["Id"] for n in api.networks(filters=named)]
        _all(pool, networks, api.remove_network)
    return Cleaned(
        runs=(run,), containers=len(containers), volumes=len(volumes), networks=len(networks)
    )


def _runs(engine: Docker, *, everything: bool) -> list[str]:
    """Return the runs to remove: those of which no resource has a live owner, or all."""
    named = {"label": RUN}
    api = engine.api
    labels = [c.get("Labels") for c in api.containers(all=True, filters=named)]
    labels += [v.get("Labels") for v in api.volumes(filters=named).get("Volumes") or ()]
    labels += [n.get("Labels") for n in api.networks(filters=named)]
    alive: dict[str, bool] = {}
    for found in labels:
        owner = owner_of(found or {})
        if owner is not None:
            alive[owner.run] = alive.get(owner.run, False) or is_alive(owner)
        elif everything and found and found.get(RUN):
            alive.setdefault(found[RUN], False)
    return sorted(run for run, living in alive.items() if everything or not living)


def _all(pool: ThreadPoolExecutor, names: list[str], remove: Callable[[str], object]) -> None:
    for failure in pool.map(lambda name: _remove_with_retries(name, remove), names):
        if failure is not None:
            raise HarnessError(f"{failure}. `squall clean` tries again")


def _remove_with_retries(name: str, remove: Callable[[str], object]) -> str | None:
    why = ""
    for _ in range(ATTEMPTS_MAX):
        with contextlib.suppress(docker.errors.NotFound):
            try:
                remove(name)
            except docker.errors.NotFound:
                raise
            except docker.errors.APIError as error:
                # Something else is removing it, or it is still in use for a moment.
                why = reason(error)
                time.sleep(RETRY_S)
                continue
            except requests.exceptions.RequestException as error:
                return f"{name[:40]} could not be removed: {reason(error)}"
        return None
    return f"{name[:40]} could not be removed: {why}"
