"""The recorder: the only place where Ops get their time and index.

An invocation is passed to the sink (written to the operating system, in a run on containers) before
`invoke` returns, hence before its request can be sent; a completion is stamped after its response
arrived. The recorded window of an operation therefore contains the real one, which may hide an
anomaly but never creates one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from squall.checkers.history import History, Op, OpType
from squall.harness.cluster import HarnessError
from squall.harness.run.runtime import Runtime

Sink = Callable[[Op], None]
"""Called with every Op as it is recorded: writes it to a file."""


class Recorder:
    """Records the history of a run."""

    def __init__(self, runtime: Runtime, sink: Sink | None = None) -> None:
        self._runtime = runtime
        self._sink = sink
        self._failure: HarnessError | None = None
        self._failed: Callable[[], None] = lambda: None
        self.ops: list[Op] = []

    def on_failure(self, call: Callable[[], None]) -> None:
        """Set the function to call, once, when the sink fails: later Ops are not stored."""
        self._failed = call

    def check(self) -> None:
        """Raise the HarnessError with which the sink failed, if it did.

        It is raised here and not where an Op is recorded, which happens in many coroutines: so the
        load ends in order, and the failure is reported once. The sink gets no Op after the failure,
        so what it has is a prefix of the history.
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
        """Record an invocation."""
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
        """Record the completion of an invocation."""
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
        """Record an observation: an `info` event without an invocation."""
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
