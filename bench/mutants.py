"""Measures how many seeds, and how much CPU time, the sweep needs to find each planted bug.

    python bench/mutants.py [NAME ...] [--all] [--ranges 20] [--seeds 300] [--cpu 120]
                            [--workload NAME] [--time 20] [--clients]

Each mutant (tests/mutants/*.patch) is planted in a copy of the node and swept from several starting
seeds, each until the first alarm or the end of its range: that many seeds, or that many CPU
seconds. A range in which the bug was not found counts with its last seed; the column `found` says
how many. With --clients only the workload's own checkers count; the simulator's invariants are off.
The workload is the one that the patch names in a line `Workload: watch`, register otherwise, unless
--workload names another.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from squall.harness.node_source import overlay

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = ROOT / "tests" / "mutants"
OF_THE_RACE = (
    "vote-not-persisted",
    "fig8-commit-old-term",
    "truncate-always",
    "torn-record-committed",
    "read-index-before-term-commit",
)
APART = 10_000
"""Distance of the first seeds of two ranges."""

HUNT = """
import json, sys, time
from squall.harness.sim.sweep.sweep import Result, Sweep, run_seed
first, count, limit_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
what = Sweep(workload=sys.argv[4], time_s=float(sys.argv[5]))
for seed in range(first, first + count):
    row = run_seed(seed, what)
    if row.result is Result.ALARM or time.process_time() > limit_s:
        break
found = row.result is Result.ALARM
print(json.dumps([found, seed - first + 1, time.process_time(), seed, row.rule]))
"""

HUNT_AS_CLIENTS = """
import json, sys, time
from squall.checkers.evidence import Evidence
from squall.checkers.judge import common_checkers, judge
from squall.checkers.verdict import Budget, Validity
from squall.harness.sim.judge.invariants import Invariants
from squall.harness.sim.sweep.simulate import simulate
from squall.harness.sim.sweep.sweep import Sweep, workload_named
Invariants._break = lambda *_: None
first, count, limit_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
what = Sweep(workload=sys.argv[4], time_s=float(sys.argv[5]))
workload = workload_named(what.workload)
common = {checker.name for checker in common_checkers()}
own = [checker for checker in workload.checkers(()) if checker.name not in common]
for seed in range(first, first + count):
    run = simulate(seed, workload, what.plan(seed))
    evidence = run.findings.evidence if run.findings else Evidence()
    verdict = judge(own, run.history, Evidence(recovery=evidence.recovery), Budget())
    rule = next((c.checker for c in verdict.children if c.validity is Validity.INVALID), "")
    if rule or time.process_time() > limit_s:
        break
print(json.dumps([bool(rule), seed - first + 1, time.process_time(), seed, rule]))
"""


def workload_of(name: str) -> str:
    """Return the workload that has to find a mutant."""
    found = re.search(r"^Workload: (\S+)$", (MUTANTS / f"{name}.patch").read_text(), re.MULTILINE)
    return found[1] if found else "register"


def hunt(
    source: Path, first: int, workload: str, words: argparse.Namespace
) -> tuple[bool, int, float, int, str]:
    """Sweep one range; returns (found, seeds, CPU seconds, last seed, broken rule)."""
    script = HUNT_AS_CLIENTS if words.clients else HUNT
    bounds = (first, words.seeds, words.cpu, workload, words.time)
    with tempfile.TemporaryDirectory() as folder:
        overlay(source, Path(folder))
        done = subprocess.run(
            [sys.executable, "-P", "-c", script, *map(str, bounds)],
            env=os.environ | {"PYTHONPATH": folder},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found, seeds, cpu_s, seed, rule = json.loads(done.stdout)
    return found, seeds, cpu_s, seed, rule


def main() -> None:
    asked = argparse.ArgumentParser(description="Time the sweep's finds.")
    asked.add_argument("names", nargs="*")
    asked.add_argument("--all", action="store_true", help="every mutant there is")
    asked.add_argument("--ranges", type=int, default=20)
    asked.add_argument("--seeds", type=int, default=300, help="at most, in each range")
    asked.add_argument("--cpu", type=float, default=120, help="seconds at most, in each range")
    asked.add_argument("--workload")
    asked.add_argument("--time", type=float, default=20, help="simulated seconds of load")
    asked.add_argument(
        "--clients", action="store_true", help="only the workload's own checkers count"
    )
    words = asked.parse_args()
    names = words.names or OF_THE_RACE
    if words.all:
        names = sorted(patch.stem for patch in MUTANTS.glob("*.patch"))
    print("| mutant | found | seeds: median (most) | CPU s: median (most) | rules broken |")
    print("| --- | --- | --- | --- | --- |")
    for name in names:
        planted = subprocess.run([MUTANTS / "plant", name], capture_output=True, check=True)
        source = Path(planted.stdout.decode().strip())
        firsts = [APART * at for at in range(words.ranges)]
        workload = words.workload or workload_of(name)
        hunts = [hunt(source, first, workload, words) for first in firsts]
        seeds, costs = [each[1] for each in hunts], [each[2] for each in hunts]
        rules = ", ".join(sorted({each[4] for each in hunts if each[0]}))
        print(
            f"| `{name}` | {sum(each[0] for each in hunts)} of {len(hunts)} "
            f"| {statistics.median(seeds):g} ({max(seeds)}) "
            f"| {statistics.median(costs):.1f} ({max(costs):.1f}) | {rules} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
