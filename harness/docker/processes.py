"""Starts, kills, freezes and inspects the nodes' processes, and detects what others did to them.

The actions of the harness are recorded, so that every other exit is known not to be its own: the
node ended by itself, which is evidence, or something outside ended it, which is trouble
(`exit_causes` distinguishes the two). A process that was frozen, restarted, disconnected from its
network or removed from outside is trouble as well. Both are recorded when first observed. Methods
that take a node block; the caller holds its lock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import docker.errors
import requests.exceptions

from squall.harness.cluster import HarnessError, Measured, NodeDied, NodeDisturbed, NodeKilled
from squall.harness.docker import exit_causes
from squall.harness.docker.engine import Docker, reason
from squall.harness.docker.evidence import final_lines_of, log_tail
from squall.harness.docker.exec import ContainerExec, ContainerState

EXIT_TIMEOUT_S = 20
"""SIGKILL takes milliseconds and the engine notices in tens of them; more is a stuck engine."""

EXIT_POLL_S = 0.01
START_ATTEMPTS = 5
"""The engine may still be tearing down the previous process's network."""

FREEZE_ATTEMPTS = 20
"""A process in an uninterruptible system call (an fsync on a busy disk) cannot be frozen at once:
the engine tries for some milliseconds, thaws the rest and gives up."""

RETRY_S = 0.3
KILLED_EXIT_CODE = 137
EVENTS_S = 60
"""How far back the engine's events are searched for a signal; it keeps its last 256 events."""


class Processes:
    """The processes of one cluster's containers."""

    def __init__(
        self, engine: Docker, container_exec: ContainerExec, containers: Mapping[str, str]
    ) -> None:
        self._engine, self._exec, self._containers = engine, container_exec, containers
        self._killed: set[str] = set()
        self._frozen: set[str] = set()
        self._stopped: set[str] = set()
        self._seen_frozen: set[str] = set()
        self._restarted: set[str] = set()
        self._started_at: dict[str, str] = {}
        self._reported_deaths: set[tuple[str, str]] = set()
        self._crashes: dict[str, str] = {}
        self._disturbances: dict[str, dict[str, None]] = {}

    @property
    def crashes(self) -> dict[str, str]:
        """Nodes whose process ended by itself, with the end of the output of each."""
        return dict(self._crashes)

    @property
    def disturbances(self) -> dict[str, tuple[str, ...]]:
        """What was done to nodes from outside the harness, a sentence each."""
        return {node: tuple(found) for node, found in self._disturbances.items()}

    def launch(self, node: str) -> None:
        """Start a node's container."""
        container = self._containers[node]

        def start() -> None:
            with engine_trouble(f"{container} could not be started"):
                self._engine.api.start(container)

        _retry(start, START_ATTEMPTS)
        self._started_at[node] = self._exec.state(container).started_at

    def kill(self, node: str, barrier: threading.Barrier) -> None:
        """SIGKILL a node once all parties of `barrier` have arrived; return when it is dead."""
        container = self._containers[node]
        with contextlib.suppress(
            HarnessError
        ):  # a failure here must not keep the others waiting at the barrier
            self.inspect(node)
        barrier.wait(EXIT_TIMEOUT_S)
        already_dead = False
        try:
            self._engine.api.kill(container, "SIGKILL")
        except docker.errors.NotFound as error:
            self.inspect(node)
            raise NodeDisturbed(exit_causes.removed(node)) from error
        except (docker.errors.APIError, requests.exceptions.RequestException) as error:
            if "not running" not in reason(error):
                raise HarnessError(f"{container} could not be killed: {reason(error)}") from error
            already_dead = True
        state = self._await_exit(container)
        killed_by_us = state.exit_code == KILLED_EXIT_CODE and not (
            state.out_of_memory or already_dead
        )
        if killed_by_us or node in self._killed:
            self._killed.add(node)
        else:
            self.inspect(node)  # it crashed before our SIGKILL
        self._seen_frozen.discard(node)
        self._frozen.discard(node)
        self._stopped.discard(node)

    def restart(self, node: str) -> bool:
        """Start a node if its process is dead; return whether it was."""
        state = self.inspect(node)
        if state.running or state.gone:
            return False
        self._frozen.discard(node)
        self.launch(node)
        self._restarted.add(node)
        return True

    def measured_restart(self, dead: list[str]) -> Measured:
        """Return the effect of a kill; only nodes that the harness killed count."""
        killed = [node for node in dead if node in self._killed]
        self._killed -= set(dead)
        if not dead:
            return Measured(effective=None, effect="every node was running")
        others = [node for node in dead if node not in killed]
        return Measured(
            effective=bool(killed),
            effect=f"seen dead: {' '.join(killed)}"
            if not others
            else f"seen dead: {' '.join(dead)}, of which {' '.join(others)} not by this fault",
            command=f"docker kill --signal KILL {' '.join(self._containers[n] for n in dead)}",
            data={"dead": dead, "by_themselves": others},
        )

    def freeze(self, node: str) -> None:
        """Freeze a node's processes.

        If it is dead: raises NodeKilled if a fault killed it, NodeDisturbed if something outside
        the harness did, NodeDied if it ended by itself.
        """
        container = self._containers[node]
        if not self.inspect(node).running:
            if node in self._killed:
                raise NodeKilled(f"{node} was dead by another fault when it was to be frozen")
            if node in self._crashes:
                raise NodeDied(node, self._crashes[node])
            raise NodeDisturbed(next(reversed(self._disturbances.get(node, {"": None}))))
        if node in self._restarted:
            # Frozen while it loads its rules it would hold the lock that the next cut waits for.
            self._exec.run(container, ["squall-links", "settled"])
            self._restarted.discard(node)

        def pause() -> None:
            if not self._exec.state(container).paused:
                with engine_trouble(f"{container} could not be paused"):
                    self._engine.api.pause(container)

        _retry(pause, FREEZE_ATTEMPTS)
        if self._exec.state(container).paused:
            self._frozen.add(node)
            self._seen_frozen.add(node)

    def thaw(self, node: str) -> None:
        """Thaw a node if it is frozen, also if it was frozen from outside."""
        container = self._containers[node]
        if self.inspect(node).paused:
            with engine_trouble(f"{container} could not be resumed"):
                self._engine.api.unpause(container)
        if node in self._stopped:
            with engine_trouble(f"{container} could not be continued"):
                self._engine.api.kill(container, "SIGCONT")
        self._frozen.discard(node)
        self._stopped.discard(node)

    def measured_thaw(self, nodes: tuple[str, ...]) -> Measured:
        """Return the effect of a pause after its thaw: which of the nodes were observed frozen."""
        seen = sorted(self._seen_frozen & set(nodes))
        self._seen_frozen -= set(nodes)
        if not seen:
            return Measured(effective=None, effect="no node was frozen")
        return Measured(
            effective=True,
            effect=f"seen frozen: {' '.join(seen)}",
            command=f"docker pause {' '.join(self._containers[node] for node in seen)}",
            data={"frozen": seen},
        )

    def inspect(self, node: str) -> ContainerState:
        """Return the state of a node's process; records what the harness did not do to it."""
        state = self._exec.state(self._containers[node])
        if state.gone:
            self._record_disturbance(node, exit_causes.removed(node))
        elif state.running:
            self._record_running(node, state)
        elif node not in self._killed and (node, state.started_at) not in self._reported_deaths:
            self._reported_deaths.add((node, state.started_at))
            self._record_exit(node, state)
        return state

    def inspect_unanswered(self, node: str) -> None:
        """Record whether a running node that does not answer was stopped by a signal (SIGSTOP)."""
        state = self.inspect(node)
        if not state.running or state.paused or node in self._stopped:
            return
        # Other processes of the container still run: only the node's own process was stopped.
        said = self._exec.run(self._containers[node], ["cat", "/proc/1/stat"])
        if said.rpartition(")")[2].split()[:1] in (["T"], ["t"]):
            self._stopped.add(node)
            self._record_disturbance(
                node, exit_causes.frozen(node, "SIGSTOP, as `docker kill -s STOP` sends")
            )

    def _record_running(self, node: str, state: ContainerState) -> None:
        before = self._started_at.setdefault(node, state.started_at)
        if state.started_at != before:
            self._record_disturbance(node, exit_causes.restarted(node, killed=node in self._killed))
            self._started_at[node] = state.started_at
            self._killed.discard(node)
            self._frozen.discard(node)
        if state.paused and node not in self._frozen:
            self._record_disturbance(node, exit_causes.frozen(node, "`docker pause`"))
        elif node in self._frozen and not state.paused:
            self._record_disturbance(node, exit_causes.thawed(node))
            self._frozen.discard(node)
        if not state.connected:
            self._record_disturbance(node, exit_causes.disconnected(node))

    def _record_exit(self, node: str, state: ContainerState) -> None:
        lines = log_tail(self._engine, self._containers[node])
        cause = exit_causes.exit_cause(
            node,
            state,
            final_lines_of(lines),
            requested=exit_causes.sent_signal(self._events(self._containers[node])),
            stopped=exit_causes.stopped_in_order(lines),
        )
        if cause.own:
            self._crashes.setdefault(node, cause.text)
        else:
            self._record_disturbance(node, cause.text)

    def _events(self, container: str) -> list[dict[str, object]]:
        """Return the engine's recent events about a container; [] if it has none."""
        now_s = time.time()
        try:
            return list(
                self._engine.api.events(
                    since=f"{now_s - EVENTS_S:.9f}",
                    until=f"{now_s:.9f}",
                    filters={"type": "container", "container": container},
                    decode=True,
                )
            )
        except (docker.errors.DockerException, requests.exceptions.RequestException, ValueError):
            return []

    def _record_disturbance(self, node: str, text: str) -> None:
        self._disturbances.setdefault(node, {}).setdefault(text)

    def _await_exit(self, container: str) -> ContainerState:
        give_up_s = time.monotonic() + EXIT_TIMEOUT_S
        while (state := self._exec.state(container)).running:
            if time.monotonic() > give_up_s:
                raise HarnessError(f"{container} still runs {EXIT_TIMEOUT_S} s after SIGKILL")
            time.sleep(EXIT_POLL_S)
        return state


def _retry(act: Callable[[], None], attempts: int) -> None:
    """Retry what the engine may refuse for a moment; raises the last refusal."""
    for _ in range(attempts - 1):
        with contextlib.suppress(HarnessError):
            return act()
        time.sleep(RETRY_S)
    return act()


@contextlib.contextmanager
def engine_trouble(what: str) -> Iterator[None]:
    """Convert errors of the engine to HarnessError."""
    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise HarnessError(f"{what}: {reason(error)}") from error
