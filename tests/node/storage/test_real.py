"""The real disk keeps in memory what is not synced, and says so when it cannot keep a promise."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from random import Random

import pytest

from squall.node.replica import Member, Outcome, Replica, ReplicaConfig
from squall.node.storage.disk import (
    Append,
    Create,
    DiskError,
    Remove,
    Rename,
    Sync,
    SyncDir,
    Truncate,
)
from squall.node.storage.real import RealDisk
from tests.node.replica.cluster import ListMachine


def test_a_kill_loses_exactly_what_was_not_synced(tmp_path: Path) -> None:
    """What is appended is not in the file, nor in the kernel, before its sync."""
    disk = RealDisk(tmp_path)
    disk.makedirs("a/b")
    disk.execute((Create("a/b/f", 32), Append("a/b/f", 0, b"kept"), Sync("a/b/f")))
    disk.execute((Append("a/b/f", 4, b"lost"),))
    assert RealDisk(tmp_path).read("a/b/f") == b"kept" + bytes(28)
    disk.execute((Sync("a/b/f"), SyncDir("a/b")))
    assert RealDisk(tmp_path).read("a/b/f").rstrip(b"\0") == b"keptlost"


def test_files_are_made_cut_renamed_and_removed(tmp_path: Path) -> None:
    """Every operation does what it says; removing what is not there is no error."""
    disk = RealDisk(tmp_path)
    disk.execute((Create("x", 3_000_000), Append("x", 2, b"zz"), Sync("x")))
    assert len(disk.read("x")) == 3_000_000
    disk.execute((Truncate("x", 5), Rename("x", "y"), Remove("x"), SyncDir("")))
    assert disk.listdir("") == ["y"]
    assert disk.read("y") == b"\0\0zz\0"
    assert disk.listdir("nowhere") == []


def test_a_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one failure nothing succeeds any more: a retried fsync would lie."""
    disk = RealDisk(tmp_path)
    disk.execute((Create("f", 8),))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", full)
        with pytest.raises(DiskError, match="No space left on device"):
            disk.execute((Append("f", 0, b"x"), Sync("f")))
    with pytest.raises(DiskError):
        disk.execute((Sync("f"),))


def test_a_single_member_on_a_real_disk_survives_restarts(tmp_path: Path) -> None:
    """Elect, propose, snapshot, restart, read: the whole path on real files."""
    seen = 0
    for boot in range(1, 4):
        disk = RealDisk(tmp_path)
        machine = ListMachine()
        config = ReplicaConfig(
            cluster_id=1,
            member_id=1,
            initial_members=(Member(1, "n1"),),
            segment_bytes=512,
            snapshot_count=5,
            catch_up_entries=2,
            max_wals=2,
            max_snapshots=1,
        )
        replica = Replica(config, disk, machine, Random(boot), boot, 0)
        # The commit index on disk is only a hint: the last entry commits with the next election.
        assert len(machine.commands) >= seen - 1
        now_us = 3_000_000
        replica.tick(now_us)
        for number in range(20):
            replica.propose(number, b"b%d-%d" % (boot, number), now_us)
            for _ in range(10):
                out = replica.take()
                seen += sum(reply.outcome == Outcome.DONE for reply in out.replies)
                if out.batch is not None:
                    disk.execute(out.batch.ops)
                    replica.persisted(out.batch.id, now_us)
                elif replica.deadline_us > now_us:
                    break
        assert len(machine.commands) == seen
        disk.close()
    assert seen == 60
    assert len(list((tmp_path / "member/snap").iterdir())) <= 2
