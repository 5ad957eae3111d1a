"""Many seeds over all cores: find the one that fails.

Each seed is a run with a swarm of its own, judged by the same checkers as any run and by what only
a simulation can see. Results come as they are ready. A run has a cap on its events, so none can
hang the sweep; a failing seed is one line that repeats it exactly.

    alarm     a broken invariant, an invalid verdict, a failed liveness phase: the node's fault
    trouble   the run could not be judged: the harness's or the simulator's fault
    idle      nothing happened that could have gone wrong: no pass, but no alarm either
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import shlex
import signal
from collections.abc import Generator, Iterable, Iterator
from enum import StrEnum
from typing import Any

import msgspec

from squall.checkers.campaign.recovery import recovered
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, OpType
from squall.checkers.judge import judge as judge_history
from squall.checkers.proof_check.self_check import DEFECT
from squall.checkers.verdict import Budget, Checker, Validity, Verdict
from squall.harness.cluster import HarnessError
from squall.harness.run.options import NS_PER_S, Options
from squall.harness.sim.chaos.effects import Effects, effects
from squall.harness.sim.judge.trace import MAX_TRANSCRIPT, Filter
from squall.harness.sim.sweep.simulate import Simulation, SimulationConfig, simulate
from squall.workloads import WORKLOADS, liveness
from squall.workloads.workload import Workload

CHUNK = 4
"""Seeds handed to a worker at a time: few, so that results come as they are ready."""

MAX_EVENTS_PER_S = 60_000
"""Events a simulated second may cost; a healthy one costs a tenth of it."""

SLACK_S = 200
"""Simulated seconds a run may take beyond its load, for recovery and final reads."""


DEEP_EVERY = 8
"""One seed in so many has its nodes' WALs read at the end; the invariants check all of them."""


class Result(StrEnum):
    """How one seed ended."""

    OK = "ok"
    IDLE = "idle"
    ALARM = "alarm"
    TROUBLE = "trouble"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One seed of a sweep."""

    seed: int
    result: Result
    rule: str = ""
    text: str = ""
    at_s: float = 0.0
    operations: int = 0
    ok: int = 0
    effects: Effects = {}
    events: int = 0
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    elections: float = 0.0
    digest: str = ""
    history_digest: str = ""
    swarm: str = ""


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What every seed of a sweep does. `time_s` is the length of the load in simulated seconds.

    `node_source` is where the node under test came from, for the line that repeats a seed.
    """

    workload: str = "register"
    time_s: float = 20.0
    rate: float = 200.0
    concurrency: int = 20
    size: int = 5
    faults: tuple[str, ...] | None = None
    checks: bool = True
    node_source: str = ""

    def config(self, seed: int) -> SimulationConfig:
        """Return what to simulate; everything else is drawn by the seed."""
        options = Options(
            prefix="s/",
            time_limit_ns=int(self.time_s * NS_PER_S),
            rate=self.rate,
            concurrency=self.concurrency,
        )
        cap = int((self.time_s + SLACK_S) * MAX_EVENTS_PER_S)
        return SimulationConfig(
            options=options,
            size=self.size,
            faults=self.faults,
            max_events=cap,
            wals=seed % DEEP_EVERY == 0,
        )

    def command(self, seed: int) -> str:
        """Return the line that repeats one seed."""
        words = (
            f"squall trace {seed} --workload {self.workload} --time {self.time_s:g}s "
            f"--rate {self.rate:g} --concurrency {self.concurrency} --nodes {self.size}"
        )
        if self.faults is not None:
            words += f" --faults {','.join(self.faults) or 'none'}"
        if self.node_source:
            source = self.node_source
            if source.startswith("/"):  # a line for other machines too
                source = os.path.relpath(source)
            words += f" --node-source {shlex.quote(source)}"
        return words


def sweep(seeds: Iterable[int], what: Sweep, jobs: int) -> Generator[Row, None, None]:
    """Run every seed and yield its row as soon as it is there, in any order.

    Closing the generator ends the sweep.
    """
    if jobs <= 1:
        for seed in seeds:
            yield run_seed(seed, what)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, _prepare, (what,)) as pool:
        yield from pool.imap_unordered(_run, seeds, chunksize=CHUNK)


def run_seed(seed: int, what: Sweep) -> Row:
    """Run and judge one seed.

    The cyclic garbage collector is off during the run, and its objects are freed all at once after
    it.
    """
    workload = workload_named(what.workload)
    collecting = gc.isenabled()
    gc.disable()
    try:
        run = simulate(seed, workload, what.config(seed))
        return judge(run, workload, checks=what.checks)
    except HarnessError as trouble:
        words = f"{type(trouble).__name__}: {trouble}"
        return Row(seed=seed, result=Result.TROUBLE, rule="harness", text=words)
    finally:
        if collecting:
            gc.enable()


def retrace(seed: int, what: Sweep, shown: Filter) -> tuple[Row, Iterator[str]]:
    """Run one seed again with every event kept; returns its row and its transcript's lines."""
    workload = workload_named(what.workload)
    config = msgspec.structs.replace(what.config(seed), keep=MAX_TRANSCRIPT)
    run = simulate(seed, workload, config)
    return judge(run, workload, checks=what.checks), run.transcript(shown)


def judge(run: Simulation, workload: Workload, *, checks: bool = True) -> Row:
    """Say how a simulated run ended, in one row."""
    history: History = run.history
    found = effects(run.world, history)
    result, rule, text = _conclude(run, workload, checks, found)
    own = liveness.without(history)
    completed = [op for op in own if op.is_client and op.type is not OpType.INVOKE]
    return Row(
        seed=run.seed,
        result=result,
        rule=rule,
        text=text,
        at_s=run.broken.at_us / 1e6 if run.broken is not None else 0.0,
        operations=len(completed),
        ok=sum(op.type is OpType.OK for op in completed),
        effects=found,
        events=run.events,
        simulated_s=run.simulated_s,
        cpu_s=run.cpu_s,
        elections=run.liveness.elections if run.liveness is not None else 0.0,
        digest=run.digest,
        history_digest=history_digest(history),
        swarm=run.swarm.words(),
    )


def history_digest(history: History) -> str:
    """Digest a history's bytes as they would stand in its file."""
    lines = map(msgspec.json.Encoder().encode, history)
    return hashlib.blake2b(b"".join(lines), digest_size=16).hexdigest()


def workload_named(name: str) -> Workload:
    """Find a workload by its name; raises KeyError."""
    return WORKLOADS[name]


def _conclude(
    run: Simulation, workload: Workload, checks: bool, found: Effects
) -> tuple[Result, str, str]:
    if run.broken is not None:
        return Result.ALARM, run.broken.rule, run.broken.sentence()
    if run.error is not None or run.findings is None:
        return Result.TROUBLE, "simulator", run.error or "the run did not end"
    evidence = run.findings.evidence
    recovery = evidence.recovery
    if not recovered(evidence):
        return Result.ALARM, "recovery", str(recovery.get("reason"))
    if recovery.get("digests_agree") is False:
        return Result.ALARM, "convergence", f"digests differ at the end: {recovery['digests']}"
    if evidence.trouble:
        return Result.TROUBLE, "harness", evidence.trouble[0]
    if recovery.get("final_reads_missing"):
        missing = recovery["final_reads_missing"]
        return Result.ALARM, "recovery", f"{missing} final reads were never answered"
    if not any(op.is_client and op.type is OpType.OK for op in liveness.without(run.history)):
        return Result.IDLE, "", "no operation succeeded"
    if not found:
        return Result.IDLE, "", "no fault had any effect"
    if checks:
        verdict = judge_history(_judges(run, workload, evidence), run.history, evidence, Budget())
        if (invalid := _first(verdict, Validity.INVALID)) is not None:
            words = invalid.anomalies[0].summary if invalid.anomalies else invalid.claim
            return Result.ALARM, invalid.checker, words
        if (unknown := _first(verdict, Validity.UNKNOWN)) is not None:
            if (unknown.reason or "").startswith(DEFECT):
                return Result.TROUBLE, unknown.checker, unknown.reason or DEFECT
            return Result.IDLE, unknown.checker, unknown.reason or "unknown"
    return Result.OK, "", ""


def _judges(run: Simulation, workload: Workload, evidence: Evidence) -> list[Checker]:
    """Return the checkers of a run of a sweep.

    A swarm may leave a kind of operation without success, or a fault without effect: no single run
    of a sweep claims to have exercised it. WALs that were not read cannot be judged.
    """
    left_out = {"statistics", "coverage", "availability"}
    if all(not node.entries for node in evidence.nodes.values()):
        left_out.add("raft-safety")
    return [checker for checker in workload.checkers(run.faults) if checker.name not in left_out]


def _first(verdict: Verdict, validity: Validity) -> Verdict | None:
    """Find the first verdict that decided so, as deep as it goes."""
    if verdict.validity is not validity:
        return None
    below = (_first(child, validity) for child in verdict.children)
    return next((each for each in below if each is not None), verdict)


_what: Any = None  # what this worker process does with every seed


def _prepare(what: Sweep) -> None:
    global _what  # noqa: PLW0603 - a worker's one piece of state, set once
    _what = what
    # Ctrl-C reaches every process of the terminal; the parent alone ends the sweep.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(seed: int) -> Row:
    return run_seed(seed, _what)
