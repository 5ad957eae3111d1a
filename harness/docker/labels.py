"""The labels on every container, volume and network of a run: they identify its owner.

They name the run and the controller's process: host, boot, process id and its start time, so that a
reused process id is not mistaken for the controller. From the labels alone any later process can
tell whether the owner is alive. A controller on another host (or in another container) cannot be
checked from here and counts as alive.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import msgspec

RUN = "squall.run"
NODE = "squall.node"
_PID, _STARTED, _HOST, _BOOT = "squall.pid", "squall.started", "squall.host", "squall.boot"
_START_TIME_FIELD = 22  # of /proc/<pid>/stat, counted from 1: clock ticks since boot


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """A controller's process. `started` and `boot` are empty where the system has no such value."""

    run: str
    pid: int
    started: str
    host: str
    boot: str

    def labels(self, node: str | None = None) -> dict[str, str]:
        """Return the labels of a resource, `node`'s own if one is named."""
        labels = {
            RUN: self.run,
            _PID: str(self.pid),
            _STARTED: self.started,
            _HOST: self.host,
            _BOOT: self.boot,
        }
        return labels | ({NODE: node} if node else {})


def owner_of(labels: Mapping[str, str]) -> Owner | None:
    """Read a resource's labels; None if it is not Squall's, or its labels are damaged."""
    if RUN not in labels or not labels.get(_PID, "").isdecimal():
        return None
    return Owner(
        run=labels[RUN],
        pid=int(labels[_PID]),
        started=labels.get(_STARTED, ""),
        host=labels.get(_HOST, ""),
        boot=labels.get(_BOOT, ""),
    )


def this_process(run: str) -> Owner:
    """Return this process as the owner of `run`."""
    pid = os.getpid()
    return Owner(
        run=run, pid=pid, started=start_time(pid) or "", host=platform.node(), boot=_boot()
    )


def is_alive(owner: Owner) -> bool:
    """Whether the controller may still be running; True if that cannot be determined."""
    here = this_process(owner.run)
    if owner.host != here.host:
        return True
    if owner.boot != here.boot:
        return False
    started = start_time(owner.pid)
    if started is None:
        return False
    return not owner.started or not started or started == owner.started


def start_time(pid: int) -> str | None:
    """Return when a process started; "" if that cannot be determined, None if it does not exist."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        # The second field is the program's name in parentheses and may hold spaces of its own.
        return stat.read_text().rpartition(")")[2].split()[_START_TIME_FIELD - 3]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except OSError:
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
