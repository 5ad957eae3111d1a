"""One seed, one run: the controller's `conduct` in virtual time.

Everything of a run follows from its seed and its `Plan`: the swarm's draws, the nemesis, the load.
What comes back is what any run gives (history, evidence, schedule) and what only a simulation has:
the digest of every event, the first broken invariant, and the transcript.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.cluster.sim import SimCluster
from harness.controller import Findings, conduct
from harness.nemesis.storm import Storm
from harness.options import Options
from harness.progress import Progress, Silent
from harness.recorder import Recorder, Sink
from harness.runtime import Event
from harness.seeds import Seeds
from harness.sim.invariants import Broken
from harness.sim.loop import MAX_EVENTS, TooManyEvents
from harness.sim.runtime import Deadlock, SimRuntime
from harness.sim.streams import Streams
from harness.sim.swarm import CALM, Swarm, draw
from harness.sim.trace import RING, Filter, transcript
from harness.sim.words import describe
from harness.sim.world import SimWorld
from workloads.workload import Workload


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to simulate, beside the seed.

    `swarm`: None lets the seed draw one. `faults`: the nemesis's kinds, None takes the swarm's.
    `keep`: events kept for the transcript. `liveness`: whether to hold the liveness phase.
    `wals`: whether to read the nodes' WALs in the end.
    """

    options: Options
    size: int = 5
    swarm: Swarm | None = None
    faults: tuple[str, ...] | None = None
    liveness: bool = True
    wals: bool = True
    keep: int = RING
    max_events: int = MAX_EVENTS


class Simulation(msgspec.Struct, kw_only=True):
    """What a simulated run left. `findings` is None when it could not come to its end.

    `error` says why, unless an invariant (`broken`) stopped it. `digest` is of every event.
    """

    seed: int
    swarm: Swarm
    faults: tuple[str, ...]
    digest: str
    history: Any  # History: whatever was recorded, also when the run was stopped
    findings: Findings | None
    broken: Broken | None
    error: str | None
    liveness: Any  # Liveness | None
    events: int
    invariant_checks: int
    simulated_s: float
    elapsed_s: float
    world: Any  # SimWorld, for the transcript

    def transcript(self, shown: Filter = Filter()) -> Iterator[str]:  # noqa: B008 - frozen
        """Yield the lines of what is still in the ring of events."""
        world: SimWorld = self.world
        return transcript(world.trace.events(), world.names, describe, shown)


class _Cues:
    """Listens to the controller's phases: the surroundings' storm lasts as long as the load."""

    def __init__(self, cluster: SimCluster, listener: Progress) -> None:
        self._cluster = cluster
        self._listener = listener

    def phase(self, name: str) -> None:
        """Begin and end the surroundings' storm with the load."""
        if name == "load":
            self._cluster.begin_storm()
        elif name != "start":
            self._cluster.end_storm()
        self._listener.phase(name)

    def say(self, line: str) -> None:
        """Pass it on."""
        self._listener.say(line)

    def op(self, op: Any) -> None:
        """Pass it on."""
        self._listener.op(op)


def simulate(
    seed: int,
    workload: Workload,
    plan: Plan,
    *,
    progress: Progress | None = None,
    sink: Sink | None = None,
    into: Path | None = None,
    stop: Any = None,
) -> Simulation:
    """Run one seed to its end, or to the first broken invariant.

    `stop`, a callable, is given an Event of the simulation that ends the load when set. Raises only
    what is trouble of ours: HarnessError, or an error of the harness's own.
    """
    swarm = plan.swarm if plan.swarm is not None else draw(Streams(seed))
    faults = plan.faults if plan.faults is not None else swarm.faults
    world = SimWorld(seed, plan.size, swarm, max_events=plan.max_events, keep=plan.keep)
    runtime = SimRuntime(world.loop)
    cluster = SimCluster(
        world, runtime, plan.options.op_timeout_ns, liveness=plan.liveness, wals=plan.wals
    )
    recorder = Recorder(runtime, sink)
    halt: Event = runtime.event()
    if stop is not None:
        stop(halt)
    main = conduct(
        runtime=runtime,
        cluster=cluster,
        workload=workload,
        nemesis=Storm(faults),
        recorder=recorder,
        seeds=Seeds(seed),
        options=plan.options,
        progress=_Cues(cluster, progress or Silent()),
        stop=halt,
        into=into,
    )
    findings, error = None, None
    begun_s = time.perf_counter()
    collecting = gc.isenabled()
    gc.disable()
    try:
        findings = runtime.run(main, "controller")
    except (Deadlock, TooManyEvents) as trouble:
        if world.invariants.broken is None:
            error = f"{type(trouble).__name__}: {trouble}"
    finally:
        if collecting:
            gc.enable()
    for task in runtime.failed:
        if not task.joined and error is None:
            error = f"task {task.name} failed: {type(task.error).__name__}: {task.error}"
    elapsed_s = time.perf_counter() - begun_s
    history, digest = recorder.history(), world.trace.digest()
    runtime.wind_down()
    return Simulation(
        seed=seed,
        swarm=swarm,
        faults=faults,
        digest=digest,
        history=history,
        findings=findings,
        broken=world.invariants.broken,
        error=error,
        liveness=cluster.liveness,
        events=world.loop.events,
        invariant_checks=world.invariants.checks,
        simulated_s=world.loop.now_us / 1e6,
        elapsed_s=elapsed_s,
        world=world,
    )


def calm_plan(options: Options, faults: tuple[str, ...], size: int = 5) -> Plan:
    """Plan a run as with containers: healthy surroundings, the nemesis alone does harm."""
    return Plan(options=options, size=size, swarm=CALM, faults=faults, liveness=False)
