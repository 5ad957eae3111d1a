"""The place of a member's log: its data directory, or the directory of --wal-dir.

A member that did not find its log would start an empty one and lose its votes and acknowledged
entries. So a data directory whose log is elsewhere names the place in a file, and a start with
another --wal-dir is refused unless the whole log was moved there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from squall.node.config.settings import Config
from squall.node.storage import wal
from squall.node.storage.real import RealDisk

NOTE: Final = "member/wal-dir"
"""The file that names the log's directory when it is not member/wal."""


class WalElsewhereError(Exception):
    """The log is not where --wal-dir says. The text says where it is, and what to do."""


def open_disk(config: Config) -> RealDisk:
    """Open the data directory with its log; raises WalElsewhereError and OSError."""
    root = Path(config.data_dir).resolve()
    usual = root / wal.DIRECTORY
    place = Path(config.wal_dir).resolve() if config.wal_dir else usual
    known = _known_place(root)
    if known is not None and known != place and not (_has_log(place) and not _has_log(known)):
        here = "without --wal-dir" if known == usual else f"with --wal-dir={known}"
        raise WalElsewhereError(
            f"the log of this member is in {known}, not in {place}: start it {here}, or move all "
            "the files there while it is stopped"
        )
    if place == usual:
        (root / NOTE).unlink(missing_ok=True)
        return RealDisk(config.data_dir)
    note_place(root, place)
    return RealDisk(config.data_dir, {wal.DIRECTORY: place})


def note_place(root: Path, place: Path) -> None:
    """Record durably that the log of this data directory is in `place`."""
    RealDisk(root).makedirs(str(Path(NOTE).parent))
    note = root / NOTE
    fresh = note.with_suffix(".tmp")
    with fresh.open("w") as file:
        file.write(f"{place}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(note)
    directory = os.open(note.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _known_place(root: Path) -> Path | None:
    """Return the directory of this data directory's log; None before there is one."""
    try:
        return Path((root / NOTE).read_text().rstrip("\n"))
    except FileNotFoundError:
        usual = root / wal.DIRECTORY
        return usual if _has_log(usual) else None


def _has_log(directory: Path) -> bool:
    return any(directory.glob(f"*{wal.SUFFIX}"))
