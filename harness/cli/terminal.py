"""Progress of a run on the terminal: a status line that is redrawn, or plain lines in a log.

Everything goes to standard error, so that standard output has only results. On a terminal the last
line is redrawn; elsewhere there is one plain line every ten seconds and one for each fault.
"""

from __future__ import annotations

import time
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from squall.checkers.history import NEMESIS, OBSERVER, Op, OpType
from squall.harness.run.options import NS_PER_S
from squall.reports.output import terminal

PLAIN_EVERY_S = 10.0
REDRAWS_A_SECOND = 5

_PHASES = {
    "start": "starting the cluster",
    "heal": "load over: healing everything",
    "read": "reading everything back from every node",
    "collect": "collecting logs and data",
    "judge": "judging",
}


class Results(Console):
    """Standard output. When its reader has ended, printing raises BrokenPipeError.

    Rich would end the process with exit code 1, which is what an invalid history gets.
    """

    def on_broken_pipe(self) -> None:
        """Raise, for `squall.harness.cli.broken_pipe` to handle."""
        raise BrokenPipeError


class Notices(Console):
    """Standard error. When its reader has ended, nothing more is printed."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    def on_broken_pipe(self) -> None:
        """Stop printing."""
        self.quiet = True


class Terminal:
    """Shows a run's progress (implements `squall.harness.run.progress.Progress`)."""

    def __init__(self, console: Console, time_limit_s: float) -> None:
        self._console = console
        self._time_limit_s = time_limit_s
        self._counts = dict.fromkeys((OpType.OK, OpType.INFO, OpType.FAIL), 0)
        self._loading = False
        self._now_ns = 0
        self._leader, self._term = "", 0
        self._faults: dict[str, None] = {}
        self._printed_s = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._line,
                console=self._console,
                refresh_per_second=REDRAWS_A_SECOND,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def phase(self, name: str) -> None:
        """Print which phase begins."""
        if name in _PHASES:
            self._print(f"{self._at()}{_PHASES[name]}")

    def say(self, line: str) -> None:
        """Print a line."""
        self._print(f"{self._at()}{line}")

    def op(self, op: Op) -> None:
        """Count a client's op, show a fault, update the leader."""
        self._now_ns = op.time_ns
        if op.process == OBSERVER:
            self._observe(op.value)
        elif isinstance(op.process, str):
            if op.process.startswith(NEMESIS):
                self._fault(op)
        elif op.type in self._counts:
            self._loading = True
            self._counts[op.type] += 1
        if self._live is None and time.monotonic() - self._printed_s >= PLAIN_EVERY_S:
            self._print(self._line().plain)

    def _observe(self, reading: dict[str, dict[str, Any]]) -> None:
        leaders = [
            (seen["term"], node) for node, seen in reading.items() if seen.get("role") == "leader"
        ]
        self._term, self._leader = max(leaders, default=(self._term, ""))

    def _fault(self, op: Op) -> None:
        if op.type is not OpType.OK or op.f not in ("start", "stop"):
            return
        fault = op.key or ""
        if op.f == "start":
            self._faults[fault] = None
            detail = op.value["detail"]
        else:
            self._faults.pop(fault, None)
            detail = op.value["effect"]
        line = terminal.fault_line(self._elapsed_s(), fault, detail, healed=op.f == "stop")
        self._print(line)

    def _elapsed_s(self) -> float:
        """Return seconds since the load began, on the history's clock."""
        return self._now_ns / NS_PER_S

    def _at(self) -> str:
        return f"{self._elapsed_s():5.1f} s  " if self._loading else ""

    def _line(self) -> Text:
        if not self._loading:
            return Text(f"{_PHASES['start']} …")
        return Text(
            terminal.progress_line(
                elapsed_s=self._elapsed_s(),
                time_limit_s=self._time_limit_s,
                ok=self._counts[OpType.OK],
                info=self._counts[OpType.INFO],
                fail=self._counts[OpType.FAIL],
                leader=self._leader,
                term=self._term,
                faults=tuple(self._faults),
                width=self._console.width if self._live is not None else 120,
            ),
            no_wrap=True,
        )

    def _print(self, line: str) -> None:
        self._printed_s = time.monotonic()
        self._console.print(Text(line), highlight=False, soft_wrap=True)
