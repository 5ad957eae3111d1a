"""The verdict as it is shown: one word, one sentence, one row a property, a title.

The words are VALID, INVALID, UNKNOWN and ERROR. Trouble of the harness makes a run an ERROR and is
no evidence against the database; a violation that was proved stays INVALID.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from squall.checkers.evidence import Evidence
from squall.checkers.run import Run
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly, Validity, Verdict
from squall.reports import formatting

_ORDER = {Validity.INVALID: 0, Validity.UNKNOWN: 1, Validity.VALID: 2}


@dataclass(frozen=True, slots=True)
class Property:
    """One property with its verdict, from the verdict of one checker."""

    name: str
    validity: str
    glyph: str
    claim: str
    evidence: str
    method: str
    reason: str
    elapsed_s: float
    anomalies: tuple[Anomaly, ...]
    stats: dict[str, Any]

    @property
    def found(self) -> int:
        """Return the number of anomalies; a checker proves the first ones and counts the rest."""
        counted = self.stats.get("anomalies")
        return max(len(self.anomalies), counted if isinstance(counted, int) else 0)

    @property
    def flaws(self) -> list[str]:
        """Return the sentences of its proofs that the history contradicts."""
        return list(self.stats.get("proof_flaws") or ())

    @property
    def finding(self) -> str:
        """Return what is shown beside the name: reason, anomalies or evidence."""
        if self.validity == "unknown":
            return self.reason or "undecided, and the checker does not say why"
        if self.anomalies:
            found = counted(self.found, "anomaly", "anomalies")
            return f"{found} in {self.evidence}" if self.evidence else found
        return self.evidence or self.reason or self.claim


def properties(verdict: Verdict) -> list[Property]:
    """Flatten a verdict into its properties: invalid first, then unknown, then valid."""
    rows = [
        Property(
            name=leaf.checker,
            validity=leaf.validity.value,
            glyph=formatting.GLYPHS[leaf.validity.value],
            claim=leaf.claim,
            evidence=leaf.evidence,
            method=leaf.method,
            reason=leaf.reason or "",
            elapsed_s=leaf.elapsed_s,
            anomalies=leaf.anomalies,
            stats=leaf.stats,
        )
        for leaf in _leaves(verdict)
    ]
    return sorted(rows, key=lambda row: _ORDER[Validity(row.validity)])


def _leaves(verdict: Verdict) -> Iterator[Verdict]:
    """Yield verdicts without children, and those with children that have anomalies themselves."""
    if not verdict.children or verdict.anomalies:
        yield verdict
    for child in verdict.children:
        yield from _leaves(child)


def word(verdict: Verdict, evidence: Evidence) -> str:
    """Return the run's one word."""
    if verdict.validity is not Validity.INVALID and evidence.trouble:
        return "ERROR"
    return verdict.validity.value.upper()


def sentence(
    verdict: Verdict, evidence: Evidence, *, operations: int, faults: int, outage_ns: int
) -> str:
    """Write the outcome in one sentence. `outage_ns` is the longest time without success."""
    rows = properties(verdict)
    verdict_word = word(verdict, evidence)
    if verdict_word == "INVALID":
        broken = next((row for row in rows if row.anomalies), None)
        if broken is not None:
            return broken.anomalies[0].summary
        named = ", ".join(row.name for row in rows if row.validity == "invalid")
        return f"Broken: {named or verdict.checker}. {verdict.reason or ''}".strip()
    if verdict_word == "ERROR":
        return f"The harness had trouble, so this is no pass: {evidence.trouble[0]}"
    if verdict_word == "UNKNOWN":
        open_row = next((row for row in rows if row.validity == "unknown"), None)
        if open_row is None:
            return f"Undecided: {verdict.reason or 'nothing was checked'}."
        return f"Undecided: {open_row.name}: {open_row.finding.rstrip('.')}."
    injected = counted(faults, "fault") if faults else "no fault at all"
    held = counted(len(rows), "property held", "properties held")
    longest = f"; the longest silence was {formatting.duration(outage_ns)}" if operations else ""
    return f"{held} over {counted(operations, 'operation')} and {injected}{longest}."


def title(run: Run, verdict_word: str) -> str:
    """Write the title of a run: "✗ register · kill · seed 8412"."""
    glyph = formatting.GLYPHS[verdict_word.lower()]
    faults = "+".join(run.faults) or "no faults"
    return f"{glyph} {run.workload} · {faults} · seed {run.seed}"


def ranked(rows: list[Property], most: int) -> list[tuple[str, Anomaly]]:
    """Choose the anomalies to show: one of each kind, then the second of each, and so on."""
    kinds: dict[tuple[str, str], list[tuple[str, Anomaly]]] = {}
    for row in rows:
        for anomaly in row.anomalies:
            kinds.setdefault((row.name, anomaly.kind), []).append((row.name, anomaly))
    picked: list[tuple[str, Anomaly]] = []
    depth = 0
    while len(picked) < most and any(len(found) > depth for found in kinds.values()):
        picked.extend(found[depth] for found in kinds.values() if len(found) > depth)
        depth += 1
    return picked[:most]
