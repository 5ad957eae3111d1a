"""Cuts links with iptables, in the network namespace of the node that is to drop the packets.

A rule names the address of a peer and drops all that arrives from it, so it cuts established
connections too. No rule names the controller's address, so clients and the observer reach every
node throughout. All rules are in one chain of Squall's own; healing empties that chain only. The
chain counts the packets it drops, and a cut that dropped none had no effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from squall.harness.cluster import Measured
from squall.harness.docker.exec import ContainerExec

CHAIN = "SQUALL"
_PACKETS, _TARGET, _SOURCE = 0, 2, 7  # columns of `iptables -n -v -x -L`


def rules(peers: Iterable[str], addresses: Mapping[str, str]) -> str:
    """Return the iptables-restore lines that drop packets from these peers; sorted, one a peer."""
    return "".join(f"-A {CHAIN} -s {addresses[peer]}/32 -j DROP\n" for peer in sorted(peers))


def dropped_packets(listing: str, addresses: Mapping[str, str]) -> dict[str, int]:
    """Parse a listing of the chain: packets dropped from each peer that a rule names."""
    names = {address: node for node, address in addresses.items()}
    counts: dict[str, int] = {}
    for line in listing.splitlines():
        columns = line.split()
        if len(columns) > _SOURCE and columns[_TARGET] == "DROP" and columns[0].isdecimal():
            peer = names.get(columns[_SOURCE].partition("/")[0])
            if peer is not None:
                counts[peer] = counts.get(peer, 0) + int(columns[_PACKETS])
    return counts


class Iptables:
    """The rules of one cluster: the grudge in force, and what each rule has dropped so far.

    Methods that take a node block; the caller holds its lock.
    """

    def __init__(self, container_exec: ContainerExec, containers: Mapping[str, str]) -> None:
        self._exec = container_exec
        self._containers = containers
        self._addresses: dict[str, str] = {}
        self._grudge: dict[str, frozenset[str]] = {}
        self._dropped: dict[tuple[str, str], int] = {}

    def set_addresses(self, addresses: Mapping[str, str]) -> None:
        """Set the nodes' addresses."""
        self._addresses = dict(addresses)

    @property
    def grudge(self) -> Mapping[str, frozenset[str]]:
        """The grudge in force: which node drops whose packets."""
        return dict(self._grudge)

    def cut(self, node: str, to: frozenset[str]) -> None:
        """Make a node drop the packets of these peers, in addition to those it drops already."""
        self.save_counters(node)
        self._grudge[node] = self._grudge.get(node, frozenset()) | to
        for peer in to:
            self._dropped.setdefault((node, peer), 0)
        self._install(node)

    def heal(self, node: str) -> None:
        """Remove a node's rules."""
        if node not in self._grudge:
            return
        self.save_counters(node)
        # Forgotten only once the rules are gone: after a failure here it is healed again.
        self._load(node, "")
        del self._grudge[node]

    def save_counters(self, node: str) -> None:
        """Add a node's counters to the totals; called before the counters are lost.

        Counters are lost with the network namespace (with the process) and when rules change.
        """
        for peer, packets in self._counters(node).items():
            self._dropped[node, peer] = self._dropped.get((node, peer), 0) + packets

    def dropped(self, node: str) -> int:
        """Return how many packets a node has dropped since the last `measured`."""
        before = sum(packets for (at, _), packets in self._dropped.items() if at == node)
        return before + sum(self._counters(node).values())

    def measured(self) -> Measured:
        """Return the effect since the last call: packets dropped, link by link."""
        counts, self._dropped = self._dropped, {}
        if not counts:
            return Measured(effective=None, effect="no link was cut")
        total = sum(counts.values())
        silent = sum(1 for packets in counts.values() if not packets)
        effect = f"{total:,} packets dropped on {len(counts) - silent} of {len(counts)} cut links"
        cuts: dict[str, set[str]] = {}
        for node, peer in counts:
            cuts.setdefault(node, set()).add(peer)
        return Measured(
            effective=total > 0,
            effect=effect,
            command="; ".join(
                f"{node}: iptables-restore {line}"
                for node in sorted(cuts)
                for line in rules(cuts[node], self._addresses).splitlines()
            ),
            data={f"{peer}->{node}": packets for (node, peer), packets in sorted(counts.items())},
        )

    def _counters(self, node: str) -> dict[str, int]:
        container = self._containers[node]
        if node not in self._grudge or not self._exec.state(container).has_network:
            return {}
        listing = self._exec.run(container, ["squall-links", "counters"])
        return dropped_packets(listing, self._addresses)

    def _install(self, node: str) -> None:
        self._load(node, rules(self._grudge[node], self._addresses))

    def _load(self, node: str, text: str) -> None:
        container = self._containers[node]
        verb = "load" if self._exec.state(container).has_network else "save"
        self._exec.run(container, ["squall-links", verb], stdin=text)
