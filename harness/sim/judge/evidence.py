"""What simulated nodes leave behind, read by the same eyes as containers' logs and WALs.

The WAL is parsed from the bytes on the simulated disk by the checkers' own reader, and the log from
the lines that the node would have printed. Reading whole WALs costs as much as the run itself, so a
sweep, whose invariants have watched every apply, does it for some seeds only.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from squall.checkers.evidence import Evidence, NodeEvidence
from squall.checkers.raft.node_log import read_log
from squall.checkers.raft.wal import read_wal
from squall.harness.sim.world.node import SimNode
from squall.harness.sim.world.world import SimWorld


def gather(world: SimWorld, into: Path | None, *, wals: bool = True) -> Evidence:
    """Gather the evidence of every node; with `into`, write logs and data to `into/<node>/`."""
    nodes = {}
    broken = world.invariants.broken
    for node in world.nodes:
        if into is not None:
            _write(node, into / node.name)
        nodes[node.name] = _evidence(world, node, wals)
    if broken is not None:
        guilty = nodes.get(broken.node, NodeEvidence(node=broken.node))
        words = f"invariant broken: {broken.sentence()}"
        nodes[broken.node] = msgspec.structs.replace(guilty, assertions=(words, *guilty.assertions))
    return Evidence(nodes=nodes)


def _evidence(world: SimWorld, node: SimNode, wals: bool) -> NodeEvidence:
    found = read_wal(node.name, node.disk.files()) if wals else NodeEvidence(node=node.name)
    found = read_log(_lines(node)).join(found)
    return msgspec.structs.replace(
        found,
        assertions=(*found.assertions, *node.deaths),
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


def _lines(node: SimNode) -> Iterator[bytes]:
    """Yield the log as the node's process prints it: one JSON object a line."""
    for wall_ns, event in node.log:
        stamp = datetime.fromtimestamp(wall_ns / 1e9, tz=UTC).isoformat()
        line = {"ts": stamp, "level": "info", "msg": event.name, "event": event.name}
        yield _encode(line | event.fields)


def _write(node: SimNode, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "node.log").write_bytes(b"\n".join(_lines(node)) + b"\n")
    for name, content in node.disk.files().items():
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
