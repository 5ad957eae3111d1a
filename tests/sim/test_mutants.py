"""Planted bugs: every patch still fits the node, and easy ones are found by a few seeds.

`bench/mutants.py` measures how soon each is found; this only guards that the sweep still has teeth.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATCHES = sorted((ROOT / "tests" / "mutants").glob("*.patch"))

HUNT = """
import sys
from harness.sim.sweep import Result, Sweep, run_seed
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    row = run_seed(seed, Sweep(time_s=float(sys.argv[3]), workload=sys.argv[4]))
    if row.result is Result.ALARM:
        print(f"{row.rule}|{row.text}")
        break
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the node and its patches, so that two tests never plant in the same place."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "tests" / "mutants", folder / "tests" / "mutants")
    shutil.copytree(ROOT / "node", folder / "node", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def plant(checkout: Path, name: str) -> Path:
    plant = checkout / "tests" / "mutants" / "plant"
    done = subprocess.run([plant, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name} does not apply any more: {done.stderr}{done.stdout}"
    return Path(done.stdout.strip()).parent


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_every_patch_says_what_it_breaks_applies_and_compiles(checkout, patch):
    theory, _, diff = patch.read_text().partition("\n--- a/")
    assert len(theory.split()) > 15, "two lines: what is broken, who had it, what the paper says"
    source = plant(checkout, patch.stem)
    for line in diff.splitlines():
        if line.startswith("+++ b/"):
            changed = source / line.removeprefix("+++ b/")
            compile(changed.read_text(), str(changed), "exec")


@pytest.mark.parametrize(
    ("name", "first", "count", "time_s"),
    [
        ("quorum-off-by-one", 0, 8, 5.0),
        ("no-up-to-date-check", 0, 8, 5.0),
        ("truncate-always", 0, 12, 5.0),
        ("stale-snapshot-install", 5009, 6, 12.0),
        ("fig8-commit-old-term", 32, 40, 20.0),
        ("watch-hand-over-gap", 0, 8, 5.0),
        ("watch-resumed-one-early", 0, 8, 5.0),
        ("watch-back-in-time", 0, 20, 5.0),
        ("watch-progress-ahead", 0, 8, 5.0),
        ("watch-split-revision", 0, 8, 5.0),
        ("watch-over-compaction", 0, 12, 5.0),
    ],
)
def test_a_planted_bug_is_found_within_a_few_seeds(checkout, name, first, count, time_s):
    source = plant(checkout, name)
    workload = "watch" if name.startswith("watch-") else "register"
    found = subprocess.run(
        [sys.executable, "-P", "-c", HUNT, str(first), str(first + count), str(time_s), workload],
        env=os.environ | {"PYTHONPATH": f"{source}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip(), f"{name} was not found"


@pytest.mark.parametrize(
    ("name", "rule", "told"),
    [
        (
            "match-on-send",
            "commitment",
            (
                r"n\d counts index \d+ as committed as the leader of term \d+, which only .* of "
                r"its \d voters had made durable"
            ),
        ),
        (
            "leader-counts-unsynced",
            "commitment",
            (
                r"n\d counts index \d+ as committed as the leader of term \d+, which only .* of "
                r"its \d voters had made durable"
            ),
        ),
        (
            "crc-forgotten-at-restart",
            "durability",
            r"n\d refuses to start from a disk that nothing had damaged: member/wal/.* is damaged",
        ),
        (
            "entry-lost-at-roll",
            "durability",
            (
                r"n\d refuses to start from a disk that nothing had damaged: member/wal/.* entry "
                r"\d+ does not follow the log, .*, although no segment is missing"
            ),
        ),
        (
            "restore-forgets-versions",
            "convergence",
            (
                r"n\d restored another state at revision \d+ than the one of which n\d took the "
                r"snapshot: versions differ"
            ),
        ),
    ],
)
def test_a_planted_bug_is_told_as_what_it_is(checkout, name, rule, told):
    """Not as the disk of the follower that lacks the entry, nor as a node that simply died."""
    source = plant(checkout, name)
    found = subprocess.run(
        [sys.executable, "-P", "-c", HUNT, "0", "12", "5.0", "register"],
        env=os.environ | {"PYTHONPATH": f"{source}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    broken, _, text = found.stdout.partition("|")
    assert broken == rule
    assert re.search(told, text, re.DOTALL), text
