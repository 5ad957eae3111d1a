"""Sets that only grow: which elements were lost, and when they became visible.

After Jepsen's `checker/set-full`, with an exact decision of linearizability. Elements are unique.
An element is *known* from the moment its add was acknowledged or a read showed it, whichever came
first; a read called after that must show it. Then, per element:

    lost          known, and some read called after that and all later ones lack it
    stale         known, lacked by a read called later, seen again by a still later one
    never-read    acknowledged, but no read was called late enough to show it: not judged
    duplicated    shown more than once by one read
    unexpected    shown though no operation tried to add it (or its add had failed)

If no element by itself is wrong, the elements must also have one order:

    disagree      of two reads each shows an element that the other lacks
    disorder      a read shows an element and lacks one whose add had returned when the first's
                  add was called

These are all the violations: reads that agree form a chain by inclusion, and between one read and
the next greater one come the adds of the new elements, in any order. So the order of blocks is
determined, and it is a linearization iff no operation had returned when one of an earlier block was
called.

A lost element is an acknowledged write that is gone. A stale one, and a missing order, violate
linearizability only; a set that promises less may be judged with `linearizable=False`, and then the
time until elements became visible is reported. Reads are passed once per element that is not yet
settled, so the time is linear in the size of the answers. A set with removals is not judged.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from squall.checkers.answers import mismatches, tell_mismatch
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.registers import FOREVER, IGNORED, freeze, thaw
from squall.checkers.linearizability.thin_air import hint_of
from squall.checkers.text.lanes import value_text
from squall.checkers.text.proof import Cast, anomaly, in_part, who
from squall.checkers.text.words import counted, listed
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "What was added to the set is in every later read of it."

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""


MISMATCH: Final = "mismatch"

REMOVED: Final = "elements are removed: only sets that grow are judged in a pass"
"""Why a set has no part in the verdict."""

LEFT_OUT: Final = "a serializable read promises less than a read"
"""Why operations of `registers.IGNORED` have no part in the verdict."""

LATE: Final = frozenset({"stale", "disagree", "disorder"})
"""Violations of linearizability that a weaker set may show."""


class _Element:
    """The known facts of one element."""

    __slots__ = ("add", "known_by", "known_ns", "last_absent", "last_present")

    def __init__(self, add: Operation) -> None:
        self.add = add
        self.known_ns: int | None = add.completed_ns if add.outcome is OpType.OK else None
        self.known_by = add
        self.last_present: Operation | None = None
        self.last_absent: Operation | None = None

    @property
    def known_or_never_ns(self) -> int:
        """From when on it is known; FOREVER if it is not."""
        return FOREVER if self.known_ns is None else self.known_ns

    def add_again(self, add: Operation) -> None:
        """Take another add of it: the first acknowledgement makes it known."""
        if add.completed_ns is not None and add.completed_ns < self.known_or_never_ns:
            self.known_ns, self.known_by = add.completed_ns, add


class _Found(NamedTuple):
    """An anomaly. `empty_at_first`: nothing was in the set at the start."""

    name: str
    value: Hashable
    ops: tuple[Operation, ...]
    empty_at_first: bool = True


def sets(*, linearizable: bool = True) -> Checker:
    """Return the checker; `linearizable` False allows stale reads, but no loss."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_sets(history, linearizable=linearizable)

    return Checker(name="set", check=check)


class _Tally:
    """The sum of the keys' results."""

    def __init__(self) -> None:
        self.anomalies: list[Anomaly] = []
        self.counts: dict[str, int] = {}
        self.latencies: list[int] = []
        self.elements = self.reads = self.never = 0
        self.left_out: dict[str, int] = {}

    def leave_out(self, reason: str, operations: int) -> None:
        """Count operations that are not judged."""
        if operations:
            self.left_out[reason] = self.left_out.get(reason, 0) + operations

    def reason(self, strangers: set[str]) -> str | None:
        """Return why nothing can be claimed, if no anomaly was found."""
        if strangers:
            return f"a set has no operation {listed(sorted(strangers))}"
        if REMOVED in self.left_out:
            return REMOVED
        if not self.elements:
            return "vacuous: nothing was ever added"
        if not self.reads:
            return "vacuous: the set was never read"
        if self.never == self.elements:
            return "vacuous: no read was called after any add was acknowledged"
        return None


def check_sets(
    history: History, *, linearizable: bool = True, initial: Iterable[Any] = ()
) -> Verdict:
    """Judge every set of a history, one a key; `initial` are the elements of each at the start."""
    tally = _Tally()
    wrong = mismatches(history)
    at_first = frozenset(map(freeze, initial))
    strangers: set[str] = set()
    for operations in history.by_key.values():
        functions = {one.f for one in operations}
        strange = functions - {"add", "read", "remove"} - IGNORED
        strangers |= strange
        other = next((one for one in operations if one.index in wrong), None)
        if other is not None:
            tally.anomalies.append(tell_mismatch(other, wrong[other.index]))
            tally.counts[MISMATCH] = tally.counts.get(MISMATCH, 0) + 1
        elif strange:
            tally.leave_out(f"a set has no operation {listed(sorted(strange))}", len(operations))
        elif "remove" in functions:
            tally.leave_out(REMOVED, len(operations))
        else:
            ignored = sum(one.f in IGNORED for one in operations)
            tally.leave_out(LEFT_OUT, ignored)
            _judge(operations, history, at_first, tally, linearizable=linearizable)
    reason = None if tally.anomalies else tally.reason(strangers)
    hint = hint_of(tally.anomalies)
    latencies = sorted(tally.latencies)
    validity = Validity.UNKNOWN if reason else Validity.VALID
    return Verdict(
        checker="set",
        validity=Validity.INVALID if tally.anomalies else validity,
        claim=CLAIM,
        evidence=f"{counted(tally.elements, 'element')}, {counted(tally.reads, 'read')}, "
        f"{tally.never:,} never read",
        reason=reason or hint,
        method="one pass over the reads",
        anomalies=tuple(tally.anomalies[:ANOMALIES_MAX]),
        stats={
            "elements": tally.elements,
            "reads": tally.reads,
            "never_read": tally.never,
            "anomalies": tally.counts,
            "visibility_ms": {
                name: latencies[min(len(latencies) - 1, int(len(latencies) * part))] / 1e6
                for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
                if latencies
            },
            **({"left_out": tally.left_out} if tally.left_out else {}),
        },
    )


def _judge(
    operations: Sequence[Operation],
    history: History,
    initial: frozenset[Hashable],
    tally: _Tally,
    *,
    linearizable: bool,
) -> None:
    """Judge one set."""
    found: list[_Found] = []
    elements, shown = _read(operations, initial, found)
    tally.elements += len(elements)
    tally.reads += len(shown)
    _follow(elements, shown, found)
    for value, element in elements.items():
        tally.never += _settle(value, element, found, tally.latencies)
    if not found:
        found += _without_order(elements, shown)
    begun = {"begun": sorted(map(thaw, initial), key=value_text)} if initial else {}
    for one in found:
        tally.counts[one.name] = tally.counts.get(one.name, 0) + 1
        if (linearizable or one.name not in LATE) and len(tally.anomalies) < ANOMALIES_MAX:
            told = _explain(one, history)
            told = msgspec.structs.replace(told, data={**told.data, **begun}) if begun else told
            tally.anomalies.append(told)


def _read(
    operations: Sequence[Operation], initial: frozenset[Hashable], found: list[_Found]
) -> tuple[dict[Hashable, _Element], list[tuple[Operation, frozenset[Hashable]]]]:
    """Collect the elements of all adds, and the reads in order of their call.

    An initial element is known before all operations; an add of it adds nothing.
    """
    elements: dict[Hashable, _Element] = {}
    failed: dict[Hashable, list[Operation]] = {}
    answers: list[tuple[Operation, list[Hashable]]] = []
    for one in operations:
        if one.f == "add":
            value = freeze(one.input)
            if one.outcome is OpType.FAIL:
                failed.setdefault(value, []).append(one)
            elif value in initial:
                continue
            elif value in elements:
                elements[value].add_again(one)
            else:
                elements[value] = _Element(one)
        elif one.f == "read" and one.outcome is OpType.OK:
            if not isinstance(one.output, list | tuple):
                raise MalformedHistory(f"op {one.index}: a read of a set is a list")
            answers.append((one, [freeze(value) for value in one.output]))
    shown = []
    unexpected: set[Hashable] = set()
    lost: set[Hashable] = set()
    for one, values in answers:
        all_of_them = frozenset(values)
        if len(all_of_them) != len(values):
            twice = next(v for at, v in enumerate(values) if v in values[:at])
            found.append(_Found("duplicated", twice, (one,)))
        for value in values:
            if value not in elements and value not in unexpected and value not in initial:
                unexpected.add(value)
                ops = (*failed.get(value, ()), one)
                found.append(_Found("unexpected", value, ops, not initial))
        for value in initial - all_of_them - lost:
            lost.add(value)
            found.append(_Found("removed", value, (one,)))
        shown.append((one, all_of_them - initial))
    return elements, shown


def _follow(
    elements: dict[Hashable, _Element],
    shown: Sequence[tuple[Operation, frozenset[Hashable]]],
    found: list[_Found],
) -> None:
    """Pass over the reads: first what each shows, then what each lacks."""
    for one, values in shown:
        for value in values:
            element = elements.get(value)
            if element is None or one.completed_ns is None:
                continue
            if element.known_ns is None or one.completed_ns < element.known_ns:
                element.known_ns, element.known_by = one.completed_ns, one
            if one.completed_ns < element.add.invoked_ns:
                found.append(_Found("early", value, (one, element.add)))
            last = element.last_present
            if last is None or one.invoked_ns > last.invoked_ns:
                element.last_present = one
    everything = frozenset(elements)
    for one, values in shown:
        for value in everything - values:
            element = elements[value]
            if element.known_ns is not None and element.known_ns < one.invoked_ns:
                last = element.last_absent
                if last is None or one.invoked_ns > last.invoked_ns:
                    element.last_absent = one


def _settle(value: Hashable, element: _Element, found: list[_Found], latencies: list[int]) -> bool:
    """Judge one element; True if it was acknowledged and no read could have shown it."""
    absent, present = element.last_absent, element.last_present
    known = element.known_ns
    if absent is not None:
        # Shown by a read that returned only after the last one without it was called: it is there.
        still = present is not None and (present.completed_ns or 0) >= absent.invoked_ns
        if still:
            assert present is not None
            assert known is not None
            latencies.append(max(0, absent.invoked_ns - known))
            found.append(_Found("stale", value, (element.known_by, absent, present)))
        else:
            found.append(_Found("lost", value, (element.known_by, absent)))
    elif present is not None:
        latencies.append(0)
    return absent is None and present is None and known is not None


def _without_order(
    elements: dict[Hashable, _Element], shown: Sequence[tuple[Operation, frozenset[Hashable]]]
) -> list[_Found]:
    """Find a violation of order between elements that are each right by themselves."""
    chain = sorted(shown, key=lambda read: (len(read[1]), read[0].index))
    for (one, less), (other, more) in itertools.pairwise(chain):
        if not less <= more:
            return [_Found("disagree", None, (one, other))]
    before: frozenset[Hashable] = frozenset()
    latest: tuple[int, Operation] | None = None  # the add of earlier blocks that was called last
    rest = (None, frozenset(elements))
    for _, values in [*chain, rest]:
        new = [elements[value] for value in values - before if value in elements]
        for element in new:
            add = element.known_by
            if latest and element.known_or_never_ns < latest[0] and add.f == "add":
                late = freeze(latest[1].input)
                witness = next(r for r, v in chain if late in v and freeze(add.input) not in v)
                return [_Found("disorder", freeze(add.input), (add, latest[1], witness))]
        for element in new:
            if latest is None or element.add.invoked_ns > latest[0]:
                latest = (element.add.invoked_ns, element.add)
        before = values
    return []


def _explain(found: _Found, history: History) -> Anomaly:
    """Report an anomaly as one of a smaller set: of the elements that matter, and no others.

    Sound, because elements do not depend on each other: what is removed could not explain it.
    """
    hint = found.name == "unexpected" and _always_shown(found, history)
    element = thaw(found.value)
    found, shown = _reduced(found, history)
    value = value_text(element)
    cast = Cast(found.ops)
    names = [cast.name(one) for one in found.ops]
    last = found.ops[-1]
    where = _name(last)
    if found.name == "duplicated":
        summary = f"{who(last)} read {value} twice in one answer."
        sentences = [
            f"Then the set {where} holds {value} twice, because {names[0]} shows it twice.",
            "However, a set holds each element once.",
        ]
    elif found.name == "unexpected":
        summary, sentences = _unexpected(found, names, value)
    elif found.name == "removed":
        summary = f"{value} was in {where} at the start and is gone: {who(last)} did not find it."
        sentences = [
            f"Then {value} is in {where}, because it was at the start, and nothing removes it.",
            f"However, {names[0]} lacks it.",
        ]
    elif found.name == "disagree":
        summary, sentences = _disagreement(found.ops, names)
    elif found.name == "disorder":
        first, second, read = found.ops
        shows = value_text(second.input)
        summary = f"{who(read)} found {shows} in {where}, but not {value}, added before it."
        sentences = [
            f"Then {value} was in {where} before {shows}, because {cast.order(first, second)}.",
            f"However, {names[2]} shows {shows} and lacks {value}.",
        ]
    elif found.name == "early":
        read, add = found.ops
        summary = f"{who(read)} read {value} before it was added."
        alone = sum(one.f == "add" for one in shown) == 1
        why = f"only it added {value}" if alone else f"no other add of {value} was called before it"
        sentences = [
            f"Then {names[1]} came before {names[0]}, because {why}.",
            f"However, {cast.order(read, add)}.",
        ]
    else:
        summary, sentences = _missing(found, cast, names, value)
    return anomaly(
        {
            "lost": "lost-element",
            "stale": "stale-set-read",
            "early": "future-read",
            "duplicated": "duplicated-element",
            "disagree": "set-reads-disagree",
            "disorder": "set-out-of-order",
            "removed": "lost-element",
            "unexpected": "unexpected-element",
        }[found.name],
        summary,
        sentences,
        cast,
        shown=shown,
        data={"element": value} | ({"initial": [element]} if hint else {}),
    )


def _reduced(found: _Found, history: History) -> tuple[_Found, list[Operation]]:
    """Return an anomaly whose reads show only what matters, and the lanes' operations."""
    matters = {found.value, *(freeze(one.input) for one in found.ops if one.f == "add")}
    reads = [frozenset(map(freeze, one.output)) for one in found.ops if one.f == "read"]
    if found.name == "disagree":
        one, other = reads
        matters = {min(one - other, key=str), min(other - one, key=str)}

    def small(read: Operation) -> Operation:
        if read.f != "read":
            return read
        kept = [value for value in read.output if freeze(value) in matters]
        return in_part(read, msgspec.structs.replace(read, output=kept))

    of_key = history.by_key[found.ops[0].key]
    adds = [one for one in of_key if one.f == "add" and freeze(one.input) in matters]
    ops = tuple(map(small, found.ops))
    shown = {one.index: one for one in (*adds, *ops)}
    return found._replace(ops=ops), [shown[index] for index in sorted(shown)]


def _name(one: Operation) -> str:
    """The set's name in sentences."""
    return one.key if one.key is not None else "the set"


def _always_shown(found: _Found, history: History) -> bool:
    """Whether every read of a set shows an element that no operation tried to add."""
    read = found.ops[-1]
    return len(found.ops) == 1 and all(
        found.value in map(freeze, one.output)
        for one in history.by_key[read.key]
        if one.f == "read" and one.outcome is OpType.OK
    )


def _unexpected(found: _Found, names: Sequence[str], value: str) -> tuple[str, list[str]]:
    read = found.ops[-1]
    where, failed = _name(read), len(found.ops) - 1
    summary = f"{who(read)} read {value}, which nobody ever added."
    then = f"Then {value} was added to {where} once: {names[-1]} shows it."
    however = f"However, no operation adds {value}, and it was not there at the start."
    if found.empty_at_first:
        however = f"However, no operation adds {value}, and the set was empty at the start."
    if failed:
        summary = f"{who(read)} read {value}, which was refused when it was added."
        however = f"However, {names[0]} is its only add, and failed for certain."
    if failed > 1:
        however = f"However, only {listed(names[:-1])} add it, and each failed for certain."
    return summary, [then, however]


def _disagreement(ops: Sequence[Operation], names: Sequence[str]) -> tuple[str, list[str]]:
    one, other = (frozenset(map(freeze, read.output)) for read in ops)
    mine, its = (value_text(thaw(min(v, key=str))) for v in (one - other, other - one))
    summary = f"{who(ops[0])} found {mine} and not {its}, {who(ops[1])} found {its} and not {mine}."
    then = (
        f"Then {mine} was added before {its}, because {names[0]} shows {mine} and lacks {its}, and "
        f"nothing removes an element."
    )
    however = f"However, {names[1]} shows {its} and lacks {mine}, so {its} was added before {mine}."
    return summary, [then, however]


def _missing(found: _Found, cast: Cast, names: Sequence[str], value: str) -> tuple[str, list[str]]:
    known, absent = found.ops[:2]
    where = _name(absent)
    how = "was acknowledged" if known.f == "add" else f"showed {value}"
    sentences = [
        (
            f"Then {value} was in {where} from {cast.at(known.completed_ns or 0)} on, because "
            f"{names[0]} {how}, and nothing removes an element."
        ),
        f"However, {names[1]} was called at {cast.at(absent.invoked_ns)}, and lacks it"
        + (".", " (and so does every read after it).")[found.name == "lost"],
    ]
    if found.name == "lost":
        return (
            f"{value} was added to {where} and is gone: {who(absent)} no longer found it.",
            (sentences),
        )
    sentences[-1] = sentences[-1].removesuffix(".") + f"; {names[2]} shows it again."
    return (
        f"{who(absent)} did not find {value} in {where}, after it had been added.",
        sentences,
    )
