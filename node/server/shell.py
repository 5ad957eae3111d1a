"""The asyncio shell around a replica: sockets, files, timers and clients. It decides nothing.

One event loop owns the replica. Every input (a message, a request, a durable batch, a deadline) is
passed to the replica, and once per turn of the loop `take` returns its output. So entries that
arrived in one turn are written to the log together, with one fdatasync. One worker thread executes
disk batches in order.

A node that finds itself broken (an assertion of its own, a failing disk) logs `fatal` and exits at
once: nothing is answered from a state that could not be saved or is known to be wrong. No thread
waits with a timeout, because under a faked clock such a wait may never end.
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

from squall.node.api.auth_interceptor import AuthInterceptor
from squall.node.api.backend import MemberView, StatusView
from squall.node.api.errors import STOPPED, ApiError
from squall.node.api.passwords import Passwords
from squall.node.api.service import limits, make_server
from squall.node.bootstrap.identity import Identity, of_new_cluster
from squall.node.config.endpoints import endpoint
from squall.node.config.settings import VERSION, Config, member_id
from squall.node.logs import Log
from squall.node.mvcc.store import Store
from squall.node.peer.handshake import PeerNames
from squall.node.peer.removal import RemovedMembers
from squall.node.peer.transport import Transport
from squall.node.raft.messages import LeaseQuery, LeaseReply, Message
from squall.node.replica import (
    Change,
    Member,
    Outcome,
    Replica,
    ReplicaConfig,
    Reply,
    Status,
)
from squall.node.server import tls
from squall.node.server.background import BackgroundTasks
from squall.node.server.corruption import CorruptionCheck
from squall.node.server.event_loop import DiskThread
from squall.node.server.http import HttpServer
from squall.node.server.lease_forwarding import LeaseForwarder
from squall.node.server.metrics import Metrics
from squall.node.server.snapshot_writer import SnapshotWriter
from squall.node.server.timeouts import TimeoutErrors
from squall.node.storage.disk import Batch
from squall.node.storage.real import RealDisk

FATAL_EXIT_CODE = 2

GRACE_S = 2.0
"""How long a stopping node waits for calls in progress."""
HANDOVER_S = 1.0
"""How long a stopping leader waits for a leadership transfer."""
DEFAULT_QUOTA_BYTES = 2 << 30
"""As etcd: --quota-backend-bytes=0."""


class Server:
    """A running node and the `Backend` of its services. `run` returns when asked to stop."""

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
        self._background = BackgroundTasks(self, config, log, _now_us())
        self.lessor = self._background.lessor
        self.passwords = Passwords(self.store.auth, config.bcrypt_cost)
        self._interceptor = AuthInterceptor(
            self.store.auth,
            token_ttl_s=config.auth_token_ttl,
            client_cert_auth=config.client_cert_auth,
        )
        self._random = SystemRandom()
        nonce = self._random.getrandbits(63)
        replica = replica_config(config, who)
        self._timeout_errors = TimeoutErrors(replica.election_us, replica.timeout_us)
        self.lease_forwarder = LeaseForwarder(self, nonce, replica.timeout_us / 1_000_000)
        self._replica = Replica(
            replica,
            disk,
            self.store,
            rng=self._random,
            boot_nonce=nonce,
            now_us=_now_us(),
        )
        # After recovery: tokens that the recovered log issued have expired.
        self._interceptor.tokens.subscribe()
        self._status: Status = self._replica.status()
        self._view = _status_view(self._status)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._next_ticket = 0
        self._disk_thread = DiskThread(disk, self.metrics.wal_fsync.observe, self._on_written)
        self._snapshot_writer = SnapshotWriter(disk, self._on_snapshot_written)
        self._pump_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0  # when it fires
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._stopped = False
        self._peers_set = False
        self._loop = asyncio.get_running_loop()
        self._transport = Transport(
            self.cluster_id,
            self.member_id,
            self._on_message,
            log,
            tls.for_peers(config),
            PeerNames(config.peer_cert_allowed_cn, config.peer_cert_allowed_hostname),
        )
        self._corruption_check = CorruptionCheck(self, log, tls.for_joining(config))
        self._transport.on_hash_request = self._corruption_check.hash
        self._removed_members = RemovedMembers(
            self.member_id, self._transport, log, on_removed=self._on_removed, stop=self._stop.set
        )
        self._removed_members.begin(self._replica.settled().removed)

    # Lifecycle.

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raises OSError when an address is taken.

        Raises CorruptError when --experimental-initial-corrupt-check finds a difference.
        """
        self._loop.set_exception_handler(self._on_stray_exception)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        config = self.config
        if config.experimental_initial_corrupt_check:
            await self._corruption_check.check_at_start()
        http_server = HttpServer(self, frozenset(config.host_whitelist))
        grpc_server = make_server(
            self,
            self._interceptor,
            self.crash,
            limits(config),
            http_server.connection,
            http_server.page,
        )
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
        self._background.begin_publishing()
        self._corruption_check.begin(config.experimental_corrupt_check_time)
        await self._stop.wait()
        await self._transfer_leadership()
        await grpc_server.stop(GRACE_S)
        await http_server.close()
        await self._shut_down()
        self.log.info("stopped")

    async def _transfer_leadership(self) -> None:
        """Transfer leadership before stopping, which saves the cluster an election timeout."""
        targets = [
            member
            for member in self._transport.connected()
            if member in self._status.members and not self._status.members[member].is_learner
        ]
        if self._view.leader != self.member_id or not targets:
            return
        try:
            async with asyncio.timeout(HANDOVER_S):
                await self._ask(
                    lambda ticket, now: self._replica.transfer_leadership(ticket, targets[0], now)
                )
        except (ApiError, TimeoutError) as error:
            self.log.warn("no-handover", msg=f"leadership was not handed over: {error}")

    async def _shut_down(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._corruption_check.close()
        await self._snapshot_writer.close()
        await self._transport.close()
        await self._disk_thread.close()
        self.lease_forwarder.close()
        self._background.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ApiError(STOPPED))

    def crash(self, error: BaseException) -> NoReturn:
        """Log why and exit at once, before anything else can be sent."""
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

    # Inputs go to the replica; its output is processed once per turn of the loop.

    def _wake(self) -> None:
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _on_message(self, message: Message) -> None:
        try:
            if isinstance(message, LeaseQuery | LeaseReply):
                self.lease_forwarder.receive(message)
                return
            self._replica.receive(message, _now_us())
        except Exception as bug:  # noqa: BLE001 - whatever it is, the replica's state is not trusted
            self.crash(bug)
        self._wake()

    def _on_removed(self) -> None:
        self._replica.removed()
        self._wake()

    def _pump(self) -> None:
        self._pump_due = False
        if self._stopped:
            return
        try:
            self._process_output()
        except Exception as bug:  # noqa: BLE001 - as above
            self.crash(bug)

    def _process_output(self) -> None:
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
                self._removed_members.update(self._replica.settled().removed)
                self._update_peers(self._status.members)
            elif event.name == "snapshot-begun":
                self._snapshot_writer.begin(self._replica.pending_snapshot)
        for reply in out.replies:
            future = self._waiting.pop(reply.ticket, None)
            if future is not None and not future.done():
                future.set_result(reply)
        self._arm()

    def _arm(self) -> None:
        """Set the timer to the next deadline; one that fires early is harmless."""
        deadline_us = min(self._replica.deadline_us, self._background.deadline_us)
        if self._timer is not None:
            if self._timer_us <= deadline_us:
                return
            self._timer.cancel()
        self._timer_us = deadline_us
        # In whole milliseconds, rounded up: uvloop rounds to them, and a timer that fires early
        # would be set again and spin until the deadline.
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

    def _on_snapshot_written(self, data: bytes, error: BaseException | None) -> None:
        if error is not None:
            self._replica.disk_failed(error)
            self.crash(error)
        self._replica.snapshot_written(data)
        self._wake()

    def _observe(self, status: Status, now_us: int) -> None:
        """Publish the new status to requests, and start what it makes due."""
        previous, self._status = self._status, status
        self._view = _status_view(status)
        if status.leader != previous.leader:
            self.metrics.observe_leader(status)
            self._timeout_errors.leader_changed(status.leader, now_us)
        self._background.observe(status, now_us)
        if status.members != previous.members or not self._peers_set:
            self._peers_set = True
            self._update_peers(status.members)
        if status.leader and not self._ready.is_set():
            self._ready.set()
            self.log.info("ready")

    def _update_peers(self, members: dict[int, Member]) -> None:
        self._transport.members = tuple(members.values())
        # A member stays a peer until its removal is committed: a leader that removes itself needs
        # the acknowledgements of the others.
        members = {member.id: member for member in self._replica.settled().members} | members
        if self.member_id not in members:
            # It joins, and has not applied that yet: the leader that feeds it must be answered.
            members = {member.id: member for member in self._first_peers} | members
        self._transport.set_peers(
            {
                member.id: endpoint(member.peer_urls[0])
                for member in members.values()
                if member.id != self.member_id and member.peer_urls
            }
        )

    # Requests of clients; see `Backend`.

    async def propose(self, command: bytes) -> Any:
        """Commit a command; see `Backend`."""
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
        text = self._timeout_errors.text(
            reply, self._status, peers, _now_us(), is_proposal=is_proposal
        )
        raise ApiError(text)

    async def change_members(self, change: Change) -> Any:
        """Change the members; see `Backend`."""
        return await self._ask(
            lambda ticket, now: self._replica.propose_membership(ticket, change, now)
        )

    async def move_leader(self, target: int) -> None:
        """Transfer leadership; see `Backend`."""
        await self._ask(lambda ticket, now: self._replica.transfer_leadership(ticket, target, now))

    def new_lease_id(self) -> int:
        """Return 63 random bits; see `Backend`."""
        return self._random.getrandbits(63) or 1

    def new_member_id(self, peer_urls: Sequence[str]) -> int:
        """Return an id that no earlier member had; see `Backend`."""
        return member_id(peer_urls, f"{self.config.initial_cluster_token}{time.time_ns()}")

    # See `LeaseNode`.

    def leader(self) -> int:
        """Return the leader's id; 0 while it is unknown."""
        return self._view.leader

    def now_us(self) -> int:
        """Return this node's monotonic clock."""
        return _now_us()

    def send(self, target: int, message: Message) -> None:
        """Send a message to another member; it may be lost."""
        self._transport.send(target, message)
        self._wake()

    # See `Node`.

    def status(self) -> StatusView:
        """Return this node's Raft state."""
        return self._view

    def members(self) -> tuple[MemberView, ...]:
        """Return the members by id, with their published names or those of --initial-cluster."""
        names = self._initial_names
        return tuple(
            MemberView(
                m.id, m.name or names.get(m.id, ""), m.peer_urls, m.client_urls, m.is_learner
            )
            for m in sorted(self._status.members.values(), key=lambda m: m.id)
        )

    def replica_status(self) -> Status:
        """Return the replica's whole status."""
        return self._status

    def name_of(self, member_id: int) -> str:
        """Return a member's published name, or that of --initial-cluster."""
        member = self._status.members.get(member_id)
        published = member.name if member is not None else ""
        return published or self._initial_names.get(member_id, "")


def report_fatal(log: Log, error: BaseException) -> None:
    """Log the error that stops this node, with its traceback."""
    log.fatal(
        "fatal",
        msg=f"this node cannot go on: {error!r}",
        error=repr(error),
        traceback="".join(traceback.format_exception(error)),
    )


def replica_config(config: Config, who: Identity) -> ReplicaConfig:
    """Return the replica's settings that the command line sets."""
    return ReplicaConfig(
        cluster_id=who.cluster_id,
        member_id=who.member_id,
        initial_members=who.initial_members,
        heartbeat_us=config.heartbeat_interval * 1000,
        election_us=config.election_timeout * 1000,
        pre_vote=config.pre_vote,
        strict_reconfig=config.strict_reconfig_check,
        snapshot_count=config.snapshot_count,
        snapshot_ahead=_snapshot_ahead(config.snapshot_count, who),
        background_snapshots=True,
        max_wals=config.max_wals,
        max_snapshots=config.max_snapshots,
        digest_every=config.digest_every,
    )


def _snapshot_ahead(count: int, who: Identity) -> int:
    """Return by how many entries this member's first snapshot comes earlier than `count`.

    Members that snapshot at different times do not slow down the cluster together. They are spread
    over half of the interval, by rank in a new cluster and by id otherwise.
    """
    ids = [member.id for member in who.initial_members]
    if who.member_id not in ids:
        return who.member_id % (count // 2 + 1)
    return ids.index(who.member_id) * count // (2 * len(ids))


def _status_view(status: Status) -> StatusView:
    mine = status.members.get(status.member_id)
    return StatusView(
        status.role,
        status.term,
        status.leader,
        status.commit,
        status.applied,
        status.last_index,
        is_learner=mine is not None and mine.is_learner,
    )


def _now_us() -> int:
    return time.monotonic_ns() // 1000
