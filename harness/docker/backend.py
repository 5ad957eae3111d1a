"""Executes a run on containers: asyncio, real sockets, signals.

The asyncio event loop and the signal handlers of a run are set up here. The run itself is
`squall.harness.run.controller.conduct`, which depends on neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

from squall.checkers.history import Op
from squall.harness.cluster import Cluster
from squall.harness.docker.cluster import DockerCluster
from squall.harness.docker.image.build import ensure_image
from squall.harness.nemesis.scheduler import FaultScheduler
from squall.harness.run.asyncio_runtime import AsyncioRuntime
from squall.harness.run.controller import conduct
from squall.harness.run.progress import Progress
from squall.harness.run.recorder import Recorder
from squall.harness.run.run import BackendResult, Request
from squall.harness.run.runtime import Event
from squall.harness.run.seeds import Seeds
from squall.harness.store import RunFolder
from squall.workloads import WORKLOADS


def execute(
    request: Request,
    folder: RunFolder,
    progress: Progress,
    sink: Callable[[Op], None],
) -> BackendResult:
    """Execute a run on containers, with asyncio."""
    image = ensure_image(request.node_source, progress.say)
    cluster = DockerCluster(
        run_id=folder.path.name.lower(),
        size=request.nodes,
        image=image.tag,
        start_timeout_s=request.start_timeout_s,
    )
    return asyncio.run(_on_asyncio(request, cluster, folder, progress, sink))


async def _on_asyncio(
    request: Request,
    cluster: Cluster,
    folder: RunFolder,
    progress: Progress,
    sink: Callable[[Op], None],
) -> BackendResult:
    runtime = AsyncioRuntime()
    stop = runtime.event()
    main = asyncio.current_task()
    assert main is not None
    with _interruptible(asyncio.get_running_loop(), main, stop, progress) as interrupts:
        findings = await conduct(
            runtime=runtime,
            cluster=cluster,
            workload=WORKLOADS[request.workload],
            nemesis=FaultScheduler(request.faults),
            recorder=Recorder(runtime, sink),
            seeds=Seeds(request.seed),
            options=request.options,
            progress=progress,
            stop=stop,
            into=folder.nodes,
        )
    return BackendResult(
        findings=findings,
        versions=cluster.versions,
        unsupported=cluster.unsupported,
        interrupted=bool(interrupts),
    )


@contextlib.contextmanager
def _interruptible(
    loop: asyncio.AbstractEventLoop, main: asyncio.Task[Any], stop: Event, progress: Progress
) -> Iterator[list[int]]:
    """The first interrupt ends the load, the second cancels the run; healing always happens."""
    interrupts: list[int] = []

    def interrupt(number: int) -> None:
        interrupts.append(number)
        if len(interrupts) == 1:
            name = signal.Signals(number).name
            progress.say(f"interrupted ({name}): the load stops; healing, judging what there is")
            stop.set()
        elif len(interrupts) == 2:
            progress.say("interrupted again: healing and leaving")
            main.cancel()

    signals = (signal.SIGINT, signal.SIGTERM)
    for each in signals:
        loop.add_signal_handler(each, interrupt, each)
    try:
        yield interrupts
    finally:
        for each in signals:
            loop.remove_signal_handler(each)
