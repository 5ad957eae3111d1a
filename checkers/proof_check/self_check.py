"""What becomes of a verdict whose proofs do not hold: the judge is at fault, not the accused.

Every invalid verdict is read again by `proof_check`, which uses their models and wording, but none
of their decisions. An anomaly proves nothing if the history contradicts a sentence of its proof
(Let, Then, However):

* it is told last, and `stats["proof_flaws"]` says of each such sentence what the history says;
* while another anomaly of the same verdict stands, the verdict stays invalid: that one proves it;
* if none stands, the verdict is unknown, for a defect of the checker, and tells no anomaly. Nobody
  is accused by a proof that is known to be false, and nobody is acquitted by it.

A summary or lanes that the history contradicts are told in `stats["proof_flaws"]` too, and change
nothing else: they repeat the proof, in short and as a picture, and prove nothing of their own.
A sentence that could not be checked (it takes too long, or evidence that is not at hand) changes
nothing. Reading takes a small part of the time that judging took; what is left is not read.
"""

from __future__ import annotations

import traceback
from typing import Final

import msgspec

from squall.checkers.evidence import Evidence
from squall.checkers.history import History
from squall.checkers.proof_check import ProofFlaw, Standing, check_proof
from squall.checkers.proof_check.facts import Facts
from squall.checkers.proof_check.reading import anomalies_of
from squall.checkers.verdict import Anomaly, Budget, Validity, Verdict, worst

DEFECT: Final = "the proof contradicts the history: a defect of the checker"
"""Why a verdict is unknown whose every proof is false."""

FLAWS: Final = "proof_flaws"
"""In a verdict's `stats`: sentences of its proofs that the history contradicts."""

SHARE: Final = 0.03
"""Part of the time that judging took which reading its proofs may take."""

AT_LEAST_S: Final = 0.2
"""Seconds that reading may always take."""

FLAWS_TOLD_MAX: Final = 5
"""Flaws told of one verdict."""

TEXT_CHARS_MAX: Final = 300
"""Characters of a sentence, and of what the history says, that are told."""


def self_checked(
    verdict: Verdict, history: History, evidence: Evidence | None, budget: Budget, took_s: float
) -> Verdict:
    """Return the verdict with its proofs read again; `took_s` is how long judging took.

    Never raises. Without a clock in the budget every proof is read.
    """
    told = list(anomalies_of(verdict))
    if not told:
        return verdict
    try:
        facts = Facts(history, evidence)
        facts.look_for(index for one in told for index in one.ops)
        return _Reader(facts, budget, took_s).verdict(verdict)
    except Exception:  # noqa: BLE001 - a broken reader says nothing about the proof
        why = traceback.format_exc(limit=-3)
        return msgspec.structs.replace(verdict, stats={**verdict.stats, "proof_check_failed": why})


class _Reader:
    """Reads proofs while its time lasts."""

    def __init__(self, facts: Facts, budget: Budget, took_s: float) -> None:
        self._facts, self._now_s = facts, budget.now_s
        self._until_s = self._clock() + max(AT_LEAST_S, took_s * SHARE)

    def _clock(self) -> float:
        return float(self._now_s()) if self._now_s is not None else 0.0

    def verdict(self, verdict: Verdict) -> Verdict:
        """Read the proofs of a verdict and of its children."""
        children = tuple(map(self.verdict, verdict.children))
        if children != verdict.children and not verdict.anomalies:
            verdict = _recombined(verdict, children)
        sound: list[Anomaly] = []
        flawed: list[Anomaly] = []
        flaws: list[ProofFlaw] = []
        for one in verdict.anomalies:
            found = [] if self._clock() > self._until_s else self._contradicted(one)
            (flawed if any(flaw.proves for flaw in found) else sound).append(one)
            flaws += found
        if not flaws:
            return verdict
        lines = [told(flaw) for flaw in flaws[:FLAWS_TOLD_MAX]]
        if len(flaws) > FLAWS_TOLD_MAX:
            lines.append(f"and {len(flaws) - FLAWS_TOLD_MAX} more sentences do not hold")
        stats = {**verdict.stats, FLAWS: lines}
        if sound or verdict.validity is not Validity.INVALID:
            return msgspec.structs.replace(verdict, anomalies=(*sound, *flawed), stats=stats)
        first = next(flaw for flaw in flaws if flaw.proves)
        reason = f"{DEFECT}; {told(first)}"
        return msgspec.structs.replace(
            verdict, validity=Validity.UNKNOWN, reason=reason, anomalies=(), stats=stats
        )

    def _contradicted(self, anomaly: Anomaly) -> list[ProofFlaw]:
        found = check_proof(self._facts, anomaly)
        return [one for one in found if one.standing is Standing.CONTRADICTED]


def _recombined(verdict: Verdict, children: tuple[Verdict, ...]) -> Verdict:
    """Conclude from children anew, of which some are not invalid any more."""
    validity = worst([child.validity for child in children])
    if validity is Validity.UNKNOWN:
        reason = next((child.reason for child in children if child.reason), None)
        verdict = msgspec.structs.replace(verdict, reason=reason)
    return msgspec.structs.replace(verdict, children=children, validity=validity)


def told(flaw: ProofFlaw) -> str:
    """A flaw in one line, for people."""
    sentence, says = _short(flaw.sentence), _short(flaw.says)
    return (
        f"the proof of {flaw.kind} does not hold: please report it; it says `{sentence}`, "
        f"the history says: {says}"
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 3] + "..."
