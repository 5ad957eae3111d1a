"""The asyncio shell around a replica: sockets, files, timers and clients. It decides nothing.

One event loop owns the replica. Whatever happens (a message, a request, a durable batch, a passed
deadline) is told to the replica, and once per turn of the loop `take` says what is owed; so what
came in together is written to the log together, with one fdatasync. Disk batches run in the one
worker thread there is, in order.

A node that finds itself broken (its own assertion, a disk that fails) logs `fatal` and exits at
once: nothing is answered from a state it could not save or does not understand. No thread here
waits with a timeout: under a faked clock such a wait may never end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Any, NoReturn

from squall.node.api.auth_interceptor import Door
from squall.node.api.backend import MemberView, StatusView
from squall.node.api.errors import STOPPED, ApiError
from squall.node.api.service import limits, make_server
from squall.node.bootstrap.identity import Identity, of_new_cluster
from squall.node.config.settings import VERSION, Config, endpoint, member_id
from squall.node.mvcc.store import Store
from squall.node.peer.removal import Departures
from squall.node.peer.transport import Transport
from squall.node.raft.messages import LeaseAsk, LeaseTold, Message
from squall.node.replica import (
    Change,
    Member,
    Outcome,
    Replica,
    Reply,
    Status,
)
from squall.node.server import tls
from squall.node.server.background import Errands
from squall.node.server.corruption import Comparison
from squall.node.server.event_loop import DiskThread
from squall.node.server.http import HttpServer
from squall.node.server.lease_forwarding import LeaseDesk
from squall.node.server.logs import Log
from squall.node.server.metrics import Metrics
from squall.node.server.snapshot_writer import Drafting
from squall.node.server.timeouts import Troubles
from squall.node.server.tuning import replica_config
from squall.node.server.views import member_views, status_view
from squall.node.storage.disk import Batch
from squall.node.storage.real import RealDisk

FATAL_EXIT_CODE = 2

GRACE_S = 2.0
"""How long a stopping node lets calls under way finish."""
HANDOVER_S = 1.0
"""How long a stopping leader tries to make another member lead."""
DEFAULT_QUOTA_BYTES = 2 << 30
"""As etcd's: what the store may grow to when nobody says anything else."""


class Server:
    """A running node; the `Backend` of its services. `run` returns when it was asked to stop."""

    def __init__(
        self, config: Config, log: Log, disk: RealDisk, identity: Identity | None = None
    ) -> None:
        who = identity or of_new_cluster(config)
        self._first_peers = who.peers
        self.config = config
        self._initial_names = {member.id: member.name for member in config.members}
        self.log = log
        self.store = Store()
        self.metrics = Metrics()
        self.cluster_id = who.cluster_id
        self.member_id = who.member_id
        self.max_txn_ops = config.max_txn_ops
        self.max_request_bytes = config.max_request_bytes
        self.election_timeout_s = config.election_timeout / 1000
        self.progress_notify_s = config.experimental_watch_progress_notify_interval
        self.quota_bytes = config.quota_backend_bytes or DEFAULT_QUOTA_BYTES
        # As etcd: a lease must outlive the election of another leader.
        self.min_lease_ttl_s = -(-3 * config.election_timeout // 2000)
        self._errands = Errands(self, config, log, _now_us())
        self.lessor = self._errands.lessor
        self.door = Door.of(self.store.auth, config)
        self._chance = SystemRandom()
        nonce = self._chance.getrandbits(63)
        replica = replica_config(config, who)
        self._troubles = Troubles(replica.election_us, replica.timeout_us)
        self.leasing = LeaseDesk(self, nonce, replica.timeout_us / 1_000_000)
        self._replica = Replica(
            replica,
            disk,
            self.store,
            rng=self._chance,
            boot_nonce=nonce,
            now_us=_now_us(),
        )
        self.door.tokens.listen()  # not before: what the recovered log issued has had its time
        self._status: Status = self._replica.status()
        self._view = status_view(self._status)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._next_ticket = 0
        self._disk_thread = DiskThread(disk, self.metrics.wal_fsync.observe, self._on_written)
        self._drafting = Drafting(disk, self._on_drafted)
        self._pump_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0  # when it calls
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._stopped = False
        self._peers_known = False
        self._loop = asyncio.get_running_loop()
        self._transport = Transport(
            self.cluster_id,
            self.member_id,
            self._on_message,
            log,
            tls.for_peers(config),
            tls.PeerNames(config.peer_cert_allowed_cn, config.peer_cert_allowed_hostname),
        )
        self._comparison = Comparison(self, log, tls.for_joining(config))
        self._transport.on_hash_ask = self._comparison.hash
        self._departures = Departures(
            self.member_id, self._transport, log, told=self._on_told_removed, stop=self._stop.set
        )
        self._departures.begin(self._replica.settled().removed)

    # Life and death.

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raises OSError when an address is taken.

        Raises CorruptError when data was to be compared first, and it differs.
        """
        self._loop.set_exception_handler(self._on_stray_exception)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        config = self.config
        if config.experimental_initial_corrupt_check:
            await self._comparison.check_at_start()
        http_server = HttpServer(self, frozenset(config.host_whitelist))
        grpc_server = make_server(self, self.crash, limits(config), http_server)
        await self._transport.listen(tuple(map(endpoint, config.listen_peer_urls)))
        await http_server.listen(
            tuple(map(endpoint, config.listen_metrics_urls)), tls.for_metrics(config)
        )
        credentials = tls.for_clients(config)
        for where in map(endpoint, config.listen_client_urls):
            await grpc_server.listen(where.host, where.port, credentials if where.tls else None)
        self.log.info(
            "started",
            name=config.name,
            member_id=f"{self.member_id:x}",
            cluster_id=f"{self.cluster_id:x}",
            version=VERSION,
        )
        self._pump()
        self._errands.begin_publishing()
        self._comparison.begin(config.experimental_corrupt_check_time)
        await self._stop.wait()
        await self._hand_over()
        await grpc_server.stop(GRACE_S)
        await http_server.close()
        await self._shut_down()
        self.log.info("stopped")

    async def _hand_over(self) -> None:
        """Spare the cluster an election timeout: make another member lead, if there is one."""
        heirs = [
            member
            for member in self._transport.connected()
            if member in self._status.members and not self._status.members[member].is_learner
        ]
        if self._view.leader != self.member_id or not heirs:
            return
        try:
            async with asyncio.timeout(HANDOVER_S):
                await self._ask(
                    lambda ticket, now: self._replica.transfer_leadership(ticket, heirs[0], now)
                )
        except (ApiError, TimeoutError) as error:
            self.log.warn("no-handover", msg=f"leadership was not handed over: {error}")

    async def _shut_down(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._comparison.close()
        await self._drafting.close()
        await self._transport.close()
        await self._disk_thread.close()
        self.leasing.close()
        self._errands.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ApiError(STOPPED))

    def crash(self, error: BaseException) -> NoReturn:
        """Say why and be gone, before anything else can leave this node."""
        try:
            report_fatal(self.log, error)
        finally:  # even when the log cannot be written
            os._exit(FATAL_EXIT_CODE)

    def _on_stray_exception(self, loop: Any, context: dict[str, Any]) -> None:
        del loop
        error = context.get("exception")
        if isinstance(error, AssertionError):
            self.crash(error)
        trace = "".join(traceback.format_exception(error)) if error else ""
        self.log.error("stray-exception", msg=str(context.get("message", "")), traceback=trace)

    # What happens is told to the replica; what it owes is done once per turn of the loop.

    def _wake(self) -> None:
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _on_message(self, message: Message) -> None:
        try:
            if isinstance(message, LeaseAsk | LeaseTold):
                self.leasing.receive(message)
                return
            self._replica.receive(message, _now_us())
        except Exception as bug:  # noqa: BLE001 - whatever it is, the replica is not to be trusted
            self.crash(bug)
        self._wake()

    def _on_told_removed(self) -> None:
        self._replica.removed()
        self._wake()

    def _pump(self) -> None:
        self._pump_due = False
        if self._stopped:
            return
        try:
            self._fulfil()
        except Exception as bug:  # noqa: BLE001 - as above
            self.crash(bug)

    def _fulfil(self) -> None:
        now = _now_us()
        if now >= self._replica.deadline_us:
            self._replica.tick(now)
        out = self._replica.take()
        for target, message in out.messages:
            self._transport.send(target, message)
        self._transport.flush()
        if out.batch is not None:
            self._disk_thread.write(out.batch)
        self._observe(self._replica.status(), now)
        for event in out.events:
            self.log.info(event.name, **event.fields)
            if event.name == "configuration":
                self._departures.know(self._replica.settled().removed)
                self._know_peers(self._status.members)
            elif event.name == "snapshot-begun":
                self._drafting.begin(self._replica.draft)
        for reply in out.replies:
            future = self._waiting.pop(reply.ticket, None)
            if future is not None and not future.done():
                future.set_result(reply)
        self._arm()

    def _arm(self) -> None:
        """Have the loop call at the next deadline; a timer that is early is harmless."""
        deadline_us = min(self._replica.deadline_us, self._errands.deadline_us)
        if self._timer is not None:
            if self._timer_us <= deadline_us:
                return
            self._timer.cancel()
        self._timer_us = deadline_us
        # In whole milliseconds, upwards: uvloop rounds, and what fires early only to be armed
        # again at once would spin until the time has come.
        delay_ms = max(0, -((_now_us() - deadline_us) // 1000))
        self._timer = self._loop.call_later(delay_ms / 1000, self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer = None
        self._pump()

    def _on_written(self, batch: Batch, error: BaseException | None) -> None:
        if error is not None:
            self._replica.disk_failed(error)
            self.crash(error)
        try:
            self._replica.persisted(batch.id, _now_us())
        except Exception as bug:  # noqa: BLE001 - as above
            self.crash(bug)
        self._wake()

    def _on_drafted(self, data: bytes, error: BaseException | None) -> None:
        if error is not None:
            self._replica.disk_failed(error)
            self.crash(error)
        self._replica.drafted(data)
        self._wake()

    def _observe(self, status: Status, now_us: int) -> None:
        """Keep what has changed where requests find it, and see to what is due."""
        previous, self._status = self._status, status
        self._view = status_view(status)
        if status.leader != previous.leader:
            self.metrics.saw(status)
            self._troubles.leader_changed(status.leader, now_us)
        self._errands.observe(status, now_us)
        if status.members != previous.members or not self._peers_known:
            self._peers_known = True
            self._know_peers(status.members)
        if status.leader and not self._ready.is_set():
            self._ready.set()
            self.log.info("ready")

    def _know_peers(self, members: dict[int, Member]) -> None:
        self._transport.members = tuple(members.values())
        # Who is being removed is still answered: a leader that removes itself counts the others.
        members = {member.id: member for member in self._replica.settled().members} | members
        if self.member_id not in members:
            # It joins, and its log does not say so yet: whoever feeds it must be answered.
            members = {member.id: member for member in self._first_peers} | members
        self._transport.set_peers(
            {
                member.id: endpoint(member.peer_urls[0])
                for member in members.values()
                if member.id != self.member_id and member.peer_urls
            }
        )

    # What clients ask for.

    async def propose(self, command: bytes) -> Any:
        """Take a command through the log; see `Backend`."""
        return await self._ask(
            lambda ticket, now: self._replica.propose(ticket, command, now), is_proposal=True
        )

    async def read_barrier(self) -> None:
        """Wait until a read is linearizable; see `Backend`."""
        await self._ask(self._replica.read_barrier)

    async def _ask(self, begin: Callable[[int, int], None], *, is_proposal: bool = False) -> Any:
        if self._stopped:
            raise ApiError(STOPPED)
        self._next_ticket += 1
        ticket = self._next_ticket
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[ticket] = future
        begin(ticket, _now_us())
        self._wake()
        if not is_proposal:
            reply = await future
        else:
            self.metrics.proposals_pending += 1
            try:
                reply = await future
            finally:
                self.metrics.proposals_pending -= 1
        if reply.outcome is Outcome.DONE:
            return reply.result
        if is_proposal:
            self.metrics.proposals_failed += 1
        peers = self._transport.connected()
        text = self._troubles.text(reply, self._status, peers, _now_us(), is_proposal=is_proposal)
        raise ApiError(text)

    async def change_members(self, change: Change) -> Any:
        """Change the members; see `Backend`."""
        return await self._ask(
            lambda ticket, now: self._replica.propose_membership(ticket, change, now)
        )

    async def move_leader(self, target: int) -> None:
        """Hand leadership over; see `Backend`."""
        await self._ask(lambda ticket, now: self._replica.transfer_leadership(ticket, target, now))

    def new_lease_id(self) -> int:
        """Return 63 random bits; see `Backend`."""
        return self._chance.getrandbits(63) or 1

    def new_member_id(self, peer_urls: Sequence[str]) -> int:
        """Return an id no earlier member has had; see `Backend`."""
        return member_id(peer_urls, f"{self.config.initial_cluster_token}{time.time_ns()}")

    # What the lease desk needs.

    def leader(self) -> int:
        """Return the leader's id; 0 when it is not known."""
        return self._view.leader

    def now_us(self) -> int:
        """Return this node's monotonic clock."""
        return _now_us()

    def send(self, target: int, message: Message) -> None:
        """Send a message to another member, perhaps in vain."""
        self._transport.send(target, message)
        self._wake()

    # What is told.

    def status(self) -> StatusView:
        """Return where this node stands."""
        return self._view

    def members(self) -> tuple[MemberView, ...]:
        """Return the members by id, named as they published it or as --initial-cluster has it."""
        return member_views(self._status.members.values(), self._initial_names)

    def replica_status(self) -> Status:
        """Return everything the replica knows of itself."""
        return self._status

    def name_of(self, member_id: int) -> str:
        """Return a member's name: as it published it, or as --initial-cluster has it."""
        member = self._status.members.get(member_id)
        published = member.name if member is not None else ""
        return published or self._initial_names.get(member_id, "")


def report_fatal(log: Log, error: BaseException) -> None:
    """Log why this node cannot go on, with where it happened."""
    log.fatal(
        "fatal",
        msg=f"this node cannot go on: {error!r}",
        error=repr(error),
        traceback="".join(traceback.format_exception(error)),
    )


def _now_us() -> int:
    return time.monotonic_ns() // 1000
