"""One simulated node: a replica, its disk, its clock, and the faults that can be done to it.

The shell of the node's core in virtual time, the counterpart of the asyncio server: it passes
messages, time and requests in, and carries out what `take()` returns. A batch is executed when its
syncs have taken their time; a kill in between leaves part of it on the disk. No decision about
consensus is made here.

Timers are lazy: one heap entry, armed again when it fires too early. A kill raises the epoch, which
voids every event in progress for the old process. A paused process reads nothing from its sockets:
what arrives waits in order until it is resumed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.chaos.trigger_probes import TriggerProbes
from squall.harness.sim.chaos.triggers import TriggerPoint, Triggers
from squall.harness.sim.judge.invariants import DIED, Invariants, WatchedMachine
from squall.harness.sim.judge.states import parts_of
from squall.harness.sim.judge.trace import Kind, Trace
from squall.harness.sim.judge.trace_format import TAGS
from squall.harness.sim.world.api import Answered, NodeApi
from squall.harness.sim.world.clock import NodeClock
from squall.harness.sim.world.disk import SimDisk
from squall.harness.sim.world.loop import FAR_US, Loop
from squall.harness.sim.world.network import Network
from squall.harness.sim.world.snapshot_writer import SnapshotWriter
from squall.harness.sim.world.watch_limits import WatchLimits
from squall.node.mvcc.store import Store
from squall.node.raft.membership import Change
from squall.node.raft.messages import AppendReply, Heartbeat, RequestVote, VoteReply
from squall.node.raft.roles import LEADER
from squall.node.replica import NOTHING, Event, Output, Replica, ReplicaConfig
from squall.node.storage.disk import Batch, DiskError
from squall.node.storage.recovery import DamagedError
from squall.workloads.client import Indefinite, Request

MAX_QUEUE = 100_000
"""Events deferred by a paused node; further ones are dropped, as by full socket buffers."""

MAX_EVENTS = 50_000
"""Log lines kept per node."""

_OF_A_TERM = frozenset(kind for kind in TAGS if "term" in kind.__struct_fields__)

_DELIVER, _PERSIST, _PERSISTED, _TICK = Kind.DELIVER, Kind.PERSIST, Kind.PERSISTED, Kind.TICK


class World(Protocol):
    """What a node uses of the simulation around it."""

    loop: Loop
    network: Network
    trace: Trace
    triggers: Triggers
    invariants: Invariants
    seeds: WorldSeeds
    watch_limits: WatchLimits

    addresses: dict[int, int]  # member id -> number of the node that is this member

    def name_of(self, member_id: int) -> str:
        """Name the node that is a member."""
        ...

    def disk_failed(self, number: int) -> None:
        """A node's disk failed by an injected fault, and the node stopped."""
        ...


class SimNode:
    """A node that can be started, killed, paused and queried."""

    __slots__ = (
        "_append_trace",
        "_armed_for_us",
        "_armed_us",
        "_batch",
        "_loop",
        "_on_tick",
        "_on_written",
        "_probes",
        "_snapshot_writer",
        "_stood_commit",
        "_stood_term",
        "_waiting",
        "_world",
        "api",
        "boots",
        "clock",
        "config",
        "deaths",
        "disk",
        "epoch",
        "excused",
        "exit_text",
        "frozen",
        "led_terms",
        "log",
        "name",
        "number",
        "paused",
        "refusals",
        "refused",
        "replica",
        "rotten",
        "store",
    )

    def __init__(
        self, world: World, number: int, config: ReplicaConfig, disk: SimDisk, clock: NodeClock
    ) -> None:
        self.number = number
        self.name = f"n{number + 1}"
        self.config = config
        self.disk = disk
        self.clock = clock
        self.replica: Replica | None = None
        self.store: Store | None = None
        self.epoch = 0
        self.boots = 0
        self.paused = False
        self.frozen = 0  # events deferred because the node was paused
        self.exit_text: str | None = None
        self.excused = False  # it died of an injected fault
        self.rotten = False  # a bit of its disk was flipped
        self.refused = False  # it detected that and did not start
        self.deaths: list[str] = []  # why it exited by itself, other than by faults
        self.refusals: list[str] = []  # refusals of a disk that no fault touched
        self.log: list[tuple[int, int, Event]] = []  # true time in us, own wall clock in ns
        self.led_terms: list[int] = []
        self._world = world
        self._loop = world.loop
        self._append_trace = world.trace.append
        self.api: NodeApi | None = None
        self._batch: Batch | None = None
        self._armed_us = FAR_US  # the true time of the next tick ...
        self._armed_for_us = FAR_US  # ... and the local deadline it is for
        self._stood_term = self._stood_commit = 0  # when last looked at
        self._waiting: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._probes = TriggerProbes(world.triggers, number)
        self._snapshot_writer = SnapshotWriter(self, self._loop)
        self._on_tick = self._loop.register(self._tick)
        self._on_written = self._loop.register(self._written)

    @property
    def running(self) -> bool:
        """Whether its process exists, paused or not."""
        return self.replica is not None

    # Life and faults.

    def start(self) -> bool:
        """Start the process: recover from the disk. False if it refused or crashed in doing so."""
        assert self.replica is None, f"{self.name} runs already"
        world, number = self._world, self.number
        self.boots += 1
        self.exit_text, self.excused, self.refused = None, False, False
        world.trace.note(world.loop.now_us, Kind.START, number, self.boots)
        world.invariants.recovers(number)
        store = Store(world.watch_limits.limits)
        rng = world.seeds.of("node", number, self.boots)
        nonce = world.seeds.of("nonce", number, self.boots).getrandbits(63)
        now_us = self.clock.monotonic_us(world.loop.now_us)
        machine = WatchedMachine(store, world.invariants, number, partial(parts_of, store))
        try:
            replica = Replica(self.config, self.disk, machine, rng, nonce, now_us)
        except Exception as error:  # noqa: BLE001 - any error ends this node
            # Refusing a rotten disk is right; any other failure on it is not.
            self.refused = isinstance(error, DamagedError)
            self.excused = self.refused and self.rotten
            self.die(error)
            return False
        self.replica, self.store = replica, store
        self.api = NodeApi(replica, store)
        raft = replica.raft
        world.invariants.restarts(number, raft.term, raft.vote, raft.log.last_index)
        self.pump()
        if self.boots > 1:
            world.triggers.reached(number, TriggerPoint.RESTARTS)
        return self.replica is not None

    def kill(self) -> bool:
        """End the process at once, as by SIGKILL and power loss. False if it did not run."""
        if self.replica is None:
            return False
        lost = self._stop()
        self._world.trace.note(self._world.loop.now_us, Kind.KILL, self.number, d=lost)
        return True

    def replace(self, config: ReplicaConfig, disk: SimDisk) -> None:
        """Become another member on an empty disk; nothing of the former one remains."""
        assert self.replica is None, f"{self.name} runs"
        self.config, self.disk = config, disk
        self.rotten = self.refused = False
        self.log, self.led_terms = [], []

    def pause(self) -> None:
        """Freeze the process."""
        if self.replica is not None and not self.paused:
            self.paused = True
            self._world.trace.note(self._world.loop.now_us, Kind.PAUSE, self.number)

    def resume(self) -> None:
        """Let the process run on: deferred events are handled now, in order of arrival."""
        if not self.paused:
            return
        self.paused = False
        self._world.trace.note(self._world.loop.now_us, Kind.RESUME, self.number)
        waiting, self._waiting = self._waiting, []
        epoch = self.epoch
        for handler, arguments in waiting:
            if self.epoch != epoch:
                return
            handler(*arguments)
        self._arm()

    def drift(self, rate_ppm: int) -> None:
        """Make its clocks run at another rate."""
        self.clock.drift(rate_ppm, self._world.loop.now_us)
        self._armed_for_us = FAR_US
        self._arm()

    def reset_clock(self) -> None:
        """Make its clocks true."""
        self.clock.step_to_true(self._world.loop.now_us)
        self._armed_for_us = FAR_US
        self._arm()

    # Events that reach it.

    def deliver(self, source: int, message: Any) -> None:
        """Handle a peer's message that has arrived at the machine."""
        if self.paused:
            self.defer(self.deliver, source, message)
            return
        now_us, kind = self._loop.now_us, type(message)
        path = source << 8 | TAGS[kind]
        term = message.term if kind in _OF_A_TERM else 0
        self._append_trace((now_us, _DELIVER, self.number, path, term, message))
        replica = self.replica
        if replica is None:
            return
        probes = self._probes
        if probes.configurations:
            probes.arrives(message)
        try:
            replica.receive(message, self.clock.monotonic_us(now_us))
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self.die(error)
            return
        if probes.replication and kind is AppendReply:
            probes.acknowledged(replica.raft, message)
        self.pump()

    def request(self, request: Request, answered: Answered) -> None:
        """Handle a client's request; `answered` may never be called if the node dies."""
        if self.replica is None or self.api is None:
            answered(Indefinite("the node died before it answered"))
            return
        if self.paused:
            self.defer(self.request, request, answered)
            return
        now_us = self.clock.monotonic_us(self._world.loop.now_us)
        try:
            self.api.serve(request, now_us, answered)
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self.die(error)
            return
        self.pump()

    def change_members(self, change: Change) -> bool:
        """Propose a change of members, as an operator would; whether it was appended at once."""
        assert self.replica is not None, f"{self.name} does not run"
        assert self.api is not None
        configurations = self.replica.raft.configurations
        before = configurations.index
        now_us = self.clock.monotonic_us(self._world.loop.now_us)
        try:
            self.api.change_members(change, now_us)
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self.die(error)
            return False
        appended = configurations.index > before
        self.pump()
        return appended

    # Carrying out the replica's output.

    def pump(self) -> None:
        """Carry out what the replica has to do since the last time."""
        replica: Any = self.replica
        raft = replica.raft
        term, commit = raft.term, raft.log.commit
        if commit != self._stood_commit or term != self._stood_term:
            self._stood_term, self._stood_commit = term, commit
            invariants = self._world.invariants
            invariants.stands(self.number, term, commit, raft.log.term_at(commit))
            if raft.role == LEADER and raft.log.term_at(commit) == term:
                invariants.commits(self.number, term, commit, raft.log.durable, self._voters())
        try:
            out = replica.take()
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self.die(error)
            return
        if out is not NOTHING:
            if out.events:
                self._note(out.events)
            if out.messages:
                self._send(out)
            if out.batch is not None:
                self._write(out.batch)
            if out.replies:
                assert self.api is not None
                for reply in out.replies:
                    self.api.reply(reply)
        if replica.deadline_us < self._armed_for_us:
            self._arm()

    def _voters(self) -> tuple[tuple[int, str], ...]:
        """Return the voters of its configuration: member ids, and the names of their nodes."""
        replica: Any = self.replica
        voters: tuple[int, ...] = replica.raft.configuration.voters()
        return tuple((member, self._world.name_of(member)) for member in voters)

    def _send(self, out: Output) -> None:
        world, number = self._world, self.number
        send, invariants, triggers = world.network.send, world.invariants, world.triggers
        addresses = world.addresses
        message: Any
        for target, message in out.messages:
            kind = type(message)
            if kind is AppendReply:
                if not message.rejected:
                    invariants.promises_entries(
                        number, message.term, message.index, self.config.member_id
                    )
                    if self._probes.acknowledgements:
                        triggers.reached(number, TriggerPoint.ACKNOWLEDGES)
            elif kind is VoteReply:
                if message.granted and not message.pre:
                    invariants.promises_vote(number, message.term, target)
                    triggers.reached(number, TriggerPoint.VOTES)
            elif kind is Heartbeat:
                if message.commit:
                    name = world.name_of(target)
                    invariants.announces(number, message.term, message.commit, target, name)
            elif kind is RequestVote and not message.pre:
                invariants.promises_vote(number, message.term, self.config.member_id)
            address = addresses.get(target)
            if address is not None:  # else its machine has been wiped and accepts no connection
                send(number, address, message)

    def _write(self, batch: Batch) -> None:
        assert self._batch is None, "one batch at a time"
        self._batch = batch
        ops = batch.ops
        delay_us = self.disk.duration_us(ops)
        now_us = self._loop.now_us
        self._append_trace((now_us, _PERSIST, self.number, batch.id, delay_us, batch))
        self._loop.after(delay_us, self._on_written, self.epoch, batch)
        if self._probes.disk:
            self._probes.writes(ops)

    def _written(self, epoch: int, batch: Batch) -> None:
        if epoch != self.epoch or self.replica is None:
            return
        if self.paused:
            self.defer(self._written, epoch, batch)
            return
        self._batch = None
        try:
            self.disk.execute(batch.ops)
        except DiskError as error:
            self.fail_by_disk(error)
            return
        now_us = self._loop.now_us
        self._append_trace((now_us, _PERSISTED, self.number, batch.id, 0, None))
        try:
            self.replica.persisted(batch.id, self.clock.monotonic_us(now_us))
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self.die(error)
            return
        self.pump()

    def fail_by_disk(self, error: DiskError) -> None:
        """End by an injected failure of the disk."""
        assert self.replica is not None
        self.excused = True
        self.replica.disk_failed(error)
        out = self.replica.take()
        assert out.batch is None, "a node whose disk has failed writes no more"
        if out.events:
            self._note(out.events)
        if self.api is not None:
            for reply in out.replies:
                self.api.reply(reply)
        self._send(out)
        self.die(error)
        self._world.disk_failed(self.number)

    def _note(self, events: list[Event]) -> None:
        world, number = self._world, self.number
        now_us = world.loop.now_us
        for event in events:
            if len(self.log) < MAX_EVENTS:
                self.log.append((now_us, self.clock.wall_ns(now_us), event))
            term, index = event.fields.get("term", 0), event.fields.get("index", 0)
            world.trace.note(now_us, Kind.NOTE, number, term, index, event)
            assert self.replica is not None
            if event.name == "snapshot-begun":
                pending = self.replica.pending_snapshot
                if pending is not None:
                    self._snapshot_writer.begin(pending)
            elif event.name == "became-leader":
                self.led_terms.append(term)
                log = self.replica.raft.log
                world.invariants.leads(number, term, log.last_index, log.term_at)
                world.triggers.reached(number, TriggerPoint.LEADS)

    # Timers.

    def _arm(self) -> None:
        replica = self.replica
        if replica is None:
            return
        deadline_us = replica.deadline_us
        if deadline_us >= self._armed_for_us or self.paused:
            return  # it will be armed again when the present one fires, or when it is resumed
        self._armed_for_us = deadline_us
        at_us = max(self.clock.true_us(deadline_us), self._loop.now_us)
        if at_us < self._armed_us:
            self._armed_us = at_us
            self._loop.at(at_us, self._on_tick, self.epoch, at_us)

    def _tick(self, epoch: int, armed_us: int) -> None:
        if epoch != self.epoch or armed_us != self._armed_us or self.replica is None:
            return
        self._armed_us = self._armed_for_us = FAR_US
        if self.paused:
            return  # resume arms again
        now_us = self._loop.now_us
        local_us = self.clock.monotonic_us(now_us)
        if local_us < self.replica.deadline_us:
            self._arm()
            return
        self._append_trace((now_us, _TICK, self.number, 0, 0, None))
        if self._probes.leases:
            self._probes.looks_at_lease(self.replica.raft, local_us)
        try:
            self.replica.tick(local_us)
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self.die(error)
            return
        self.pump()

    # Deferral and exit.

    def defer(self, handler: Callable[..., Any], *arguments: Any) -> None:
        """Defer an event that reached a paused process."""
        self.frozen += 1
        if len(self._waiting) < MAX_QUEUE:
            self._waiting.append((handler, arguments))

    def _stop(self) -> str:
        in_flight = self._batch.ops if self._batch is not None else ()
        if self.api is not None:
            self.api.hang_up()
        self.epoch += 1
        self.replica = self.store = self.api = self._batch = None
        self._armed_us = self._armed_for_us = FAR_US
        self._stood_term = self._stood_commit = 0
        self._waiting = []
        self.paused = False
        return self.disk.crash(in_flight)

    def die(self, error: BaseException) -> None:
        """End the process by its own error: that is evidence, with the traceback's end."""
        world = self._world
        words = f"{type(error).__name__}: {error}"
        if not isinstance(error, DiskError):
            words = "".join(traceback.format_exception(error)[-3:]).strip()
        self.exit_text = words
        if self.refused and not self.excused:
            words = str(error)
            self.refusals.append(words)
        elif not self.excused:
            self.deaths.append(words)
        self._stop()
        world.trace.note(world.loop.now_us, Kind.DIED, self.number, d=words)
        if self.refused and not self.excused:
            world.invariants.refuses(self.number, words)
        elif not self.excused:
            world.invariants.fails(DIED, self.number, words)
