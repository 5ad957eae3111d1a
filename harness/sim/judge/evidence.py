"""The evidence of simulated nodes, read in the same way as that of containers.

The WAL is parsed from the bytes on the simulated disk by the checkers' own reader, and the log from
the lines that the node would have printed. Reading whole WALs costs as much as the run itself, so a
sweep, whose invariants have checked every apply, does it for some seeds only.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from squall.checkers.evidence import Breach, Evidence, NodeEvidence
from squall.checkers.raft.node_log import read_log
from squall.checkers.raft.wal import read_wal
from squall.harness.sim.judge.invariants import DIED
from squall.harness.sim.judge.states import parts_of
from squall.harness.sim.world.node import SimNode
from squall.harness.sim.world.world import SimWorld


def gather(world: SimWorld, into: Path | None, *, wals: bool = True) -> Evidence:
    """Gather the evidence of every node; with `into`, write logs and data to `into/<node>/`."""
    nodes = {}
    for node in world.nodes:
        if node.replica is not None and node.store is not None:
            world.invariants.holds(node.number, node.replica.applied, parts_of(node.store))
    broken = world.invariants.broken
    for node in world.nodes:
        if into is not None:
            _write(node, into / node.name, world.loop.zero_us)
        nodes[node.name] = _evidence(world, node, wals)
    breaches: tuple[Breach, ...] = ()
    # A node's own exception and a refusal to start are evidence of their own.
    told = [node.name for node in world.nodes if node.refusals]
    if broken is not None and broken.rule != DIED and broken.node not in told:
        at_ns = broken.at_us * 1000
        breaches = (Breach(rule=broken.rule, node=broken.node, at_ns=at_ns, text=broken.text),)
    return Evidence(nodes=nodes, breaches=breaches)


def _evidence(world: SimWorld, node: SimNode, wals: bool) -> NodeEvidence:
    found = read_wal(node.name, node.disk.files()) if wals else NodeEvidence(node=node.name)
    found = read_log(_lines(node, world.loop.zero_us)).join(found)
    return msgspec.structs.replace(
        found,
        assertions=(*found.assertions, *node.deaths),
        refusals=(*found.refusals, *node.refusals),
        member_id=node.config.member_id,
        final=_final(world, node) if node.running else None,
    )


def _final(world: SimWorld, node: SimNode) -> dict[str, Any]:
    status = world.status(node.number)
    return {
        "role": status.role,
        "term": status.term,
        "commit": status.commit,
        "applied": status.applied,
        "revision": status.revision,
        "digest": status.digest,
    }


_encode = msgspec.json.Encoder(enc_hook=str).encode


def _lines(node: SimNode, zero_us: int) -> Iterator[bytes]:
    """Yield the log as the node's process prints it: one JSON object a line.

    `at_ns` is the time of the history, which the simulator knows; `ts` the node's own clock.
    """
    for at_us, wall_ns, event in node.log:
        stamp = datetime.fromtimestamp(wall_ns / 1e9, tz=UTC).isoformat()
        line = {"ts": stamp, "at_ns": (at_us - zero_us) * 1000, "level": "info"}
        yield _encode(line | {"msg": event.name, "event": event.name} | event.fields)


def _write(node: SimNode, folder: Path, zero_us: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "node.log").write_bytes(b"\n".join(_lines(node, zero_us)) + b"\n")
    for name, content in node.disk.files().items():
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
