"""`squall-node`: reads the settings, opens the data directory, serves until it is stopped.

Exit codes: 0 stopped when asked, 2 the node found itself broken or its disk failed (`fatal` in its
log), 3 it cannot start here (an address taken, a damaged or foreign data directory), 4 usage.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from squall.node.bootstrap import restore
from squall.node.bootstrap.force_new_cluster import force_single_member
from squall.node.bootstrap.identity import CannotJoinError, identify
from squall.node.bootstrap.wal_dir import WalElsewhereError, open_disk
from squall.node.config.endpoints import ConfigError
from squall.node.config.settings import USAGE_EXIT_CODE, Config, parse
from squall.node.logs import Log
from squall.node.peer.removal import RemovedError
from squall.node.server import tls
from squall.node.server.corruption import CorruptError
from squall.node.server.event_loop import new_loop
from squall.node.server.shell import FATAL_EXIT_CODE, Server, report_fatal
from squall.node.storage.disk import DiskError
from squall.node.storage.recovery import DamagedError

CANNOT_START_EXIT_CODE = 3
GC_THRESHOLDS = (50_000, 20, 100)
"""As for `gc.set_threshold`."""


def main() -> None:
    """Run a node with the process's arguments; exits with one of the codes above."""
    if sys.argv[1:3] == ["snapshot", "restore"]:
        raise SystemExit(_restore(sys.argv[3:]))
    try:
        config = parse(sys.argv[1:], os.environ)
        log = Log(config.log_outputs, config.log_format, config.log_level)
    except ConfigError as error:
        sys.stderr.write(f"squall-node: {error}\n")
        raise SystemExit(USAGE_EXIT_CODE) from None
    except OSError as error:
        sys.stderr.write(f"squall-node: --log-outputs: {error}\n")
        raise SystemExit(USAGE_EXIT_CODE) from None
    for note in config.notes:
        log.warn("setting-without-effect", msg=note)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        code = runner.run(_run(config, log))
    raise SystemExit(code)


def _restore(arguments: list[str]) -> int:
    try:
        restore.command(arguments)
    except ConfigError as error:
        sys.stderr.write(f"squall-node: {error}\n")
        return USAGE_EXIT_CODE
    except (restore.RestoreError, OSError, DiskError) as error:
        sys.stderr.write(f"squall-node: snapshot restore: {error}\n")
        return CANNOT_START_EXIT_CODE
    return 0


async def _run(config: Config, log: Log) -> int:
    try:
        with ExitStack() as locks:
            for directory, what in _directories(config).items():
                locks.enter_context(_locked(directory, what))
            return await _serve(config, log)
    except OSError as error:
        log.fatal("cannot-start", msg=f"this node cannot start: {error}", error=repr(error))
        return CANNOT_START_EXIT_CODE


def _directories(config: Config) -> dict[Path, str]:
    log = {Path(config.wal_dir).resolve(): "log directory"} if config.wal_dir else {}
    return log | {Path(config.data_dir).resolve(): "data directory"}


async def _serve(config: Config, log: Log) -> int:
    """Recover and serve; raises OSError when an address is taken."""
    try:
        if restore.is_etcd_directory(Path(config.data_dir)):
            restore.convert(config)
            log.info("converted", msg="the data directory was an etcd's; see member.etcd")
        disk = open_disk(config)
        identity = await identify(config, disk, tls.for_joining(config))
        if config.force_new_cluster:
            left = force_single_member(disk, identity, config.initial_advertise_peer_urls)
            log.warn(
                "new-cluster",
                msg="--force-new-cluster: this member goes on alone; leave the flag out next time",
                left=[f"{member:x}" for member in left],
            )
        server = Server(config, log, disk, identity)
    except WalElsewhereError as error:
        log.fatal("cannot-start", msg=str(error))
        return CANNOT_START_EXIT_CODE
    except (CannotJoinError, RemovedError) as error:
        log.fatal("cannot-join", msg=str(error))
        return CANNOT_START_EXIT_CODE
    except (DamagedError, restore.RestoreError) as error:
        log.fatal("damaged", msg=str(error))
        return CANNOT_START_EXIT_CODE
    except Exception as bug:  # noqa: BLE001 - logged as `fatal`; the node exits
        report_fatal(log, bug)
        return FATAL_EXIT_CODE
    _tune_garbage_collector()
    try:
        await server.run()
    except CorruptError as error:
        log.fatal("corrupt", msg=str(error))
        return CANNOT_START_EXIT_CODE
    return 0


def _tune_garbage_collector() -> None:
    """Exclude long-lived objects from the cycle collector: modules, and the recovered store.

    Requests leave almost no cycles behind, so the thresholds are high.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


@contextmanager
def _locked(directory: Path, what: str) -> Iterator[None]:
    """Lock the directory against a second node; the kernel releases the lock with the process."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another node uses the {what} {directory}") from None
        yield


if __name__ == "__main__":
    main()
