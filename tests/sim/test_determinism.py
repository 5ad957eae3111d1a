"""A seed is a run, to the last byte: on every start of every Python.

The digests are of every event and of the history's bytes. Set `SQUALL_OTHER_PYTHON` to another
interpreter that has the harness's packages, and its runs are compared as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEDS = 50

PROGRAM = """
import sys
from squall.harness.sim.sweep.sweep import Sweep, run_seed
what = Sweep(workload=sys.argv[2], time_s=1.0, rate=100.0, concurrency=10)
for seed in range(int(sys.argv[1])):
    row = run_seed(seed, what)
    print(seed, row.digest, row.history_digest, row.events, row.result.value)
"""


def runs(python: str, hash_seed: str, seeds: int = SEEDS, workload: str = "register") -> list[str]:
    done = subprocess.run(
        [python, "-P", "-c", PROGRAM, str(seeds), workload],
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT / "src")},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def reference() -> list[str]:
    return runs(sys.executable, "0")


def test_fifty_seeds_are_the_same_runs_under_another_hash_seed(reference):
    assert len(reference) == SEEDS
    assert len({line.split()[1] for line in reference}) == SEEDS, "and no two seeds are the same"
    assert runs(sys.executable, "4711") == reference


def test_a_dozen_seeds_of_watches_are_the_same_runs_under_another_hash_seed():
    one, other = (runs(sys.executable, seed, 12, "watch") for seed in ("0", "4711"))
    assert one == other
    assert len({line.split()[2] for line in one}) == 12, "and no two histories are the same"


def test_fifty_seeds_are_the_same_runs_on_another_python(reference):
    other = os.environ.get("SQUALL_OTHER_PYTHON")
    if not other:
        pytest.skip("SQUALL_OTHER_PYTHON names no other interpreter")
    assert runs(other, "1") == reference
