"""The heart of a run: start, load under faults, heal, wait, read everything back, collect.

`conduct` is a plain coroutine over a `Runtime` and a `Cluster`. It runs unchanged on asyncio
against containers and under virtual time against the simulator. It records and gathers; it does not
judge (`squall.harness.run.judging` does, from what is on disk by then).

The final phase always happens, whatever the load or the nemesis did: a write that nobody read back
is neither kept nor lost, and a history full of those proves nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from squall.checkers.evidence import Evidence, NodeEvidence
from squall.checkers.history import History
from squall.harness.cluster import Cluster, HarnessError, NodeDied
from squall.harness.nemesis import Executed, Nemesis
from squall.harness.nemesis.scheduler import observe_all
from squall.harness.run.context import Scene
from squall.harness.run.interpreter import Interpreter
from squall.harness.run.observer import Observer, note_disturbances
from squall.harness.run.options import NS_PER_MS, NS_PER_S, Options
from squall.harness.run.progress import Progress, Silent
from squall.harness.run.recorder import Recorder
from squall.harness.run.recovery import await_recovery, compare_digests, mend, patience_ns
from squall.harness.run.runtime import Event, Runtime
from squall.harness.run.seeds import Seeds
from squall.workloads.client import Definite, Indefinite, Range, RangeAnswer
from squall.workloads.generator import Stagger, TimeLimit
from squall.workloads.workload import Plan, Script, Workload

EMPTY_TIMEOUT_NS = 30 * NS_PER_S
"""How long a fresh cluster may take to answer its first read (it must elect a leader first)."""

EMPTY_RETRY_NS = 100 * NS_PER_MS

WHOLE_STORE = Range(key=b"\0", range_end=b"\0", limit=1)


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves for the judge: what happened, what the nodes say, what was done to them."""

    history: Any  # History
    evidence: Evidence
    schedule: tuple[Executed, ...] = ()


async def conduct(
    *,
    runtime: Runtime,
    cluster: Cluster,
    workload: Workload,
    nemesis: Nemesis,
    recorder: Recorder,
    seeds: Seeds,
    options: Options,
    progress: Progress | None = None,
    stop: Event | None = None,
    into: Path | None = None,
) -> Findings:
    """Run one test and return what was found; the cluster is gone afterwards.

    `stop`, when raised, ends the load early; all that follows it still happens. `into` receives
    each node's logs and data. Raises HarnessError when the cluster never came up or the history
    could not be written on; other trouble after that is noted in the evidence, so that what was
    recorded still gets judged.
    """
    scene = Scene(
        runtime=runtime,
        cluster=cluster,
        recorder=recorder,
        seeds=seeds,
        options=options,
        stop=stop or runtime.event(),
        calm=runtime.event(),
        progress=progress or Silent(),
    )
    recorder.on_failure(scene.stop.set)
    deaths: dict[str, str] = {}
    recovery: dict[str, Any] = {}
    try:
        scene.progress.phase("start")
        try:
            await cluster.start()
            await assert_empty(scene)
            recovery = await _storm(scene, workload, nemesis, deaths)
        except NodeDied as death:
            deaths[death.node] = death.text
        scene.progress.phase("collect")
        evidence = await _collect(scene, recovery, deaths, into)
    finally:
        # Whatever ended the run, its remains go; and that they do not must not hide what ended it.
        await _remove(scene)
    recorder.check()
    evidence = msgspec.structs.replace(
        evidence, trouble=tuple(dict.fromkeys((*scene.trouble, *evidence.trouble)))
    )
    return Findings(history=History(recorder.ops), evidence=evidence, schedule=nemesis.executed())


async def _remove(scene: Scene) -> None:
    """Remove the cluster; what cannot be removed is trouble that hides nothing else."""
    try:
        await scene.cluster.stop()
    except Exception as error:  # noqa: BLE001 - said, and the run ends as it would have
        scene.complain(
            f"containers of this run could not be removed: {error}. `squall clean` removes them"
        )


async def assert_empty(scene: Scene) -> None:
    """Check that nobody wrote to this store before us; raises HarnessError.

    Every node is asked, so that the load begins on a cluster of which each node serves.
    """
    give_up_ns = scene.runtime.now_ns() + EMPTY_TIMEOUT_NS
    for node in scene.cluster.nodes:
        while (found := await _ask_whole_store(scene, node)) is None:
            if scene.runtime.now_ns() > give_up_ns:
                raise HarnessError(
                    f"{node} answered no read within {EMPTY_TIMEOUT_NS // NS_PER_S} s of the "
                    "cluster's start, before any fault; see its log in the run's folder"
                )
            await scene.runtime.sleep_ns(EMPTY_RETRY_NS)
        if found.kvs:
            raise HarnessError(
                f"{node} holds the key {found.kvs[0].key!r} before the run has written anything; "
                "a verdict on a store that is not empty would be worthless"
            )


async def _ask_whole_store(scene: Scene, node: str) -> RangeAnswer | None:
    client = await scene.cluster.client(node)
    call = scene.runtime.spawn(client.call(WHOLE_STORE), "empty?")
    wait = scene.runtime.event()
    give_up_ns = scene.runtime.now_ns() + scene.options.op_timeout_ns
    try:
        while not call.done():
            if scene.runtime.now_ns() > give_up_ns:
                call.cancel()
                return None
            await wait.wait(5 * NS_PER_MS)
        answer = await call.join()
    except (Definite, Indefinite):
        return None
    finally:
        await client.close()
    assert isinstance(answer, RangeAnswer)
    return answer


async def _storm(
    scene: Scene, workload: Workload, nemesis: Nemesis, deaths: dict[str, str]
) -> dict[str, Any]:
    """Load the cluster while it is being broken, then mend it and read everything back."""
    plan = Plan(
        nodes=scene.cluster.nodes, prefix=scene.options.prefix, options=scene.options.workload
    )
    script = workload.begin(scene.seeds.of, plan)
    scene.runtime.begin()  # every time that is recorded or shown counts from the first operation
    interpreter = Interpreter(scene, script.invoke, workload.reads)
    observer, over = Observer(scene), scene.runtime.event()
    watching = scene.runtime.spawn(observer.watch(over), "observer")
    try:
        await _load(scene, interpreter, script, nemesis)
        scene.recorder.check()
        scene.progress.phase("heal")
        await mend(scene)
        recovery = await await_recovery(scene)
        scene.recorder.check()
        scene.progress.phase("read")
        recovery |= await _read_back(scene, interpreter, script)
        recovery |= await compare_digests(scene)
        recovery["quorum_share"] = nemesis.quorum_share()
    finally:
        over.set()
        await watching.join()
        await interpreter.hang_up()
        deaths |= observer.crashes
    return recovery


async def _load(scene: Scene, interpreter: Interpreter, script: Script, nemesis: Nemesis) -> None:
    options = scene.options
    scene.progress.phase("load")
    scene.load_until_ns = scene.runtime.now_ns() + options.time_limit_ns
    await scene.cluster.begin_background_faults()
    raging = scene.runtime.spawn(nemesis.rage(scene), "nemesis")
    paced = Stagger(scene.seeds.of("workload/pace"), options.rate, script.load())
    try:
        await interpreter.run(TimeLimit(options.time_limit_ns, paced))
    finally:
        scene.calm.set()
        try:
            await raging.join()
        except Exception as error:  # noqa: BLE001 - the nemesis is ours, and so is its failure
            scene.complain(f"the nemesis failed: {type(error).__name__}: {error}")
        await scene.cluster.end_background_faults()


async def _read_back(scene: Scene, interpreter: Interpreter, script: Script) -> dict[str, Any]:
    """Drive the final reads; they may take as long as the recovery may."""
    limit_ns = await patience_ns(scene, await observe_all(scene))
    await interpreter.hang_up()  # connections of the storm may still be waiting to try again
    drain = script.final()
    await interpreter.run(TimeLimit(limit_ns, drain), heed_stop=False)
    return {"final_reads": drain.succeeded, "final_reads_missing": drain.missing}


async def _collect(
    scene: Scene, recovery: dict[str, Any], deaths: dict[str, str], into: Path | None
) -> Evidence:
    """Gather what the nodes left behind; what cannot be had is trouble, not silence."""
    try:
        deaths |= await scene.cluster.crashed()
        await note_disturbances(scene)
        evidence = await scene.cluster.collect(into)
    except Exception as error:  # noqa: BLE001 - the history must be judged all the same
        scene.complain(f"could not collect the nodes' logs: {type(error).__name__}: {error}")
        evidence = Evidence()
    nodes = dict(evidence.nodes)
    for node, words in deaths.items():
        found = nodes.get(node, NodeEvidence(node=node))
        if not found.assertions:
            found = msgspec.structs.replace(found, assertions=(words,))
        nodes[node] = found
    return msgspec.structs.replace(
        evidence,
        nodes=nodes,
        recovery={**evidence.recovery, **recovery},
        unsupported_faults={**scene.cluster.unsupported, **evidence.unsupported_faults},
    )
