"""Why transactions have no order, in sentences: "Let ... Then ... However ...".

A circle is told edge by edge, each with what was seen that forces it; the last one is the
contradiction. What needs no circle is told as what was read and who wrote it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final, Protocol

from checkers.dependencies import PROCESS, REALTIME, RW, WR, WW, Circle, Dependencies
from checkers.explain import Cast, anomaly, who
from checkers.history import Operation
from checkers.lanes import value_text
from checkers.list_append import LATER, Finding
from checkers.transactions import APPEND, Transactions
from checkers.verdict import Anomaly


class Story(Protocol):
    """What both kinds of data know: the transactions, and the reason of each edge."""

    txns: Transactions
    graph: Dependencies

    def reasons(self, before: int, kind: int, after: int) -> Any:
        """Yield (key, value, next value) for which an edge exists."""
        ...


_MEANING: Final = {
    "G0": "writes of several transactions are interleaved",
    "G1c": "transactions read from each other in a circle",
    "G-single": "a transaction saw one part of what another did and missed the other part",
    "G-nonadjacent": "transactions missed what others did in a way no snapshot allows",
    "G2-item": "transactions missed each other's writes in a circle",
}


_MISSED: Final = "one missed what the other had finished before it was called"


def explain_circle(circle: Circle, story: Story) -> Anomaly:
    """Tell a circle of dependencies."""
    # The contradiction comes last and should be what was missed: begin behind the last rw edge.
    turn = next((at + 1 for at, kind in enumerate(circle.kinds) if kind == RW), 0)
    nodes = circle.nodes[turn:] + circle.nodes[:turn]
    kinds = circle.kinds[turn:] + circle.kinds[:turn]
    operations = [story.txns.operations[node] for node in nodes]
    cast = Cast(operations)
    steps = []
    for at, kind in enumerate(kinds):
        after = (at + 1) % len(nodes)
        because = _because(story, cast, nodes[at], kind, nodes[after])
        steps.append((cast.name(operations[at]), cast.name(operations[after]), because))
    lines = [f"{one} came before {other}, because {why}" for one, other, why in steps[:-1]]
    one, other, why = steps[-1]
    name = circle.name.removesuffix("-process").removesuffix("-realtime")
    meaning = _MEANING[name]
    if circle.name.endswith("-realtime"):
        meaning = (
            _MISSED if name == "G-single" and len(nodes) == 2 else f"{meaning}, against real time"
        )
    elif circle.name.endswith("-process"):
        own = "what the same client had done before"
        meaning = f"one missed {own}" if name == "G-single" else f"{meaning}, against {own}"
    names = [who(operation) for operation in operations]
    return anomaly(
        circle.name,
        f"{_count(len(nodes))} of {_listed(names)} have no order: {meaning}.",
        [
            "Then " + ";\n    and ".join(lines) + ".",
            f"However, {one} also came before {other}, because {why}: a circle.",
        ],
        cast,
        data={"edges": [_edge_name(kind) for kind in kinds]},
    )


def _count(number: int) -> str:
    words = {2: "Two", 3: "Three", 4: "Four", 5: "Five"}
    return f"{words.get(number, number)} transactions"


def _listed(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _edge_name(kind: int) -> str:
    return ("ww", "wr", "rw", "process", "realtime")[kind]


def _because(story: Story, cast: Cast, before: int, kind: int, after: int) -> str:
    first, second = story.txns.operations[before], story.txns.operations[after]
    one, other = cast.name(first), cast.name(second)
    if kind == REALTIME:
        return cast.order(first, second)
    if kind == PROCESS:
        return f"{who(first)} called {other} after {one}"
    key, value, following = next(iter(story.reasons(before, kind, after)))
    key, old, new = value_text(key), value_text(value), value_text(following)
    appends = any(mop[0] == APPEND for mops in story.txns.mops for mop in mops[:4])
    if appends:
        return _because_of_lists(kind, one, other, key, value, following)
    if kind == WR:
        return f"{other} read {key} as {old}, which {one} wrote"
    if kind == WW:
        return f"{one} set {key} to {old}, and {other} set it to {new} later"
    assert kind == RW
    return f"{one} read {key} as {old}, before {other} set it to {new}"


def _because_of_lists(kind: int, one: str, other: str, key: str, value: Any, following: Any) -> str:
    if kind == WR:
        return f"{other} read {key} as {value_text(following)}, whose last element {one} appended"
    if kind == WW:
        mine, its = value_text(value), value_text(following)
        return f"{one} appended {mine} to {key}, and {other} appended {its} behind it"
    seen = value_text(value) if value else "empty"
    return f"{one} read {key} as {seen}, without the {value_text(following)} that {other} appended"


def explain_finding(found: Finding, story: Story) -> Anomaly:
    """Tell an anomaly that needs no circle."""
    operations = [story.txns.operations[node] for node in found.nodes]
    cast = Cast(operations)
    tell = _TELL[found.name]
    summary, sentences = tell(found, cast, operations)
    return anomaly(found.name, summary, sentences, cast, data={"key": value_text(found.key)})


_Told = tuple[str, list[str]]


def _aborted(found: Finding, cast: Cast, ops: list[Operation]) -> _Told:
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


def _intermediate(found: Finding, cast: Cast, ops: list[Operation]) -> _Told:
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


def _dirty(found: Finding, cast: Cast, ops: list[Operation]) -> _Told:
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


def _unwritten(found: Finding, cast: Cast, ops: list[Operation]) -> _Told:
    key, value = value_text(found.key), value_text(found.value)
    name = cast.name(ops[0])
    return (
        f"{who(ops[0])} found {value} in {key}, which nobody ever wrote there.",
        [
            f"Then somebody wrote {value} to {key}: {name} found it.",
            f"However, no transaction of the whole history writes {value} to {key}.",
        ],
    )


def _internal(found: Finding, cast: Cast, ops: list[Operation]) -> _Told:
    key = value_text(found.key)
    expected, seen = value_text(found.other), value_text(found.value)
    name = cast.name(ops[0])
    if found.other is LATER:
        summary = f"{who(ops[0])}'s transaction found {seen} in {key} before it wrote it itself."
        then = f"Then {seen} was in {key} only after {name} had written it, which nobody else did."
        return summary, [then, f"However, {name} had found {seen} there before that."]
    return (
        f"{who(ops[0])}'s transaction contradicts itself about {key}.",
        [
            f"Then within {name} {key} ends in {expected}, by what it had read and written before."
            if isinstance(found.other, list)
            else f"Then within {name} {key} is {expected}, by what it had read or written before.",
            f"However, the same {name} then read {key} as {seen}.",
        ],
    )


def _twice_in_list(found: Finding, cast: Cast, ops: list[Operation]) -> _Told:
    key, value = value_text(found.key), value_text(found.value)
    return (
        f"{who(ops[0])} read {value} twice in {key}.",
        [
            (
                f"Then {value} was appended to {key} twice, because {cast.name(ops[0])} found "
                f"{value_text(found.other)}."
            ),
            (
                f"However, only one micro-operation of the whole history appends {value}: it took "
                f"effect twice."
            ),
        ],
    )


def _same_write(found: Finding, cast: Cast, ops: list[Operation]) -> _Told:
    key, value = value_text(found.key), value_text(found.value)
    one, other = map(cast.name, ops)
    return (
        (
            f"{who(ops[0])} and {who(ops[1])} both wrote {value} to {key}: the history does not "
            f"show "
            f"which of them a read saw."
        ),
        [
            (
                f"Then a read of {value} shows whether {one} happened, because each value of a "
                f"key is "
                f"written once."
            ),
            f"However, {other} wrote the same {value} to {key}. The workload broke its own rule.",
        ],
    )


def _incompatible(found: Finding, cast: Cast, ops: list[Operation]) -> _Told:
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


def _torn(found: Finding, cast: Cast, ops: list[Operation]) -> _Told:
    writer, reader = ops[0], ops[-1]
    key, first, second = value_text(found.key), value_text(found.value), value_text(found.other)
    one, other = cast.name(writer), cast.name(reader)
    summary = (
        f"{who(reader)} found {key} without a part of what {who(writer)}'s transaction appended: "
        f"{first} and then {second}."
    )
    then = f"Then {second} follows {first} in {key}, because {one} appended the one and the other."
    return summary, [then, f"However, it does not in what {other} found."]


def _lost(found: Finding, cast: Cast, ops: list[Operation]) -> _Told:
    key, value = value_text(found.key), value_text(found.value)
    value = {"[]": "empty", "nil": "unset"}.get(value, value)
    one, other = map(cast.name, ops)
    return (
        (
            f"{who(ops[0])} and {who(ops[1])} both saw {key} as {value} and both changed it: one "
            f"did "
            f"not see the other's update."
        ),
        [
            (
                f"Then one of {one} and {other} came second, and must have found what the first "
                f"left "
                f"behind, because both changed {key}."
            ),
            f"However, each of them read {key} as {value}, as it was before either.",
        ],
    )


def _circular(found: Finding, _cast: Cast, _ops: list[Operation]) -> _Told:
    key = value_text(found.key)
    values = [value_text(one) for one in found.value]
    return (
        (
            f"The values {', '.join(values)} of {key} each came before the next, and the last "
            f"before "
            f"the first."
        ),
        [
            "Then "
            + ", ".join(f"{a} came before {b}" for a, b in itertools.pairwise(values))
            + f" in {key}, because some transaction found or wrote the one and then wrote the "
            f"other, or had returned when one that found or wrote the other was called"
            + (", and nil was there at the start." if "nil" in values else "."),
            f"However, for such a reason {values[-1]} came before {values[0]}: a circle.",
        ],
    )


_TELL: Final = {
    "G1a": _aborted,
    "G1b": _intermediate,
    "dirty-update": _dirty,
    "unwritten-value": _unwritten,
    "internal": _internal,
    "duplicate-elements": _twice_in_list,
    "duplicate-appends": _same_write,
    "duplicate-writes": _same_write,
    "incompatible-order": _incompatible,
    "lost-update": _lost,
    "torn-append": _torn,
    "cyclic-versions": _circular,
}
