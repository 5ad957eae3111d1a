"""How many seeds, and how much CPU time, until the sweep finds a planted bug.

    python bench/mutants.py [NAME ...] [--ranges 20] [--seeds 300]

Each mutant (tests/mutants/*.patch) is planted in a copy of the node and swept from several starting
seeds, each until the first alarm or the end of its range. What was not found within a range counts
as more than its seeds: the median is of all ranges.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

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
"""Between the first seeds of two ranges."""

HUNT = """
import json, sys, time
from harness.sim.sweep import Result, Sweep, run_seed
first, count = int(sys.argv[1]), int(sys.argv[2])
for seed in range(first, first + count):
    row = run_seed(seed, Sweep())
    if row.result is Result.ALARM:
        break
found = row.result is Result.ALARM
print(json.dumps([found, seed - first + 1, time.process_time(), seed, row.rule]))
"""


def hunt(source: Path, first: int, count: int) -> tuple[bool, int, float, int, str]:
    """Sweep one range; returns (found, seeds, CPU seconds, last seed, broken rule)."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "node").symlink_to(source)
        done = subprocess.run(
            [sys.executable, "-P", "-c", HUNT, str(first), str(count)],
            env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found, seeds, cpu_s, seed, rule = json.loads(done.stdout)
    return found, seeds, cpu_s, seed, rule


def main() -> None:
    asked = argparse.ArgumentParser(description="Time the sweep's finds.")
    asked.add_argument("names", nargs="*", default=OF_THE_RACE)
    asked.add_argument("--ranges", type=int, default=20)
    asked.add_argument("--seeds", type=int, default=300, help="at most, in each range")
    words = asked.parse_args()
    print("| mutant | found | seeds: median (most) | CPU s: median (most) | rules broken |")
    print("| --- | --- | --- | --- | --- |")
    for name in words.names:
        planted = subprocess.run([MUTANTS / "plant", name], capture_output=True, check=True)
        source = Path(planted.stdout.decode().strip())
        hunts = [hunt(source, APART * at, words.seeds) for at in range(words.ranges)]
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
