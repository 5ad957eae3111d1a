"""The fault scheduler: runs every kind of fault concurrently, for as long as the load lasts.

Each kind is a coroutine and a process of the history (`nemesis/partition`) that repeats: wait,
start, hold, stop. Faults of different kinds overlap freely; there is at most one of each kind. The
kinds share the cluster state, the budget of time without a quorum, and a minimum distance between
two starts, so that the effect of each fault can be measured before the next begins.

Random draws precede observation: what a kind draws does not depend on what happened in the run.
"""

from __future__ import annotations

from random import Random
from typing import Any

from squall.checkers.faults import FaultIntent, FaultStart, FaultStop, to_value
from squall.checkers.history import NEMESIS, Op, OpType
from squall.harness.cluster import NodeDied, NodeDisturbed, NodeKilled, NodeStatus
from squall.harness.nemesis import UNREACHABLE, Executed, Kind, Resolved, View
from squall.harness.nemesis.clock import VARIANTS, Clock
from squall.harness.nemesis.cluster_state import ClusterState, Damage, QuorumBudget
from squall.harness.nemesis.kill import Kill
from squall.harness.nemesis.partition import Partition
from squall.harness.nemesis.pause import Pause
from squall.harness.run.context import RunContext
from squall.harness.run.options import NS_PER_MS, NS_PER_S
from squall.harness.run.runtime import Event
from squall.harness.vocabulary import KINDS

WARM_UP_OKS = 20
"""Operations that must succeed before the first fault: a dead cluster tests nothing."""
WARM_UP_NS_MAX = 20 * NS_PER_S
CYCLES_MIN = 3
"""Even with the longest draws each kind starts this many faults within the time limit."""
GAP_NS_MIN = NS_PER_S // 2
GAP_NS_MAX = 2 * NS_PER_S
GAP_NS_PER_KIND = 5 * NS_PER_S // 4
"""Added to the longest gap for each kind: the cluster needs time without any fault."""
HOLD_NS = (3 * NS_PER_S // 2, 6 * NS_PER_S)
HOLD_WITHOUT_QUORUM_NS = 5 * NS_PER_S // 2
"""A fault that takes the quorum away is held no longer than this."""
SPACING_NS = 400 * NS_PER_MS
"""Four heartbeats: by then a fault has affected some message between peers."""
RETRY_NS = 500 * NS_PER_MS
POLL_NS = 50 * NS_PER_MS


class FaultScheduler:
    """Runs kinds of faults concurrently. One instance a run.

    `alone`: there is no other source of faults, so a cluster that serves no operations in the
    warm-up is trouble of the harness.
    """

    def __init__(self, kinds: tuple[str, ...], *, alone: bool = True) -> None:
        assert set(kinds) <= set(KINDS), kinds
        self.kinds = kinds
        self._alone = alone
        self._executed: list[Executed] = []
        self._share: float | None = None

    def executed(self) -> tuple[Executed, ...]:
        """Every fault so far, in order of its start."""
        return tuple(self._executed)

    def quorum_share(self) -> float | None:
        """The fraction of the fault phase in which a quorum could form; None without faults."""
        return self._share

    async def run(self, context: RunContext) -> None:
        """Inject and heal faults until `context.load_over` is set; heals all of its own faults."""
        if not self.kinds or not await self._warm_up(context):
            return
        kinds = _supported(self.kinds, context)
        coordinator = Coordinator(context, self._executed, len(kinds))
        tasks = [
            context.runtime.spawn(
                FaultLoop(coordinator, kind, stream).run(), f"nemesis/{kind.name}"
            )
            for kind, stream in kinds
        ]
        for task in tasks:
            await task.join()
        self._share = coordinator.budget.share(context.runtime.now_ns())

    async def _warm_up(self, context: RunContext) -> bool:
        give_up_ns = context.runtime.now_ns() + WARM_UP_NS_MAX
        while context.oks < WARM_UP_OKS:
            if await context.load_over.wait(POLL_NS):
                return False
            if self._alone and context.runtime.now_ns() > give_up_ns:
                context.note_trouble(
                    f"only {context.oks} operations succeeded in the first "
                    f"{WARM_UP_NS_MAX // NS_PER_S} s, before any fault: no fault was started"
                )
                return False
        return True


def _supported(kinds: tuple[str, ...], context: RunContext) -> list[tuple[Kind, Random]]:
    """Construct every kind that the backend supports, each with a random stream for its timing."""
    missing = context.cluster.unsupported
    nodes = context.cluster.nodes
    found: list[tuple[Kind, Random]] = []
    for name in kinds:
        if name in missing:
            continue
        stream = context.seeds.of(f"nemesis/{name}")
        kind: Kind
        if name == "kill":
            kind = Kill(stream, nodes)
        elif name == "pause":
            kind = Pause(stream, nodes)
        elif name == "partition":
            kind = Partition(stream, nodes)
        else:
            kind = Clock(stream, nodes, VARIANTS)
        found.append((kind, context.seeds.of(f"nemesis/{name}/timing")))
    return found


class Coordinator:
    """Shared by the kinds: cluster state, quorum budget, and the lock that serialises starts."""

    def __init__(self, context: RunContext, executed: list[Executed], kinds: int) -> None:
        self.context = context
        self.kinds = kinds
        self.executed = executed
        self.begin_ns = context.runtime.now_ns()
        self.state = ClusterState(nodes=context.cluster.nodes)
        self._damages: dict[str, Damage] = {}
        self.budget = QuorumBudget(self.begin_ns)
        self._next_start_ns = self.begin_ns
        self._turn: Event = context.runtime.event()
        self._turn.set()

    async def take_turn(self) -> bool:
        """Wait until no other fault is starting; False once the load is over."""
        load_over, stop = self.context.load_over, self.context.stop
        while not (load_over.is_set() or stop.is_set()):
            if self._turn.is_set():
                self._turn.clear()
                ahead_ns = self._next_start_ns - self.context.runtime.now_ns()
                if ahead_ns > 0:
                    await load_over.wait(ahead_ns)
                if not (load_over.is_set() or stop.is_set()):
                    return True
                self._turn.set()
            else:
                await self._turn.wait(POLL_NS)
        return False

    def give_turn(self) -> None:
        """Let the next fault start, SPACING_NS from now."""
        self._next_start_ns = self.context.runtime.now_ns() + SPACING_NS
        self._turn.set()

    def damage(self, kind: str, damage: Damage) -> None:
        """Record what a kind takes away from now on (nothing, once it is healed)."""
        self._damages[kind] = damage
        state = ClusterState(nodes=self.context.cluster.nodes)
        for each in self._damages.values():
            state = state.plus(each)
        self.state = state
        self.budget.note(self.context.runtime.now_ns(), state)

    async def view(self) -> View:
        """Observe every node concurrently."""
        statuses = await observe_all(self.context)
        leaders = [s for s in statuses.values() if s.role == "leader"]
        leader = max(leaders, key=lambda status: status.term).node if leaders else ""
        return View(
            nodes=self.context.cluster.nodes,
            roles={node: status.role or UNREACHABLE for node, status in statuses.items()},
            leader=leader,
            state=self.state,
        )


async def observe_all(context: RunContext) -> dict[str, NodeStatus]:
    """Return every node's status; one that does not answer is unreachable, whatever the reason."""
    tasks = {
        node: context.runtime.spawn(context.cluster.observe(node), f"observe {node}")
        for node in context.cluster.nodes
    }
    found: dict[str, NodeStatus] = {}
    for node, task in tasks.items():
        try:
            found[node] = await task.join()
        except Exception as error:  # noqa: BLE001 - any failure to answer is an answer
            found[node] = NodeStatus(node=node, reachable=False, error=str(error))
    return found


class FaultLoop:
    """The loop of one kind of fault."""

    def __init__(self, coordinator: Coordinator, kind: Kind, timing: Random) -> None:
        self._coordinator = coordinator
        self._context = coordinator.context
        self._kind = kind
        self._timing = timing
        self._process = f"{NEMESIS}/{kind.name}"
        self._count = 0
        span_ns = max(NS_PER_S, self._context.load_until_ns - coordinator.begin_ns)
        share_ns = span_ns // (2 * CYCLES_MIN)
        gap_max_ns = GAP_NS_MAX + coordinator.kinds * GAP_NS_PER_KIND
        self._gap_ns = (min(GAP_NS_MIN, share_ns // 2), min(gap_max_ns, share_ns))
        self._hold_ns = (min(HOLD_NS[0], share_ns), min(HOLD_NS[1], share_ns))

    async def run(self) -> None:
        """Wait, start, hold, stop, until the load is over."""
        context = self._context
        gap_ns = self._timing.randint(0, self._gap_ns[1])
        while not await context.load_over.wait(gap_ns):
            intent = self._kind.draw()
            hold_ns = self._timing.randint(*self._hold_ns)
            gap_ns = self._timing.randint(*self._gap_ns)
            while not await self._try_fault(intent, hold_ns):
                if await context.load_over.wait(RETRY_NS):
                    return

    async def _try_fault(self, intent: dict[str, Any], hold_ns: int) -> bool:
        """Execute one fault from start to stop; False if it cannot be started at this moment."""
        coordinator, context = self._coordinator, self._context
        if not await coordinator.take_turn():
            return True
        try:
            view = await coordinator.view()
            now_ns = context.runtime.now_ns()
            # A fault that starts too late for its effect to be measured would make the run unknown.
            hold_ns = min(hold_ns, context.load_until_ns - now_ns - SPACING_NS)
            if hold_ns < self._hold_ns[0]:
                return True
            resolved = self._choose(intent, view, now_ns, hold_ns)
            if resolved is None:
                return False
            fault = self._begin(intent)
            invocation = context.recorder.invoke(
                self._process,
                "start",
                key=fault.id,
                value=to_value(FaultIntent(kind=self._kind.name, intent=intent)),
            )
            started = await self._start(invocation, fault, resolved, view)
        finally:
            coordinator.give_turn()
        if started:
            if not coordinator.state.electable:
                hold_ns = min(hold_ns, HOLD_WITHOUT_QUORUM_NS)
            await context.load_over.wait(hold_ns)
        await self._stop(fault, resolved)
        return True

    def _choose(
        self, intent: dict[str, Any], view: View, now_ns: int, hold_ns: int
    ) -> Resolved | None:
        hold_ns = min(hold_ns, HOLD_WITHOUT_QUORUM_NS)
        for resolved in self._kind.resolve(intent, view):
            state = view.state.plus(resolved.damage)
            if self._coordinator.budget.admits(now_ns, state, hold_ns):
                return resolved
        return None

    def _begin(self, intent: dict[str, Any]) -> Executed:
        self._count += 1
        fault = Executed(
            id=f"{self._kind.name}-{self._count}",
            kind=self._kind.name,
            intent=intent,
            from_ns=self._context.runtime.now_ns(),
        )
        self._coordinator.executed.append(fault)
        return fault

    async def _start(self, invocation: Op, fault: Executed, resolved: Resolved, view: View) -> bool:
        context = self._context
        fault.targets, fault.detail = resolved.targets, resolved.detail
        self._coordinator.damage(self._kind.name, resolved.damage)
        try:
            await self._kind.start(context, resolved)
        except Exception as error:  # noqa: BLE001 - whatever it was, it may be half in force
            fault.outcome = "indeterminate"
            context.recorder.complete(invocation, OpType.INFO, error=_error_text(error))
            _note_trouble(context, f"{fault.id} could not be started", error)
            return False
        started = context.recorder.complete(
            invocation,
            OpType.OK,
            value=to_value(
                FaultStart(
                    targets=resolved.targets,
                    roles=view.roles,
                    detail=resolved.detail,
                    expect=self._coordinator.state.expect,
                    able=self._coordinator.state.electable,
                )
            ),
        )
        context.progress.op(started)
        return True

    async def _stop(self, fault: Executed, resolved: Resolved) -> None:
        coordinator, context = self._coordinator, self._context
        invocation = context.recorder.invoke(self._process, "stop", key=fault.id, value={})
        try:
            measured = await self._kind.stop(context, resolved)
        except Exception as error:  # noqa: BLE001 - the final phase heals again, and checks
            context.recorder.complete(
                invocation,
                OpType.INFO,
                value=to_value(FaultStop(healed=False)),
                error=_error_text(error),
            )
            _note_trouble(context, f"{fault.id} could not be healed", error)
        else:
            healed = context.recorder.complete(
                invocation,
                OpType.OK,
                value=to_value(
                    FaultStop(
                        healed=True,
                        effective=measured.effective,
                        effect=measured.effect,
                        command=measured.command,
                    )
                ),
            )
            context.progress.op(healed)
        fault.until_ns = context.runtime.now_ns()
        coordinator.damage(self._kind.name, Damage())


def _error_text(error: BaseException) -> str:
    own_text = isinstance(error, NodeDied | NodeDisturbed | NodeKilled)
    return str(error) if own_text else f"{type(error).__name__}: {error}"


def _note_trouble(context: RunContext, what: str, error: Exception) -> None:
    """Note trouble of the harness.

    A node that died by itself is evidence against it; one that another fault killed is neither.
    """
    if isinstance(error, NodeDisturbed):
        context.note_trouble(str(error))
    elif not isinstance(error, NodeDied | NodeKilled):
        context.note_trouble(f"{what}: {_error_text(error)}")
