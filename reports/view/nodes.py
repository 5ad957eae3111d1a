"""Each node's final state, and whether states at equal indexes are equal.

Role, term and indexes of a node that could not be asked are unknown, not zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squall.checkers.evidence import Evidence, NodeEvidence
from squall.checkers.run import Run
from squall.checkers.text.words import counted
from squall.reports import formatting
from squall.reports.view.leadership import Leadership
from squall.reports.view.logs import LogLine


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node at the end of the run. Unknown numbers are None."""

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
    run: Run, evidence: Evidence, leadership: Leadership, logs: Mapping[str, Sequence[LogLine]]
) -> list[NodeRow]:
    """Return a row for every node that was part of the run."""
    rows = []
    for node in sorted({*run.nodes, *evidence.nodes}):
        own = evidence.nodes.get(node)
        final, late = _final(node, own, leadership)
        starts = sum(line.event == "started" for line in logs.get(node, ()))
        remarks = [*own.assertions, *own.refusals] if own else ["no evidence was collected"]
        if late:
            remarks.append(late)
        if own and own.damage:
            remarks.append(f"WAL unreadable to its end: {own.damage}")
        if own and own.log_missing:
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
                led_terms=own.led_terms if own else (),
                entries=len(own.entries) if own else 0,
                overwritten=own.overwritten if own and own.entries else None,
                clock=_clock(leadership.clock_offsets_ms.get(node)),
                remarks=tuple(formatting.shortened(text, 600) for text in remarks),
            )
        )
    return rows


def _final(
    node: str, own: NodeEvidence | None, leadership: Leadership
) -> tuple[dict[str, Any], str]:
    """Return a node's last status, and a remark if it is not from the end or there is none."""
    if own is not None and own.final and own.final.get("reachable", True):
        return own.final, ""
    last = leadership.last.get(node) or {}
    if not leadership.readings or not last.get("reachable", bool(last)):
        return {}, "could not be asked at the end: its role, term and indexes are unknown"
    asked_at = formatting.seconds(leadership.last_ns)
    return (
        last,
        f"could not be asked at the end; this is what it said at {asked_at}",
    )


def _clock(offsets_ms: tuple[float, float] | None) -> str:
    if offsets_ms is None:
        return "–"
    low, high = offsets_ms
    return f"{low:+.0f} … {high:+.0f} ms" if abs(low) + abs(high) >= 1 else "true"


def agreement(rows: Sequence[NodeRow]) -> tuple[bool | None, str]:
    """Return whether nodes with equal applied index hold equal states, None if that is unknown."""
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
        sentence = "The nodes that reported a state hash had applied different amounts"
        if any(len(names) > 1 for held in groups.values() for names in held.values()):
            sentence += "; those that had applied equally much reported the same"
        return None, f"{sentence}."
    applied = known[0].applied or 0
    return True, (
        f"{counted(len(known), 'node')} reported the same state hash ({known[0].digest}) at "
        f"applied index {applied:,}."
    )
