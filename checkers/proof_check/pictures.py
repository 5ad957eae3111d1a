"""The lanes beside a proof: each interval must be an operation of the history, in its order.

What stands in an interval is compared with what the history's operation is called in lanes, its
closing mark with the outcome, its place among the lane's intervals and the columns with the times.
Columns keep the order of moments, not their distances. A lane may show an operation in part, and
of a history that was searched it shows it as it was when the answer came that nothing explains.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from squall.checkers.history import Operation, OpType, process_name
from squall.checkers.proof_check.facts import believed
from squall.checkers.proof_check.grammar import Contradicted, Unverified
from squall.checkers.proof_check.introductions import part_of
from squall.checkers.proof_check.proof import Proof
from squall.checkers.text.lanes import describe, value_text

STEPS_MAX: Final = 5_000
"""Ways to match intervals with operations that are tried."""

FOREVER: Final = 1 << 62

_MARKS: Final = {OpType.OK: "|", OpType.FAIL: "!", OpType.INFO: "?"}
_END = re.compile(r"-*([|!?])(?=[ |]|$)")
_INTERVAL = re.compile(r"\|-(.*?)-+([|!?])(?=[ |]|$)", re.DOTALL)


class _Interval(NamedTuple):
    """What one interval can be: operations, with the moment at which each is shown to end."""

    start: int
    stop: int
    text: str
    options: list[tuple[Operation, int]]


def check_lanes(proof: Proof) -> None:
    """Check the lanes of an anomaly; raises Contradicted, or Unverified."""
    intervals: list[_Interval] = []
    for line in proof.anomaly.lanes.splitlines():
        intervals += _lane(proof, line)
    events = sorted(
        [(one.start, 0, at) for at, one in enumerate(intervals)]
        + [(one.stop, 1, at) for at, one in enumerate(intervals)]
    )
    if not _Matching(intervals, events, proof).fits():
        raise Contradicted("the columns are not in the order of the history's times")


def _lane(proof: Proof, line: str) -> list[_Interval]:
    name = line.partition(":")[0]
    clients = [one for one in proof.facts.by_process if _may_be_called(one, name)]
    refused = Contradicted(f"no client is the one of the lane {name!r}")
    found: list[_Interval] = []
    for client in clients:  # one as a rule: names that differ in signs only are told apart by both
        try:
            its = _intervals(proof, line, len(name), proof.facts.by_process[client])
        except Contradicted as why:
            refused = why
            continue
        found = [_either(*both) for both in zip(found, its, strict=False)] if found else its
    if not found:
        raise refused
    return found


def _may_be_called(process: int | str, name: str) -> bool:
    """Whether a lane of this name may be a process's: signs that no name has are underscores.

    Where several would have one name, all but the first have a number behind it.
    """
    plain = re.sub(r"[^\w/-]", "_", process_name(process)) or "_"
    return name == plain or re.fullmatch(rf"{re.escape(plain)}_\d+", name) is not None


def _either(one: _Interval, other: _Interval) -> _Interval:
    return one._replace(options=[*one.options, *other.options])


def _intervals(proof: Proof, line: str, at: int, operations: list[Operation]) -> list[_Interval]:
    labels = _labels(proof, [one for one in operations if _may_stand(one, line)])
    found, at = [], line.find("|", at)
    while at >= 0:
        one = _interval(proof, line, at, labels)
        found.append(one)
        at = line.find("|", one.stop + 1)
    return found


def _may_stand(one: Operation, line: str) -> bool:
    """Whether a lane can show an operation, by its keys; cheap, as a process has thousands."""
    if one.f != "txn" or not isinstance(one.input, list | tuple) or not one.input:
        return True
    return any(f":{value_text(mop[1])}" in line for mop in one.input)


_Label = tuple[str, str, Operation, int]
"""How an operation may be shown: its text, its closing mark, itself, and when it is to end."""


def _interval(proof: Proof, line: str, at: int, labels: list[_Label]) -> _Interval:
    """Find what the interval that begins at a column can be."""
    options: list[tuple[Operation, int]] = []
    stop, text = 0, ""
    for label, mark, one, until in labels:
        if line.startswith(f"|-{label}-", at):
            end = _END.match(line, at + 2 + len(label))
            if end is not None and end[1] == mark and (not options or end.end() - 1 == stop):
                stop, text = end.end() - 1, label
                options.append((one, until))
    bare = _INTERVAL.match(line, at)
    if bare is not None and (not options or bare.end() - 1 == stop):
        stop, text = bare.end() - 1, bare[1]
        whole = {one.index for one, _ in options}
        shown = proof.memory.get("lanes in part", ())
        introduced = {one.real.index for one in proof.cast.values() if one.name not in shown}
        for _, mark, one, until in labels:
            fits = mark == bare[2] and one.index not in whole and one.index not in introduced
            if fits and part_of(one, text) is not None:
                options.append((one, until))
    if not options:
        raise Contradicted(f"the history has no `{line[at : at + 80]}` in this lane")
    listed = set(proof.anomaly.ops)
    options.sort(key=lambda option: option[0].index not in listed)
    return _Interval(at, stop, text, options)


def _labels(proof: Proof, operations: list[Operation]) -> list[_Label]:
    stuck = proof.memory.get("stuck")
    answered = None if stuck is None else stuck.real.completed_ns
    limit = FOREVER if answered is None else answered
    labels = []
    shown_as = {one.real.index: one.told for one in proof.cast.values()}
    for one in operations:
        until = one.completed_ns
        shown = FOREVER if one.outcome is OpType.INFO or until is None else until
        text = describe(shown_as.get(one.index, one))  # in the lanes as in the proof
        labels.append((text, _MARKS[one.outcome], one, shown))
        if one.f == "txn" and one.outcome is OpType.OK and not believed(one):
            part = shown_as.get(one.index, one)
            asked = [mop for mop in part.input if mop[0] != "r"]
            cut = msgspec.structs.replace(one, input=asked, outcome=OpType.INFO, output=None)
            labels.append((describe(cut), "?", one, FOREVER))  # its answer is not shown
        if until is not None and until > limit:
            cut = msgspec.structs.replace(one, outcome=OpType.INFO, completed_ns=None, output=None)
            labels.append((describe(cut), "?", one, FOREVER))
    return labels


_Event = tuple[int, tuple[int, int], bool]
"""A column, the moment that stands there (calls before returns), and whether it is a hasty one's.

Hasty is a process that calls in the instant in which it was answered: a lane shows the answer
first, though all that shares an instant is concurrent.
"""


class _Matching:
    """Which operation each interval is, so that columns and times have one order."""

    def __init__(
        self,
        intervals: list[_Interval],
        events: list[tuple[int, int, int]],
        proof: Proof,
    ) -> None:
        self._intervals, self._events = intervals, events
        self._facts, self._listed = proof.facts, set(proof.anomaly.ops)
        self._steps = 0
        self._chosen: dict[int, tuple[Operation, int]] = {}

    def fits(self, at: int = 0, last: _Event = (-1, (-1, 0), False)) -> bool:
        """Whether events from here on can be matched; `last` is the one before, with its moment."""
        if at == len(self._events):
            return self._listed <= {one.index for one, _ in self._chosen.values()}
        column, kind, interval = self._events[at]
        if kind:
            one, until = self._chosen[interval]
            if until == FOREVER:  # where it is shown to end says nothing
                return self.fits(at + 1, last)
            event = (column, (until, 1), self._is_hasty(one))
            return self._follows(last, event) and self.fits(at + 1, event)
        used = {one.index for one, _ in self._chosen.values()}
        for option in self._intervals[interval].options:
            self._steps += 1
            if self._steps > STEPS_MAX:
                raise Unverified("the lanes could be matched in too many ways")
            index = option[0].index
            event = (column, (option[0].invoked_ns, 0), self._is_hasty(option[0]))
            if index not in used and self._follows(last, event):
                self._chosen[interval] = option
                if self.fits(at + 1, event):
                    return True
                del self._chosen[interval]
        return False

    def _is_hasty(self, one: Operation) -> bool:
        return one.index in self._facts.hasty(one.process)

    @staticmethod
    def _follows(last: _Event, event: _Event) -> bool:
        """Whether an event may stand in its column, behind or beside the one before."""
        if last[1][0] == event[1][0] and (last[2] or event[2]):
            return True
        return last[1] == event[1] if last[0] == event[0] else event[1] > last[1]
