"""Reaching into a node's container: by exec while it runs, by a helper while it cannot.

A frozen container accepts no exec and a dead one has no process to join, and yet faults overlap: a
link may be cut while its end is frozen, a clock turned while its owner is dead. Then a short-lived
helper of the same image shares the node's control volume and, if it still has one, its network.
Whoever calls holds the node's lock, so the state does not change in between.
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
    """What the engine says of a container's process.

    `started_at` is the engine's stamp of its last start: another stamp is another process.
    `connected` is false for one that was taken off its network, `gone` true when there is no such
    container any more.
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
        """A network namespace lives exactly as long as the process."""
        return self.running


class ContainerExec:
    """One node's container, as something to inspect and to work in. Every method blocks."""

    def __init__(self, engine: Docker, image: str, labels: dict[str, str]) -> None:
        self._engine, self._image, self._labels = engine, image, labels

    def state(self, container: str) -> ContainerState:
        """Ask the engine for a container's state; raises HarnessError when it does not answer."""
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
        """Run a program with the container's files and network; return what it printed.

        Raises HarnessError with its output when it fails.
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
        # The end of what it prints may be known before its own end is.
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
    """Start what was prepared in a container, and return all it prints.

    Asked for as any other page. The library's own `exec_start` reads the socket underneath an
    answer of which a part has been read already: whatever came together with its head is lost, and
    on a busy machine that is one output in four.
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
