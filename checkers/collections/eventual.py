"""Objects that are judged by their final state: Maelstrom's pn-counter and unique-ids workloads.

    pn-counter   add n, read -> total. A final read returns the sum of all acknowledged amounts,
                 each once, plus any subset of the indeterminate ones; earlier reads are not judged
    unique-ids   generate -> id. No two answers are equal

A read is final if its file says so (`:final? true`); in a file that marks none, if it was called
after every add had completed and no add is indeterminate. The subset sums of indeterminate amounts
are enumerated up to `SUMS_MAX`; beyond that only their bounds are checked.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.registers import freeze
from squall.checkers.text.proof import Cast, anomaly, value_phrase, who
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly, Validity, Verdict

PN_COUNTER: Final = "pn-counter"
UNIQUE_IDS: Final = "unique-ids"

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""

SUMS_MAX: Final = 200_000
"""Distinct subset sums of indeterminate amounts; beyond that only their bounds are checked."""


def check_pn_counter(history: History, initial: int = 0) -> Verdict:
    """Judge the final reads of every counter, one a key; raises MalformedHistory."""
    found: list[Anomaly] = []
    adds = finals = reads_in_all = 0
    marked = any((one.meta or {}).get("final") for one in history.operations)
    for operations in history.by_key.values():
        added = [one for one in operations if one.f == "add" and one.outcome is not OpType.FAIL]
        for one in added:
            if not isinstance(one.input, int) or isinstance(one.input, bool):
                raise MalformedHistory(f"op {one.index}: an amount is a number, not {one.input!r}")
        adds += len(added)
        reads = [one for one in operations if one.f == "read" and one.outcome is OpType.OK]
        reads_in_all += len(reads)
        sure = sum(one.input for one in added if one.outcome is OpType.OK) + initial
        open_ = [one for one in added if one.outcome is not OpType.OK]
        sums = _sums([one.input for one in open_])
        low = sure + sum(min(one.input, 0) for one in open_)
        high = sure + sum(max(one.input, 0) for one in open_)
        for one in reads:
            if not isinstance(one.output, int) or isinstance(one.output, bool):
                raise MalformedHistory(f"op {one.index}: a counter's value is a number")
            if not _is_final(one, added, marked=marked):
                continue
            finals += 1
            fits = low <= one.output <= high if sums is None else one.output - sure in sums
            if not fits:
                found.append(_wrong_total(one, sure, added, initial))
    left = reads_in_all - finals
    reason = None
    if not finals:
        reason = "vacuous: no read is final" + (
            "" if marked else " (none is marked, nor behind all)"
        )
    elif not adds:
        reason = "vacuous: nothing was ever added"
    return Verdict(
        checker=PN_COUNTER,
        validity=Validity.INVALID if found else Validity.UNKNOWN if reason else Validity.VALID,
        claim="In the end a read shows every acknowledged amount, once.",
        evidence=f"{counted(adds, 'add')}, {counted(finals, 'final read')}",
        reason=None if found else reason,
        method="sums",
        anomalies=tuple(found[:ANOMALIES_MAX]),
        stats={
            "adds": adds,
            "final_reads": finals,
            "anomalies": len(found),
            **({"left_out": {"a read before the end promises nothing": left}} if left else {}),
        },
    )


def _is_final(read: Operation, added: Sequence[Operation], *, marked: bool) -> bool:
    if marked:
        return bool((read.meta or {}).get("final"))
    return all(one.completed_ns is not None and one.completed_ns < read.invoked_ns for one in added)


def _sums(amounts: Sequence[int]) -> set[int] | None:
    """Return the sums of all subsets; None if they are too many."""
    sums = {0}
    for amount in amounts:
        sums |= {one + amount for one in sums}
        if len(sums) > SUMS_MAX:
            return None
    return sums


def _wrong_total(read: Operation, sure: int, added: Sequence[Operation], initial: int) -> Anomaly:
    open_ = [one for one in added if one.outcome is not OpType.OK]
    cast = Cast([read, *open_])
    name = cast.name(read)
    doubt = (
        f" and any selection of {', '.join(cast.name(one) for one in open_)}, which nobody "
        f"acknowledged"
        if open_
        else ""
    )
    begun = f", with the {initial} there was at first" if initial else ""
    return anomaly(
        "wrong-final-total",
        f"{who(read)} read {read.output} from {read.key} in the end, where {sure} was "
        f"acknowledged{begun}.",
        [
            f"Then {name} shows {sure}, the sum of all that was acknowledged{begun}{doubt}.",
            f"However, in the end {name} showed {read.output}.",
        ],
        cast,
        shown=sorted([*added, read], key=lambda one: one.index),
        data={"acknowledged": sure} | ({"begun": initial} if initial else {}),
    )


def check_unique_ids(history: History) -> Verdict:
    """Judge that no id was generated twice."""
    given: dict[Hashable, Operation] = {}
    found: list[Anomaly] = []
    asked = 0
    for one in history.operations:
        if one.f != "generate" or one.outcome is not OpType.OK:
            continue
        asked += 1
        first = given.setdefault(freeze(one.output), one)
        if first is not one:
            found.append(_twice(first, one))
    reason = None if asked else "vacuous: no id was ever generated"
    return Verdict(
        checker=UNIQUE_IDS,
        validity=Validity.INVALID if found else Validity.UNKNOWN if reason else Validity.VALID,
        claim="No id is given twice.",
        evidence=counted(asked, "id"),
        reason=reason,
        method="one pass",
        anomalies=tuple(found[:ANOMALIES_MAX]),
        stats={"ids": asked, "anomalies": len(found)},
    )


def _twice(first: Operation, again: Operation) -> Anomaly:
    cast = Cast([first, again])
    value = value_phrase(again.output)
    return anomaly(
        "duplicate-id",
        f"{who(first)} and {who(again)} were both given the id {value}.",
        [
            f"Then {value} belongs to {cast.name(first)}, which was answered with it.",
            f"However, {cast.name(again)} was given {value} as well.",
        ],
        cast,
    )
