"""Each node's last words about itself, and whether they agree with each other.

A node that could not be asked has no role, term or index: they are unknown, not zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checkers.evidence import Evidence, NodeEvidence
from checkers.run import Run
from reports import words
from reports.leadership import Leadership
from reports.logs import LogLine


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node at the end of the run. Absent numbers are None."""

    node: str
    starts: int | None
    role: str
    term: int | None
    commit: int | None
    applied: int | None
    revision: int | None
    digest: str
    led_terms: tuple[int, ...]
    entries: int
    overwritten: int | None
    clock: str
    remarks: tuple[str, ...]


def node_rows(
    run: Run, evidence: Evidence, led: Leadership, logs: Mapping[str, Sequence[LogLine]]
) -> list[NodeRow]:
    """Describe every node that was part of the run."""
    rows = []
    for node in sorted({*run.nodes, *evidence.nodes}):
        left = evidence.nodes.get(node)
        final, late = _final(node, left, led)
        starts = sum(line.event == "started" for line in logs.get(node, ()))
        remarks = [*left.assertions, *left.refusals] if left else ["no evidence was collected"]
        if late:
            remarks.append(late)
        if left and left.damage:
            remarks.append(f"WAL unreadable to its end: {left.damage}")
        if left and left.log_missing:
            remarks.append("its log is missing")
        rows.append(
            NodeRow(
                node=node,
                starts=starts or None,
                role=str(final.get("role", "")) or "–",
                term=final.get("term"),
                commit=final.get("commit"),
                applied=final.get("applied"),
                revision=final.get("revision"),
                digest=str(final.get("digest") or final.get("hash") or ""),
                led_terms=left.led_terms if left else (),
                entries=len(left.entries) if left else 0,
                overwritten=left.overwritten if left and left.entries else None,
                clock=_clock(led.clock_offsets_ms.get(node)),
                remarks=tuple(words.shortened(text, 600) for text in remarks),
            )
        )
    return rows


def _final(node: str, left: NodeEvidence | None, led: Leadership) -> tuple[dict[str, Any], str]:
    """What a node last said of itself, and a remark if that was not at the end, or never."""
    if left is not None and left.final and left.final.get("reachable", True):
        return left.final, ""
    seen = led.last.get(node) or {}
    if not led.readings or not seen.get("reachable", bool(seen)):
        return {}, "could not be asked at the end: its role, term and indexes are unknown"
    return (
        seen,
        f"could not be asked at the end; this is what it said at {words.seconds(led.last_ns)}",
    )


def _clock(offsets_ms: tuple[float, float] | None) -> str:
    if offsets_ms is None:
        return "–"
    low, high = offsets_ms
    return f"{low:+.0f} … {high:+.0f} ms" if abs(low) + abs(high) >= 1 else "true"


def agreement(rows: Sequence[NodeRow]) -> tuple[bool | None, str]:
    """Say whether nodes that applied equally much hold equal states; None when nobody can tell."""
    known = [row for row in rows if row.digest and row.applied is not None]
    groups: dict[int, dict[str, list[str]]] = {}
    for row in known:
        groups.setdefault(row.applied or 0, {}).setdefault(row.digest, []).append(row.node)
    for applied, digests in sorted(groups.items()):
        if len(digests) > 1:
            sides = "; ".join(f"{', '.join(nodes)}: {digest}" for digest, nodes in digests.items())
            return False, f"The state hashes differ at applied index {applied:,}: {sides}."
    if len(known) < 2:
        return None, "Fewer than two nodes reported a state hash, so none could be compared."
    if len(groups) > 1:
        told = "The nodes that reported a state hash had applied different amounts"
        if any(len(names) > 1 for held in groups.values() for names in held.values()):
            told += "; those that had applied equally much reported the same"
        return None, f"{told}."
    applied = known[0].applied or 0
    return True, (
        f"{words.plural(len(known), 'node')} reported the same state hash ({known[0].digest}) at "
        f"applied index {applied:,}."
    )
