"""What the terminal shows while a run lasts, where nobody looks: plain lines."""

from __future__ import annotations

import io

from rich.console import Console

from squall.checkers.history import Op, OpType
from squall.harness.cli.terminal import Terminal

SECOND = 1_000_000_000


def op(at_s: float, process: int | str, type_: OpType, f: str, **more: object) -> Op:
    return Op(index=0, time_ns=int(at_s * SECOND), process=process, type=type_, f=f, **more)


def shown(*ops: Op) -> str:
    written = io.StringIO()
    with Terminal(Console(file=written, width=200), 60.0) as terminal:
        terminal.phase("start")
        for each in ops:
            terminal.op(each)
        terminal.phase("heal")
    return written.getvalue()


def test_each_fault_gets_a_line_when_it_begins_and_when_it_ends():
    """With what it did to whom, and with what it was seen to do."""
    text = shown(
        op(2, 0, OpType.OK, "read"),
        op(5, "nemesis/kill", OpType.OK, "start", key="kill-1", value={"detail": "leader: n3"}),
        op(9, "nemesis/kill", OpType.OK, "stop", key="kill-1", value={"effect": "seen dead: n3"}),
    )
    assert "  5.0 s  ▲ kill-1  leader: n3\n" in text
    assert "  9.0 s  ▽ kill-1  seen dead: n3\n" in text


def test_phases_are_announced_in_plain_words():
    """A log of CI reads from top to bottom."""
    lines = shown(op(2, 0, OpType.OK, "read"), op(4, 1, OpType.INFO, "write")).splitlines()
    assert lines == ["starting the cluster", "  4.0 s  load over: healing everything"]


def test_nothing_is_drawn_over_where_there_is_no_terminal():
    """No carriage returns, no escape codes."""
    text = shown(op(2, 0, OpType.OK, "read"))
    assert "\r" not in text
    assert "\x1b" not in text
