"""The folder is the product: it survives its controller, and says clearly when it cannot."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from squall.checkers.evidence import Evidence
from squall.checkers.history import Op, OpType
from squall.checkers.run import Run
from squall.checkers.verdict import Validity, Verdict
from squall.harness.run.judging import exit_code
from squall.harness.store import RUN, RunFolder, Store, StoreError

NOW = datetime(2026, 11, 21, 3, 54, tzinfo=UTC)


def op(index: int) -> Op:
    return Op(index=index, time_ns=index, process=index, type=OpType.INVOKE, f="read", key="r0")


def test_folders_sort_by_time_and_end_with_the_seed(tmp_path: Path):
    """A run is found again without opening it."""
    folder = Store(tmp_path).create("register", 8412, NOW)
    assert folder.path == tmp_path / "register" / "20261121T035400Z-8412"


def test_latest_points_at_the_newest_run(tmp_path: Path):
    """Of all runs, and of its workload."""
    store = Store(tmp_path)
    store.publish(store.create("register", 1, NOW))
    second = store.create("register", 2, NOW)
    store.publish(second)
    assert (tmp_path / "latest").resolve() == second.path
    assert (tmp_path / "register" / "latest").resolve() == second.path


def test_two_runs_of_one_second_and_seed_get_two_folders(tmp_path: Path):
    """Side by side, neither writes into the other's."""
    store = Store(tmp_path)
    assert store.create("register", 1, NOW).path != store.create("register", 1, NOW).path


def test_the_store_lists_its_runs_and_no_links(tmp_path: Path):
    """`latest` is no run of its own."""
    store = Store(tmp_path)
    folder = store.create("register", 1, NOW)
    folder.write_json(RUN, Run(id="register/x", workload="register", cluster="sim", seed=1,
                               nodes=("n1",), faults=(), time_limit_s=1.0))  # fmt: skip
    assert [found.path for found in store.runs()] == [folder.path]


def test_every_op_is_with_the_operating_system_before_recording_returns(tmp_path: Path):
    """Nothing stays in a buffer of the process."""
    folder = Store(tmp_path).create("register", 1, NOW)
    folder.begin_history(run="x")
    for index in range(3):
        folder.record(op(index))
        assert folder.read_history().history[index] == op(index)


def test_a_controller_that_is_killed_leaves_a_readable_history(tmp_path: Path):
    """`kill -9` costs at most the line that was being written."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from datetime import datetime, UTC
from pathlib import Path
from squall.harness.store import Store
from tests.harness.test_store import op
store = Store(Path({str(tmp_path)!r}))
folder = store.create("register", 1, datetime.now(UTC))
store.publish(folder)
folder.begin_history(run="killed")
index = 0
while True:
    folder.record(op(index))
    index += 1
    if index == 500:
        print("enough", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"enough\n"
        process.send_signal(signal.SIGKILL)
    reading = RunFolder(tmp_path / "latest").read_history()
    assert len(reading.history) >= 500


def test_a_cut_last_line_is_accepted_and_told(tmp_path: Path):
    """The line was being written when the power failed."""
    folder = Store(tmp_path).create("register", 1, NOW)
    folder.begin_history(run="x")
    folder.record(op(0))
    folder.record(op(1))
    folder.end_history()
    path = folder.path / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    reading = folder.read_history()
    assert (len(reading.history), reading.cut_line) == (1, 3)


def test_a_full_store_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And what to do; it is never the database's fault."""
    folder = Store(tmp_path).create("register", 1, NOW)
    folder.begin_history(run="x")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match=r"no space left .* choose another with --store"):
        folder.record(op(0))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An older report is not replaced by half of a new one."""
    folder = Store(tmp_path).create("register", 1, NOW)
    folder.write("report.html", b"old")

    def full(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError):
        folder.write("report.html", b"new")
    assert (folder.path / "report.html").read_bytes() == b"old"


def test_a_store_that_is_a_file_is_refused(tmp_path: Path):
    """With one line that says where."""
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "store").create("register", 1, NOW)


EXIT_CODES = """
valid    -        -            0
invalid  -        -            1
unknown  -        -            2
valid    trouble  -            3
unknown  trouble  -            3
invalid  trouble  -            1
valid    -        interrupted  130
unknown  -        interrupted  130
invalid  -        interrupted  1
"""


@pytest.mark.parametrize("line", [line for line in EXIT_CODES.splitlines() if line])
def test_a_proved_violation_dominates_trouble_and_trouble_dominates_doubt(line: str):
    """The exit code is the verdict; trouble never erases what was proved."""
    validity, trouble, interrupted, code = line.split()
    verdict = Verdict(checker="all", validity=Validity(validity))
    evidence = Evidence(trouble=("docker went away",) if trouble == "trouble" else ())
    found = exit_code(verdict, evidence, interrupted=interrupted == "interrupted")
    assert found == int(code)
