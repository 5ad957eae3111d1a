"""Retention: which runs of a store, and which copies of broken nodes, may be removed.

A run is kept while any of these holds:

    it is one of the `newest` runs of the store, or the newest of its workload (`latest` names it)
    it began less than `days` ago
    it ended INVALID, unless such runs are to be removed too: it is the proof of a violation
    it has no verdict, and its history was written to within ACTIVE_S: it may still be running
    its folder's name or its verdict cannot be read

Everything is decided from the folders' names and verdicts; nothing else in a store is looked at, so
whatever Squall did not put there stays.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from squall.harness.store import HISTORY, RunFolder, Store, StoreError, explained
from squall.harness.vocabulary import EXIT_INVALID

ACTIVE_S = 24 * 3600
"""A run without a verdict counts as unfinished for this long after its last recorded operation, and
a copy of a node as in use for this long after it was made."""

BLOCK_BYTES = 512
"""The unit of `st_blocks`, whatever the file system's own block size is."""


def removable_runs(
    store: Store, *, newest: int, days: float, invalid: bool, now: datetime
) -> list[RunFolder]:
    """Return the runs that no rule keeps, oldest first."""
    runs = list(store.runs())
    kept = {run.path for run in runs[max(0, len(runs) - newest) :]}
    kept |= {run.path for run in {run.path.parent: run for run in runs}.values()}
    oldest = now - timedelta(days=days)
    return [
        run
        for run in runs
        if run.path not in kept
        and (begun := began_at(run)) is not None
        and begun < oldest
        and not _is_needed(run, invalid=invalid, now=now)
    ]


def removable_copies(folder: Path, now: datetime) -> list[Path]:
    """Return the copies of broken nodes in `folder` that were made more than ACTIVE_S ago.

    A copy is a folder with nothing but a package `node`; every other folder is left alone.
    """
    if not folder.is_dir():
        return []
    made_before = now.timestamp() - ACTIVE_S
    return sorted(
        path for path in folder.iterdir() if _is_copy(path) and path.stat().st_mtime < made_before
    )


def began_at(run: RunFolder) -> datetime | None:
    """Return when a run began, from its folder's name; None if the name is not one of Squall's."""
    try:
        return datetime.strptime(run.path.name.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(
            tzinfo=UTC
        )
    except ValueError:
        return None


def disk_bytes(paths: Iterable[Path]) -> int:
    """Return what files and folders take up on disk; holes of sparse files take up nothing."""
    total = 0
    for path in paths:
        for folder, _, names in os.walk(path):
            for name in names:
                total += (Path(folder) / name).lstat().st_blocks * BLOCK_BYTES
    return total


def remove(path: Path) -> None:
    """Remove a folder with all that is in it; raises StoreError."""
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise explained(error, path) from error


def _is_copy(path: Path) -> bool:
    return (
        not path.is_symlink()
        and (path / "node" / "__main__.py").is_file()
        and [each.name for each in path.iterdir()] == ["node"]
    )


def _is_needed(run: RunFolder, *, invalid: bool, now: datetime) -> bool:
    try:
        verdict = run.read_verdict()
    except StoreError:
        return True
    if verdict is not None:
        return verdict.exit_code == EXIT_INVALID and not invalid
    history = run.path / HISTORY
    return history.exists() and now.timestamp() - history.stat().st_mtime < ACTIVE_S
