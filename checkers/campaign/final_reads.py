"""Checks the reads of the final phase: all were answered, and nodes agree with the cluster.

The final phase reads everything from every node: an acknowledged write that no operation read again
has not been checked, whatever the other judges found. So each of its reads must have been answered
in one of its attempts, and every node must have answered some.

If a node was also asked for its own state (`serializable-read`, or a request that says so), its
answer must equal the cluster's at the same revision. A node at another revision is not compared: an
indeterminate write may still be applied during the final reads, on one node sooner than on another.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

import msgspec

from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Operation, OpType
from squall.checkers.linearizability.registers import IGNORED, freeze
from squall.checkers.text.proof import Cast, anomaly, in_part, value_phrase
from squall.checkers.text.words import counted, listed
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "Everything was read back from every node, and at one revision all hold the same."

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""

LEFT_OUT: Final = "a node's own word of a revision at which the cluster served no answer"
"""Why a read of a node's own state is not compared."""

LOCALLY: Final = "serializable"
"""The field of a request (a map) that is true if a node answers from its own state."""


def read_back() -> Checker:
    """Return the checker."""

    def check(history: History, evidence: Evidence, _budget: Budget) -> Verdict:
        return check_read_back(history, evidence)

    return Checker(name="read-back", check=check)


def check_read_back(history: History, evidence: Evidence) -> Verdict:
    """Judge the reads of the final phase."""
    final = [one for one in history.operations if (one.meta or {}).get("final")]
    answered = [one for one in final if one.outcome is OpType.OK]
    open_questions = {_question(one) for one in final} - {_question(one) for one in answered}
    nodes = set(evidence.nodes) or {one.node for one in history.operations if one.node}
    silent = sorted(nodes - {str(one.node) for one in answered})
    reason = None
    if not final:
        reason = "nothing was read back at the end"
    elif silent:
        reason = f"no final read was answered by {listed(silent)}"
    elif open_questions:
        reason = f"{counted(len(open_questions), 'final read')} had no answer"
    anomalies, apart = _disagreements(answered)
    return Verdict(
        checker="read-back",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(len(answered), 'final read')} from "
        f"{counted(len(nodes) - len(silent), 'node')}",
        reason=None if anomalies else reason,
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats={
            "final_reads": len(answered),
            "never_answered": len(open_questions),
            "anomalies": len(anomalies),
            **({"left_out": {LEFT_OUT: apart}} if apart else {}),
        },
    )


def _question(one: Operation) -> Hashable:
    return one.node, one.f, one.key, freeze(one.input)


def _is_local(one: Operation) -> bool:
    """Whether a node was asked for its own state."""
    return one.f in IGNORED or (isinstance(one.input, dict) and bool(one.input.get(LOCALLY)))


def _topic(one: Operation) -> Hashable:
    """What was asked, whether linearizably or from a node's own state."""
    asked = one.input
    if isinstance(asked, dict):
        asked = {name: value for name, value in asked.items() if name != LOCALLY}
    return one.key, freeze(asked)


def _revision(one: Operation) -> int | None:
    """The store's revision at which something was answered, if the answer says so."""
    told = one.output.get("revision") if isinstance(one.output, dict) else None
    return told if told is not None else (one.meta or {}).get("revision")


def _disagreements(answered: Sequence[Operation]) -> tuple[list[Anomaly], int]:
    """Compare each node's own state with what the cluster answered at the same revision.

    Also returns how many of the nodes' answers had no such counterpart.
    """
    served: dict[Hashable, Operation] = {}
    for one in answered:
        if not _is_local(one):
            served.setdefault((_revision(one), _topic(one)), one)
    found, apart = [], 0
    for local in filter(_is_local, answered):
        read = served.get((_revision(local), _topic(local)))
        if read is None or _revision(local) is None:
            apart += 1
        elif freeze(read.output) != freeze(local.output):
            found.append(_disagreement(read, local))
    return found, apart


def _disagreement(read: Operation, local: Operation) -> Anomaly:
    name, held, served = _difference(read, local)
    read = _only(read, name, served)
    local = _only(local, name, held)
    cast = Cast([read, local])
    node = local.node or "a node"
    what = f" for {name}" if name else ""
    return anomaly(
        "replica-diverged",
        f"At the end {node} holds {value_phrase(held)}{what}, while the cluster serves "
        f"{value_phrase(served)}.",
        [
            (
                f"Then {node} holds what {cast.name(read)} found, because both answered as of one "
                f"revision, which is one state of the store."
            ),
            f"However, {cast.name(local)}, answered from {node}'s own state, found something else.",
        ],
        cast,
    )


def _difference(read: Operation, local: Operation) -> tuple[str, Any, Any]:
    """Return the first key for which two answers differ, and both values.

    Without a key, the answers differ as a whole.
    """
    mine, its = _by_key(local), _by_key(read)
    for name in {**its, **mine}:
        if freeze(mine.get(name)) != freeze(its.get(name)):
            return name, mine.get(name), its.get(name)
    return "", local.output, read.output


def _by_key(one: Operation) -> dict[str, Any]:
    """An answer by key, if it covers several keys."""
    answer = one.output
    if isinstance(answer, dict) and isinstance(answer.get("kvs"), list):
        return {str(kv[0]): kv[1:] for kv in answer["kvs"]}
    if isinstance(answer, list) and all(isinstance(mop, list) and len(mop) == 3 for mop in answer):
        return {str(key): value for _, key, value in answer}
    return {}


def _only(one: Operation, name: str, told: Any) -> Operation:
    """Restrict a transaction's answer to one key; other keys do not depend on it."""
    if not name or not isinstance(one.output, list):
        return one
    mine = [["r", name, told]]
    return in_part(one, msgspec.structs.replace(one, input=[["r", name, None]], output=mine))
