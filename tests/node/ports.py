"""Ports for servers that tests start.

Below the range from which the kernel takes the ports of outgoing connections: one of that range may
be somebody's connection by the time the server gets to listen on it.
"""

from __future__ import annotations

import socket
from random import SystemRandom

FIRST, END = 10_000, 32_768
_chance = SystemRandom()
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback on which nobody listens, and which were not returned before."""
    ports: list[int] = []
    while len(ports) < count:
        port = _chance.randrange(FIRST, END)
        if port not in _given and _is_free(port):
            _given.add(port)
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
