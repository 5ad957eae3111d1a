"""The nodes' processes: started, killed, frozen, and watched for dying by themselves.

What we killed is remembered, so that a process that ended otherwise is known to have ended by
itself: that is evidence against the database, and its last words are kept from the first time on.
Methods that take a node block and want its lock held.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import docker.errors
import requests.exceptions

from squall.harness.cluster import HarnessError, Measured, NodeDied
from squall.harness.docker.engine import Docker, reason
from squall.harness.docker.evidence import last_words
from squall.harness.docker.exec import Hands, State

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


class Processes:
    """The processes of one cluster's containers."""

    def __init__(self, engine: Docker, hands: Hands, containers: Mapping[str, str]) -> None:
        self._engine, self._hands, self._containers = engine, hands, containers
        self._killed: set[str] = set()
        self._seen_frozen: set[str] = set()
        self._restarted: set[str] = set()
        self._crashes: dict[str, str] = {}

    @property
    def crashes(self) -> dict[str, str]:
        """Nodes seen to have died by themselves, with the last words of each."""
        return dict(self._crashes)

    def launch(self, node: str) -> None:
        """Start a node's container."""
        container = self._containers[node]

        def start() -> None:
            with engine_trouble(f"{container} could not be started"):
                self._engine.api.start(container)

        _persevere(start, START_ATTEMPTS)

    def kill(self, node: str, together: threading.Barrier) -> None:
        """SIGKILL a node at the moment the last of `together` arrives; return when it is dead."""
        container = self._containers[node]
        together.wait(DEATH_TIMEOUT_S)
        try:
            self._engine.api.kill(container, "SIGKILL")
        except (docker.errors.APIError, requests.exceptions.RequestException) as error:
            if "not running" not in reason(error):
                raise HarnessError(f"{container} could not be killed: {reason(error)}") from error
        state = self._await_death(container)
        ours = state.exit_code == KILLED_EXIT_CODE and not state.out_of_memory
        if ours or node in self._killed:
            self._killed.add(node)
        else:
            self._remember_crash(node, state)  # it was quicker than we
        self._seen_frozen.discard(node)

    def revive(self, node: str) -> bool:
        """Start a node again if its process is dead; return whether it was."""
        if not self.notice_death(node):
            return False
        self.launch(node)
        self._restarted.add(node)
        return True

    def revived(self, dead: list[str]) -> Measured:
        """Sum up a restart of what was found dead; only what we had killed shows our effect."""
        killed = [node for node in dead if node in self._killed]
        self._killed -= set(dead)
        if not dead:
            return Measured(effective=None, effect="every node was running")
        return Measured(
            effective=bool(killed),
            effect=f"seen dead: {' '.join(dead)}",
            command=f"docker kill --signal KILL {' '.join(self._containers[n] for n in dead)}",
            data={"dead": dead, "by_themselves": [node for node in dead if node not in killed]},
        )

    def freeze(self, node: str) -> None:
        """Freeze a node's processes; raises NodeDied when there are none."""
        container = self._containers[node]
        if self.notice_death(node):
            raise NodeDied(node, self._crashes.get(node, "killed before it was to be frozen"))
        if node in self._restarted:
            # Frozen while it loads its rules it would hold a lock that the next cut waits for.
            self._hands.run(container, ["squall-links", "settled"])
            self._restarted.discard(node)

        def pause() -> None:
            if not self._hands.state(container).paused:
                with engine_trouble(f"{container} could not be paused"):
                    self._engine.api.pause(container)

        _persevere(pause, FREEZE_ATTEMPTS)
        if self._hands.state(container).paused:
            self._seen_frozen.add(node)

    def thaw(self, node: str) -> None:
        """Thaw a node if it is frozen."""
        container = self._containers[node]
        if self._hands.state(container).paused:
            with engine_trouble(f"{container} could not be resumed"):
                self._engine.api.unpause(container)

    def thawed(self, nodes: tuple[str, ...]) -> Measured:
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

    def notice_death(self, node: str) -> bool:
        """Whether a node's process has ended; by itself, if we did not kill it."""
        state = self._hands.state(self._containers[node])
        if not state.running and node not in self._killed:
            self._remember_crash(node, state)
        return not state.running

    def _await_death(self, container: str) -> State:
        give_up_s = time.monotonic() + DEATH_TIMEOUT_S
        while (state := self._hands.state(container)).running:
            if time.monotonic() > give_up_s:
                raise HarnessError(f"{container} still runs {DEATH_TIMEOUT_S} s after SIGKILL")
            time.sleep(DEATH_POLL_S)
        return state

    def _remember_crash(self, node: str, state: State) -> None:
        words = last_words(self._engine, self._containers[node])
        if state.out_of_memory:
            words = f"killed by the kernel, out of memory; before that:\n{words}"
        self._crashes.setdefault(node, f"exit code {state.exit_code}: {words}")


def _persevere(act: Callable[[], None], attempts: int) -> None:
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
