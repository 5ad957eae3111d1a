"""Why a node's process ended: by its own doing, or because something outside took it away.

A node ends by its own doing when it exits with a code of its own, or dies of a signal that only its
own instructions raise (an abort, a bad memory access). Every other signal was sent, and where the
harness did not send it, somebody else did: that is trouble of the surroundings and evidence of
nothing. So is a disk without room under the node, and a container that failed before its node.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from squall.harness.docker.exec import ContainerState
from squall.harness.docker.nodes import MEMORY_MAX

RAISED_BY_ITS_OWN_CODE: Final = frozenset(
    {
        *(signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE),
        *(signal.SIGILL, signal.SIGTRAP, signal.SIGSYS),
    }
)
SIGNALLED: Final = 128
"""An exit code above this says which signal ended the process."""

NEVER_BEGUN: Final = frozenset({125, 126, 127})
"""The entry point failed before the node, or there was no program to execute."""

ADVICE: Final = "keep other jobs away from containers named squall-*, then run again"

_NO_DISK = re.compile(
    r"\[Errno (5|28|30|122)\]|OSError\((5|28|30|122),|No space left on device"
    r"|Disk quota exceeded|Input/output error|Read-only file system"
)
"""EIO, ENOSPC, EROFS, EDQUOT: the disk beneath a node, which is ours to provide."""


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended. `own`: the text is the node's and evidence; else it is trouble."""

    own: bool
    text: str


def cause_of_death(
    node: str, state: ContainerState, words: str, *, told: str = "", stopped: bool = False
) -> Death:
    """Tell a node's own end from one that was forced upon it. Not for deaths the harness caused.

    `words` are the node's last; `told` is the signal that the engine was asked to send it, as in
    "SIGTERM", or "" where it knows of none; `stopped` says that the node logged an orderly stop.
    """
    code = state.exit_code
    number = signal_of(code)
    if state.out_of_memory:
        return _outside(
            f"{node} was killed by the kernel for want of memory (SIGKILL, OOMKilled): its "
            f"container may use {MEMORY_MAX}, and the machine must have that free. Free memory or "
            "use --nodes 3, then run again"
        )
    if number is not None and (number not in RAISED_BY_ITS_OWN_CODE or told == number.name):
        return _outside(
            f"{node} was killed from outside the harness ({number.name}, exit code {code}). "
            f"{_who(told)}; {ADVICE}"
        )
    if stopped and code == 0:
        asked = told or signal.SIGTERM.name
        return _outside(
            f"{node} was stopped from outside the harness ({asked}, exit code 0, as `docker stop` "
            f"does). {_who(told)}; {ADVICE}"
        )
    if code in NEVER_BEGUN:
        return _outside(
            f"the container of {node} failed before its node began (exit code {code}): "
            f"{_one_line(words)}. `squall image` builds the image anew where it has changed"
        )
    if why := trouble_in(words):
        return _outside(forced_by(node, why))
    return Death(own=True, text=f"exit code {code}: {words}")


def signal_of(exit_code: int) -> signal.Signals | None:
    """Return the signal that an exit code tells of; None when it is the process's own."""
    try:
        return signal.Signals(exit_code - SIGNALLED) if exit_code > SIGNALLED else None
    except ValueError:
        return None


def trouble_in(words: str) -> str:
    """Return the line in which a node says that its disk failed or it was interrupted; or ""."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if any("AssertionError" in line for line in lines) or not lines:
        return ""
    if lines[-1].startswith("KeyboardInterrupt"):
        return "KeyboardInterrupt: it was sent SIGINT"
    return next((line for line in lines if _NO_DISK.search(line)), "")


def forced_by(node: str, why: str) -> str:
    """Say that the surroundings ended a node, in its own words."""
    if why.startswith("KeyboardInterrupt"):
        return f"{node} was interrupted from outside the harness (SIGINT); {ADVICE}"
    return (
        f"{node} stopped because the disk beneath it failed: {_one_line(why)}. Make room for "
        "Docker's data (`docker system df` shows what takes it), then run again"
    )


def sent_signal(events: Iterable[Mapping[str, Any]]) -> str:
    """Return the last signal that an engine's events say was sent to a container since its start.

    The engine records what it was asked to send (`docker kill`, `docker stop`, `docker rm -f`); of
    a signal that another process sent directly it knows nothing.
    """
    found = ""
    for event in events:
        action = str(event.get("Action") or event.get("status") or "")
        if action == "start":
            found = ""
        elif action == "kill":
            said = str((event.get("Actor") or {}).get("Attributes", {}).get("signal", ""))
            number = signal_of(SIGNALLED + int(said)) if said.isdecimal() else None
            found = number.name if number else said
    return found


def ended_in_order(lines: Iterable[str]) -> bool:
    """Whether the last event a node logged is an orderly stop that was asked of it.

    A node that believes it was removed from its cluster stops in order too, by its own doing.
    """
    last, left = "", False
    for line in lines:
        try:
            event = msgspec.json.decode(line.encode(), type=dict[str, Any]).get("event")
        except msgspec.DecodeError:
            last = "words" if line.strip() else last
            continue
        left = event == "removed" or (left and event != "started")
        last = str(event or last)
    return last == "stopped" and not left


def removed(node: str) -> str:
    """Say that a container is gone."""
    return f"the container of {node} was removed from outside the harness; {ADVICE}"


def restarted(node: str, *, killed: bool) -> str:
    """Say that a process is another one than the harness had started."""
    if killed:
        return f"{node} was started from outside the harness while a fault kept it dead; {ADVICE}"
    return f"{node} was restarted from outside the harness (as `docker restart` does); {ADVICE}"


def frozen(node: str, how: str) -> str:
    """Say that a process was frozen by another: `how` is "docker pause" or "SIGSTOP"."""
    return f"{node} was frozen from outside the harness ({how}); {ADVICE}"


def thawed(node: str) -> str:
    """Say that a fault's freeze was ended by another."""
    return (
        f"{node} was resumed from outside the harness (`docker unpause`) while a fault kept it "
        f"frozen; {ADVICE}"
    )


def disconnected(node: str) -> str:
    """Say that a container lost its network."""
    return (
        f"{node} was disconnected from its network from outside the harness (as `docker network "
        f"disconnect` does); {ADVICE}"
    )


def _outside(text: str) -> Death:
    return Death(own=False, text=text)


def _who(told: str) -> str:
    if told:
        return f"The engine was asked to send it {told} (`docker kill`, `docker stop`)"
    return (
        "The engine knows of no command that did it: look for `kill` in other jobs, and with "
        "`dmesg` for the kernel's out-of-memory killer"
    )


def _one_line(words: str) -> str:
    return " ".join(words.split())[-300:]
