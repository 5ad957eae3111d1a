"""Cutting links with iptables, each inside the network of the node that is to be deaf.

A rule names the address of a peer and drops what comes from it: established connections too, since
nothing they send is heard any more. The controller's address is in no rule, so clients and
observation reach every node throughout. Rules live in one chain of ours; healing empties that
chain. The chain counts what it dropped, and a cut that dropped nothing was none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from squall.harness.cluster import Measured
from squall.harness.docker.exec import ContainerExec

CHAIN = "SQUALL"
_PACKETS, _TARGET, _SOURCE = 0, 2, 7  # columns of `iptables -n -v -x -L`


def rules(deaf_to: Iterable[str], addresses: Mapping[str, str]) -> str:
    """Write the lines for iptables-restore that make a node deaf to others; sorted, one a peer."""
    return "".join(f"-A {CHAIN} -s {addresses[peer]}/32 -j DROP\n" for peer in sorted(deaf_to))


def dropped_packets(listing: str, addresses: Mapping[str, str]) -> dict[str, int]:
    """Read the chain's counters: packets dropped from each peer that a rule names."""
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
    """The links of one cluster: which are cut, and what each cut has dropped so far.

    Methods that take a node block and want its lock held.
    """

    def __init__(self, container_exec: ContainerExec, containers: Mapping[str, str]) -> None:
        self._exec = container_exec
        self._containers = containers
        self._addresses: dict[str, str] = {}
        self._grudge: dict[str, frozenset[str]] = {}
        self._dropped: dict[tuple[str, str], int] = {}

    def set_addresses(self, addresses: Mapping[str, str]) -> None:
        """Learn where everybody lives."""
        self._addresses = dict(addresses)

    @property
    def grudge(self) -> Mapping[str, frozenset[str]]:
        """Who drops whom at the moment."""
        return dict(self._grudge)

    def cut(self, node: str, to: frozenset[str]) -> None:
        """Make a node drop the packets of these peers, besides those it drops already."""
        self.save_counters(node)
        self._grudge[node] = self._grudge.get(node, frozenset()) | to
        for peer in to:
            self._dropped.setdefault((node, peer), 0)
        self._install(node)

    def heal(self, node: str) -> None:
        """Make a node drop nothing any more."""
        if node not in self._grudge:
            return
        self.save_counters(node)
        # Forgotten only once the rules are gone: a failure here leaves it to be healed again.
        self._load(node, "")
        del self._grudge[node]

    def save_counters(self, node: str) -> None:
        """Add up what a node has dropped; to be called before its counters are lost.

        Counters die with the network namespace, that is with the process, and when rules change.
        """
        for peer, packets in self._counters(node).items():
            self._dropped[node, peer] = self._dropped.get((node, peer), 0) + packets

    def dropped(self, node: str) -> int:
        """Return how many packets a node has dropped since the last `measured`."""
        before = sum(packets for (deaf, _), packets in self._dropped.items() if deaf == node)
        return before + sum(self._counters(node).values())

    def measured(self) -> Measured:
        """Sum up what was dropped since the last time this was asked, link by link."""
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
