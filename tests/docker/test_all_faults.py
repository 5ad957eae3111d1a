"""A short but complete run: containers, faults, verdict, report, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import docker
import pytest

ROOT = Path(__file__).resolve().parents[2]
SQUALL = [sys.executable, "-c", "from squall.harness.cli.main import main; main()"]
PATIENCE_S = 600
UNKNOWN = 2

pytestmark = pytest.mark.docker


def squall(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would."""
    return subprocess.run(
        [*SQUALL, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def left_behind(run: str) -> list[str]:
    """Name the containers and volumes that still carry a run's label."""
    client = docker.from_env()
    try:
        containers = client.containers.list(all=True, ignore_removed=True)
        volumes = client.volumes.list()
        networks = client.networks.list()
        return [
            each.name
            for each in [*containers, *volumes, *networks]
            if run.lower() in json.dumps(each.attrs).lower()
        ]
    finally:
        client.close()


def only_run(store: Path) -> Path:
    """Return the folder of the one run in a store."""
    return next(path for path in store.glob("*/*") if path.is_dir() and not path.is_symlink())


def test_a_short_storm_of_every_fault_ends_valid_and_leaves_nothing(tmp_path: Path) -> None:
    """Every kind of fault with measured effect, every property judged, one self-contained page."""
    for store in (tmp_path / "first", tmp_path / "second", tmp_path / "third"):
        words = ("--faults", "all", "--time", "20s", "--store", str(store))
        done = squall("run", "register", *words)
        if done.returncode != UNKNOWN:
            break  # else the machine was too busy to see what a fault did: no failure, and no pass
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("VALID")
    folder = only_run(store)
    verdict = json.loads((folder / "verdict.json").read_text())
    assert json.dumps(verdict).count('"valid"') > 10
    schedule = json.loads((folder / "schedule.json").read_text())
    kinds = {fault["kind"] for fault in schedule["faults"]}
    assert kinds == {"kill", "pause", "partition", "clock"}
    page = (folder / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert left_behind(folder.name) == []


def test_a_killed_controller_loses_nothing_and_the_next_command_cleans_up(tmp_path: Path) -> None:
    """After `kill -9` in mid-run the history is judged, and what was running is removed."""
    run = subprocess.Popen(
        [*SQUALL, "run", "--faults", "kill", "--time", "60s", "--store", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ},
    )
    try:
        folder = await_history(run, tmp_path, 500)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    lines = (folder / "history.jsonl").read_bytes().count(b"\n")
    assert left_behind(folder.name), "the run was killed before it had started anything"
    checked = squall("check", str(folder))
    assert checked.returncode in (0, UNKNOWN), checked.stdout + checked.stderr
    assert (folder / "report.html").exists()
    assert (folder / "history.jsonl").read_bytes().count(b"\n") == lines
    cleaned = squall("clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert left_behind(folder.name) == []


def await_history(run: Any, store: Path, lines: int) -> Path:
    """Wait until a run has recorded this many lines; its folder."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        assert run.poll() is None, "the run ended before it could be killed"
        for history in store.glob("*/*/history.jsonl"):
            if history.read_bytes().count(b"\n") >= lines:
                return only_run(store)
        time.sleep(0.1)
    raise AssertionError("no history was recorded in time")
