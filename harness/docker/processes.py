"""The nodes' processes: started, killed, frozen, and watched for what nobody of ours did to them.

What we did is remembered, so that every other end is known to be none of ours: by the node's own
doing, which is evidence, or by somebody outside, which is trouble (`deaths` tells them
apart). So is every other change of state that we did not bring about: a process that another had
frozen, restarted, taken off its network or removed. Both are noted when they are first seen.
Methods that take a node block and want its lock held.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import docker.errors
import requests.exceptions

from squall.harness.cluster import HarnessError, Measured, NodeDied, NodeDisturbed, NodeKilled
from squall.harness.docker import deaths
from squall.harness.docker.engine import Docker, reason
from squall.harness.docker.evidence import last_lines, words_of
from squall.harness.docker.exec import ContainerExec, ContainerState

DEATH_TIMEOUT_S = 20
"""SIGKILL takes milliseconds, the engine some tens of them to notice; more is a stuck engine."""

DEATH_POLL_S = 0.01
START_ATTEMPTS = 5
"""The engine may still be taking the last process's network apart."""

FREEZE_ATTEMPTS = 20
"""A process inside an uninterruptible call (an fsync on a busy disk) cannot be frozen just then:
the engine tries for some milliseconds, thaws what it had and gives up."""

RETRY_S = 0.3
KILLED_EXIT_CODE = 137
EVENTS_S = 60
"""How far back the engine is asked who sent a signal; it remembers its last 256 events."""


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
        """Nodes seen to have ended by their own doing, with the last words of each."""
        return dict(self._crashes)

    @property
    def disturbances(self) -> dict[str, tuple[str, ...]]:
        """What somebody outside the harness was seen to do to nodes, a sentence each."""
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
        """SIGKILL a node at the moment the last of `barrier` arrives; return when it is dead."""
        container = self._containers[node]
        with contextlib.suppress(HarnessError):  # nobody may miss the appointment for it
            self.notice(node)
        barrier.wait(DEATH_TIMEOUT_S)
        too_late = False
        try:
            self._engine.api.kill(container, "SIGKILL")
        except docker.errors.NotFound as error:
            self.notice(node)
            raise NodeDisturbed(deaths.removed(node)) from error
        except (docker.errors.APIError, requests.exceptions.RequestException) as error:
            if "not running" not in reason(error):
                raise HarnessError(f"{container} could not be killed: {reason(error)}") from error
            too_late = True
        state = self._await_death(container)
        ours = state.exit_code == KILLED_EXIT_CODE and not (state.out_of_memory or too_late)
        if ours or node in self._killed:
            self._killed.add(node)
        else:
            self.notice(node)  # it ended before our signal
        self._seen_frozen.discard(node)
        self._frozen.discard(node)
        self._stopped.discard(node)

    def restart(self, node: str) -> bool:
        """Start a node again if its process is dead; return whether it was."""
        state = self.notice(node)
        if state.running or state.gone:
            return False
        self._frozen.discard(node)
        self.launch(node)
        self._restarted.add(node)
        return True

    def measured_restart(self, dead: list[str]) -> Measured:
        """Sum up a restart of what was found dead; only what we had killed shows our effect."""
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

        When there are none: raises NodeKilled if a fault of ours killed them, NodeDisturbed if
        somebody outside did, and NodeDied if the node ended by its own doing.
        """
        container = self._containers[node]
        if not self.notice(node).running:
            if node in self._killed:
                raise NodeKilled(f"{node} was dead by another fault when it was to be frozen")
            if node in self._crashes:
                raise NodeDied(node, self._crashes[node])
            raise NodeDisturbed(next(reversed(self._disturbances.get(node, {"": None}))))
        if node in self._restarted:
            # Frozen while it loads its rules it would hold a lock that the next cut waits for.
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
        """Thaw a node if it is frozen, whoever froze it."""
        container = self._containers[node]
        if self.notice(node).paused:
            with engine_trouble(f"{container} could not be resumed"):
                self._engine.api.unpause(container)
        if node in self._stopped:
            with engine_trouble(f"{container} could not be continued"):
                self._engine.api.kill(container, "SIGCONT")
        self._frozen.discard(node)
        self._stopped.discard(node)

    def measured_thaw(self, nodes: tuple[str, ...]) -> Measured:
        """Sum up a thaw: which of these nodes had been seen frozen."""
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

    def notice(self, node: str) -> ContainerState:
        """Look at a node's process, and note whatever happened to it that we did not do."""
        state = self._exec.state(self._containers[node])
        if state.gone:
            self._disturb(node, deaths.removed(node))
        elif state.running:
            self._notice_living(node, state)
        elif node not in self._killed and (node, state.started_at) not in self._reported_deaths:
            self._reported_deaths.add((node, state.started_at))
            self._notice_death(node, state)
        return state

    def notice_stopped(self, node: str) -> None:
        """Note it if a running node that does not answer was stopped by a signal (SIGSTOP)."""
        state = self.notice(node)
        if not state.running or state.paused or node in self._stopped:
            return
        # A program beside it still runs: only the node's own process was stopped.
        said = self._exec.run(self._containers[node], ["cat", "/proc/1/stat"])
        if said.rpartition(")")[2].split()[:1] in (["T"], ["t"]):
            self._stopped.add(node)
            self._disturb(node, deaths.frozen(node, "SIGSTOP, as `docker kill -s STOP` sends"))

    def _notice_living(self, node: str, state: ContainerState) -> None:
        before = self._started_at.setdefault(node, state.started_at)
        if state.started_at != before:
            self._disturb(node, deaths.restarted(node, killed=node in self._killed))
            self._started_at[node] = state.started_at
            self._killed.discard(node)
            self._frozen.discard(node)
        if state.paused and node not in self._frozen:
            self._disturb(node, deaths.frozen(node, "`docker pause`"))
        elif node in self._frozen and not state.paused:
            self._disturb(node, deaths.thawed(node))
            self._frozen.discard(node)
        if not state.connected:
            self._disturb(node, deaths.disconnected(node))

    def _notice_death(self, node: str, state: ContainerState) -> None:
        lines = last_lines(self._engine, self._containers[node])
        death = deaths.cause_of_death(
            node,
            state,
            words_of(lines),
            told=deaths.sent_signal(self._events(self._containers[node])),
            stopped=deaths.ended_in_order(lines),
        )
        if death.own:
            self._crashes.setdefault(node, death.text)
        else:
            self._disturb(node, death.text)

    def _events(self, container: str) -> list[dict[str, object]]:
        """Ask the engine what it was told to do with a container lately; nothing if it forgot."""
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

    def _disturb(self, node: str, text: str) -> None:
        self._disturbances.setdefault(node, {}).setdefault(text)

    def _await_death(self, container: str) -> ContainerState:
        give_up_s = time.monotonic() + DEATH_TIMEOUT_S
        while (state := self._exec.state(container)).running:
            if time.monotonic() > give_up_s:
                raise HarnessError(f"{container} still runs {DEATH_TIMEOUT_S} s after SIGKILL")
            time.sleep(DEATH_POLL_S)
        return state


def _retry(act: Callable[[], None], attempts: int) -> None:
    """Do what the engine may refuse for a moment; the last refusal counts."""
    for _ in range(attempts - 1):
        with contextlib.suppress(HarnessError):
            return act()
        time.sleep(RETRY_S)
    return act()


@contextlib.contextmanager
def engine_trouble(what: str) -> Iterator[None]:
    """Turn the engine's refusals into trouble of the harness."""
    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise HarnessError(f"{what}: {reason(error)}") from error
