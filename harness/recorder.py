"""Whatever happens is written down here first: the one place where Ops get their time and index.

An invocation is handed to the sink (flushed to the operating system, in a real run) before `invoke`
returns, hence before its request can leave; a completion is stamped after its answer came. Windows
are therefore only ever widened, which costs power and never raises a false alarm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from checkers.history import History, Op, OpType
from harness.cluster import HarnessError
from harness.runtime import Runtime

Sink = Callable[[Op], None]
"""Where an Op goes the moment it is made: a file that is flushed, or nowhere but memory."""


class Recorder:
    """The history in the making."""

    def __init__(self, runtime: Runtime, sink: Sink | None = None) -> None:
        self._runtime = runtime
        self._sink = sink
        self._failure: HarnessError | None = None
        self._failed: Callable[[], None] = lambda: None
        self.ops: list[Op] = []

    def on_failure(self, call: Callable[[], None]) -> None:
        """Have `call` called, once, when the sink fails: nothing that follows will be kept."""
        self._failed = call

    def check(self) -> None:
        """Raise the HarnessError with which the sink failed, if it did.

        It is raised here and not where an Op is recorded, which is in many coroutines at once: the
        load ends in order, and the failure is told once. What the sink took before is a history
        that was cut short; later Ops never reach it, so none is missing in between.
        """
        if self._failure is not None:
            raise self._failure

    def invoke(
        self,
        process: int | str,
        f: str,
        *,
        key: str | None = None,
        value: Any = None,
        node: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Op:
        """Record that something is about to be tried."""
        return self._append(
            Op(
                index=len(self.ops),
                time_ns=self._runtime.now_ns(),
                process=process,
                type=OpType.INVOKE,
                f=f,
                key=key,
                value=value,
                node=node,
                meta=meta,
            )
        )

    def complete(
        self,
        invocation: Op,
        outcome: OpType,
        *,
        value: Any = None,
        error: str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Op:
        """Record how an invocation ended."""
        return self._append(
            Op(
                index=len(self.ops),
                time_ns=self._runtime.now_ns(),
                process=invocation.process,
                type=outcome,
                f=invocation.f,
                key=invocation.key,
                value=value,
                error=error,
                node=invocation.node,
                meta=meta,
            )
        )

    def note(self, process: str, f: str, value: Any) -> Op:
        """Record an observation: an `info` event that has no invocation."""
        return self._append(
            Op(
                index=len(self.ops),
                time_ns=self._runtime.now_ns(),
                process=process,
                type=OpType.INFO,
                f=f,
                value=value,
            )
        )

    def history(self, header: dict[str, Any] | None = None) -> History:
        """Everything recorded so far."""
        return History(self.ops, header=header)

    def _append(self, op: Op) -> Op:
        if self._sink is not None and self._failure is None:
            try:
                self._sink(op)
            except HarnessError as error:
                self._failure = error
                self._failed()
        self.ops.append(op)
        return op
