"""`squall sweep` and `squall trace` as they are typed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from squall.harness.cli import main
from squall.harness.cli import sweep as sweeping
from squall.harness.node_source import is_loaded
from squall.harness.sim.sweep.sweep import Result, Row

ROOT = Path(__file__).parents[2]
SHORT = ("--time", "2s", "--rate", "50")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("sweep", "Missing option '--seeds'"),
        ("sweep --seeds 5..1", "'5..1' ends before it begins; write 1..5"),
        ("sweep --seeds all", "'all' is no range of seeds; write 1..300"),
        ("sweep --seeds 1..2 --jobs 0", "--jobs"),
        ("trace one", "'one' is not a valid integer"),
        ("trace 1 --node n9", "there are 5 nodes, so no n9"),
        ("trace 1 --node east", "'east' is no node; nodes are called n1, n2, ..."),
        ("trace 1 --from 3", "say the unit, as in 3s"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_4(words, told, capfd):
    assert main.exit_code_of(words.split()) == 4
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert told in err


def test_a_sweep_ends_with_a_table_and_exit_0(capfd):
    assert main.exit_code_of(["sweep", "--seeds", "0..2", "--jobs", "1", *SHORT]) == 0
    out = capfd.readouterr().out
    assert out.startswith("seeds        3: ")
    assert "0 alarm, 0 trouble" in out


def test_a_failing_seed_is_printed_at_once_and_ends_the_sweep_with_exit_1(capfd, monkeypatch):
    rows = [Row(seed=seed, result=Result.ALARM, rule="order", text="bad") for seed in range(3)]

    def fake(*_: object):
        yield from rows

    monkeypatch.setattr(sweeping, "sweep", fake)
    assert main.exit_code_of(["sweep", "--seeds", "0..2", "--first"]) == 1
    out = capfd.readouterr().out
    assert out.splitlines()[0] == "seed 0: alarm: bad"
    assert "squall trace 0 --workload register" in out
    assert "seed 1" not in out


def test_a_trace_prints_one_line_an_event_and_the_ending_beside_it(capfd):
    words = ["trace", "1", *SHORT, "--from", "1s", "--to", "1200ms", "--node", "n2"]
    assert main.exit_code_of(words) == 0
    out, err = capfd.readouterr()
    assert all(line.split()[1] in ("n2", "-") for line in out.splitlines())
    assert err.startswith("seed 1: ok\n")
    assert "digest" in err


def test_another_copy_of_the_node_is_tested_when_asked_for(tmp_path):
    """Half of the voters pass for a majority: two leaders in one term, in no time."""
    mutants = tmp_path / "tests" / "mutants"
    shutil.copytree(ROOT / "tests" / "mutants", mutants)
    shutil.copytree(ROOT / "node", tmp_path / "node")
    planted = subprocess.run(
        [mutants / "plant", "quorum-off-by-one"], capture_output=True, text=True, check=True
    )
    source = Path(planted.stdout.strip())
    assert not is_loaded(source)
    words = ["sweep", "--seeds", "0..9", "--jobs", "1", "--first", "--time", "5s"]
    assert main.exit_code_of([*words, "--node-source", str(source)]) == 1
    assert is_loaded(ROOT / "node")
