"""A cluster of containers: one node each, on a private network, with faults injected inside them.

Calls to the engine block and run on the cluster's own threads; everything else runs on the event
loop. Each node has a lock, held while its container changes state or a command runs in it, so that
a link cut concurrently with a restart is cut afterwards, in whichever order the two arrive.

Trouble with the engine is a HarnessError. `Processes`, `Iptables` and `Clocks` implement the single
faults and measure them; this module combines them into one cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import docker.errors
import msgspec

from squall.checkers.evidence import Evidence, NodeEvidence
from squall.harness.cluster import (
    Client,
    Grudge,
    HarnessError,
    Journal,
    Measured,
    NodeDisturbed,
    NodeNeverReady,
    NodeStatus,
)
from squall.harness.docker.cleanup import remove_run, sweep
from squall.harness.docker.clocks import Clocks
from squall.harness.docker.engine import Docker
from squall.harness.docker.evidence import NoRoomError, digest, fetch, final_output, split_trouble
from squall.harness.docker.exec import ContainerExec
from squall.harness.docker.iptables import Iptables
from squall.harness.docker.labels import this_process
from squall.harness.docker.network import Network, create_network
from squall.harness.docker.nodes import (
    CLIENT_PORT,
    STATUS_PORT,
    NodeSettings,
    command,
    container_arguments,
    volumes,
)
from squall.harness.docker.processes import Processes, engine_trouble
from squall.harness.docker.status import NO_ANSWER, Reading, read_status

SIZES = (3, 5, 7)
START_TIMEOUT_S = 60.0
"""Five nodes on two slow cores are ready in about five seconds."""

READY_POLL_S = 0.1
CLOSED_PORT = 1
"""The address of a dead node with published ports: nothing listens there, so it is refused."""

T = TypeVar("T")
U = TypeVar("U")


class DockerCluster:
    """Implements `squall.harness.cluster.Cluster`; `stop` must be called after construction."""

    def __init__(
        self,
        *,
        run_id: str,
        image: str,
        size: int = 5,
        settings: NodeSettings | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        if size not in SIZES:
            raise ValueError(f"a cluster has 3, 5 or 7 nodes, not {size}")
        self.nodes: tuple[str, ...] = tuple(f"n{at}" for at in range(1, size + 1))
        self.unsupported: dict[str, str] = {}
        self._engine = Docker()
        engine = self._engine.engine
        self.versions: dict[str, str] = {
            "engine": engine.version,
            "kernel": engine.kernel,
            "cgroup": engine.cgroup,
            "image": image,
            "image_id": self._engine.image_id(image),
        }
        # Two runs may have one name (two stores, one second); two live processes have not one id.
        self._owner = this_process(f"{run_id}-{os.getpid():x}")
        self._image = image
        self._settings = settings or NodeSettings()
        self.election_timeout_ms = self._settings.election_timeout_ms
        self._start_timeout_s = start_timeout_s
        self._name = f"squall-{self._owner.run}"
        self._containers = {node: f"{self._name}-{node}" for node in self.nodes}
        self._exec = ContainerExec(self._engine, image, self._owner.labels())
        self._processes = Processes(self._engine, self._exec, self._containers)
        self._iptables = Iptables(self._exec, self._containers)
        self._clocks = Clocks(self._exec, self._containers)
        self._network: Network | None = None
        self._endpoints: dict[str, dict[int, int]] = {}
        self._unanswered: dict[str, bool] = {}
        self._locks = {node: asyncio.Lock() for node in self.nodes}
        # Enough threads to kill every node at one instant while every node is observed.
        self._pool = ThreadPoolExecutor(2 * size + 2, thread_name_prefix="docker")

    async def start(self) -> None:
        """Remove what dead controllers left, start every node empty, and wait for a leader."""
        await self._call(sweep, self._engine)
        await self._call(self._create)
        await self._for_each(self.nodes, self._processes.launch)
        await self._await_ready()
        await self._call(self._probe)

    async def stop(self) -> None:
        """Remove containers, volumes and network; what is already gone is no error."""
        try:
            await self._call(remove_run, self._engine, self._owner.run)
        finally:
            self._pool.shutdown(wait=False)
            self._engine.close()

    async def client(self, node: str) -> Client:
        """Open a fresh gRPC connection to one node."""
        # The import starts gRPC's threads: not before a client is needed.
        from squall.harness.clients.etcd import GrpcKv  # noqa: PLC0415

        host, port = await self._endpoint(node, CLIENT_PORT)
        return GrpcKv(node, f"{host}:{port}")

    async def kill(self, nodes: tuple[str, ...]) -> None:
        """SIGKILL the nodes' processes: a thread for each, released by one barrier."""
        async with self._locked(nodes):
            await self._for_each(nodes, self._iptables.save_counters)
            barrier = threading.Barrier(len(nodes) or 1)
            await self._for_each(nodes, lambda node: self._processes.kill(node, barrier))

    async def restart(self, nodes: tuple[str, ...]) -> Measured:
        """Start dead nodes; cut links and skewed clocks are in force before the node runs."""
        async with self._locked(nodes):
            was_dead = await self._for_each(nodes, self._processes.restart)
        for node in nodes:
            self._endpoints.pop(node, None)
        return self._processes.measured_restart(
            [n for n, dead in zip(nodes, was_dead, strict=True) if dead]
        )

    async def pause(self, nodes: tuple[str, ...]) -> None:
        """Freeze the nodes' processes with the cgroup freezer."""
        async with self._locked(nodes):
            await self._for_each(nodes, self._processes.freeze)

    async def resume(self, nodes: tuple[str, ...]) -> Measured:
        """Thaw frozen nodes."""
        async with self._locked(nodes):
            await self._for_each(nodes, self._processes.thaw)
        return self._processes.measured_thaw(nodes)

    async def cut(self, grudge: Grudge) -> None:
        """Drop packets as the grudge says, in addition to what is dropped already."""
        peers = {node: frozenset(dropped) - {node} for node, dropped in grudge.items()}
        nodes = tuple(node for node in self.nodes if peers.get(node))
        async with self._locked(nodes):
            await self._for_each(nodes, lambda node: self._iptables.cut(node, peers[node]))

    async def dropped(self) -> int:
        """Return how many packets the rules in force have dropped so far."""
        nodes = tuple(node for node in self.nodes if node in self._iptables.grudge)
        async with self._locked(nodes):
            counts = await self._for_each(nodes, self._iptables.dropped)
        return sum(counts)

    async def heal(self) -> Measured:
        """Restore all links; the effect is measured by the chain's own packet counters."""
        async with self._locked(self.nodes):
            await self._for_each(self.nodes, self._reconnect)
        nodes = tuple(node for node in self.nodes if node in self._iptables.grudge)
        async with self._locked(nodes):
            await self._for_each(nodes, self._iptables.heal)
        return self._iptables.measured()

    async def jump_clock(self, node: str, offset_ms: int) -> None:
        """Set a node's wall clock off by `offset_ms` from true."""
        async with self._locked((node,)):
            await self._call(self._clocks.jump, node, offset_ms)
        self._clocks.record(node, await self._read(node))

    async def drift_clock(self, node: str, rate: float) -> None:
        """Make a node's clocks run at `rate` times true speed."""
        async with self._locked((node,)):
            await self._call(self._clocks.drift, node, rate)
        self._clocks.record(node, await self._read(node))

    async def clock_lied(self) -> bool:
        """Whether the skew of a clock was observed, now or earlier."""
        skewed = self._clocks.skewed
        for node, reading in zip(skewed, await self._read_all(skewed), strict=True):
            self._clocks.record(node, reading)
        return self._clocks.observed

    async def reset_clocks(self) -> Measured:
        """Reset every clock; a monotonic clock keeps what it has gained."""
        skewed = self._clocks.skewed
        await self.clock_lied()
        async with self._locked(skewed):
            await self._for_each(skewed, self._clocks.reset)
        for node, reading in zip(skewed, await self._read_all(skewed), strict=True):
            self._clocks.verify_true(node, reading)
        return self._clocks.measured()

    async def observe(self, node: str) -> NodeStatus:
        """Ask a node for its status."""
        status = (await self._read(node)).status
        # Refused: it is dead or booting. No answer: its process may have been stopped.
        self._unanswered[node] = not status.reachable and status.error.startswith(NO_ANSWER)
        return status

    async def begin_background_faults(self) -> None:
        """Containers have no faults but the nemesis's."""

    async def end_background_faults(self) -> None:
        """Containers have no faults but the nemesis's."""

    async def prove_liveness(self, journal: Journal) -> bool:  # noqa: ARG002 - the protocol's
        """Containers have no such phase: only the simulator can afford it in every run."""
        return False

    async def crashed(self) -> dict[str, str]:
        """Return the nodes whose process ended by itself, with the end of their output."""
        async with self._locked(self.nodes):
            await self._for_each(self.nodes, self._processes.inspect)
        return self._processes.crashes

    async def disturbed(self) -> dict[str, tuple[str, ...]]:
        """Return what was done to the nodes from outside the harness."""
        await self.crashed()
        unanswered = tuple(node for node in self.nodes if self._unanswered.get(node))
        async with self._locked(unanswered):
            await self._for_each(unanswered, self._processes.inspect_unanswered)
        return self._processes.disturbances

    async def collect(self, into: Path | None) -> Evidence:
        """Copy every node's log and data, and read them."""
        with contextlib.ExitStack() as stack:
            target = into or Path(stack.enter_context(tempfile.TemporaryDirectory("-squall")))
            statuses = {node: await self.observe(node) for node in self.nodes}
            crashes = await self.crashed()
            trouble: list[str] = []
            found = {node: NodeEvidence(node=node, log_missing=True) for node in self.nodes}
            for node in self.nodes:  # one after the other: a WAL is read into memory whole
                try:
                    await self._call(fetch, self._engine, self._containers[node], target / node)
                    left = await self._call(digest, node, target / node, statuses[node])
                    found[node], forced = split_trouble(left)
                    trouble += forced
                except NoRoomError as error:
                    trouble.append(f"{error} (of {node} and those after it not all was copied)")
                    break
                except HarnessError as error:
                    trouble.append(str(error))
            for node, words in crashes.items():
                if not found[node].assertions:  # otherwise its log contains the same in full
                    found[node] = msgspec.structs.replace(
                        found[node], assertions=(*found[node].assertions, words)
                    )
        return Evidence(
            nodes=found, trouble=tuple(trouble), unsupported_faults=dict(self.unsupported)
        )

    # The following methods block, and run on the cluster's threads.

    def _create(self) -> None:
        self._network = create_network(self._engine, self._name, self.nodes, self._owner.labels())
        addresses = self._network.addresses
        self._iptables.set_addresses(addresses)
        for node, container in self._containers.items():
            own = self._owner.labels(node)
            arguments = container_arguments(
                image=self._image,
                container=container,
                node=node,
                network=self._network.name,
                address=addresses[node],
                argv=command(node, addresses, self._name, self._settings),
                labels=own,
                publish=not self._engine.engine.direct,
            )
            with engine_trouble(f"{container} could not be made"):
                for volume in volumes(container):
                    self._engine.api.create_volume(volume, labels=own)
                self._engine.api.create_container(**arguments)

    def _reconnect(self, node: str) -> None:
        """Reconnect a running node that was disconnected from its network, with its address."""
        state = self._processes.inspect(node)
        if state.running and not state.connected and self._network is not None:
            with engine_trouble(f"{node} could not be connected to its network again"):
                self._engine.api.connect_container_to_network(
                    self._containers[node],
                    self._network.id,
                    ipv4_address=self._network.addresses[node],
                )

    def _probe(self) -> None:
        """Find out which fault mechanisms this kernel lacks; done once, in one node's container.

        Probes change nothing, as the change would stay in force for the rest of the run.
        """
        container = self._containers[self.nodes[0]]
        for mechanism, program in (
            ("partition", ["squall-links", "counters"]),
            ("clock", ["test", "-s", "/run/squall/clock"]),
        ):
            try:
                self._exec.run(container, program)
            except HarnessError as error:
                self.unsupported[mechanism] = str(error).partition(": ")[2]

    # The following methods run on the event loop.

    async def _await_ready(self) -> None:
        give_up_s = time.monotonic() + self._start_timeout_s
        while True:
            statuses = [reading.status for reading in await self._read_all(self.nodes)]
            leaders = {status.leader for status in statuses}
            if all(status.reachable for status in statuses) and len(leaders) == 1 and any(leaders):
                return
            late = [status for status in statuses if not (status.reachable and status.leader)]
            for disturbances in (await self.disturbed()).values():
                raise NodeDisturbed(f"while the cluster was starting: {disturbances[0]}")
            died = await self.crashed()
            if died or time.monotonic() > give_up_s:
                node = next(iter(died), late[0].node if late else self.nodes[0])
                raise NodeNeverReady(await self._call(self._why_not_ready, node, statuses))
            await asyncio.sleep(READY_POLL_S)

    def _why_not_ready(self, node: str, statuses: Iterable[NodeStatus]) -> str:
        if words := self._processes.crashes.get(node):
            return f"{node} died while the cluster was starting: {words}"
        seen = ", ".join(
            f"{s.node}: {s.error or (f'follows {s.leader}' if s.leader else 'no leader')}"
            for s in statuses
        )
        words = final_output(self._engine, self._containers[node])
        return (
            f"the cluster was not ready within {self._start_timeout_s:g} s ({seen}). A slow "
            f"machine needs a longer start timeout. {node}'s last words:\n{words}"
        )

    async def _read(self, node: str) -> Reading:
        host, port = await self._endpoint(node, STATUS_PORT)
        return await read_status(node, host, port)

    async def _read_all(self, nodes: Iterable[str]) -> list[Reading]:
        return list(await asyncio.gather(*(self._read(node) for node in nodes)))

    async def _endpoint(self, node: str, port: int) -> tuple[str, int]:
        """Return the host and port at which this process reaches a port of a node."""
        assert self._network is not None, "the cluster was not started"
        if self._engine.engine.direct:
            return self._network.addresses[node], port
        known = self._endpoints.setdefault(node, {})
        if port not in known:
            published = await self._call(self._published, node, port)
            if published is None:
                return "127.0.0.1", CLOSED_PORT
            known[port] = published
        return "127.0.0.1", known[port]

    def _published(self, node: str, port: int) -> int | None:
        with engine_trouble(f"{node}'s published ports"):
            try:
                bound = self._engine.api.port(self._containers[node], port)
            except docker.errors.NotFound:
                bound = None
        # A dead node publishes nothing.
        return int(bound[0]["HostPort"]) if bound else None

    @contextlib.asynccontextmanager
    async def _locked(self, nodes: Iterable[str]) -> AsyncIterator[None]:
        """Hold the locks of several nodes; the order of acquisition is fixed, against deadlock."""
        async with contextlib.AsyncExitStack() as stack:
            for node in sorted(set(nodes)):
                await stack.enter_async_context(self._locks[node])
            yield

    async def _for_each(self, nodes: Iterable[str], act: Callable[[str], T]) -> list[T]:
        """Call `act` for several nodes at once; all calls have ended when this ends."""
        done = await asyncio.gather(
            *(self._call(act, node) for node in nodes), return_exceptions=True
        )
        for result in done:
            if isinstance(result, BaseException):
                raise result
        return [result for result in done if not isinstance(result, BaseException)]

    async def _call(self, act: Callable[..., U], *arguments: Any) -> U:
        """Run a blocking call on a thread; a cancelled caller still waits until it has ended.

        A thread cannot be stopped, and the node's lock must be held until it has ended.
        """
        work = asyncio.get_running_loop().run_in_executor(self._pool, act, *arguments)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            raise
