"""One simulated node: a replica, its disk, its clock, and what can be done to them.

The shell of the node's core in virtual time, twin of the asyncio server: it hands in messages, time
and requests, and fulfils what `take()` says is owed. A batch is executed when its syncs have taken
their time; a kill in between leaves some of it on the disk. It decides nothing about consensus.

Timers are lazy: one heap entry, re-armed when it fires too early. A kill raises the epoch, which
makes every event that was under way for the old process void. A paused process takes nothing off
its sockets: what arrives waits in order until it is resumed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Protocol

from harness.sim.clock import NodeClock
from harness.sim.disk import SimDisk
from harness.sim.invariants import Invariants, WatchedMachine
from harness.sim.loop import Loop
from harness.sim.network import Network
from harness.sim.requests import Answered, Server
from harness.sim.streams import Streams
from harness.sim.trace import Kind, Trace
from harness.sim.triggers import Moment, Triggers
from node.mvcc.store import Store
from node.raft.messages import AppendEntries, AppendReply, RequestVote, VoteReply
from node.raft.roles import LEADER
from node.replica import Event, Output, Replica, ReplicaConfig
from node.storage.disk import Append, Batch, Create, DiskError
from workloads.kv import Indefinite, Request

MAX_QUEUE = 100_000
"""Deliveries a paused node may have waiting; beyond it they are dropped, as full buffers would."""

MAX_EVENTS = 50_000
"""Log lines kept per node."""

_FAR = 1 << 62


class World(Protocol):
    """What a node needs of its surroundings."""

    loop: Loop
    network: Network
    trace: Trace
    triggers: Triggers
    invariants: Invariants
    streams: Streams

    def disk_failed(self, number: int) -> None:
        """A node's disk failed as we meant it to, and the node stopped."""
        ...


class SimNode:
    """A node that can be started, killed, paused and asked."""

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
        self.frozen = 0  # events that had to wait because the node was paused
        self.dead_messages = 0  # messages that found nobody
        self.last_words: str | None = None
        self.forgiven = False  # it died of a fault of ours
        self.deaths: list[str] = []  # last words of all other deaths by its own doing
        self.log: list[tuple[int, Event]] = []
        self.led_terms: list[int] = []
        self._world = world
        self._server: Server | None = None
        self._batch: Batch | None = None
        self._armed_us = _FAR  # the true time of the next tick ...
        self._armed_for_us = _FAR  # ... and the local deadline it is for
        self._stood = (0, 0)  # term and commit when last looked at
        self._waiting: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        watches = world.triggers.watches
        self._watches_configurations = watches(Moment.CONFIGURES)
        self._watches_acknowledgements = watches(Moment.ACKNOWLEDGES)
        self._watches_replication = watches(Moment.REPLICATES)
        self._watches_disk = watches(Moment.APPENDS) or watches(Moment.SNAPSHOTS)
        loop = world.loop
        self._on_tick = loop.register(self._tick)
        self._on_written = loop.register(self._written)

    @property
    def running(self) -> bool:
        """Whether its process lives (paused or not)."""
        return self.replica is not None

    # What is done to it.

    def start(self) -> bool:
        """Start the process: recover from the disk. False if it refused or died in doing so."""
        assert self.replica is None, f"{self.name} runs already"
        world, number = self._world, self.number
        self.boots += 1
        self.last_words, self.forgiven = None, False
        world.trace.note(world.loop.now_us, Kind.START, number, self.boots)
        world.invariants.recovers(number)
        store = Store()
        rng = world.streams.of("node", number, self.boots)
        nonce = world.streams.of("nonce", number, self.boots).getrandbits(63)
        now_us = self.clock.monotonic_us(world.loop.now_us)
        machine = WatchedMachine(store, world.invariants, number)
        try:
            replica = Replica(self.config, self.disk, machine, rng, nonce, now_us)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this node's last word
            self._die(error)
            return False
        self.replica, self.store = replica, store
        self._server = Server(replica, store)
        self._check_recovery(replica)
        self._pump()
        if self.boots > 1:
            world.triggers.reached(number, Moment.RESTARTS)
        return self.replica is not None

    def kill(self) -> bool:
        """End the process at once, as by SIGKILL and loss of power. False if it was dead."""
        if self.replica is None:
            return False
        lost = self._stop()
        self._world.trace.note(self._world.loop.now_us, Kind.KILL, self.number, d=lost)
        return True

    def pause(self) -> None:
        """Freeze the process."""
        if self.replica is not None and not self.paused:
            self.paused = True
            self._world.trace.note(self._world.loop.now_us, Kind.PAUSE, self.number)

    def resume(self) -> None:
        """Thaw it: what waited is handled now, in order of arrival."""
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
        self._armed_for_us = _FAR
        self._arm()

    def reset_clock(self) -> None:
        """Make its clocks true."""
        self.clock.step_to_true(self._world.loop.now_us)
        self._armed_for_us = _FAR
        self._arm()

    # What reaches it.

    def deliver(self, source: int, message: Any) -> None:
        """A peer's message has arrived at the machine."""
        if self.replica is None:
            self.dead_messages += 1
            return
        if self.paused:
            self._later(self.deliver, source, message)
            return
        now_us = self._world.loop.now_us
        if (
            self._watches_configurations
            and type(message) is AppendEntries
            and any(entry.kind for entry in message.entries)
        ):
            self._world.triggers.reached(self.number, Moment.CONFIGURES)
        try:
            self.replica.receive(message, self.clock.monotonic_us(now_us))
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self._die(error)
            return
        if self._watches_replication and type(message) is AppendReply and not message.rejected:
            self._hear_acknowledgement(message)
        self._pump()

    def request(self, request: Request, answered: Answered) -> None:
        """A client's request has arrived; `answered` may never be called if the node dies."""
        if self.replica is None or self._server is None:
            answered(Indefinite("the node died before it answered"))
            return
        if self.paused:
            self._later(self.request, request, answered)
            return
        now_us = self.clock.monotonic_us(self._world.loop.now_us)
        try:
            self._server.serve(request, now_us, answered)
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self._die(error)
            return
        self._pump()

    def poke(self, action: Callable[[Replica, int], None]) -> None:
        """Do something else to the replica (change members, transfer leadership)."""
        if self.replica is None or self.paused:
            return
        try:
            action(self.replica, self.clock.monotonic_us(self._world.loop.now_us))
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self._die(error)
            return
        self._pump()

    # What it owes.

    def _pump(self) -> None:
        assert self.replica is not None
        raft = self.replica.raft
        stand = (raft.term, raft.log.commit)
        if stand != self._stood:
            self._stood = stand
            self._world.invariants.stands(self.number, *stand)
        try:
            out = self.replica.take()
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self._die(error)
            return
        if out.events:
            self._note(out.events)
        if out.messages:
            self._send(out)
        if out.batch is not None:
            self._write(out.batch)
        if out.replies:
            assert self._server is not None
            for reply in out.replies:
                self._server.reply(reply)
        self._arm()

    def _send(self, out: Output) -> None:
        world, number = self._world, self.number
        network, invariants, triggers = world.network, world.invariants, world.triggers
        for target, message in out.messages:
            if type(message) is AppendReply:
                if not message.rejected:
                    invariants.promises_entries(number, message.term, message.index)
                    if self._watches_acknowledgements:
                        triggers.reached(number, Moment.ACKNOWLEDGES)
            elif type(message) is VoteReply:
                if message.granted and not message.pre:
                    invariants.promises_vote(number, message.term, target)
                    triggers.reached(number, Moment.VOTES)
            elif type(message) is RequestVote and not message.pre:
                invariants.promises_vote(number, message.term, number + 1)
            network.send(number, target - 1, message)

    def _write(self, batch: Batch) -> None:
        assert self._batch is None, "one batch at a time"
        self._batch = batch
        world = self._world
        ops = batch.ops
        delay_us = self.disk.duration_us(ops)
        world.trace.note(world.loop.now_us, Kind.PERSIST, self.number, batch.id, delay_us, batch)
        world.loop.after(delay_us, self._on_written, self.epoch, batch)
        if self._watches_disk:
            if any(type(op) is Append for op in ops):
                world.triggers.reached(self.number, Moment.APPENDS)
            if any(type(op) is Create and "snap/" in op.path for op in ops):
                world.triggers.reached(self.number, Moment.SNAPSHOTS)

    def _written(self, epoch: int, batch: Batch) -> None:
        if epoch != self.epoch or self.replica is None:
            return
        if self.paused:
            self._later(self._written, epoch, batch)
            return
        self._batch = None
        world = self._world
        try:
            self.disk.execute(batch.ops)
        except DiskError as error:
            self.forgiven = True
            self._fail_disk(error)
            return
        world.trace.note(world.loop.now_us, Kind.PERSISTED, self.number, batch.id)
        try:
            self.replica.persisted(batch.id, self.clock.monotonic_us(world.loop.now_us))
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self._die(error)
            return
        self._pump()

    def _hear_acknowledgement(self, message: AppendReply) -> None:
        assert self.replica is not None
        raft = self.replica.raft
        if raft.role == LEADER and message.term == raft.term and message.index < raft.term_start:
            self._world.triggers.reached(self.number, Moment.REPLICATES)

    def _fail_disk(self, error: DiskError) -> None:
        assert self.replica is not None
        self.replica.disk_failed(error)
        out = self.replica.take()
        assert out.batch is None, "a node whose disk has failed writes no more"
        if out.events:
            self._note(out.events)
        if self._server is not None:
            for reply in out.replies:
                self._server.reply(reply)
        self._send(out)
        self._die(error)
        self._world.disk_failed(self.number)

    def _note(self, events: list[Event]) -> None:
        world, number = self._world, self.number
        now_us = world.loop.now_us
        for event in events:
            if len(self.log) < MAX_EVENTS:
                self.log.append((self.clock.wall_ns(now_us), event))
            term = event.fields.get("term", 0)
            index = event.fields.get("index", 0)
            world.trace.note(now_us, Kind.NOTE, number, term, index, event)
            if event.name == "became-leader":
                self.led_terms.append(term)
                assert self.replica is not None
                world.invariants.leads(number, term, self.replica.raft.log.last_index)
                world.triggers.reached(number, Moment.LEADS)

    # Timers.

    def _arm(self) -> None:
        if self.replica is None or self.paused:
            return
        deadline_us = self.replica.deadline_us
        if deadline_us >= self._armed_for_us:
            return  # it will be armed again when the present one fires
        self._armed_for_us = deadline_us
        at_us = max(self.clock.true_us(deadline_us), self._world.loop.now_us)
        if at_us < self._armed_us:
            self._armed_us = at_us
            self._world.loop.at(at_us, self._on_tick, self.epoch, at_us)

    def _tick(self, epoch: int, armed_us: int) -> None:
        if epoch != self.epoch or armed_us != self._armed_us or self.replica is None:
            return
        self._armed_us = self._armed_for_us = _FAR
        if self.paused:
            return  # resume arms again
        world = self._world
        local_us = self.clock.monotonic_us(world.loop.now_us)
        if local_us < self.replica.deadline_us:
            self._arm()
            return
        world.trace.note(world.loop.now_us, Kind.TICK, self.number)
        try:
            self.replica.tick(local_us)
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            self._die(error)
            return
        self._pump()

    # Its ends.

    def _later(self, handler: Callable[..., None], *arguments: Any) -> None:
        self.frozen += 1
        if len(self._waiting) < MAX_QUEUE:
            self._waiting.append((handler, arguments))

    def _stop(self) -> str:
        in_flight = self._batch.ops if self._batch is not None else ()
        self.epoch += 1
        self.replica = self.store = self._server = self._batch = None
        self._armed_us = self._armed_for_us = _FAR
        self._stood = (0, 0)
        self._waiting = []
        self.paused = False
        return self.disk.crash(in_flight)

    def _die(self, error: BaseException) -> None:
        """Let the process end by its own doing: that is evidence, with its last words."""
        world = self._world
        words = f"{type(error).__name__}: {error}"
        if not isinstance(error, DiskError):
            words = "".join(traceback.format_exception(error)[-3:]).strip()
        self.last_words = words
        if not self.forgiven:
            self.deaths.append(words)
        self._stop()
        world.trace.note(world.loop.now_us, Kind.DIED, self.number, d=words)
        if not self.forgiven:
            world.invariants.fails("node died by itself", self.number, words)

    def _check_recovery(self, replica: Replica) -> None:
        raft = replica.raft
        self._world.invariants.restarts(self.number, raft.term, raft.vote, raft.log.last_index)
