"""Why transactions have no order, in sentences: "Let ... Then ... However ...".

A circle is told edge by edge, each with what was seen that forces it; the last one is the
contradiction. What needs no circle is told as what was read and who wrote it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

import msgspec

from squall.checkers.history import Operation, OpType
from squall.checkers.text.lanes import describe, value_text
from squall.checkers.text.proof import LANES_OPS_MAX, Cast, anomaly, in_part, who
from squall.checkers.text.words import counted, listed
from squall.checkers.transactions.dependencies import PROCESS, REALTIME, RW, WR, WW, Circle
from squall.checkers.transactions.list_append import Fault, Finding
from squall.checkers.transactions.operations import READ, Mismatch, Transactions
from squall.checkers.verdict import Anomaly


class Story(Protocol):
    """What both kinds of data know: the transactions, and the reason of each edge."""

    txns: Transactions

    @property
    def appends(self) -> bool:
        """Whether keys are lists that are appended to."""
        ...

    def reasons(self, before: int, kind: int, after: int) -> Any:
        """Yield (key, value, next value) for which an edge exists."""
        ...

    def assumed(self, key: Any, value: Any) -> bool:
        """Whether a value without a writer is taken for the initial one."""
        ...


_MEANING: Final = {
    "G0": "they overwrote each other in a circle",
    "G1c": "they read from or overwrote each other in a circle",
    "G-single": "one missed a write of another that comes before it",
    "G-nonadjacent": "they missed writes of each other in a way that no snapshot allows",
    "G2-item": "they missed writes of each other in a circle",
}

_MISSED: Final = "one missed what the other had finished before it was called"
_MISSED_ITS_OWN: Final = "one missed what the same client had done before"


def keys_of(circle: Circle, story: Story) -> frozenset[Any]:
    """Return the keys that a circle is about: what orders its transactions is seen in these."""
    after = [*circle.nodes[1:], circle.nodes[0]]
    edges = zip(circle.nodes, circle.kinds, after, strict=True)
    reasons = [_reason(story, one, kind, other) for one, kind, other in edges]
    return frozenset(reason[0] for reason in reasons if reason is not None)


def explain_circle(circle: Circle, story: Story, lanes: Sequence[Operation] = ()) -> Anomaly:
    """Tell a circle of dependencies; `lanes` are a smaller history that shows it, if any does."""
    # The contradiction comes last and should be what was missed: begin behind the last rw edge.
    turn = next((at + 1 for at, kind in enumerate(circle.kinds) if kind == RW), 0)
    nodes = circle.nodes[turn:] + circle.nodes[:turn]
    kinds = circle.kinds[turn:] + circle.kinds[:turn]
    edges = [
        (one, kind, other, _reason(story, one, kind, other))
        for one, kind, other in zip(nodes, kinds, [*nodes[1:], nodes[0]], strict=True)
    ]
    keys = {reason[0] for *_, reason in edges if reason is not None}
    operations = [_shown(story.txns, node, keys) for node in nodes]
    cast = Cast(operations)
    steps = []
    for at, (_, kind, _, reason) in enumerate(edges):
        first, second = operations[at], operations[(at + 1) % len(nodes)]
        because = _because(story, cast, first, kind, second, reason)
        steps.append((cast.name(first), cast.name(second), because))
    lines = [f"{one} came before {other}, because {why}" for one, other, why in steps[:-1]]
    one, other, why = steps[-1]
    name = circle.name.removesuffix("-process").removesuffix("-realtime")
    meaning = _MEANING[name]
    alone = name == "G-single" and len(nodes) == 2
    if circle.name.endswith("-realtime"):
        meaning = _MISSED if alone else f"{meaning}, against real time"
    elif circle.name.endswith("-process"):
        meaning = _MISSED_ITS_OWN if alone else f"{meaning}, against a client's own order"
    names = list(dict.fromkeys(map(who, operations)))
    return _told(
        circle.name,
        f"{_count(len(nodes))} of {listed(names)} have no order: {meaning}.",
        [
            "Then " + ";\n    and ".join(lines) + ".",
            f"However, {one} also came before {other}, because {why}: a circle.",
        ],
        cast,
        lanes,
        {"edges": [_edge_name(kind) for kind in kinds]},
    )


def _told(
    kind: str,
    summary: str,
    sentences: Sequence[str],
    cast: Cast,
    lanes: Sequence[Operation],
    data: dict[str, Any],
) -> Anomaly:
    """Put an anomaly together: the words are about the history, the lanes are the smaller one."""
    named = {one.index: one for one in cast.operations}
    if len(lanes) > LANES_OPS_MAX or not named.keys() <= {one.index for one in lanes}:
        lanes = ()
    parts = [
        cast.name(one)
        for one in lanes
        if one.index in named and describe(one) != describe(named[one.index])
    ]
    if parts:
        what = "the lanes show only a part: what the anomaly does not need is left out."
        sentences = [f"Of {listed(parts)} {what}", *sentences]
    return anomaly(kind, summary, sentences, cast, shown=lanes or None, data=data)


def _shown(txns: Transactions, node: int, keys: Collection[Any]) -> Operation:
    """Return a transaction with what it did to some keys; all of it where that is nothing."""
    operation, mops = txns.operations[node], txns.mops[node]
    kept = [list(mop) for mop in mops if mop[1] in keys] or [list(mop) for mop in mops]
    if len(kept) == len(mops) and node not in txns.mismatched:
        return operation
    asked = [[f, key, None if f == READ else value] for f, key, value in kept]
    # An answer to something else is believed in nothing: the writes that were asked are shown.
    outcome = OpType.INFO if node in txns.mismatched else operation.outcome
    answered = kept if txns.ok[node] else None
    part = msgspec.structs.replace(operation, input=asked, output=answered, outcome=outcome)
    return in_part(operation, part)


def _count(number: int) -> str:
    words = {2: "Two", 3: "Three", 4: "Four", 5: "Five"}
    return f"{words.get(number, number)} transactions"


def _edge_name(kind: int) -> str:
    return ("ww", "wr", "rw", "process", "realtime")[kind]


def _reason(story: Story, before: int, kind: int, after: int) -> tuple[Any, Any, Any] | None:
    """Return the (key, value, next value) of an edge, None for an order of clocks or clients."""
    if kind in {PROCESS, REALTIME}:
        return None
    key, value, following = next(iter(story.reasons(before, kind, after)))
    return key, value, following


def _because(
    story: Story, cast: Cast, first: Operation, kind: int, second: Operation, reason: Any
) -> str:
    one, other = cast.name(first), cast.name(second)
    if kind == REALTIME:
        return cast.order(first, second)
    if kind == PROCESS:
        return f"{who(first)} called {other} after {one}"
    key, value, following = reason
    if story.appends:
        return _because_of_lists(kind, one, other, value_text(key), value, following)
    name, old, new = value_text(key), value_text(value), value_text(following)
    if kind == WR:
        return f"{other} read {name} as {old}, which {one} wrote"
    if kind == WW:
        return f"{one} set {name} to {old}, and {other} set it to {new} later"
    assert kind == RW
    if story.assumed(key, value):
        return (
            f"{one} read {name} as {old}, which nobody wrote and which so can only be what it held "
            f"at first, before {other} set it to {new}"
        )
    return f"{one} read {name} as {old}, before {other} set it to {new}"


def _because_of_lists(kind: int, one: str, other: str, key: str, value: Any, following: Any) -> str:
    if kind == WR:
        return f"{other} read {key} as {value_text(following)}, whose last element {one} appended"
    if kind == WW:
        mine, its = value_text(value), value_text(following)
        return f"{one} appended {mine} to {key}, and {other} appended {its} behind it"
    seen = value_text(value) if value else "empty"
    return f"{one} read {key} as {seen}, without the {value_text(following)} that {other} appended"


def explain_mismatch(
    operation: Operation,
    wrong: Mismatch,
    lanes: Sequence[Operation] = (),
) -> Anomaly:
    """Tell an answer to something else than was asked; `lanes` as in `explain_circle`."""
    cast = Cast([operation])
    name = cast.name(operation)
    asked, answered = len(operation.input), len(operation.output)
    if asked != answered:
        what, instead = counted(asked, "micro-operation"), f"{answered:,}"
        then = f"Then {name} asked for {what}."
        however = f"However, it was answered with {instead}."
        summary = f"{what} and was answered with {instead}"
    else:
        what, instead = _micro_text(wrong.asked), _micro_text(wrong.answered)
        if what == instead:  # 1 and "1": the lanes' short form tells them not apart
            what, instead = repr(list(wrong.asked)), repr(list(wrong.answered))
        then = f"Then micro-operation {wrong.at + 1} of {name} asked for `{what}`."
        however = f"However, micro-operation {wrong.at + 1} of its answer is `{instead}`."
        summary = f"`{what}` and was answered `{instead}`"
    return anomaly(
        "answer-mismatch",
        f"{who(operation)}'s transaction (op {operation.index}) asked for {summary}.",
        [then, however],
        cast,
        shown=lanes or None,
    )


def _micro_text(mop: Sequence[Any]) -> str:
    f, key, value = mop
    if f == READ:
        return f"{f} {value_text(key)}"
    return f"{value_text(f)} {value_text(key)} {value_text(value)}"


def explain_fault(fault: Fault, txns: Transactions) -> str:
    """Say which operations wrote one value twice."""
    key, value = value_text(fault.key), value_text(fault.value)
    ops = [txns.operations[node] for node in fault.nodes]
    if fault.initial:
        one = ops[0]
        return f"{who(one)} (op {one.index}) writes {value} to {key}, which it holds at first"
    one, other = ops
    if one is other:
        return f"{who(one)} (op {one.index}) writes {value} to {key} twice"
    return (
        f"{who(one)} (op {one.index}) and {who(other)} (op {other.index}) both write {value} to "
        f"{key}"
    )


def explain_finding(found: Finding, story: Story, lanes: Sequence[Operation] = ()) -> Anomaly:
    """Tell an anomaly that needs no circle; `lanes` as in `explain_circle`."""
    operations = [_shown(story.txns, node, [found.key]) for node in found.nodes]
    cast = Cast(operations)
    if found.name == "unwritten-value" and story.txns.mismatched:
        # Somebody may have been answered that he wrote it; nobody asked for that.
        found = found._replace(how=found.how + _CLAIMED)
    tell = _TELL[found.name]
    summary, sentences = tell(found, cast, operations)
    return _told(found.name, summary, sentences, cast, lanes, {"key": value_text(found.key)})


_Words = tuple[str, list[str]]

_CLAIMED: Final = ", claimed"
"""Marks a value that nobody asked to write, in a history with answers to something else."""


def _aborted(found: Finding, cast: Cast, ops: list[Operation]) -> _Words:
    writer, reader = ops
    key, value = value_text(found.key), value_text(found.value)
    because = f" ({writer.error})" if writer.error else ""
    return (
        f"{who(reader)} read {value} in {key}, which {who(writer)}'s aborted transaction wrote.",
        [
            (
                f"Then {cast.name(writer)} had an effect, because {cast.name(reader)} found its "
                f"{value} in {key}."
            ),
            (
                f"However, its client was told that {cast.name(writer)} did not happen and never "
                f"will{because}."
            ),
        ],
    )


def _intermediate(found: Finding, cast: Cast, ops: list[Operation]) -> _Words:
    writer, reader = ops
    key, value = value_text(found.key), value_text(found.value)
    return (
        f"{who(reader)} read {value} in {key}, which {who(writer)}'s transaction itself replaced.",
        [
            (
                f"Then {cast.name(reader)} looked into the middle of {cast.name(writer)}, "
                f"because it "
                f"found {value} as the latest in {key}."
            ),
            (
                f"However, {cast.name(writer)} went on to write {key} again: {value} was never its "
                f"result."
            ),
        ],
    )


def _dirty(found: Finding, cast: Cast, ops: list[Operation]) -> _Words:
    aborted, other = ops
    key, value = value_text(found.key), value_text(found.value)
    return (
        f"{who(other)}'s transaction built on what an aborted one of {who(aborted)} did to {key}.",
        [
            (
                f"Then {cast.name(other)} came after {cast.name(aborted)}, because its {value} "
                f"stands "
                f"behind an element of {cast.name(aborted)} in {key}."
            ),
            f"However, {cast.name(aborted)} did not happen: its client was told that it failed.",
        ],
    )


def _unwritten(found: Finding, cast: Cast, ops: list[Operation]) -> _Words:
    key, value = value_text(found.key), value_text(found.value)
    name, other = cast.name(ops[0]), cast.name(ops[-1])
    what = value_text(found.other)
    how, claimed = found.how.removesuffix(_CLAIMED), found.how.endswith(_CLAIMED)
    writes = "asks to write" if claimed else "writes"
    then = f"Then somebody wrote {value} to {key}: {name} found it."
    however = f"However, no transaction of the whole history {writes} {value} to {key}"
    at_first = {
        "": "",
        "stated": f", and {key} held {what} at first",
        "another": f", and it was not there at first, if {what} was, which {other} found and which "
        f"nobody wrote either",
        "session": f", and it was not there at first, because {who(ops[0])} had itself called "
        f"{other}, which set {key} to {what}, before {name}",
        "missing": f", and it was not there at first, because {other} read {key} as "
        f"{what if found.other else 'empty'}, without it",
        "behind": f", and it was not there at first, because it stands behind {what}, which "
        f"{other} asked to append",
    }
    if how == "late":
        because = f"{other} set {key} to {what}, and {cast.order(ops[-1], ops[0])}"
        at_first["late"] = f", and it was not there at first when {name} read it, because {because}"
    if how == "another" and found.other is None:
        at_first["another"] = (
            f", and it was not there at first, because {other} found nothing there, and nobody "
            f"removes a value"
        )
    summary = f"{who(ops[0])} found {value} in {key}, which nobody ever "
    summary += "asked to write there." if claimed else "wrote there."
    return summary, [then, however + at_first[how] + "."]


def _internal(found: Finding, cast: Cast, ops: list[Operation]) -> _Words:
    key = value_text(found.key)
    expected, seen = value_text(found.other), value_text(found.value)
    name = cast.name(ops[0])
    if found.how == "later":
        return (
            f"{who(ops[0])}'s transaction found {seen} in {key} before it wrote it itself.",
            [
                (
                    f"Then {seen} was in {key} only after {name} had written it, which no other "
                    f"transaction that may have happened did."
                ),
                f"However, {name} had found {seen} there before that.",
            ],
        )
    verb = "ends in" if found.how == "ends" else "is"
    return (
        f"{who(ops[0])}'s transaction contradicts itself about {key}.",
        [
            f"Then within {name} {key} {verb} {expected}, by what it had read and written before.",
            f"However, the same {name} then read {key} as {seen}.",
        ],
    )


def _twice_in_list(found: Finding, cast: Cast, ops: list[Operation]) -> _Words:
    key, value = value_text(found.key), value_text(found.value)
    seen, times = found.other
    often = "twice" if times == 1 else f"more than {times} times"
    only = f"{'one' if times == 1 else times} micro-operation{'' if times == 1 else 's'}"
    return (
        f"{who(ops[0])} read {value} {often} in {key}.",
        [
            (
                f"Then {value} was appended to {key} {often}, because {cast.name(ops[0])} found "
                f"{value_text(seen)}."
            ),
            (
                f"However, only {only} of the whole history that did not fail "
                f"append{'s' if times == 1 else ''} {value} to {key}."
            ),
        ],
    )


def _incompatible(found: Finding, cast: Cast, ops: list[Operation]) -> _Words:
    key = value_text(found.key)
    one, other = map(cast.name, ops)
    return (
        (
            f"{who(ops[0])} and {who(ops[1])} saw two pasts of {key}, of which neither is a "
            f"beginning "
            f"of the other."
        ),
        [
            (
                f"Then what {one} read, {value_text(found.value)}, and what {other} read, "
                f"{value_text(found.other)}, are moments of one list, to which elements are only "
                f"appended: the shorter is a beginning of the longer."
            ),
            "However, it is not: the list was forked, or lost an element.",
        ],
    )


def _torn(found: Finding, cast: Cast, ops: list[Operation]) -> _Words:
    writer, reader = ops[0], ops[-1]
    key, first, second = value_text(found.key), value_text(found.value), value_text(found.other)
    one, other = cast.name(writer), cast.name(reader)
    summary = (
        f"{who(reader)} found {key} without a part of what {who(writer)}'s transaction appended: "
        f"{first} and then {second}."
    )
    then = f"Then {second} follows {first} in {key}, because {one} appended the one and the other."
    return summary, [then, f"However, it does not in what {other} found."]


def _lost(found: Finding, cast: Cast, ops: list[Operation]) -> _Words:
    key, value = value_text(found.key), value_text(found.value)
    value = {"[]": "empty", "nil": "unset"}.get(value, value)
    one, other = map(cast.name, ops)
    return (
        (
            f"{who(ops[0])} and {who(ops[1])} both saw {key} as {value} and both changed it: one "
            f"did not see the other's update."
        ),
        [
            (
                f"Then one of {one} and {other} came second, and must have found what the first "
                f"left behind, because both changed {key}."
            ),
            f"However, each of them read {key} as {value}, as it was before either.",
        ],
    )


def _circular(found: Finding, cast: Cast, ops: list[Operation]) -> _Words:
    key = value_text(found.key)
    values = [value_text(one) for one in found.value]
    by_node = dict(zip(found.nodes, ops, strict=True))
    lines = []
    for before, after, first, second in found.other:
        old, new, later = value_text(before), value_text(after), by_node[second]
        if first is None:
            why = f"nobody wrote {old}, and {cast.name(later)} saw or wrote {new}"
        elif first == second:
            why = f"{cast.name(later)} had {old} there and then set it to {new}"
        else:
            earlier = by_node[first]
            why = (
                f"{cast.name(earlier)} saw or wrote {old}, {cast.name(later)} saw or wrote {new}, "
                f"and {cast.order(earlier, later)}"
            )
        lines.append(f"{old} came before {new} in {key}, because {why}")
    return (
        (
            f"The values {', '.join(values)} of {key} each came before the next, and the last "
            f"before the first."
        ),
        [
            "Then " + ";\n    and ".join(lines[:-1]) + ".",
            f"However, {lines[-1].replace(' came', ' also came', 1)}: a circle.",
        ],
    )


_TELL: Final = {
    "G1a": _aborted,
    "G1b": _intermediate,
    "dirty-update": _dirty,
    "unwritten-value": _unwritten,
    "internal": _internal,
    "duplicate-elements": _twice_in_list,
    "incompatible-order": _incompatible,
    "lost-update": _lost,
    "torn-append": _torn,
    "cyclic-versions": _circular,
}
