"""Which node lied? Each node's last words about itself, and whether they agree with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squall.checkers.evidence import Evidence
from squall.checkers.run import Run
from squall.reports import words
from squall.reports.view.leadership import Leadership
from squall.reports.view.logs import LogLine


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
    overwritten: int
    clock: str
    remarks: tuple[str, ...]


def node_rows(
    run: Run, evidence: Evidence, led: Leadership, logs: Mapping[str, Sequence[LogLine]]
) -> list[NodeRow]:
    """Describe every node that was part of the run."""
    rows = []
    for node in sorted({*run.nodes, *evidence.nodes}):
        left = evidence.nodes.get(node)
        final: dict[str, Any] = dict((left.final if left else None) or led.last.get(node) or {})
        starts = sum(line.event == "started" for line in logs.get(node, ()))
        low, high = led.clock_offsets_ms.get(node, (0.0, 0.0))
        remarks = list(left.assertions) if left else ["no evidence was collected"]
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
                overwritten=left.overwritten if left else 0,
                clock=f"{low:+.0f} … {high:+.0f} ms" if abs(low) + abs(high) >= 1 else "true",
                remarks=tuple(words.shortened(text, 600) for text in remarks),
            )
        )
    return rows


def agreement(rows: Sequence[NodeRow]) -> tuple[bool | None, str]:
    """Say whether nodes that applied equally much hold equal states; None when nobody can tell."""
    known = [row for row in rows if row.digest and row.applied is not None]
    groups: dict[int, dict[str, list[str]]] = {}
    for row in known:
        groups.setdefault(row.applied or 0, {}).setdefault(row.digest, []).append(row.node)
    for applied, digests in sorted(groups.items()):
        if len(digests) > 1:
            sides = "; ".join(f"{', '.join(nodes)}: {digest}" for digest, nodes in digests.items())
            return False, f"States differ at applied index {applied:,}: {sides}."
    if len(known) < 2:
        return None, "Fewer than two nodes reported a state hash, so none could be compared."
    if len(groups) > 1:
        return None, "The nodes applied different amounts; equal amounts gave equal states."
    applied = known[0].applied or 0
    return True, (
        f"{words.plural(len(known), 'node')} hold the same state "
        f"({known[0].digest}) at applied index {applied:,}."
    )
