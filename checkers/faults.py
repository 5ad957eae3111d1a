"""The faults of a history, as windows in time.

A fault is recorded under the process `nemesis/<kind>`. `key` is the fault's id within the run
("partition-3"); `f` is `start` or `stop`. The value of an invocation is the intent, the value of a
completion the result; each is the JSON form of a struct of this module:

    start invoke   FaultIntent   {"kind": "partition", "intent": {"shape": "isolate-leader"}}
    start ok       FaultStart    {"targets": ["n3"], "roles": {"n1": "follower", ...},
                                  "detail": "n3 | n1 n2 n4 n5", "expect": "available",
                                  "able": ["n1", "n2", "n4", "n5"]}
    stop  invoke                 {}
    stop  ok       FaultStop     {"healed": true, "effective": true,
                                  "effect": "1,204 packets dropped", "command": "iptables ..."}

A kill has a stop as well: the restart. `effective` is true only if the effect was measured, false
if it was measured to be absent, null if it could not be measured.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from squall.checkers.history import History, Operation, OpType


class FaultIntent(msgspec.Struct, frozen=True, kw_only=True):
    """What the nemesis is going to do: the invocation of `start`.

    `intent` holds the parameters drawn for this kind (shape, scope, order of nodes); its keys are
    defined by the kind.
    """

    kind: str = ""
    intent: dict[str, Any] = {}


class FaultStart(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and to which cluster: the completion of `start`.

    `roles` are the nodes' roles just before, `able` the nodes that can be elected while all faults
    in force last, `expect` is "available" if there is such a node, else "unavailable" ("" if
    unknown). The fields that are unset by default are set only if they were known at the start
    already.
    """

    targets: tuple[str, ...] = ()
    roles: dict[str, str] = {}
    detail: str | UnsetType = UNSET
    expect: str = ""
    able: tuple[str, ...] | UnsetType = UNSET
    effective: bool | UnsetType | None = UNSET
    effect: str | UnsetType = UNSET
    command: str | UnsetType = UNSET


class FaultStop(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the fault was healed, and its measured effect: the completion of `stop`.

    `command` is the shell command that injected it. The effect is unset if the stop failed before
    it was measured.
    """

    healed: bool = True
    effective: bool | UnsetType | None = UNSET
    effect: str | UnsetType = UNSET
    command: str | UnsetType = UNSET


class FaultWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One fault from its injection to its healing, in nanoseconds of the controller's clock."""

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
    expect: str = ""  # "available" | "unavailable" | "": what the topology allows to expect
    command: str = ""


_OUTCOMES = {OpType.FAIL: "skipped", OpType.INFO: "indeterminate"}


def fault_windows(history: History) -> tuple[FaultWindow, ...]:
    """Pair every fault's start with its stop; `until_ns` is None for one that was never stopped."""
    windows: dict[str, FaultWindow] = {}
    for operation in history.nemesis_operations:
        key = operation.key or ""
        if operation.f == "start":
            windows[key] = _opened(key, operation)
        elif key in windows:
            windows[key] = _closed(windows[key], operation)
    return tuple(windows.values())


def _opened(key: str, operation: Operation) -> FaultWindow:
    intended = _convert(operation.input, FaultIntent)
    started = _convert(operation.output, FaultStart)
    return FaultWindow(
        id=key,
        kind=intended.kind or str(operation.process).partition("/")[2],
        from_ns=operation.invoked_ns,
        until_ns=None,
        targets=started.targets,
        roles=started.roles,
        intent=intended.intent,
        detail=(operation.error or "") if started.detail is UNSET else started.detail,
        expect=started.expect,
        command=_known(started.command, ""),
        effective=_known(started.effective, None),
        effect=_known(started.effect, ""),
        outcome=_OUTCOMES.get(operation.outcome, "installed"),
    )


def _closed(window: FaultWindow, operation: Operation) -> FaultWindow:
    stopped = _convert(operation.output, FaultStop)
    effective = _known(stopped.effective, None)
    return msgspec.structs.replace(
        window,
        until_ns=operation.completed_ns or operation.invoked_ns,
        healed=operation.outcome is OpType.OK and stopped.healed,
        effective=window.effective if effective is None else effective,
        effect=_known(stopped.effect, window.effect),
        command=window.command or _known(stopped.command, ""),
    )


def to_value(found: FaultIntent | FaultStart | FaultStop) -> dict[str, Any]:
    """Return the value to record: the plain JSON data that a reader of the file gets."""
    value: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    return value


T = TypeVar("T")
Value = TypeVar("Value", bound=msgspec.Struct)


def _known(value: T | UnsetType, default: T) -> T:
    return default if isinstance(value, UnsetType) else value


def _convert(value: Any, kind: type[Value]) -> Value:
    """Decode a value of the history; the default struct if its shape is another tool's."""
    if isinstance(value, dict):
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            pass
    return kind()


def mending_ns(history: History) -> int:
    """Return when the final phase began to heal all faults; the history's end if there was none.

    Faults that were never stopped end there at the latest.
    """
    return next(
        (each.invoked_ns for each in history.nemesis_operations if each.f == "recover"),
        history.duration_ns,
    )
