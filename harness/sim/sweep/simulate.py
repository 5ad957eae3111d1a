"""One seed, one run: the controller's `conduct` in virtual time.

Everything of a run follows from its seed and its `SimulationConfig`: swarm, nemesis, load.
What comes back is what any run gives (history, evidence, schedule) and what only a simulation has:
the digest of every event, the first broken invariant, and the transcript.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec

from squall.checkers.history import History
from squall.harness.nemesis.scheduler import FaultScheduler
from squall.harness.run.controller import Findings, conduct
from squall.harness.run.options import Options
from squall.harness.run.progress import Progress
from squall.harness.run.recorder import Recorder, Sink
from squall.harness.run.runtime import Event
from squall.harness.run.seeds import Seeds, WorldSeeds
from squall.harness.sim.chaos.liveness import Liveness
from squall.harness.sim.chaos.swarm import HEALTHY, Swarm, draw
from squall.harness.sim.cluster import SimCluster
from squall.harness.sim.judge.evidence import gather
from squall.harness.sim.judge.invariants import Broken
from squall.harness.sim.judge.trace import RING, Filter, transcript
from squall.harness.sim.judge.trace_format import describe
from squall.harness.sim.runtime import DeadlockError, SimRuntime
from squall.harness.sim.world.loop import MAX_EVENTS, TooManyEventsError
from squall.harness.sim.world.world import SimWorld
from squall.workloads.workload import Workload


class SimulationConfig(msgspec.Struct, frozen=True, kw_only=True):
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
    """What a simulated run left. `digest` is of every event.

    A run that an invariant (`broken`) stopped has findings too: the evidence as it was then, with
    the broken rule among the node's assertions. `findings` is None when the run came to no end for
    another reason, which `error` states.
    """

    seed: int
    swarm: Swarm
    faults: tuple[str, ...]
    digest: str
    history: History  # whatever was recorded, also when the run was stopped
    findings: Findings | None
    broken: Broken | None
    error: str | None
    liveness: Liveness | None
    events: int
    simulated_s: float
    cpu_s: float
    world: SimWorld  # for the transcript

    def transcript(self, shown: Filter = Filter()) -> Iterator[str]:  # noqa: B008 - frozen
        """Yield the lines of the events that were kept."""
        world: SimWorld = self.world
        return transcript(world.trace.events(), world.names, describe, shown, world.loop.zero_us)


class _Stage:
    """The parts of one run."""

    def __init__(self, seed: int, config: SimulationConfig, sink: Sink | None) -> None:
        self.seed = seed
        self.config = config
        self.swarm = config.swarm if config.swarm is not None else draw(WorldSeeds(seed))
        self.faults = config.faults if config.faults is not None else self.swarm.faults
        self.world = SimWorld(
            seed, config.size, self.swarm, max_events=config.max_events, keep=config.keep
        )
        self.runtime = SimRuntime(self.world.loop)
        self.cluster = SimCluster(
            self.world,
            self.runtime,
            config.options.op_timeout_ns,
            liveness=config.liveness,
            wals=config.wals,
        )
        self.recorder = Recorder(self.runtime, sink)
        self.nemesis = FaultScheduler(self.faults, alone=not self.swarm.triggers)

    def play(self, main: Coroutine[Any, Any, Findings]) -> tuple[Findings | None, str | None]:
        """Run to the end, or until something stops it; returns the findings, or what went wrong."""
        findings, error = None, None
        collecting = gc.isenabled()
        gc.disable()
        try:
            findings = self.runtime.run(main, "controller")
        except (DeadlockError, TooManyEventsError) as trouble:
            if self.world.invariants.broken is None:
                error = f"{type(trouble).__name__}: {trouble}"
        except BaseException:
            self.runtime.wind_down()
            raise
        finally:
            if collecting:
                gc.enable()
        for task in self.runtime.failed:
            if not task.joined and error is None:
                error = f"task {task.name} failed: {type(task.error).__name__}: {task.error}"
        return findings, error

    def stopped(self, into: Path | None) -> Findings:
        """Return the findings of a run that an invariant stopped."""
        return Findings(
            history=self.recorder.history(),
            evidence=gather(self.world, into, wals=self.config.wals),
            schedule=self.nemesis.executed(),
        )

    def conclude(self, findings: Findings | None, error: str | None, cpu_s: float) -> Simulation:
        """Assemble what the run left."""
        world = self.world
        history, digest = self.recorder.history(), world.trace.digest()
        self.runtime.wind_down()
        return Simulation(
            seed=self.seed,
            swarm=self.swarm,
            faults=self.faults,
            digest=digest,
            history=history,
            findings=findings,
            broken=world.invariants.broken,
            error=error,
            liveness=self.cluster.liveness,
            events=world.loop.events,
            simulated_s=world.loop.now_us / 1e6,
            cpu_s=cpu_s,
            world=world,
        )


def simulate(
    seed: int,
    workload: Workload,
    config: SimulationConfig,
    *,
    progress: Progress | None = None,
    sink: Sink | None = None,
    into: Path | None = None,
    stop: Callable[[Event], Any] | None = None,
) -> Simulation:
    """Run one seed to its end, or to the first broken invariant.

    `stop` is handed an Event of the simulation that ends the load when it is set. Raises only what
    is trouble of ours: HarnessError, or an error of the harness's own.
    """
    stage = _Stage(seed, config, sink)
    halt = stage.runtime.event()
    if stop is not None:
        stop(halt)
    begun_s = time.process_time()
    findings, error = stage.play(
        conduct(
            runtime=stage.runtime,
            cluster=stage.cluster,
            workload=workload,
            nemesis=stage.nemesis,
            recorder=stage.recorder,
            seeds=Seeds(seed),
            options=config.options,
            progress=progress,
            stop=halt,
            into=into,
        )
    )
    if stage.world.invariants.broken is not None:
        findings = stage.stopped(into)
    return stage.conclude(findings, error, time.process_time() - begun_s)


def healthy_config(options: Options, faults: tuple[str, ...], size: int = 5) -> SimulationConfig:
    """Describe a run as with containers: healthy machines, faults by the nemesis alone."""
    return SimulationConfig(
        options=options, size=size, swarm=HEALTHY, faults=faults, liveness=False
    )
