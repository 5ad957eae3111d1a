"""Reading a proof from its first sentence to its last, and saying of each what became of it."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from squall.checkers.evidence import Evidence
from squall.checkers.history import History
from squall.checkers.proof_check.facts import Facts
from squall.checkers.proof_check.grammar import (
    Contradicted,
    Grammar,
    NotThis,
    Unverified,
    read,
    sentence,
    summary,
)
from squall.checkers.proof_check.introductions import admit_parts, introduce
from squall.checkers.proof_check.pictures import check_lanes
from squall.checkers.proof_check.proof import Proof
from squall.checkers.verdict import Anomaly, Verdict

LANES: Final = "lanes"
"""What stands for the lanes where a flaw names its sentence."""

LINES_MAX: Final = 8
"""Lines that one sentence may take, where a value holds a line break."""

_INTRODUCES = re.compile(r"Let [A-Z]\d+ be .* \(op \d+, ", re.DOTALL)


class Standing(enum.StrEnum):
    """What became of a sentence."""

    HOLDS = "holds"
    CONTRADICTED = "contradicted"
    NOT_UNDERSTOOD = "not understood"
    UNVERIFIED = "unverified"


class ProofFlaw(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence of an anomaly's proof, and what became of it.

    `kind` is the anomaly's, `sentence` the sentence as it stands (or "lanes"), `says` what the
    history says instead. `proves`: it is a sentence of the proof, not the summary or the lanes,
    which only repeat it in short and as a picture.
    """

    kind: str
    sentence: str
    standing: Standing
    says: str = ""
    proves: bool = True


def read_proof(
    history: History | Facts, anomaly: Anomaly, evidence: Evidence | None = None
) -> tuple[ProofFlaw, ...]:
    """Read every sentence of an anomaly, those that hold included."""
    facts = history if isinstance(history, Facts) else Facts(history, evidence)
    proof = Proof(facts, anomaly)
    return tuple(_read(proof))


def check_proof(
    history: History | Facts, anomaly: Anomaly, evidence: Evidence | None = None
) -> tuple[ProofFlaw, ...]:
    """Return the sentences of an anomaly that do not hold, or could not be checked."""
    found = read_proof(history, anomaly, evidence)
    return tuple(one for one in found if one.standing is not Standing.HOLDS)


def check_verdict(
    history: History, verdict: Verdict, evidence: Evidence | None = None
) -> tuple[ProofFlaw, ...]:
    """Return the sentences of all anomalies of a verdict, its children's too, that do not hold."""
    facts = Facts(history, evidence)
    told = list(anomalies_of(verdict))
    facts.look_for(index for one in told for index in one.ops)
    return tuple(flaw for one in told for flaw in check_proof(facts, one))


def anomalies_of(verdict: Verdict) -> Iterator[Anomaly]:
    """Every anomaly of a verdict and its children."""
    yield from verdict.anomalies
    for child in verdict.children:
        yield from anomalies_of(child)


def _read(proof: Proof) -> Iterator[ProofFlaw]:
    anomaly = proof.anomaly
    if anomaly.kind == "node-assertion":
        yield _judged(proof, anomaly.explanation, lambda: _last_words(proof))
    else:
        yield from _sentences(proof, anomaly.explanation)
        yield from _flaws(proof, "Let ...", lambda: admit_parts(proof))
    yield from _of(proof, summary, anomaly.summary.splitlines() or [""])
    if anomaly.lanes:
        found = _judged(proof, LANES, lambda: check_lanes(proof))
        yield msgspec.structs.replace(found, proves=False)


def _sentences(proof: Proof, text: str) -> Iterator[ProofFlaw]:
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("    ") and lines:
            lines[-1] += "\n" + line
        else:
            lines.append(line)
    yield from _of(proof, sentence, lines)


def _of(proof: Proof, grammar: Grammar, lines: list[str]) -> Iterator[ProofFlaw]:
    """Read lines as sentences; one may go on in the next line, where a value holds a break."""
    at = 0
    while at < len(lines):
        for count in range(1, min(LINES_MAX, len(lines) - at) + 1):
            text = "\n".join(lines[at : at + count])
            found = _judged(proof, text, lambda text=text: _state(proof, grammar, text))  # type: ignore[misc]
            if found.standing is not Standing.NOT_UNDERSTOOD:
                break
        else:
            count, text = 1, lines[at]
            found = ProofFlaw(
                kind=proof.anomaly.kind, sentence=text, standing=Standing.NOT_UNDERSTOOD
            )
        yield msgspec.structs.replace(found, proves=grammar is sentence)
        at += count


def _state(proof: Proof, grammar: Grammar, text: str) -> None:
    if grammar is sentence and _INTRODUCES.match(text) and text.endswith(")."):
        introduce(proof, text)
    else:
        read(grammar, proof, text)


def _judged(proof: Proof, text: str, check: Callable[[], None]) -> ProofFlaw:
    standing, says = Standing.HOLDS, ""
    try:
        check()
    except Contradicted as why:
        standing, says = Standing.CONTRADICTED, str(why)
    except Unverified as why:
        standing, says = Standing.UNVERIFIED, str(why)
    except NotThis:
        standing = Standing.NOT_UNDERSTOOD
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        # The statement is about something of another shape than the history's.
        standing, says = Standing.CONTRADICTED, f"it does not fit the history's shape: {error!r}"
    return ProofFlaw(kind=proof.anomaly.kind, sentence=text, standing=standing, says=says)


def _flaws(proof: Proof, text: str, check: Callable[[], None]) -> Iterator[ProofFlaw]:
    found = _judged(proof, text, check)
    if found.standing is not Standing.HOLDS:
        yield found


def _last_words(proof: Proof) -> None:
    if proof.facts.evidence is None:
        raise Unverified("the nodes' evidence is not at hand")
    words = [text for node in proof.facts.evidence.nodes.values() for text in node.assertions]
    if not any(text.endswith(proof.anomaly.explanation) for text in words):
        raise Contradicted("no node said that")
