"""The final phase: mend everything, wait by index and not by the clock, compare the nodes.

The order matters. The liveness phase comes before anything is mended; frozen nodes run on before
dead ones start, the network heals before clocks are reset, and only a cluster whose every node has
applied what its leader had committed is read back. A cluster that does not recover in time is a
finding about the database, not trouble of the harness.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from squall.checkers.history import NEMESIS, Op, OpType
from squall.harness.cluster import NodeDied, NodeStatus
from squall.harness.nemesis.scheduler import observe_all
from squall.harness.run.context import RunContext
from squall.harness.run.options import NS_PER_MS, NS_PER_S
from squall.workloads import liveness
from squall.workloads.client import Answer, Put

POLL_NS = 100 * NS_PER_MS
MEND_ATTEMPTS = 3
"""A heal that fails is tried again: the usual reason is a busy engine."""

DEAD_NODE_LIMIT_NS = 10 * NS_PER_S
"""A node that died by itself, or was removed from outside, is not waited for longer than this."""

PROCESS = f"{NEMESIS}/recovery"


class LivenessJournal:
    """Records the writes of the liveness phase, each by a client process of its own.

    One without an answer ends its process, as every operation of unknown outcome does.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._writes = 0

    def invoked(self, node: str, request: Put) -> Op:
        """Record that a write is about to be sent to a node."""
        self._writes += 1
        process = f"{liveness.LIVENESS}-{self._writes}"
        return self._context.recorder.invoke(process, **liveness.recorded(request), node=node)

    def completed(self, invocation: Op, outcome: Answer | Exception) -> None:
        """Record its answer, or why there is none."""
        end = liveness.completion(outcome)
        completed = self._context.recorder.complete(
            invocation, end.type, value=end.value, error=end.error, meta=end.meta
        )
        self._context.progress.op(completed)


async def mend(context: RunContext) -> None:
    """Prove liveness; then resume, restart, heal, reset clocks, whatever is believed to be broken.

    The liveness phase comes first: a node that was mended already could not be missing in it.
    """
    cluster, nodes = context.cluster, context.cluster.nodes
    invocation = context.recorder.invoke(PROCESS, "recover", key="recovery", value={})
    try:
        await cluster.prove_liveness(LivenessJournal(context))
    except Exception as error:  # noqa: BLE001 - trouble of the harness: no pass
        context.note_trouble(
            f"final phase: the liveness phase failed: {type(error).__name__}: {error}"
        )
    steps: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
        ("resume", lambda: cluster.resume(nodes)),
        ("restart", lambda: cluster.restart(nodes)),
        ("heal", cluster.heal),
        ("reset clocks", cluster.reset_clocks),
    )
    failed = [name for name, step in steps if not await _persist(context, name, step)]
    context.recorder.complete(
        invocation, OpType.INFO if failed else OpType.OK, value={"failed": failed}
    )


async def _persist(context: RunContext, name: str, step: Callable[[], Awaitable[object]]) -> bool:
    for attempt in range(1, MEND_ATTEMPTS + 1):
        try:
            await step()
        except NodeDied as death:
            context.progress.say(f"✗ {death}")  # the cluster remembers it as a crash
            return False
        except Exception as error:  # noqa: BLE001 - retried, then noted as trouble
            if attempt == MEND_ATTEMPTS:
                context.note_trouble(f"final phase: {name} failed: {type(error).__name__}: {error}")
            await context.runtime.sleep_ns(POLL_NS)
        else:
            return True
    return False


async def await_recovery(context: RunContext) -> dict[str, Any]:
    """Wait until one leader leads all and every node has applied what it had committed.

    Returns {"recovered", "elapsed_s", "leader", "term", "reason", "nodes"}; `reason` says what was
    still missing when the time was up. Leader and term are None when no node said to lead.
    """
    begin_ns = context.runtime.now_ns()
    target: int | None = None
    while True:
        statuses = await observe_all(context)
        leader = _leader(statuses)
        if leader is not None and target is None:
            target = leader.commit
        reason = _missing(statuses, leader, target)
        elapsed_ns = context.runtime.now_ns() - begin_ns
        if not reason or elapsed_ns > await recovery_limit_ns(context, statuses):
            return {
                "recovered": not reason,
                "elapsed_s": round(elapsed_ns / NS_PER_S, 3),
                "leader": leader.node if leader else None,
                "term": leader.term if leader else None,
                "reason": reason,
                "nodes": {node: _facts(status) for node, status in statuses.items()},
            }
        await context.runtime.sleep_ns(POLL_NS)


async def recovery_limit_ns(context: RunContext, statuses: dict[str, NodeStatus]) -> int:
    """Return how long to wait for what is missing."""
    away = {status.node for status in statuses.values() if not status.reachable}
    if away and away <= {*await context.cluster.crashed(), *await context.cluster.disturbed()}:
        return min(DEAD_NODE_LIMIT_NS, context.options.recovery_timeout_ns)
    return context.options.recovery_timeout_ns


def _leader(statuses: dict[str, NodeStatus]) -> NodeStatus | None:
    leaders = [s for s in statuses.values() if s.reachable and s.role == "leader"]
    return max(leaders, key=lambda status: status.term, default=None)


def _missing(statuses: dict[str, NodeStatus], leader: NodeStatus | None, target: int | None) -> str:
    """Say what is missing for a recovered cluster; "" if nothing is."""
    away = [f"{s.node} ({s.error or 'no answer'})" for s in statuses.values() if not s.reachable]
    if away:
        return f"not reachable: {', '.join(away)}"
    if leader is None or target is None:
        return "no leader"
    astray = [s.node for s in statuses.values() if s.term != leader.term]
    if astray:
        return f"not in the leader's term {leader.term}: {', '.join(astray)}"
    behind = [f"{s.node} at {s.applied}" for s in statuses.values() if s.applied < target]
    if behind:
        return f"has not applied up to index {target}: {', '.join(behind)}"
    return ""


def _facts(status: NodeStatus) -> dict[str, Any]:
    if not status.reachable:
        return {"reachable": False, "error": status.error or "no answer"}
    return {
        **status.position(),
        "digest": status.digest,
        "reachable": status.reachable,
    }


async def compare_digests(context: RunContext) -> dict[str, Any]:
    """Wait until all nodes stand at one index, then compare the digests of what they hold there.

    Returns {"digests_agree": bool | None, "digests": {node: {...}}}; None if they never stood
    still.
    """
    begin_ns = context.runtime.now_ns()
    while True:
        statuses = await observe_all(context)
        facts = {node: _facts(status) for node, status in statuses.items()}
        level = len({status.applied for status in statuses.values()}) == 1
        if level and all(status.reachable for status in statuses.values()):
            return {
                "digests_agree": len({s.digest for s in statuses.values()}) == 1,
                "digests": facts,
            }
        if context.runtime.now_ns() - begin_ns > await recovery_limit_ns(context, statuses):
            return {"digests_agree": None, "digests": facts}
        await context.runtime.sleep_ns(POLL_NS)
