"""The verdict as a reader meets it: one word, one sentence, a row a property, a title.

The words are VALID, INVALID, UNKNOWN and ERROR. Trouble of the harness makes a run an ERROR and
never blames the database; but a violation that was proved stays INVALID.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from checkers.evidence import Evidence
from checkers.run import Run
from checkers.verdict import Anomaly, Validity, Verdict
from reports import words

_GRAVITY = {Validity.INVALID: 0, Validity.UNKNOWN: 1, Validity.VALID: 2}


@dataclass(frozen=True, slots=True)
class Property:
    """One promise and what became of it."""

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
        """How many anomalies there are; a checker tells the first in full and counts the rest."""
        counted = self.stats.get("anomalies")
        return max(len(self.anomalies), counted if isinstance(counted, int) else 0)

    @property
    def flaws(self) -> list[str]:
        """Sentences of its proofs that the history contradicts: defects of the harness."""
        return list(self.stats.get("proof_flaws") or ())

    @property
    def finding(self) -> str:
        """What to say beside the name, in few words."""
        if self.validity == "unknown":
            return self.reason or "undecided, and the checker does not say why"
        if self.anomalies:
            found = words.plural(self.found, "anomaly", "anomalies")
            return f"{found} in {self.evidence}" if self.evidence else found
        return self.evidence or self.reason or self.claim


def properties(verdict: Verdict) -> list[Property]:
    """Flatten a verdict into its properties, the broken ones first."""
    rows = [
        Property(
            name=leaf.checker,
            validity=leaf.validity.value,
            glyph=words.GLYPHS[leaf.validity.value],
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
    return sorted(rows, key=lambda row: _GRAVITY[Validity(row.validity)])


def _leaves(verdict: Verdict) -> Iterator[Verdict]:
    """A verdict with children stands for them, unless it found something itself."""
    if not verdict.children or verdict.anomalies:
        yield verdict
    for child in verdict.children:
        yield from _leaves(child)


def word(verdict: Verdict, evidence: Evidence) -> str:
    """Give the run's one word."""
    if verdict.validity is not Validity.INVALID and evidence.trouble:
        return "ERROR"
    return verdict.validity.value.upper()


def sentence(
    verdict: Verdict, evidence: Evidence, *, operations: int, faults: int, outage_ns: int
) -> str:
    """Say in one sentence what came out."""
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
    storm = words.plural(faults, "fault") if faults else "no fault at all"
    held = words.plural(len(rows), "property held", "properties held")
    longest = f"; the longest silence was {words.duration(outage_ns)}" if operations else ""
    return f"{held} over {words.plural(operations, 'operation')} and {storm}{longest}."


def title(run: Run, verdict_word: str) -> str:
    """Name the run in few words, for tabs and headings: "✗ register · kill · seed 8412"."""
    glyph = words.GLYPHS[verdict_word.lower()]
    faults = "+".join(run.faults) or "no faults"
    return f"{glyph} {run.workload} · {faults} · seed {run.seed}"


def ranked(rows: list[Property], most: int) -> list[tuple[str, Anomaly]]:
    """Pick the anomalies to show: every kind gets its turn before any kind gets a second one."""
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
