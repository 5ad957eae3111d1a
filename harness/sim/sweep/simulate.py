"""One seed, one run: the controller's `conduct` in virtual time.

Everything of a run follows from its seed and its `Plan`: the swarm's draws, the nemesis, the load.
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

from squall.harness.nemesis.scheduler import FaultScheduler
from squall.harness.run.controller import Findings, conduct
from squall.harness.run.options import Options
from squall.harness.run.progress import Progress, Silent
from squall.harness.run.recorder import Recorder, Sink
from squall.harness.run.runtime import Event
from squall.harness.run.seeds import Seeds
from squall.harness.sim.chaos.swarm import CALM, Swarm, draw
from squall.harness.sim.cluster import SimCluster
from squall.harness.sim.judge.evidence import gather
from squall.harness.sim.judge.invariants import Broken
from squall.harness.sim.judge.trace import RING, Filter, transcript
from squall.harness.sim.judge.trace_format import describe
from squall.harness.sim.runtime import DeadlockError, SimRuntime
from squall.harness.sim.world.loop import MAX_EVENTS, TooManyEventsError
from squall.harness.sim.world.streams import Streams
from squall.harness.sim.world.world import SimWorld
from squall.workloads.workload import Workload


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
    """What a simulated run left. `digest` is of every event.

    A run that an invariant (`broken`) stopped has findings too: the evidence as it was then, with
    the broken rule among the node's assertions. `findings` is None when the run came to no end for
    another reason, which `error` tells.
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
    cpu_s: float
    world: Any  # SimWorld, for the transcript

    def transcript(self, shown: Filter = Filter()) -> Iterator[str]:  # noqa: B008 - frozen
        """Yield the lines of the events that were kept."""
        world: SimWorld = self.world
        return transcript(world.trace.events(), world.names, describe, shown, world.loop.zero_us)


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


class _Stage:
    """Everything that takes part in one run."""

    def __init__(self, seed: int, plan: Plan, sink: Sink | None) -> None:
        self.seed = seed
        self.plan = plan
        self.swarm = plan.swarm if plan.swarm is not None else draw(Streams(seed))
        self.faults = plan.faults if plan.faults is not None else self.swarm.faults
        self.world = SimWorld(
            seed, plan.size, self.swarm, max_events=plan.max_events, keep=plan.keep
        )
        self.runtime = SimRuntime(self.world.loop)
        self.cluster = SimCluster(
            self.world,
            self.runtime,
            plan.options.op_timeout_ns,
            liveness=plan.liveness,
            wals=plan.wals,
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
        """Return what there is to find after an invariant stopped the run."""
        return Findings(
            history=self.recorder.history(),
            evidence=gather(self.world, into, wals=self.plan.wals),
            schedule=self.nemesis.executed(),
        )

    def conclude(self, findings: Findings | None, error: str | None, cpu_s: float) -> Simulation:
        """Put together what the run left."""
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
            invariant_checks=world.invariants.checks,
            simulated_s=world.loop.now_us / 1e6,
            cpu_s=cpu_s,
            world=world,
        )


def simulate(
    seed: int,
    workload: Workload,
    plan: Plan,
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
    stage = _Stage(seed, plan, sink)
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
            options=plan.options,
            progress=_Cues(stage.cluster, progress or Silent()),
            stop=halt,
            into=into,
        )
    )
    if stage.world.invariants.broken is not None:
        findings = stage.stopped(into)
    return stage.conclude(findings, error, time.process_time() - begun_s)


def calm_plan(options: Options, faults: tuple[str, ...], size: int = 5) -> Plan:
    """Plan a run as with containers: healthy surroundings, the nemesis alone does harm."""
    return Plan(options=options, size=size, swarm=CALM, faults=faults, liveness=False)
