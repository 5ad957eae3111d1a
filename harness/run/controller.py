"""The phases of a run: start, load under faults, heal, wait, read everything back, collect.

`conduct` is a plain coroutine over a `Runtime` and a `Cluster`. It runs unchanged on asyncio
against containers and in virtual time against the simulator. It records and gathers; it does not
judge (`squall.harness.run.judging` does, from what is on disk by then).

The final phase always takes place, whatever happened during the load: a write that was not read
back is neither kept nor lost, and a history full of those proves nothing. It begins with the
liveness phase, if the backend has one (`Cluster.prove_liveness`, called by `recovery.mend`).
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
from squall.harness.run.context import RunContext
from squall.harness.run.interpreter import Interpreter
from squall.harness.run.observer import Observer, note_disturbances
from squall.harness.run.options import NS_PER_MS, NS_PER_S, Options
from squall.harness.run.progress import Progress, Silent
from squall.harness.run.recorder import Recorder
from squall.harness.run.recovery import await_recovery, compare_digests, mend, recovery_limit_ns
from squall.harness.run.runtime import Event, Runtime
from squall.harness.run.seeds import Seeds
from squall.workloads.client import Definite, Indefinite, Range, RangeAnswer
from squall.workloads.generator import Stagger, TimeLimit
from squall.workloads.workload import Script, ScriptConfig, Workload

EMPTY_TIMEOUT_NS = 30 * NS_PER_S
"""How long a fresh cluster may take to answer its first read (it must elect a leader first)."""

EMPTY_RETRY_NS = 100 * NS_PER_MS

WHOLE_STORE = Range(key=b"\0", range_end=b"\0", limit=1)


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves for the judge: history, evidence of the nodes, executed faults."""

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
    context = RunContext(
        runtime=runtime,
        cluster=cluster,
        recorder=recorder,
        seeds=seeds,
        options=options,
        stop=stop or runtime.event(),
        load_over=runtime.event(),
        progress=progress or Silent(),
    )
    recorder.on_failure(context.stop.set)
    deaths: dict[str, str] = {}
    recovery: dict[str, Any] = {}
    try:
        context.progress.phase("start")
        try:
            await cluster.start()
            await assert_empty(context)
            recovery = await _load_and_recover(context, workload, nemesis, deaths)
        except NodeDied as death:
            deaths[death.node] = death.text
        context.progress.phase("collect")
        evidence = await _collect(context, recovery, deaths, into)
    finally:
        # The cluster is always removed; a failure of that must not replace the run's error.
        await _remove(context)
    recorder.check()
    evidence = msgspec.structs.replace(
        evidence, trouble=tuple(dict.fromkeys((*context.trouble, *evidence.trouble)))
    )
    return Findings(history=History(recorder.ops), evidence=evidence, schedule=nemesis.executed())


async def _remove(context: RunContext) -> None:
    """Remove the cluster; a failure is noted as trouble and replaces no other error."""
    try:
        await context.cluster.stop()
    except Exception as error:  # noqa: BLE001 - noted; the run ends as it would have
        context.note_trouble(
            f"containers of this run could not be removed: {error}. `squall clean` removes them"
        )


async def assert_empty(context: RunContext) -> None:
    """Check that the store is empty and every node serves; raises HarnessError.

    Every node is asked, so that the load begins on a cluster of which each node serves.
    """
    give_up_ns = context.runtime.now_ns() + EMPTY_TIMEOUT_NS
    for node in context.cluster.nodes:
        while (found := await _ask_whole_store(context, node)) is None:
            if context.runtime.now_ns() > give_up_ns:
                raise HarnessError(
                    f"{node} answered no read within {EMPTY_TIMEOUT_NS // NS_PER_S} s of the "
                    "cluster's start, before any fault; see its log in the run's folder"
                )
            await context.runtime.sleep_ns(EMPTY_RETRY_NS)
        if found.kvs:
            raise HarnessError(
                f"{node} holds the key {found.kvs[0].key!r} before the run has written anything; "
                "a verdict on a store that is not empty would be worthless"
            )


async def _ask_whole_store(context: RunContext, node: str) -> RangeAnswer | None:
    client = await context.cluster.client(node)
    call = context.runtime.spawn(client.call(WHOLE_STORE), "empty?")
    wait = context.runtime.event()
    give_up_ns = context.runtime.now_ns() + context.options.op_timeout_ns
    try:
        while not call.done():
            if context.runtime.now_ns() > give_up_ns:
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


async def _load_and_recover(
    context: RunContext, workload: Workload, nemesis: Nemesis, deaths: dict[str, str]
) -> dict[str, Any]:
    """Load the cluster while faults are injected, then mend it and read everything back."""
    config = ScriptConfig(nodes=context.cluster.nodes, prefix=context.options.prefix)
    script = workload.begin(context.seeds.of, config)
    context.runtime.begin()  # recorded times count from the first operation
    interpreter = Interpreter(context, script.invoke, workload.reads)
    observer, over = Observer(context), context.runtime.event()
    watching = context.runtime.spawn(observer.watch(over), "observer")
    try:
        await _load(context, interpreter, script, nemesis)
        context.recorder.check()
        context.progress.phase("heal")
        await mend(context)
        recovery = await await_recovery(context)
        context.recorder.check()
        context.progress.phase("read")
        recovery |= await _read_back(context, interpreter, script)
        recovery |= await compare_digests(context)
        recovery["quorum_share"] = nemesis.quorum_share()
    finally:
        over.set()
        await watching.join()
        await interpreter.hang_up()
        deaths |= observer.crashes
    return recovery


async def _load(
    context: RunContext, interpreter: Interpreter, script: Script, nemesis: Nemesis
) -> None:
    options = context.options
    context.progress.phase("load")
    context.load_until_ns = context.runtime.now_ns() + options.time_limit_ns
    await context.cluster.begin_background_faults()
    faults = context.runtime.spawn(nemesis.run(context), "nemesis")
    paced = Stagger(context.seeds.of("workload/pace"), options.rate, script.load())
    try:
        await interpreter.run(TimeLimit(options.time_limit_ns, paced))
    finally:
        context.load_over.set()
        try:
            await faults.join()
        except Exception as error:  # noqa: BLE001 - a failure of the nemesis is the harness's
            context.note_trouble(f"the nemesis failed: {type(error).__name__}: {error}")
        await context.cluster.end_background_faults()


async def _read_back(
    context: RunContext, interpreter: Interpreter, script: Script
) -> dict[str, Any]:
    """Drive the final reads; they may take as long as the recovery may."""
    limit_ns = await recovery_limit_ns(context, await observe_all(context))
    await interpreter.hang_up()  # connections of the load may be in their backoff
    drain = script.final()
    await interpreter.run(TimeLimit(limit_ns, drain), heed_stop=False)
    return {"final_reads": drain.succeeded, "final_reads_missing": drain.missing}


async def _collect(
    context: RunContext, recovery: dict[str, Any], deaths: dict[str, str], into: Path | None
) -> Evidence:
    """Gather the nodes' logs and data; what cannot be gathered is noted as trouble."""
    try:
        deaths |= await context.cluster.crashed()
        await note_disturbances(context)
        evidence = await context.cluster.collect(into)
    except Exception as error:  # noqa: BLE001 - the history must be judged all the same
        context.note_trouble(f"could not collect the nodes' logs: {type(error).__name__}: {error}")
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
        unsupported_faults={**context.cluster.unsupported, **evidence.unsupported_faults},
    )
