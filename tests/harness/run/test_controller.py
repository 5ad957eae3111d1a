"""A whole run, from start to findings, on a cluster in memory under virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from squall.checkers.faults import fault_windows
from squall.checkers.history import OpType
from squall.checkers.judge import judge
from squall.checkers.verdict import Budget, Validity
from squall.harness.cluster import HarnessError, NodeKilled
from squall.harness.nemesis.scheduler import FaultScheduler
from squall.harness.run.controller import Findings, conduct
from squall.harness.run.options import NS_PER_S, Options
from squall.harness.run.recorder import Recorder
from squall.harness.run.seeds import Seeds
from squall.harness.sim.runtime import SimRuntime
from squall.workloads import WORKLOADS, liveness
from squall.workloads.client import Put
from tests.harness.fake import FakeCluster
from tests.harness.virtual import virtual_runtime

ALL = ("kill", "pause", "partition", "clock")


def run(
    *, seed: int = 1, faults: tuple[str, ...] = ALL, seconds: int = 60, **cluster: Any
) -> tuple[Findings, FakeCluster]:
    runtime = virtual_runtime()
    made = FakeCluster(runtime, **cluster)
    return conducted(runtime, made, seed=seed, faults=faults, seconds=seconds), made


def conducted(
    runtime: SimRuntime,
    cluster: FakeCluster,
    *,
    seed: int = 1,
    faults: tuple[str, ...] = ALL,
    seconds: int = 60,
    **more: Any,
) -> Findings:
    return runtime.run(
        conduct(
            runtime=runtime,
            cluster=cluster,
            workload=WORKLOADS["register"],
            nemesis=FaultScheduler(faults),
            recorder=Recorder(runtime),
            seeds=Seeds(seed),
            options=Options(prefix="t/", time_limit_ns=seconds * NS_PER_S),
            **more,
        )
    )


def test_a_calm_run_answers_everything_at_about_the_rate_asked_for():
    """Two hundred operations a second for ten seconds, all of them ok."""
    findings, cluster = run(faults=(), seconds=10)
    load = [o for o in findings.history.operations if not (o.meta or {}).get("final")]
    assert 1800 <= len(load) <= 2200
    assert all(operation.outcome is OpType.OK for operation in load)
    assert {operation.f for operation in load} == {"read", "write", "cas", "serializable-read"}
    assert findings.evidence.trouble == ()
    assert findings.evidence.recovery["recovered"]
    assert findings.evidence.recovery["final_reads_missing"] == 0
    assert cluster.stopped


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_minute_of_storm_holds_every_kind_of_fault_at_least_twice(seed: int):
    """No kind is forgotten, none stays broken, and a quorum exists most of the time."""
    findings, cluster = run(seed=seed)
    windows = fault_windows(findings.history)
    count = {kind: sum(window.kind == kind for window in windows) for kind in ALL}
    assert min(count.values()) >= 2, count
    assert sum(count.values()) >= 10
    assert all(window.healed and window.effective for window in windows)
    assert all(window.until_ns is not None for window in windows)
    assert findings.evidence.recovery["quorum_share"] > 0.6
    assert not any((cluster.down, cluster.frozen, cluster.grudge, cluster.offset_ms))
    assert findings.evidence.trouble == ()
    oks = sum(operation.outcome is OpType.OK for operation in findings.history.operations)
    assert oks > 4000


@pytest.mark.parametrize("fault", ["partition", "clock"])
def test_a_fault_that_nobody_could_notice_yet_is_held_until_somebody_does(fault: str):
    """Nodes that boot or freeze drop nothing and tell no time; but no fault waits for ever."""
    for silence_s, at_least_s, at_most_s in ((7, 7, 8), (1000, 6, 14)):
        runtime = virtual_runtime()
        cluster = FakeCluster(runtime)
        cluster.silence_ns = silence_s * NS_PER_S
        findings = conducted(runtime, cluster, faults=(fault,), seconds=30)
        first = fault_windows(findings.history)[0]
        assert first.until_ns is not None
        assert at_least_s <= (first.until_ns - first.from_ns) / NS_PER_S <= at_most_s


def test_the_same_seed_gives_the_same_history():
    """Nothing but the seed decides."""
    one, other = run(seed=7, seconds=20), run(seed=7, seconds=20)
    assert list(one[0].history) == list(other[0].history)
    assert list(one[0].history) != list(run(seed=8, seconds=20)[0].history)


def test_every_key_is_read_from_every_node_in_the_end():
    """A write that nobody read back would be neither kept nor lost."""
    findings, cluster = run(seconds=20)
    final = {
        (o.key, o.node, o.f)
        for o in findings.history.operations
        if (o.meta or {}).get("final") and o.outcome is OpType.OK
    }
    keys = {o.key for o in findings.history.operations}
    expected = {
        (key, node, f)
        for key in keys
        for node in cluster.nodes
        for f in ("read", "serializable-read")
    }
    assert final == expected


def test_no_fault_begins_before_operations_have_succeeded():
    """Faults on a cluster that never worked prove nothing."""
    findings, _ = run(seconds=20)
    first = min(window.from_ns for window in fault_windows(findings.history))
    before = [o for o in findings.history.operations if (o.completed_ns or first) < first]
    assert sum(o.outcome is OpType.OK for o in before) >= 20


def test_a_store_that_is_not_empty_is_refused():
    """Somebody else's data would make the verdict worthless."""
    runtime = virtual_runtime()
    cluster = FakeCluster(runtime)
    cluster.apply(Put(b"left/behind", b"1"))
    with pytest.raises(HarnessError, match="left/behind"):
        conducted(runtime, cluster)
    assert cluster.stopped


def test_a_fault_that_cannot_be_started_is_trouble_and_the_run_goes_on():
    """It is recorded as indeterminate, healed all the same, and never blames the database."""
    runtime = virtual_runtime()
    cluster = FakeCluster(runtime)
    cluster.failing = {"pause"}
    findings = conducted(runtime, cluster, faults=("pause",), seconds=20)
    windows = fault_windows(findings.history)
    assert windows
    assert {window.outcome for window in windows} == {"indeterminate"}
    assert "the engine refused to pause" in findings.evidence.trouble[0]
    assert findings.evidence.recovery["recovered"]


def test_what_a_world_cannot_do_is_left_out_of_the_draw():
    """An unsupported fault is said once, not tried and failed."""
    runtime = virtual_runtime()
    cluster = FakeCluster(runtime)
    cluster.unsupported = {"partition": "no iptables here"}
    findings = conducted(runtime, cluster)
    windows = fault_windows(findings.history)
    assert {window.kind for window in windows} == {"kill", "pause", "clock"}
    assert findings.evidence.unsupported_faults == cluster.unsupported


def test_a_node_that_dies_by_itself_ends_the_load_and_is_evidence():
    """What it proves is proved; its last words are kept."""
    runtime = virtual_runtime()
    cluster = FakeCluster(runtime)
    cluster.ends_by_itself = {"n2": "AssertionError: committed entry changed"}
    findings = conducted(runtime, cluster)
    assert findings.evidence.nodes["n2"].assertions == ("AssertionError: committed entry changed",)
    assert findings.history.duration_ns < 10 * NS_PER_S
    assert findings.evidence.trouble == ()


def test_told_to_stop_the_run_still_heals_and_reads_back():
    """Ctrl-C ends the load, not the proof."""
    runtime = virtual_runtime()
    cluster = FakeCluster(runtime)
    stop = runtime.event()

    async def interrupt() -> None:
        await runtime.sleep_ns(15 * NS_PER_S)
        stop.set()

    runtime.spawn(interrupt(), "ctrl-c")
    findings = conducted(runtime, cluster, stop=stop)
    assert findings.history.duration_ns < 25 * NS_PER_S
    assert findings.evidence.recovery["final_reads_missing"] == 0
    assert all(window.healed for window in fault_windows(findings.history))


def test_a_final_phase_whose_healing_fails_is_trouble():
    """The verdict on the database stands, but the run is no pass."""
    runtime = virtual_runtime()
    cluster = FakeCluster(runtime)
    cluster.failing = {"heal"}
    findings = conducted(runtime, cluster, faults=(), seconds=2)
    assert "final phase: heal failed" in findings.evidence.trouble[0]


def test_a_cluster_that_does_not_come_back_is_a_finding_about_the_database():
    """It says what was missing, and the reads that were never answered are counted."""
    runtime = virtual_runtime()
    cluster = FakeCluster(runtime)

    async def restart(nodes: tuple[str, ...]) -> None:
        cluster.down.add("n5")

    cluster.restart = restart  # type: ignore[assignment,method-assign]
    findings = conducted(runtime, cluster, faults=(), seconds=2)
    recovery = findings.evidence.recovery
    assert not recovery["recovered"]
    assert "n5" in recovery["reason"]
    assert recovery["final_reads_missing"] > 0
    assert findings.evidence.trouble == ()


def test_a_victim_that_another_fault_had_killed_is_told_as_that():
    """It did not die by itself, and nobody had trouble."""
    runtime = virtual_runtime()
    cluster = FakeCluster(runtime)

    async def pause(nodes: tuple[str, ...]) -> None:
        raise NodeKilled(f"{nodes[0]} was dead by another fault when it was to be frozen")

    cluster.pause = pause  # type: ignore[method-assign]
    findings = conducted(runtime, cluster, faults=("pause",), seconds=20)
    told = {window.detail for window in fault_windows(findings.history)}
    assert all("was dead by another fault" in text for text in told)
    assert not any("by itself" in text or "NodeKilled" in text for text in told)
    assert findings.evidence.trouble == ()
    assert all(node.assertions == () for node in findings.evidence.nodes.values())


def test_the_liveness_phase_is_called_after_the_load_and_its_writes_are_in_the_history():
    """As those of any client, and before anything is mended; the judges of registers pass."""
    runtime = virtual_runtime()
    cluster = FakeCluster(runtime)
    cluster.live = True
    findings = conducted(runtime, cluster, faults=(), seconds=5)
    order = ("begin background faults", "end background faults", "prove liveness", "resume")
    called = [name for call in cluster.calls for name in order if call.startswith(name)]
    assert called == list(order)
    (write,) = [o for o in findings.history.operations if o.f == "put"]
    (recover,) = [o for o in findings.history.nemesis_operations if o.f == "recover"]
    assert write.outcome is OpType.OK
    assert write.meta == {"kind": "liveness", "term": 1}
    assert recover.invoked_ns <= write.invoked_ns <= recover.completed_ns
    assert write.output["revision"] > max(
        o.meta["revision"] for o in findings.history.operations if o.f == "write"
    )
    verdict = judge(
        WORKLOADS["register"].checkers(()), findings.history, findings.evidence, Budget()
    )
    assert verdict.validity is Validity.VALID, verdict.reason
    left_out = {child.checker: child.stats.get("left_out") for child in verdict.children}
    assert left_out["lost-commits"] == {liveness.LEFT_OUT: 1}


def test_a_liveness_phase_that_fails_by_itself_is_trouble_and_the_cluster_is_mended():
    """It is the harness's failure, and the nodes are brought back all the same."""
    runtime = virtual_runtime()
    cluster = FakeCluster(runtime)
    cluster.failing = {"prove liveness"}
    findings = conducted(runtime, cluster, faults=(), seconds=2)
    assert "the liveness phase failed" in findings.evidence.trouble[0]
    assert findings.evidence.recovery["recovered"]
