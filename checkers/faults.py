"""The faults of a history, as windows in time.

How a fault is written into the history: process `nemesis/<kind>`; `key` is the fault's id within
the run ("partition-3"); `f` is `start` or `stop`. The invocation's value is the intent, the
completion's value what was found:

    start invoke   {"kind": "partition", "intent": {"shape": "isolate-leader"}}
    start ok       {"targets": ["n3"], "roles": {"n1": "follower", ..., "n3": "leader"},
                    "detail": "n3 | n1 n2 n4 n5", "expect": "available"}
    stop  invoke   {}
    stop  ok       {"healed": true, "effective": true, "effect": "1,204 packets dropped"}

A fault whose kind has no end (a kill's restart is its end) still has both. `effective` is true only
if measured; false if measured and absent; null if it could not be measured.
"""

from __future__ import annotations

from typing import Any

import msgspec

from checkers.history import History, OpType


class FaultWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One fault from its injection to its healing, in the controller's time."""

    id: str
    kind: str
    from_ns: int
    until_ns: int | None
    targets: tuple[str, ...] = ()
    roles: dict[str, str] = {}
    intent: dict[str, Any] = {}
    detail: str = ""
    effect: str = ""
    effective: bool | None = None
    healed: bool = False
    outcome: str = "installed"  # installed | skipped | indeterminate
    expect: str = ""  # "available" | "unavailable" | "": what the topology lets one expect
    command: str = ""


def fault_windows(history: History) -> tuple[FaultWindow, ...]:
    """Pair every fault's start with its stop; one that was never stopped has `until_ns` None."""
    starts: dict[str, dict[str, Any]] = {}
    for operation in history.nemesis_operations:
        key = operation.key or ""
        found = operation.output if isinstance(operation.output, dict) else {}
        if operation.f == "start":
            intent = operation.input if isinstance(operation.input, dict) else {}
            skipped = operation.outcome is OpType.FAIL
            starts[key] = {
                "id": key,
                "kind": intent.get("kind", str(operation.process).partition("/")[2]),
                "from_ns": operation.invoked_ns,
                "until_ns": None,
                "targets": tuple(found.get("targets", ())),
                "roles": found.get("roles", {}),
                "intent": intent.get("intent", {}),
                "detail": found.get("detail", operation.error or ""),
                "expect": found.get("expect", ""),
                "command": found.get("command", ""),
                "effective": found.get("effective"),
                "effect": found.get("effect", ""),
                "outcome": "skipped"
                if skipped
                else "indeterminate"
                if operation.outcome is OpType.INFO
                else "installed",
            }
        elif key in starts:
            window = starts[key]
            window["until_ns"] = operation.completed_ns or operation.invoked_ns
            window["healed"] = operation.outcome is OpType.OK and found.get("healed", True)
            for name in ("effective", "effect"):
                if found.get(name) is not None:
                    window[name] = found[name]
    return tuple(FaultWindow(**window) for window in starts.values())


def mending_ns(history: History) -> int:
    """When the final phase began to mend whatever was still broken; the history's end without it.

    A fault that was never stopped lasts until then at most.
    """
    return next(
        (each.invoked_ns for each in history.nemesis_operations if each.f == "recover"),
        history.duration_ns,
    )
