"""What the nemesis records of a fault is what the checkers read back."""

from __future__ import annotations

from typing import Any

import msgspec

from squall.checkers.faults import FaultIntent, FaultStart, FaultStop, fault_windows, to_value
from squall.checkers.history import History, Op, OpType


def windows(*values: tuple[OpType, str, Any]) -> Any:
    ops = [
        Op(index=at, time_ns=at, process="nemesis/kill", type=type_, f=f, key="kill-1", value=value)
        for at, (type_, f, value) in enumerate(values)
    ]
    return fault_windows(History(ops))


def test_a_fault_is_read_back_as_it_was_recorded() -> None:
    intent = FaultIntent(kind="kill", intent={"scope": "one"})
    start = FaultStart(targets=("n1",), roles={"n1": "leader"}, detail="one: n1", able=("n2",))
    stop = FaultStop(effective=True, effect="seen dead: n1", command="docker kill n1")
    (window,) = windows(
        (OpType.INVOKE, "start", to_value(intent)),
        (OpType.OK, "start", to_value(start)),
        (OpType.INVOKE, "stop", {}),
        (OpType.OK, "stop", to_value(stop)),
    )
    assert (window.kind, window.intent, window.targets) == ("kill", {"scope": "one"}, ("n1",))
    assert (window.roles, window.detail) == ({"n1": "leader"}, "one: n1")
    assert (window.healed, window.effective, window.effect) == (True, True, "seen dead: n1")
    assert window.command == "docker kill n1"


def test_the_recorded_form_is_the_documented_one() -> None:
    start = FaultStart(targets=("n1",), roles={}, detail="d", expect="available", able=("n2",))
    stop = FaultStop(healed=True, effective=None, effect="", command="")
    assert msgspec.json.encode(to_value(start)) == (
        b'{"targets":["n1"],"roles":{},"detail":"d","expect":"available","able":["n2"]}'
    )
    assert msgspec.json.encode(to_value(stop)) == (
        b'{"healed":true,"effective":null,"effect":"","command":""}'
    )
    assert to_value(FaultStop(healed=False)) == {"healed": False}


def test_a_value_of_another_tool_tells_nothing() -> None:
    (window,) = windows(
        (OpType.INVOKE, "start", "cut"),
        (OpType.OK, "start", {"targets": 7}),
        (OpType.INVOKE, "stop", None),
        (OpType.INFO, "stop", None),
    )
    assert (window.kind, window.targets, window.effective) == ("kill", (), None)
    assert not window.healed
