"""A private network for each run: a free subnet, and a fixed address for every node.

The order of candidate subnets is derived from the run's name, so that two runs that start at the
same moment rarely choose the same one; if they do, the engine refuses the second, and the next
candidate is tried. Subnets that this machine routes elsewhere are excluded, as the engine does not
check that.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import docker.errors
import docker.types
import msgspec

from squall.harness.cluster import HarnessError
from squall.harness.docker.engine import Docker, reason

POOLS = ("10.213.0.0/16", "172.29.0.0/16", "10.87.0.0/16")
"""Ranges that the engine does not assign by itself and few networks use; three, against a clash."""

PREFIX = 26
"""Room for 61 addresses: gateway, seven nodes, and members that join later."""

FIRST_NODE = 11
ATTEMPTS_MAX = 50

_Net = ipaddress.IPv4Network


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A network of the engine, and the nodes' addresses on it."""

    id: str
    name: str
    subnet: str
    addresses: dict[str, str]


def candidate_subnets(seed: str, taken: Iterable[_Net]) -> Iterator[_Net]:
    """Yield free subnets, in an order that depends on the seed."""
    avoid = [net for net in taken if net.prefixlen > 0]
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])
    for pool in POOLS:
        subnets = list(ipaddress.IPv4Network(pool).subnets(new_prefix=PREFIX))
        for step in range(len(subnets)):
            subnet = subnets[(start + step) % len(subnets)]
            if not any(subnet.overlaps(net) for net in avoid):
                yield subnet


def addresses(subnet: _Net, nodes: Sequence[str]) -> dict[str, str]:
    """Return every node's address."""
    return {node: str(subnet[FIRST_NODE + at]) for at, node in enumerate(nodes)}


def routed(table: str) -> list[_Net]:
    """Parse a Linux route table (/proc/net/route: hexadecimal, network byte order reversed)."""
    nets = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7:
            base, mask = (bytes.fromhex(fields[at])[::-1] for at in (1, 7))
            prefix = int.from_bytes(mask).bit_count()
            nets.append(_Net((int.from_bytes(base), prefix), strict=False))
    return nets


def create_network(
    engine: Docker, name: str, nodes: Sequence[str], labels: Mapping[str, str]
) -> Network:
    """Create a bridge on a free subnet; raises HarnessError if the engine accepts none."""
    refused = "every candidate is routed elsewhere"
    tried = 0
    for subnet in candidate_subnets(name, _taken(engine)):
        tried += 1
        if tried > ATTEMPTS_MAX:
            break
        pool = docker.types.IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))
        try:
            made = engine.client.networks.create(
                name,
                driver="bridge",
                ipam=docker.types.IPAMConfig(pool_configs=[pool]),
                labels=dict(labels),
                check_duplicate=True,
            )
        except docker.errors.APIError as error:
            refused = reason(error)
            if "overlap" in refused.lower():
                continue
            break
        return Network(
            id=str(made.id), name=name, subnet=str(subnet), addresses=addresses(subnet, nodes)
        )
    raise HarnessError(
        f"no private network for the containers: {refused}. `docker network ls` shows what is "
        "taken; `squall clean` removes what dead runs left"
    )


def _taken(engine: Docker) -> list[_Net]:
    table = Path("/proc/net/route")
    nets = routed(table.read_text()) if table.exists() else []
    for network in engine.api.networks():
        for config in (network.get("IPAM") or {}).get("Config") or ():
            subnet = config.get("Subnet", "")
            if "." in subnet:
                nets.append(_Net(subnet, strict=False))
    return nets
