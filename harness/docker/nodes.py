"""How a node is started in a container: its flags, limits and volumes.

All evidence is kept: the node purges neither WAL segments nor snapshots, its log is its standard
error, and there is no restart policy that would hide a crash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import docker.utils
import msgspec

CLIENT_PORT, PEER_PORT, STATUS_PORT = 2379, 2380, 2381
DATA, CONTROL = "/data", "/run/squall"

MEMORY_MAX = "2g"
"""A node that needs more leaks memory; the limit protects the other nodes and the machine."""

PROCESSES_MAX = 512
WATCH_PROGRESS = "1s"
"""Interval of progress notifications to an idle watch; the default of ten minutes exceeds a run."""

LOG_FILE_BYTES_MAX, LOG_FILES_MAX = "256m", "4"
"""More than a node logs in an hour under faults; the engine drops the oldest file beyond that."""


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a run's nodes that do not follow from their addresses.

    Snapshots are frequent, so that a run of a minute has some and a rejoining node needs one.
    """

    election_timeout_ms: int = 1000
    heartbeat_interval_ms: int = 100
    snapshot_count: int = 2000
    extra_flags: tuple[str, ...] = ()


def command(
    node: str, addresses: Mapping[str, str], token: str, settings: NodeSettings
) -> list[str]:
    """Return the command-line flags of one node of a new cluster."""
    address = addresses[node]
    cluster = ",".join(f"{name}=http://{at}:{PEER_PORT}" for name, at in addresses.items())
    flags = {
        "name": node,
        "data-dir": DATA,
        "listen-peer-urls": f"http://0.0.0.0:{PEER_PORT}",
        "initial-advertise-peer-urls": f"http://{address}:{PEER_PORT}",
        "listen-client-urls": f"http://0.0.0.0:{CLIENT_PORT}",
        "advertise-client-urls": f"http://{address}:{CLIENT_PORT}",
        "listen-metrics-urls": f"http://0.0.0.0:{STATUS_PORT}",
        "initial-cluster": cluster,
        "initial-cluster-token": token,
        "initial-cluster-state": "new",
        "heartbeat-interval": str(settings.heartbeat_interval_ms),
        "election-timeout": str(settings.election_timeout_ms),
        "snapshot-count": str(settings.snapshot_count),
        "max-wals": "0",
        "max-snapshots": "0",
        "experimental-watch-progress-notify-interval": WATCH_PROGRESS,
        "log-format": "json",
    }
    argv = [word for name, value in flags.items() for word in (f"--{name}", value)]
    return [*argv, *settings.extra_flags]


def volumes(container: str) -> dict[str, str]:
    """Return the named volumes of a container and where they are mounted.

    Volumes, not the image's layers, so that an fsync reaches a real file system. The control volume
    holds the iptables rules and the clock's file, which outlive the process and which helper
    containers share.
    """
    return {f"{container}-data": DATA, f"{container}-control": CONTROL}


def container_arguments(
    *,
    image: str,
    container: str,
    node: str,
    network: str,
    address: str,
    argv: Sequence[str],
    labels: Mapping[str, str],
    publish: bool,
) -> dict[str, Any]:
    """Return the engine's create arguments; `publish` for engines in a virtual machine."""
    ports = (CLIENT_PORT, PEER_PORT, STATUS_PORT)
    host: dict[str, Any] = {
        "CapAdd": ["NET_ADMIN"],
        "RestartPolicy": {"Name": "no"},
        "Memory": docker.utils.parse_bytes(MEMORY_MAX),
        "PidsLimit": PROCESSES_MAX,
        "NetworkMode": network,
        "Binds": [f"{name}:{path}" for name, path in volumes(container).items()],
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": LOG_FILE_BYTES_MAX, "max-file": LOG_FILES_MAX},
        },
    }
    if publish:
        # Port 0: the engine chooses a port at every start.
        host["PortBindings"] = {
            f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}] for port in ports
        }
    return {
        "image": image,
        "name": container,
        "hostname": node,
        "command": list(argv),
        "labels": dict(labels),
        "ports": [(port, "tcp") for port in ports],
        "host_config": host,
        "networking_config": {
            "EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": address}}}
        },
    }
