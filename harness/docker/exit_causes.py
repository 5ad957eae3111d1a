"""Why a node's process ended: by itself, or by an action from outside the harness.

A process ends by itself if it exits with a code of its own, or dies of a signal that only its own
instructions raise (an abort, an invalid memory access): evidence against the node. Every other
signal was sent, and if the harness did not send it, something outside did: trouble, and no
evidence. A full disk beneath the node, and a container that failed before its node started, are
trouble too.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from squall.harness.docker.exec import ContainerState
from squall.harness.docker.nodes import MEMORY_MAX

SELF_INFLICTED: Final = frozenset(
    {
        *(signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE),
        *(signal.SIGILL, signal.SIGTRAP, signal.SIGSYS),
    }
)
SIGNALLED: Final = 128
"""Exit codes above this are 128 + the number of the signal that ended the process."""

NEVER_STARTED: Final = frozenset({125, 126, 127})
"""The entry point failed before the node, or there was no program to execute."""

ADVICE: Final = "keep other jobs away from containers named squall-*, then run again"

_NO_DISK = re.compile(
    r"\[Errno (5|28|30|122)\]|OSError\((5|28|30|122),|No space left on device"
    r"|Disk quota exceeded|Input/output error|Read-only file system"
)
"""EIO, ENOSPC, EROFS, EDQUOT: failures of the disk beneath a node, which the harness provides."""


class ExitCause(msgspec.Struct, frozen=True, kw_only=True):
    """Why a process ended. `own`: by itself, and the text is evidence; else the text is trouble."""

    own: bool
    text: str


def exit_cause(
    node: str, state: ContainerState, words: str, *, requested: str = "", stopped: bool = False
) -> ExitCause:
    """Classify the end of a process that the harness did not cause.

    `words` is the end of the node's output, `requested` the signal that the engine was asked to
    send it, as in "SIGTERM", or "" if it knows of none; `stopped` says that the node logged an
    orderly stop.
    """
    code = state.exit_code
    number = signal_of(code)
    if state.out_of_memory:
        return _outside(
            f"{node} was killed by the kernel for want of memory (SIGKILL, OOMKilled): its "
            f"container may use {MEMORY_MAX}, and the machine must have that free. Free memory or "
            "use --nodes 3, then run again"
        )
    if number is not None and (number not in SELF_INFLICTED or requested == number.name):
        return _outside(
            f"{node} was killed from outside the harness ({number.name}, exit code {code}). "
            f"{_sender(requested)}; {ADVICE}"
        )
    if stopped and code == 0:
        asked = requested or signal.SIGTERM.name
        return _outside(
            f"{node} was stopped from outside the harness ({asked}, exit code 0, as `docker stop` "
            f"does). {_sender(requested)}; {ADVICE}"
        )
    if code in NEVER_STARTED:
        return _outside(
            f"the container of {node} failed before its node began (exit code {code}): "
            f"{_one_line(words)}. `squall image` builds the image anew where it has changed"
        )
    if why := find_environment_trouble(words):
        return _outside(environment_trouble(node, why))
    return ExitCause(own=True, text=f"exit code {code}: {words}")


def signal_of(exit_code: int) -> signal.Signals | None:
    """Return the signal that an exit code stands for; None for a code of the process's own."""
    try:
        return signal.Signals(exit_code - SIGNALLED) if exit_code > SIGNALLED else None
    except ValueError:
        return None


def find_environment_trouble(words: str) -> str:
    """Return the line of a node's output that reports a failed disk or an interrupt; else ""."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if any("AssertionError" in line for line in lines) or not lines:
        return ""
    if lines[-1].startswith("KeyboardInterrupt"):
        return "KeyboardInterrupt: it was sent SIGINT"
    return next((line for line in lines if _NO_DISK.search(line)), "")


def environment_trouble(node: str, why: str) -> str:
    """Return the trouble that ended a node: `why` is the line of its output that reports it."""
    if why.startswith("KeyboardInterrupt"):
        return f"{node} was interrupted from outside the harness (SIGINT); {ADVICE}"
    return (
        f"{node} stopped because the disk beneath it failed: {_one_line(why)}. Make room for "
        "Docker's data (`docker system df` shows what takes it), then run again"
    )


def sent_signal(events: Iterable[Mapping[str, Any]]) -> str:
    """Return the last signal that the engine was asked to send to a container since its start.

    The engine records such requests (`docker kill`, `docker stop`, `docker rm -f`) as events; it
    does not know of a signal that another process sent directly.
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


def stopped_in_order(lines: Iterable[str]) -> bool:
    """Whether the last event a node logged is an orderly stop that was requested.

    A node that was removed from its cluster also stops in order, but by itself.
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
    """Return the text for a container that was removed."""
    return f"the container of {node} was removed from outside the harness; {ADVICE}"


def restarted(node: str, *, killed: bool) -> str:
    """Return the text for a process that the harness did not start."""
    if killed:
        return f"{node} was started from outside the harness while a fault kept it dead; {ADVICE}"
    return f"{node} was restarted from outside the harness (as `docker restart` does); {ADVICE}"


def frozen(node: str, how: str) -> str:
    """Return the text for a process frozen from outside; `how` is "docker pause" or "SIGSTOP"."""
    return f"{node} was frozen from outside the harness ({how}); {ADVICE}"


def thawed(node: str) -> str:
    """Return the text for a process frozen by a fault and thawed from outside."""
    return (
        f"{node} was resumed from outside the harness (`docker unpause`) while a fault kept it "
        f"frozen; {ADVICE}"
    )


def disconnected(node: str) -> str:
    """Return the text for a container that was disconnected from its network."""
    return (
        f"{node} was disconnected from its network from outside the harness (as `docker network "
        f"disconnect` does); {ADVICE}"
    )


def _outside(text: str) -> ExitCause:
    return ExitCause(own=False, text=text)


def _sender(requested: str) -> str:
    if requested:
        return f"The engine was asked to send it {requested} (`docker kill`, `docker stop`)"
    return (
        "The engine knows of no command that did it: look for `kill` in other jobs, and with "
        "`dmesg` for the kernel's out-of-memory killer"
    )


def _one_line(words: str) -> str:
    return " ".join(words.split())[-300:]
