"""Sets that hold elements at first: every read shows them, and for the rest is judged as usual.

Nothing is removed, so an element that was there at first is in every read, and adding it again
changes nothing. What remains when both are left out is a set that was empty at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from checkers.explain import Cast, anomaly, who
from checkers.history import History, MalformedHistory, Op, Operation, OpType
from checkers.lanes import value_text
from checkers.registers import freeze
from checkers.sets import ANOMALIES_MAX, check_sets
from checkers.verdict import Anomaly, Validity, Verdict


def check_begun_sets(
    history: History, initial: Sequence[Any], *, linearizable: bool = True
) -> Verdict:
    """Judge every set of a history, each of which held `initial`; raises MalformedHistory."""
    begun = {freeze(one): one for one in initial}
    lacking: list[Anomaly] = []
    gone: set[int] = set()
    for one in history.operations:
        if one.f == "add" and freeze(one.input) in begun:
            gone |= {one.index, -1 if one.completion_index is None else one.completion_index}
        if one.f != "read" or one.outcome is not OpType.OK:
            continue
        if not isinstance(one.output, list | tuple):
            raise MalformedHistory(f"op {one.index}: a read of a set is a list")
        shown = set(map(freeze, one.output))
        missing = [value for element, value in begun.items() if element not in shown]
        if missing and len(lacking) < ANOMALIES_MAX:
            lacking.append(_lacks(one, missing[0]))
    ops = [_without(op, begun) for op in history if op.index not in gone]
    rest = check_sets(History(ops, header=history.header), linearizable=linearizable)
    if not lacking:
        return rest
    return msgspec.structs.replace(
        rest,
        validity=Validity.INVALID,
        reason=None,
        anomalies=(*lacking, *rest.anomalies)[:ANOMALIES_MAX],
    )


def _without(op: Op, begun: dict[Any, Any]) -> Op:
    """Return an answer to a read without one mention of each element that was there at first."""
    if op.f != "read" or op.type is not OpType.OK or not isinstance(op.value, list | tuple):
        return op
    left = set(begun)
    kept = []
    for value in op.value:
        element = freeze(value)
        if element in left:
            left.discard(element)
        else:
            kept.append(value)
    return msgspec.structs.replace(op, value=kept)


def _lacks(read: Operation, value: Any) -> Anomaly:
    cast = Cast([read])
    text, name = value_text(value), cast.name(read)
    return anomaly(
        "lost-element",
        f"{who(read)} found {read.key} without {text}, which was in it at first.",
        [
            f"Then {text} was in {read.key} from the beginning, and nothing removes an element.",
            f"However, {name} lacks {text}.",
        ],
        cast,
        data={"element": text},
    )
