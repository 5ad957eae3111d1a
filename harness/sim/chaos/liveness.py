"""The liveness phase: once faults have stopped, a bare quorum must make progress.

A random quorum, the core, is healed and every other node stays dead: healing all of them would hide
a deadlock that the next message from an outsider happens to break (TigerBeetle's VOPR does the
same). Within a bounded number of election timeouts the core must have one leader, commit a new
write, and apply it on every node. Then the others may come back.

Where members came and went during the load, the bare core must also be able to replace one: the one
that was being replaced when the faults ended, or else a dead one. The time for it is not bounded as
long as it makes progress.
"""

from __future__ import annotations

import msgspec

from squall.checkers.history import Op
from squall.harness.cluster import Journal
from squall.harness.sim.chaos.churn import NO_TARGET
from squall.harness.sim.runtime import SimRuntime
from squall.harness.sim.world.world import FaultSource, SimWorld
from squall.workloads import liveness
from squall.workloads.client import Answer, Indefinite, PutAnswer

ELECTIONS = 60
"""Election timeouts within which the core must have committed. A round of voting takes two at most;
the rest is for split votes, slow clocks, and snapshots sent in small pieces."""

POLLS = 10  # how often the state is looked at in an election timeout
WRITE_TIMEOUTS = 4
"""Election timeouts after which an unanswered write counts as one of unknown outcome."""

ALL_SOURCES = FaultSource.NEMESIS | FaultSource.TRIGGER | FaultSource.BACKGROUND


class Liveness(msgspec.Struct, frozen=True, kw_only=True):
    """How the phase ended. `missing` is "" if it succeeded; `elections` is the time it took."""

    core: tuple[str, ...]
    elapsed_us: int
    elections: float
    missing: str = ""
    replaced: str = ""


class _Write:
    """One write sent to the leader, recorded from its invocation to its answer."""

    def __init__(self, world: SimWorld, number: int, journal: Journal) -> None:
        self.sent_us = world.loop.now_us
        self.answer: Answer | Exception | None = None
        self._journal = journal
        request = liveness.write(self.sent_us)
        node = world.nodes[number]
        self._invocation: Op = journal.invoked(node.name, request)
        node.request(request, self._answered)

    def give_up(self) -> None:
        """Count it as one of unknown outcome; an answer that still comes is dropped."""
        self._answered(Indefinite("no answer in time"))

    def _answered(self, answer: Answer | Exception) -> None:
        if self.answer is None:
            self.answer = answer
            self._journal.completed(self._invocation, answer)


async def survive(world: SimWorld, runtime: SimRuntime, journal: Journal) -> Liveness:
    """Run the phase; a failure is reported to the invariants, which stop the run."""
    core = _heal_a_core(world)
    begun_us = world.loop.now_us
    election_us = world.swarm.knobs.election_us
    bound_us = ELECTIONS * election_us + 4 * world.swarm.boot_us
    write: _Write | None = None
    target = 0
    missing = "no leader"
    while missing and world.loop.now_us - begun_us <= bound_us:
        await runtime.sleep_ns(election_us * 1000 // POLLS)
        leader = _leader(world, core)
        if leader is None:
            missing = "no leader"
            continue
        if write is not None and isinstance(write.answer, PutAnswer):
            target = target or world.status(leader).commit
            missing = _behind(world, core, target)
            continue
        missing = "no write was acknowledged"
        waiting = (
            write is not None and world.loop.now_us - write.sent_us < WRITE_TIMEOUTS * election_us
        )
        if write is not None and write.answer is None and not waiting:
            write.give_up()
        if write is None or write.answer is not None:
            write = _Write(world, leader, journal)
    elapsed_us = world.loop.now_us - begun_us
    replaced = ""
    if not missing and world.churn.happen:
        replaced, missing = await _replace_one(world, runtime, core)
    outcome = Liveness(
        core=tuple(world.names[number] for number in core),
        elapsed_us=elapsed_us,
        elections=round(elapsed_us / election_us, 2),
        missing=missing,
        replaced=replaced,
    )
    if missing:
        world.invariants.fails(
            "liveness",
            -1,
            f"core {' '.join(outcome.core)} alone, {outcome.elections:g} election timeouts to "
            f"commit: {missing}",
        )
    for number in range(len(world.nodes)):
        if number not in core:
            world.revive(number, FaultSource.LIVENESS)
    return outcome


def _heal_a_core(world: SimWorld) -> list[int]:
    """Heal a random quorum, and make sure that every other node is dead."""
    rng = world.seeds.of("liveness")
    size = len(world.nodes)
    able = [number for number in range(size) if number != world.churn.target]
    core = sorted(rng.sample(able, size // 2 + 1))
    world.heal()
    for number in range(size):
        if number in core:
            world.resume(number, ALL_SOURCES)
            world.revive(number, ALL_SOURCES)
        else:
            world.kill(number, FaultSource.LIVENESS)
    return core


async def _replace_one(world: SimWorld, runtime: SimRuntime, core: list[int]) -> tuple[str, str]:
    """Have the core replace a member; returns its name, and what is missing if it got stuck."""
    churn, election_us = world.churn, world.swarm.knobs.election_us
    if churn.target == NO_TARGET:
        dead = [number for number in range(len(world.nodes)) if number not in core]
        rng = world.seeds.of("liveness", "replaced")
        churn.begin(rng.choice(dead), rot=False)
    target, progress, since_us = churn.target, churn.progress(), world.loop.now_us
    stage = ""
    while True:
        stage = churn.stage()
        if churn.fresh:
            world.resume(target, ALL_SOURCES)
            world.revive(target, ALL_SOURCES | FaultSource.LIVENESS)
        await runtime.sleep_ns(election_us * 1000 // POLLS)
        if churn.target != target:
            break
        if progress != churn.progress():
            progress, since_us = churn.progress(), world.loop.now_us
        elif world.loop.now_us - since_us > ELECTIONS * election_us + 4 * world.swarm.boot_us:
            return world.names[target], f"{stage}, and nothing gets on"
    return world.names[target], ""


def _leader(world: SimWorld, core: list[int]) -> int | None:
    running = [number for number in core if world.nodes[number].running]
    leaders = [number for number in running if world.status(number).role == "leader"]
    return max(leaders, key=lambda number: world.status(number).term, default=None)


def _behind(world: SimWorld, core: list[int], target: int) -> str:
    for number in core:
        if not world.nodes[number].running:
            return f"{world.names[number]} does not run"
        applied = world.status(number).applied
        if applied < target:
            return f"{world.names[number]} has applied {applied} of {target}"
    return ""
