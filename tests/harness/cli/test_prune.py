"""`squall prune` removes what no rule of retention keeps, and nothing else."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from squall.checkers.verdict import Validity, Verdict
from squall.harness.cli import main as cli
from squall.harness.docker import engine as engines
from squall.harness.docker.image.build import old_node_images
from squall.harness.retention import began_at, disk_bytes, removable_copies, removable_runs
from squall.harness.store import HISTORY, RUN, VERDICT, RunFolder, Store, VerdictFile

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def add(store: Store, days_ago: float, *, code: int | None = 0, workload: str = "kv") -> Path:
    """Make a run that began some days ago; `code` None: it has no verdict."""
    folder = store.create(workload, 1, NOW - timedelta(days=days_ago))
    (folder.path / RUN).write_bytes(b"{}")
    (folder.path / HISTORY).write_bytes(b"x" * 5000)
    verdict = Verdict(checker="all", validity=Validity.VALID, claim="")
    if code is not None:
        told = VerdictFile(word="", exit_code=code, verdict=verdict)
        (folder.path / VERDICT).write_bytes(msgspec.json.encode(told))
    return folder.path


def removed(store: Store, *, newest: int = 0, days: float = 14, invalid: bool = False) -> set[Path]:
    found = removable_runs(store, newest=newest, days=days, invalid=invalid, now=NOW)
    return {run.path for run in found}


def test_a_run_is_kept_while_it_is_young_or_among_the_newest(store: Store) -> None:
    old, older = add(store, 20), add(store, 30)
    add(store, 1)
    assert removed(store) == {old, older}
    assert removed(store, newest=2) == {older}
    assert removed(store, days=25) == {older}


def test_the_newest_run_of_each_workload_is_kept(store: Store) -> None:
    old = add(store, 40)
    add(store, 30)
    add(store, 50, workload="register")
    assert removed(store) == {old}


def test_a_proof_of_a_violation_is_kept_unless_it_is_given_up(store: Store) -> None:
    proof = add(store, 30, code=1)
    add(store, 20)
    assert removed(store) == set()
    assert removed(store, invalid=True) == {proof}


def test_a_run_that_may_still_be_going_on_is_kept(store: Store) -> None:
    going_on, ended = add(store, 30, code=None), add(store, 31, code=None)
    add(store, 1)
    for path, hours in ((going_on, 1), (ended, 25)):
        at_s = (NOW - timedelta(hours=hours)).timestamp()
        os.utime(path / HISTORY, (at_s, at_s))
    assert removed(store) == {ended}


def test_what_cannot_be_read_is_kept(store: Store) -> None:
    broken, strange = add(store, 30), add(store, 31)
    (broken / VERDICT).write_bytes(b"{")
    strange.rename(strange.with_name("20-mine"))
    add(store, 1)
    assert removed(store) == set()
    assert began_at(RunFolder(strange.with_name("20-mine"))) is None


def test_copies_of_broken_nodes_go_after_a_day(tmp_path: Path) -> None:
    for name, hours in (("new", 1), ("old", 25), ("checkout", 25), ("empty", 25)):
        (tmp_path / name / "node").mkdir(parents=True)
        if name != "empty":
            (tmp_path / name / "node" / "__main__.py").touch()
        if name == "checkout":
            (tmp_path / name / "README.md").touch()
        at_s = (NOW - timedelta(hours=hours)).timestamp()
        os.utime(tmp_path / name, (at_s, at_s))
    assert removable_copies(tmp_path, NOW) == [tmp_path / "old"]
    assert removable_copies(tmp_path / "nowhere", NOW) == []


def test_holes_take_up_no_room(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.write(b"x")
        file.truncate(1 << 26)
    assert 0 < disk_bytes([tmp_path]) < 1 << 20


def test_only_images_beyond_the_newest_are_old_and_latest_never_is() -> None:
    class Api:
        def images(self, name: str) -> list[dict[str, Any]]:
            assert name == "squall-node"
            return [
                {"Created": 1, "RepoTags": ["squall-node:a", "squall-node:latest"]},
                {"Created": 3, "RepoTags": ["squall-node:c"]},
                {"Created": 2, "RepoTags": None},
            ]

    class Engine:
        api = Api()

    assert old_node_images(Engine(), 1) == ["squall-node:a"]  # type: ignore[arg-type]
    assert old_node_images(Engine(), 3) == []  # type: ignore[arg-type]


def test_a_dry_run_says_what_would_go_and_removes_nothing(
    store: Store, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_engine(*_: Any) -> None:
        raise engines.NoEngineError("none")

    monkeypatch.setattr(engines, "Docker", no_engine)
    old = add(store, 3000)
    add(store, 2000)
    line = ["prune", "--store", str(store.root), "--runs", "0", "--copies", str(store.root / "no")]
    assert cli.exit_code_of([*line, "--dry-run"]) == 0
    assert f"would remove {old}" in capsys.readouterr().out
    assert old.exists()
    assert cli.exit_code_of(line) == 0
    assert "1 runs, 0 copies" in capsys.readouterr().out
    assert not old.exists()
