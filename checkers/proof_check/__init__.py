"""Re-verifies the proof of an anomaly against the history, sentence by sentence.

A judge that errs can err in its proof as well, and a proof that states what the history contradicts
accuses a store of what it did not do. So every sentence is read again by somebody who knows nothing
of how it came about: the sentence's pattern says what it states (which operation, by whom, asked
and answered what, when; who wrote a value and who did not; what came first, and why), and that is
looked up in the history or worked out from the definition. No decision of a judge is
used here: only the data models and the functions that word a value or an operation.

    holds           the history says so, or the sentence states a definition
    contradicted    the history says something else; `says` tells what
    not understood  no pattern fits: whoever added the sentence adds its pattern
    unverified      it would take more than the bounds allow, or evidence that was not handed in

`check_proof` returns what does not hold of one anomaly, `check_verdict` of all of a verdict.
"""

from __future__ import annotations

from squall.checkers.proof_check import (
    answers,
    collections,
    objects,
    registers,
    runs,
    searches,
    stores,
    transactions,
)
from squall.checkers.proof_check.reading import (
    ProofFlaw,
    Standing,
    check_proof,
    check_verdict,
    read_proof,
)

DOMAINS = (answers, collections, objects, registers, runs, searches, stores, transactions)
"""The modules whose patterns are known; importing them registers these."""

__all__ = ["DOMAINS", "ProofFlaw", "Standing", "check_proof", "check_verdict", "read_proof"]
