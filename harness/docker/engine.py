"""The connection to the Docker engine, the engine's properties, and its error texts.

Every other module gets its client here, so that an engine that cannot be reached is reported in one
place, with a remedy. The engine may be old (20.10, cgroup v1) or new, on this machine or in a
desktop's virtual machine; `Engine` has the properties that differ.
"""

from __future__ import annotations

import os
import sys
from functools import cached_property
from typing import Any

import docker.errors
import msgspec
import requests.exceptions
from docker.client import DockerClient

from squall.harness.cluster import HarnessError

CALL_TIMEOUT_S = 60
"""An engine that takes longer for one response is stuck; the slowest call seen took 2 s."""

POOL_SIZE = 32
"""Connections kept to the engine: seven nodes times the few calls that overlap on each."""


class NoEngineError(HarnessError):
    """No Docker engine answers."""


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """The properties an engine reports."""

    version: str
    architecture: str
    kernel: str
    cgroup: str
    storage: str
    system: str
    rootless: bool

    @property
    def direct(self) -> bool:
        """Whether this machine reaches containers by their own addresses.

        Only where both share a kernel and its routes. A desktop engine or a rootless one needs
        published ports, behind which a dead node still seems to accept connections.
        """
        if (forced := os.environ.get("SQUALL_PUBLISH_PORTS")) is not None:
            return forced in ("", "0", "no")
        remote = os.environ.get("DOCKER_HOST", "unix://").partition("://")[0] != "unix"
        desktop = "Docker Desktop" in self.system
        return sys.platform == "linux" and not (self.rootless or remote or desktop)


class Docker:
    """A connection to the engine. Safe to use from several threads; every call blocks."""

    def __init__(self, timeout_s: int = CALL_TIMEOUT_S) -> None:
        try:
            self.client = DockerClient.from_env(timeout=timeout_s, max_pool_size=POOL_SIZE)
            self.client.ping()
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise NoEngineError(
                f"no Docker engine answers ({unreachable(error)}). Start Docker, or point "
                "DOCKER_HOST at an engine; `squall doctor` says what else is missing"
            ) from error

    @property
    def api(self) -> Any:
        """The low-level client: the calls as the engine documents them."""
        return self.client.api

    @cached_property
    def engine(self) -> Engine:
        """The engine's properties, requested once."""
        info = self.client.info()
        options = " ".join(info.get("SecurityOptions") or [])
        return Engine(
            version=info.get("ServerVersion", "unknown"),
            architecture=info.get("Architecture", "x86_64"),
            kernel=info.get("KernelVersion", "unknown"),
            cgroup=f"v{info.get('CgroupVersion', '1')}, {info.get('CgroupDriver', 'unknown')}",
            storage=info.get("Driver", "unknown"),
            system=info.get("OperatingSystem", "unknown"),
            rootless="rootless" in options,
        )

    def image_id(self, name: str) -> str:
        """Return the content id of an image; "" when this engine has none of that name."""
        try:
            return str(self.client.images.get(name).id)
        except docker.errors.ImageNotFound:
            return ""

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def reason(error: BaseException) -> str:
    """Return the engine's own text for a failure, as one line."""
    explanation = getattr(error, "explanation", None)
    text = explanation.decode(errors="replace") if isinstance(explanation, bytes) else explanation
    return " ".join(str(text or error).split())


def unreachable(error: BaseException) -> str:
    """Return why the engine cannot be reached: the operating system's text where there is one.

    Client libraries wrap the OSError several times over, each adding an address and a class.
    """
    seen: list[BaseException] = [error]
    for each in seen:
        if isinstance(each, OSError) and each.strerror:
            return f"{each.strerror}, at {os.environ.get('DOCKER_HOST', 'its default socket')}"
        inner = [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
        seen += [e for e in inner if isinstance(e, BaseException) and e not in seen]
    return reason(error)
