"""Whole runs: the same seed is the same run, and every part of the cluster interface works."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from squall.checkers.faults import fault_windows
from squall.checkers.history import OpType
from squall.checkers.raft.safety import check_raft_safety
from squall.checkers.verdict import Validity
from squall.harness.run.options import NS_PER_S, Options
from squall.harness.sim.chaos.swarm import HEALTHY, Knobs, Swarm
from squall.harness.sim.chaos.triggers import Action, Trigger, TriggerPoint
from squall.harness.sim.judge.invariants import Invariants
from squall.harness.sim.judge.trace import Filter
from squall.harness.sim.sweep.simulate import Simulation, SimulationConfig, healthy_config, simulate
from squall.harness.sim.sweep.sweep import (
    Result,
    Sweep,
    history_digest,
    judge,
    retrace,
    run_seed,
    sweep,
)
from squall.node.mvcc.commands import Range
from squall.reports.view.logs import log_lines
from squall.workloads import liveness
from squall.workloads.register import WORKLOAD

OPTIONS = Options(prefix="t/", time_limit_ns=8 * NS_PER_S, rate=100.0, concurrency=10)
SHORT = Sweep(time_s=4.0, rate=100.0, concurrency=10)


def calm(seed: int, *faults: str, **changes: object) -> Simulation:
    return simulate(seed, WORKLOAD, healthy_config(OPTIONS, faults), **changes)


def test_a_healthy_cluster_serves_every_operation_and_ends_at_one_state():
    run = calm(1)
    assert (run.broken, run.error) == (None, None)
    row = judge(run, WORKLOAD)
    assert (row.result, row.text) == (Result.IDLE, "no fault had any effect")
    assert row.operations > 700
    assert row.ok > 0.98 * row.operations
    recovery = run.findings.evidence.recovery
    assert recovery["recovered"]
    assert recovery["digests_agree"]


def test_a_cluster_that_does_not_warm_up_is_trouble_unless_its_seed_does_it_harm():
    options = msgspec.structs.replace(OPTIONS, time_limit_ns=22 * NS_PER_S, rate=0.5)
    blow = Trigger(point=TriggerPoint.APPENDS, action=Action.CRASH, p=1.0, mend_us=200_000)
    results = []
    for triggers in ((), (blow,)):
        config = SimulationConfig(options=options, swarm=Swarm(triggers=triggers), faults=("kill",))
        row = judge(simulate(1, WORKLOAD, config), WORKLOAD)
        results.append((row.result is Result.TROUBLE, "no fault was started" in row.text))
    assert results == [(True, True), (False, False)]


@pytest.mark.parametrize("fault", ["kill", "pause", "partition", "clock"])
def test_every_kind_of_fault_has_a_measured_effect_and_is_survived(fault):
    run = calm(3, fault)
    assert (run.broken, run.error) == (None, None)
    windows = [w for w in fault_windows(run.history) if w.outcome == "installed"]
    assert windows
    assert all(window.healed for window in windows)
    assert any(window.effective for window in windows), windows
    assert judge(run, WORKLOAD).result is Result.OK


def test_the_evidence_of_simulated_nodes_is_that_of_real_ones(tmp_path):
    run = calm(4, "kill", into=tmp_path)
    nodes = run.findings.evidence.nodes
    assert sorted(nodes) == ["n1", "n2", "n3", "n4", "n5"]
    for name, node in nodes.items():
        assert node.damage is None
        assert node.entries, f"{name} has a log"
        assert node.digests
        assert node.final["applied"] >= 200
        assert (tmp_path / name / "node.log").read_text().count("\n") > 1
        assert list((tmp_path / name / "data" / "member" / "wal").glob("*.wal"))
    assert any(node.led_terms for node in nodes.values())


def test_every_time_counts_from_the_first_client_operation(tmp_path):
    """In the history, in the nodes' logs as the report places them, and in the transcript."""
    run = simulate(
        4,
        WORKLOAD,
        msgspec.structs.replace(healthy_config(OPTIONS, ("kill",)), keep=10**6),
        into=tmp_path,
    )
    first = next(op for op in run.history if op.is_client)
    assert first.time_ns == 0
    assert all(op.time_ns >= 0 for op in run.history)
    logs = {"n1": (tmp_path / "n1" / "node.log").read_text().splitlines()}
    said = log_lines(logs, "")["n1"]
    noted = [
        float(line.split()[0])
        for line in run.transcript(Filter(node=0))
        if line.split()[1:3] == ["n1", "note"]
    ]
    assert [round(line.at_ns / 1e9, 6) for line in said] == noted
    booted = min(line.at_ns for line in said)
    assert booted < 0, "the cluster was started before"


def test_a_broken_rule_is_told_on_the_clock_of_the_history(monkeypatch):
    """And as what the simulator saw: the node did not stop by itself."""

    def applied(self, node: int, index: int, revision: int, digest: str) -> None:
        if index == 300:
            self.fails("convergence", node, f"has state {digest}, it says")

    monkeypatch.setattr(Invariants, "applied", applied)
    run = calm(1)
    (breach,) = run.findings.evidence.breaches
    assert abs(run.history.duration_ns - breach.at_ns) < NS_PER_S / 10, "it ended the run"
    assert (breach.rule, breach.node) == ("convergence", run.broken.node)
    verdict = check_raft_safety(run.history, run.findings.evidence)
    told = {child.checker: child for child in verdict.children}
    assert told["node-assertions"].validity is Validity.VALID
    (anomaly,) = told["observed-rules"].anomalies
    assert anomaly.kind == "convergence"
    assert anomaly.summary.startswith(f"{breach.node} has state")


def test_different_seeds_are_different_runs():
    digests = {run_seed(seed, SHORT).digest for seed in range(3)}
    assert len(digests) == 3


def test_leaving_out_one_fault_changes_no_draw_of_the_others():
    both = [f for f in calm(5, "kill", "clock").findings.schedule if f.kind == "clock"]
    alone = [f for f in calm(5, "clock").findings.schedule if f.kind == "clock"]
    assert [f.intent for f in alone][:2] == [f.intent for f in both][:2]


def test_a_sweep_yields_a_row_for_every_seed_from_several_processes():
    rows = {row.seed: row for row in sweep(range(6), SHORT, jobs=2)}
    assert sorted(rows) == list(range(6))
    assert rows[3].digest == run_seed(3, SHORT).digest


def test_a_transcript_tells_who_led_and_what_was_said():
    row, lines = retrace(2, SHORT, Filter())
    text = "\n".join(lines)
    assert row.digest == run_seed(2, SHORT).digest
    for words in ("boot 1", "became-leader", "append", "heartbeat", "vote granted", "batch"):
        assert words in text


def test_a_transcript_can_be_narrowed_to_a_node_and_a_stretch_of_time():
    _, lines = retrace(2, SHORT, Filter(from_us=1_000_000, until_us=2_000_000, node=1))
    for line in lines:
        at_s, node = line.split()[:2]
        assert 1.0 <= float(at_s) <= 2.0
        assert node in ("n2", "-")


def test_a_run_that_storms_beyond_its_cap_is_trouble_and_no_hang():
    config = SimulationConfig(options=OPTIONS, swarm=HEALTHY, faults=(), max_events=5_000)
    run = simulate(1, WORKLOAD, config)
    assert "5,000 events" in run.error
    assert judge(run, WORKLOAD).result is Result.TROUBLE


def test_a_core_of_three_lives_on_while_the_others_stay_dead():
    config = SimulationConfig(options=OPTIONS, swarm=Swarm(), faults=("kill",))
    run = simulate(6, WORKLOAD, config)
    assert run.broken is None
    assert len(run.liveness.core) == 3
    assert run.liveness.missing == ""
    assert run.liveness.elections < 20


def test_the_writes_of_the_liveness_phase_are_operations_of_clients():
    """Each has its own process, an invocation and an outcome, and a key outside of the run's."""
    run = simulate(6, WORKLOAD, SimulationConfig(options=OPTIONS, swarm=Swarm(), faults=("kill",)))
    writes = [one for one in run.history.operations if (one.meta or {}).get("kind") == "liveness"]
    assert writes
    assert writes[-1].outcome is OpType.OK
    assert {one.f for one in writes} == {"put"}
    assert all(not one.input["key"].startswith(OPTIONS.prefix) for one in writes)
    assert len({one.process for one in writes}) == len({one.input["value"] for one in writes})
    held = run.world.nodes[0].store.range(Range(key=liveness.KEY.encode())).kvs
    assert [one.value.decode() for one in held] == [writes[-1].input["value"]]
    assert held[0].mod_revision == writes[-1].output["revision"]
    row = judge(run, WORKLOAD)
    own = len(run.history.operations) - len(writes)
    assert row.operations == own, "a sweep counts the operations of the workload"


def test_the_load_can_be_ended_early_and_the_final_phase_still_happens():
    flags = []
    config = healthy_config(OPTIONS, ())

    class Impatient:
        def phase(self, name: str) -> None:
            if name == "load":
                flags[0].set()

        def say(self, line: str) -> None: ...

        def op(self, op: object) -> None: ...

    run = simulate(1, WORKLOAD, config, progress=Impatient(), stop=flags.append)
    assert run.findings.evidence.recovery["recovered"]
    assert len(run.history) < 500


def test_the_digest_of_a_history_is_of_its_bytes():
    one, same = calm(1), calm(1)
    assert history_digest(one.history) == history_digest(same.history)
    assert one.digest == same.digest


def test_every_rule_is_asked_wherever_it_applies(monkeypatch):
    """The rules themselves are tested apart; here it is that the nodes pass by them."""
    asked = Counter()
    for name in (
        "leads",
        "applies",
        "applied",
        "restored",
        "stands",
        "promises_vote",
        "promises_entries",
        "recovers",
        "restarts",
    ):
        rule = getattr(Invariants, name)

        def ask(self, *arguments: object, _name: str = name, _rule=rule) -> object:
            asked[_name] += 1
            return _rule(self, *arguments)

        monkeypatch.setattr(Invariants, name, ask)
    knobs = Knobs(snapshot_count=20, catch_up_entries=0)
    run = simulate(
        7, WORKLOAD, SimulationConfig(options=OPTIONS, swarm=Swarm(knobs=knobs), faults=("kill",))
    )
    assert run.broken is None
    nodes = run.world.nodes
    commands = max(node.replica.applied for node in nodes) - 20  # others are no-ops
    assert asked["applies"] == asked["applied"] >= commands * len(nodes)
    assert asked["stands"] > commands
    assert asked["promises_entries"] > commands
    assert asked["leads"] >= 1
    assert asked["promises_vote"] >= 3 * asked["leads"]
    assert asked["restored"] >= 1
    assert asked["recovers"] == asked["restarts"] == sum(node.boots for node in nodes) > len(nodes)
