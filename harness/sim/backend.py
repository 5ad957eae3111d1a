"""The simulator as a backend of `squall run`: one process, virtual time, the same findings.

The simulation itself (`squall.harness.sim.sweep.simulate`) knows neither folders nor signals; they
are handled here.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from squall.checkers.evidence import Evidence, NodeEvidence
from squall.checkers.history import Op
from squall.harness.run.controller import Findings
from squall.harness.run.progress import Progress
from squall.harness.run.run import BackendResult, Request
from squall.harness.run.runtime import Event
from squall.harness.sim.sweep.simulate import Simulation, healthy_config, simulate
from squall.harness.store import RunFolder, explained
from squall.workloads import WORKLOADS


def execute(
    request: Request,
    folder: RunFolder,
    progress: Progress,
    sink: Callable[[Op], None],
) -> BackendResult:
    """Execute a run in the simulator, in virtual time."""
    interrupts: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def stop_on_interrupt(stop: Event) -> None:
        def interrupt(number: int, _: Any) -> None:
            interrupts.append(number)
            stop.set()
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, interrupt)

    config = healthy_config(request.options, request.faults, request.nodes)
    try:
        simulation = simulate(
            request.seed,
            WORKLOADS[request.workload],
            config,
            progress=progress,
            sink=sink,
            into=folder.nodes,
            stop=stop_on_interrupt,
        )
    except OSError as error:
        raise explained(error, folder.path) from error
    finally:
        signal.signal(signal.SIGINT, before)
    return BackendResult(
        findings=simulation.findings or _cut_short(simulation),
        versions={"digest": simulation.digest},
        unsupported={},
        interrupted=bool(interrupts),
    )


def _cut_short(simulation: Simulation) -> Findings:
    """Return what an unfinished run left: a broken invariant, or trouble of the simulator."""
    if simulation.broken is None:
        trouble = (simulation.error or "the simulation ended without saying why",)
        return Findings(history=simulation.history, evidence=Evidence(trouble=trouble))
    node, words = simulation.broken.node, simulation.broken.sentence()
    proof = NodeEvidence(node=node, assertions=(f"invariant broken: {words}",))
    return Findings(history=simulation.history, evidence=Evidence(nodes={node: proof}))
