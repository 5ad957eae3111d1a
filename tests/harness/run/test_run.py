"""What a run writes down of itself, and what becomes of it when its store or its nodes fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squall.checkers.history import Op
from squall.checkers.verdict import Validity
from squall.harness import store as store_module
from squall.harness.cluster import Measured
from squall.harness.nemesis.scheduler import FaultScheduler
from squall.harness.run.controller import conduct
from squall.harness.run.options import NS_PER_S, Options
from squall.harness.run.recorder import Recorder
from squall.harness.run.run import BackendResult, Outcome, Request, carry_out, relative
from squall.harness.run.seeds import Seeds
from squall.harness.store import RunFolder, StoreError
from squall.workloads import WORKLOADS
from tests.harness.fake import FakeCluster
from tests.harness.virtual import virtual_runtime

KILLED = "n2 was killed from outside the harness (SIGKILL, exit code 137)"


class Listener:
    """Keeps the lines that a terminal would show."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.phases: list[str] = []

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def op(self, op: Op) -> None:
        pass


class Rig:
    """One run of the register workload on a cluster in memory."""

    def __init__(self, path: Path, *, seconds: int = 20, **made: Any) -> None:
        self.runtime = virtual_runtime()
        self.cluster = FakeCluster(self.runtime, **made)
        self.listener = Listener()
        self.path = path
        self.seconds = seconds

    @property
    def folder(self) -> RunFolder:
        (found,) = (p for p in (self.path / "register").iterdir() if not p.is_symlink())
        return RunFolder(found)

    def run(self) -> Outcome:
        request = Request(
            workload="register",
            cluster="sim",
            nodes=5,
            faults=("kill",),
            seed=1,
            options=Options(prefix="t/", time_limit_ns=self.seconds * NS_PER_S),
            store=self.path,
        )
        return carry_out(request, self._conduct, self.listener)

    def _conduct(
        self, request: Request, folder: RunFolder, progress: Any, sink: Any
    ) -> BackendResult:
        findings = self.runtime.run(
            conduct(
                runtime=self.runtime,
                cluster=self.cluster,
                workload=WORKLOADS[request.workload],
                nemesis=FaultScheduler(request.faults),
                recorder=Recorder(self.runtime, sink),
                seeds=Seeds(request.seed),
                options=request.options,
                progress=progress,
                into=folder.nodes,
            )
        )
        return BackendResult(findings=findings, versions={}, unsupported={})

    def later(self, seconds: int, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await self.runtime.sleep_ns(seconds * NS_PER_S)
            act()

        self.runtime.spawn(wait(), "later")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the store's disk be full after so many bytes of history; a last write comes short."""

    def limit(room: int) -> None:
        left, write = [room], os.write

        def full(descriptor: int, data: bytes) -> int:
            if not left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done = write(descriptor, data[: left[0]])
            left[0] -= done
            return done

        monkeypatch.setattr(store_module.os, "write", full)

    return limit


@pytest.mark.parametrize("room", [0, 40, 10_000, 10_007, 60_000])
def test_a_store_that_fills_up_ends_the_run_with_one_line(tmp_path, disk, room) -> None:
    """The cluster goes all the same, and what was recorded is a history without a torn line."""
    disk(room)
    rig = Rig(tmp_path)
    with pytest.raises(StoreError, match="no space left for the store") as found:
        rig.run()
    assert found.value.exit_code == 3
    assert "\n" not in str(found.value)
    assert rig.cluster.stopped
    assert not [line for line in rig.listener.lines if line.startswith("trouble")]
    if room < 100:
        assert list((tmp_path / "register").iterdir()) == [], "nothing had happened yet"
    else:
        reading = rig.folder.read_history()
        assert reading.cut_line is None
        assert len(reading.history) > 20
        assert [op.index for op in reading.history] == list(range(len(reading.history)))
        assert rig.listener.lines[-1].startswith("what was recorded is kept: squall check")


def test_a_store_that_fills_up_ends_the_load_at_once(tmp_path, disk) -> None:
    """Nothing is healed, read back or judged for a history that is not stored."""
    disk(10_000)
    rig = Rig(tmp_path, seconds=600)
    with pytest.raises(StoreError):
        rig.run()
    assert rig.runtime.now_ns() < 60 * NS_PER_S
    assert "read" not in rig.listener.phases


def test_a_disk_that_cannot_even_sync_hides_nothing(tmp_path, disk, monkeypatch) -> None:
    """The error that ended the run is the one that is reported."""

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(store_module.os, "fsync", refuse)
    disk(10_000)
    with pytest.raises(StoreError, match=r"no space left|cannot be written: Input/output error"):
        Rig(tmp_path).run()


@pytest.mark.parametrize(("broken", "code"), [("", 3), ("stale", 1)])
def test_a_store_that_fills_up_while_judging_takes_no_proof_away(
    tmp_path, monkeypatch, broken, code
) -> None:
    """The verdict is still printed, with its exit code; a valid run needs its files too."""

    def refuse(_path: Path, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    rig = Rig(tmp_path, broken=broken)
    rig.later(1, lambda: monkeypatch.setattr(Path, "write_bytes", refuse))
    outcome = rig.run()
    monkeypatch.undo()
    assert outcome.exit_code == code
    (line,) = outcome.evidence.trouble
    assert line.startswith("no space left for the store")
    assert len(rig.folder.read_history().history) == len(outcome.history)
    assert not list(rig.folder.path.glob(".*")), "no half of a file is left"


def test_a_node_that_was_killed_from_outside_is_trouble_and_ends_the_load(tmp_path) -> None:
    rig = Rig(tmp_path, seconds=600)
    rig.later(10, lambda: rig.cluster.outside.update(n2=(KILLED,)))
    outcome = rig.run()
    assert outcome.exit_code == 3
    assert outcome.evidence.trouble == (KILLED,)
    assert outcome.evidence.nodes["n2"].assertions == ()
    assert outcome.verdict.validity is Validity.UNKNOWN
    assert outcome.history.duration_ns < 30 * NS_PER_S
    assert f"trouble: {KILLED}" in rig.listener.lines


def test_a_violation_stays_one_when_somebody_kills_a_node_as_well(tmp_path) -> None:
    """What was proved elsewhere stays proved; the trouble is reported as well."""
    rig = Rig(tmp_path, seconds=60, broken="stale")
    rig.later(50, lambda: rig.cluster.outside.update(n2=(KILLED,)))
    outcome = rig.run()
    assert outcome.exit_code == 1
    assert outcome.evidence.trouble == (KILLED,)
    linearizable = next(c for c in outcome.verdict.children if c.checker == "linearizable")
    assert linearizable.validity is Validity.INVALID


def test_a_cluster_that_somebody_took_away_is_not_blamed_for_staying_away(tmp_path) -> None:
    """Nor is it waited for as long as for one that ought to come back."""
    rig = Rig(tmp_path, seconds=60)
    cluster = rig.cluster

    async def restart(nodes: tuple[str, ...]) -> Measured:
        cluster.down -= set(nodes) - {"n2"}
        return Measured(effective=True)

    def take_away() -> None:
        cluster.down.add("n2")
        cluster.outside["n2"] = ("the container of n2 was removed from outside the harness",)
        cluster.restart = restart  # type: ignore[assignment,method-assign]

    rig.later(10, take_away)
    outcome = rig.run()
    assert outcome.exit_code == 3
    recovery = next(c for c in outcome.verdict.children if c.checker == "recovery")
    assert recovery.validity is Validity.UNKNOWN
    assert outcome.evidence.recovery["elapsed_s"] < 15


def test_containers_that_cannot_be_removed_hide_no_verdict(tmp_path) -> None:
    rig = Rig(tmp_path, broken="stale")
    rig.cluster.failing = {"stop"}
    outcome = rig.run()
    assert outcome.exit_code == 1
    (line,) = outcome.evidence.trouble
    assert "could not be removed: the engine refused to stop" in line
    assert "squall clean" in line


def test_containers_that_cannot_be_removed_hide_no_full_disk(tmp_path, disk) -> None:
    disk(10_000)
    rig = Rig(tmp_path)
    rig.cluster.failing = {"stop"}
    with pytest.raises(StoreError, match="no space left"):
        rig.run()
    assert any("squall clean" in line for line in rig.listener.lines)


def test_an_engine_that_does_not_answer_for_a_moment_ends_nothing(tmp_path) -> None:
    """One that never answers again ends the load, as no fault can be made nor seen any more."""

    def silent_for(times: int) -> Callable[[], None]:
        def fall_silent() -> None:
            asked, left = rig.cluster.crashed, [times]

            async def crashed() -> dict[str, str]:
                left[0] -= 1
                if left[0] >= 0:
                    raise OSError("connection refused")
                return await asked()

            rig.cluster.crashed = crashed  # type: ignore[method-assign]

        return fall_silent

    rig = Rig(tmp_path / "moment", seconds=30)
    rig.later(10, silent_for(2))
    assert rig.run().evidence.trouble == ()
    rig = Rig(tmp_path / "gone", seconds=600)
    rig.later(10, silent_for(5))
    outcome = rig.run()
    assert outcome.exit_code == 3
    assert "could not ask which nodes crashed" in outcome.evidence.trouble[0]
    assert outcome.history.duration_ns < 60 * NS_PER_S


def test_paths_are_recorded_as_seen_from_the_working_directory() -> None:
    """A store elsewhere stays as it was typed: it has no part in what a run does."""
    here = Path("/home/me/work")
    typed = ["run", "--store", "/home/me/work/store", "--node-source=/home/me/node", "--time=5s"]
    assert relative(typed, here) == [
        "run", "--store", "store", "--node-source=../node", "--time=5s",
    ]  # fmt: skip
    assert relative(["--store=/mnt/x", "--seed", "7"], here) == ["--store=/mnt/x", "--seed", "7"]
    assert relative(["--node-source", "/n"], here) == ["--node-source", "../../../n"]
