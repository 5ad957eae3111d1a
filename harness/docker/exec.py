"""Runs commands in a node's container: by exec while it runs, else in a helper container.

A frozen container accepts no exec and a dead one has no process to join, but faults overlap: a link
may be cut while its node is frozen, a clock skewed while its node is dead. The command then runs in
a short-lived helper container of the same image that shares the node's control volume and, if there
is one, its network. The caller holds the node's lock, so the state does not change in between.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import Any

import docker.errors
import msgspec
import requests.exceptions

from squall.harness.cluster import HarnessError
from squall.harness.docker.engine import CALL_TIMEOUT_S, Docker, reason

_FAILED_IN_OUTPUT = 400
END_POLL_S = 0.01
_PIECE = struct.Struct("!BxxxI")  # which output, how many bytes follow


class ContainerState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a container's process as the engine reports it.

    `started_at` is the engine's time stamp of its last start: another stamp is another process.
    `connected` is false if it was disconnected from its network, `gone` true if the container does
    not exist any more.
    """

    running: bool
    paused: bool
    exit_code: int
    out_of_memory: bool
    started_at: str = ""
    connected: bool = True
    gone: bool = False

    @property
    def has_network(self) -> bool:
        """Whether there is a network namespace: it exists exactly as long as the process."""
        return self.running


class ContainerExec:
    """Inspects containers and runs commands in them. Every method blocks."""

    def __init__(self, engine: Docker, image: str, labels: dict[str, str]) -> None:
        self._engine, self._image, self._labels = engine, image, labels

    def state(self, container: str) -> ContainerState:
        """Return a container's state; raises HarnessError if the engine does not answer."""
        try:
            found: dict[str, Any] = self._engine.api.inspect_container(container)
        except docker.errors.NotFound:
            return ContainerState(
                running=False, paused=False, exit_code=0, out_of_memory=False, gone=True
            )
        except (docker.errors.APIError, requests.exceptions.RequestException) as error:
            raise HarnessError(f"{container}: {reason(error)}") from error
        said: dict[str, Any] = found["State"]
        networks = (found.get("NetworkSettings") or {}).get("Networks")
        return ContainerState(
            running=bool(said.get("Running")),
            paused=bool(said.get("Paused")),
            exit_code=int(said.get("ExitCode", 0)),
            out_of_memory=bool(said.get("OOMKilled")),
            started_at=str(said.get("StartedAt", "")),
            connected=bool(networks) or networks is None,
        )

    def run(self, container: str, command: Sequence[str], stdin: str = "") -> str:
        """Run a command with the container's files and network; return its output.

        Raises HarnessError with the output if it fails.
        """
        # The engine's exec takes standard input only through a hijacked socket: a shell is simpler.
        argv = ["sh", "-c", 'printf %s "$1" | { shift; "$@"; }', "sh", stdin, *command]
        state = self.state(container)
        try:
            if state.running and not state.paused:
                code, output = self._run_inside(container, argv)
            else:
                code, output = self._run_in_helper(container, argv, state)
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise HarnessError(f"{container}: {command[0]}: {reason(error)}") from error
        if code:
            raise HarnessError(
                f"{container}: `{' '.join(command)}` failed with {code}: "
                f"{' '.join(output[-_FAILED_IN_OUTPUT:].split())}"
            )
        return output

    def _run_inside(self, container: str, argv: list[str]) -> tuple[int, str]:
        api = self._engine.api
        made = api.exec_create(container, argv)
        output = output_of(api, made["Id"])
        give_up_s = time.monotonic() + CALL_TIMEOUT_S
        # The end of its output may be reported before its exit code is.
        while (code := api.exec_inspect(made["Id"])["ExitCode"]) is None:
            if time.monotonic() > give_up_s:
                raise HarnessError(f"{container}: the engine never told how {argv[-1]} ended")
            time.sleep(END_POLL_S)
        return int(code), output.decode(errors="replace")

    def _run_in_helper(
        self, container: str, argv: list[str], state: ContainerState
    ) -> tuple[int, str]:
        helper = self._engine.client.containers.create(
            self._image,
            argv,
            entrypoint=[],
            cap_add=["NET_ADMIN"],
            network_mode=f"container:{container}" if state.has_network else "none",
            volumes_from=[container],
            labels=self._labels,
        )
        try:
            helper.start()
            code = int(helper.wait()["StatusCode"])
            return code, helper.logs().decode(errors="replace")
        finally:
            helper.remove(force=True, v=False)


def output_of(api: Any, exec_id: str) -> bytes:
    """Start a prepared exec and return its whole output.

    Uses an ordinary HTTP request. The library's `exec_start` reads from the socket beneath a
    response of which a part was read already, and loses what arrived together with its head: on a
    busy machine one output in four.
    """
    url = f"{api.base_url}/v{api.api_version}/exec/{exec_id}/start"
    answer = api.post(url, json={"Detach": False, "Tty": False}, timeout=CALL_TIMEOUT_S)
    answer.raise_for_status()
    body, printed = answer.content, bytearray()
    while len(body) >= _PIECE.size:
        _, size = _PIECE.unpack_from(body)
        end = _PIECE.size + size
        printed += body[_PIECE.size : end]
        body = body[end:]
    return bytes(printed)
