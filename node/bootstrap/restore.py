"""Makes a data directory of this node from a database file of etcd's.

There are two ways. `squall-node snapshot restore FILE` does what `etcdctl snapshot restore` does:
it checks the file and makes the directory of one member of a new cluster. And a node that is
started on a directory that `etcdctl snapshot restore` made recognises `member/snap/db` in it,
converts it once and keeps etcd's own files beside it in `member.etcd`.

Every member of the new cluster begins with the same snapshot at index 1, and with the members that
--initial-cluster names, so all of them must be restored from the same file. The directory is built
under another name and renamed: a crash in between leaves either the old state or the new one, and
the next start goes on from there.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from crc32c import crc32c

from squall.node.bootstrap import etcd_db, etcd_wal
from squall.node.bootstrap.bolt.pages import DamagedFileError
from squall.node.bootstrap.bolt.reading import Database
from squall.node.bootstrap.wal_dir import note_place
from squall.node.config import settings as config
from squall.node.config.settings import Config
from squall.node.mvcc.keyvalue import KeyValue
from squall.node.mvcc.store import SNAPSHOT_FORMAT
from squall.node.mvcc.store import Snapshot as MachineState
from squall.node.raft.membership import Configuration, Member
from squall.node.raft.messages import HardState, Snapshot
from squall.node.replica.interface import ReplicaConfig
from squall.node.replica.persistence import BOOTSTRAP_TERM
from squall.node.replica.sessions import Sessions
from squall.node.storage import snapshot, wal
from squall.node.storage.real import RealDisk

DATABASE: Final = Path("member/snap/db")
SET_ASIDE: Final = "member.etcd"
STAGE: Final = "restoring"
FIRST_INDEX: Final = 1
HASH_BYTES: Final = 32
FILE_GRAIN_BYTES: Final = 512
"""A database has whole pages; a file that is 32 bytes longer ends with its SHA-256."""


class RestoreError(Exception):
    """The restore was refused and changed nothing; the text, one line, says what to do."""


def is_etcd_directory(data_dir: Path) -> bool:
    """Return whether the directory has a database of etcd's that was not converted yet."""
    return (data_dir / DATABASE).is_file() or (
        (data_dir / STAGE / "member").is_dir() and not (data_dir / "member").exists()
    )


def convert(settings: Config) -> None:
    """Convert an etcd's data directory in place; raises RestoreError and OSError."""
    data_dir = Path(settings.data_dir)
    if settings.wal_dir:
        raise RestoreError(
            f"{data_dir} is an etcd's, and its log would become another one: move what is in "
            f"{settings.wal_dir} to {data_dir / wal.DIRECTORY} and start without --wal-dir"
        )
    aside, stage = data_dir / SET_ASIDE, data_dir / STAGE
    if (data_dir / DATABASE).is_file():
        directory = data_dir / "member"
        if aside.exists():
            raise RestoreError(
                f"{directory} is an etcd's, and {aside} exists from an earlier conversion: remove "
                "the one that is not needed"
            )
        _refuse_newer_log(directory / "wal")
        _build(directory / "snap/db", stage, settings)
        directory.rename(aside)
        _sync_directory(data_dir)
    (stage / "member").rename(data_dir / "member")
    _sync_directory(data_dir)
    with suppress(OSError):
        stage.rmdir()


def command(arguments: Sequence[str]) -> None:
    """Run `squall-node snapshot restore`; raises RestoreError, ConfigError and OSError."""
    parser = config.CommandParser(
        prog="squall-node snapshot restore",
        description="Make a member's data directory from a snapshot of etcd or of this node.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="what `etcdctl snapshot save` wrote")
    parser.add_argument(
        "--skip-hash-check", action="store_true", help="for a database that has no checksum"
    )
    for name in _RESTORE_FLAGS:
        parser.add_argument(f"--{name}")
    given = parser.parse_args(list(arguments))
    # A configuration file would replace these arguments.
    environment = {name: text for name, text in os.environ.items() if name != "ETCD_CONFIG_FILE"}
    settings = config.parse(_passed_on(given), environment)
    data_dir = Path(settings.data_dir)
    if data_dir.exists():
        raise RestoreError(f'data-dir "{data_dir}" exists')
    log_dir = Path(settings.wal_dir).resolve() if settings.wal_dir else None
    if log_dir is not None and log_dir.exists() and any(log_dir.iterdir()):
        raise RestoreError(f'wal-dir "{log_dir}" is not empty')
    file = Path(given.file)
    _check_hash(file, skip=given.skip_hash_check)
    stage = data_dir.with_name(f"{data_dir.name}.{STAGE}")
    _build(file, stage, settings, log_dir)
    if log_dir is not None:
        note_place(stage, log_dir)
    stage.rename(data_dir)
    _sync_directory(data_dir.parent)
    sys.stdout.write(
        f"restored {file} to {data_dir}: member {settings.member.id:x} of cluster "
        f"{settings.cluster_id:x}\n"
    )


_RESTORE_FLAGS: Final = (
    "name",
    "data-dir",
    "wal-dir",
    "initial-cluster",
    "initial-cluster-token",
    "initial-advertise-peer-urls",
)


def _passed_on(given: argparse.Namespace) -> list[str]:
    words = []
    for name in _RESTORE_FLAGS:
        value = getattr(given, name.replace("-", "_"))
        if value is not None:
            words.append(f"--{name}={value}")
    return words


def _check_hash(file: Path, *, skip: bool) -> None:
    size = file.stat().st_size
    if size % FILE_GRAIN_BYTES != HASH_BYTES:
        if skip:
            return
        raise RestoreError("snapshot missing hash but --skip-hash-check=false")
    if skip:
        return
    with file.open("rb") as stream:
        stream.seek(size - HASH_BYTES)
        expected = stream.read()
        stream.seek(0)
        checksum = hashlib.sha256()
        left = size - HASH_BYTES
        while left and (piece := stream.read(min(left, 1 << 20))):
            checksum.update(piece)
            left -= len(piece)
    if checksum.digest() != expected:
        raise RestoreError(
            f"expected sha256 {expected.hex()}, got {checksum.hexdigest()}: the file was damaged; "
            "use another copy"
        )


def _refuse_newer_log(directory: Path) -> None:
    """Refuse a directory whose log may have entries that its database lacks."""
    for file in sorted(directory.glob("*.wal")):
        if etcd_wal.has_requests(file.read_bytes()):
            raise RestoreError(
                f"{directory} holds a log that etcd has written to since; its last writes may not "
                "be in the database. Start etcd on it, take a snapshot with `etcdctl snapshot "
                "save`, and restore that"
            )


def _build(file: Path, root: Path, settings: Config, log_dir: Path | None = None) -> None:
    """Write the member's whole directory under `root`, its log perhaps elsewhere, durably."""
    state = machine_state(file)
    members = tuple(
        Member(member.id, "", member.peer_urls)
        for member in sorted(settings.members, key=lambda member: member.id)
    )
    data = snapshot.encode_state(snapshot.State(Sessions().encode(), state))
    taken = Snapshot(FIRST_INDEX, BOOTSTRAP_TERM, Configuration(members), data)
    bounds = ReplicaConfig(cluster_id=settings.cluster_id, member_id=settings.member.id)
    log = wal.Wal(bounds.cluster_id, bounds.member_id, bounds.segment_bytes)
    mark = (taken.index, taken.term)
    promise = HardState(BOOTSTRAP_TERM, 0, FIRST_INDEX)
    disk = RealDisk(root, {wal.DIRECTORY: log_dir} if log_dir else None)
    try:
        disk.makedirs(wal.DIRECTORY)
        disk.makedirs(snapshot.DIRECTORY)
        disk.execute((*snapshot.save(taken), *log.save([], promise, mark, FIRST_INDEX)))
    finally:
        disk.close()


def machine_state(file: Path) -> bytes:
    """Return a database as a snapshot of the state machine; raises RestoreError."""
    try:
        with file.open("rb") as stream:
            if not file.stat().st_size:
                raise DamagedFileError("it is empty")
            # The map is unmapped when nothing refers to it; closing it earlier is an error.
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            return _read(Database(memoryview(mapped)))
    except DamagedFileError as error:
        raise RestoreError(f"{file} is no sound database: {error.args[0]}") from None


def _read(database: Database) -> bytes:
    history = etcd_db.read_history(database)
    digest = 0
    for kv in history.records:
        digest = crc32c(msgspec.msgpack.encode(kv), digest)
    state = MachineState(
        SNAPSHOT_FORMAT,
        history.revision,
        history.compacted,
        digest,
        history.records,
        etcd_db.read_leases(database),
        etcd_db.read_alarms(database),
        etcd_db.read_auth(database),
    )
    held = {lease.id for lease in state.leases}
    if any(kv.lease not in held for kv in _live(history.records) if kv.lease):
        raise DamagedFileError("a key hangs on a lease that is not there")
    return msgspec.msgpack.encode(state)


def _live(records: list[KeyValue]) -> list[KeyValue]:
    newest = {kv.key: kv for kv in records}
    return [kv for kv in newest.values() if kv.version]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
