"""Lanes: what is drawn is what is meant, both ways."""

from __future__ import annotations

import msgspec
import pytest

from squall.checkers.history import MalformedHistory, Operation, OpType
from squall.checkers.text.lanes import COLUMN_NS, parse, render
from tests.checkers.linearizability.test_linearizability import drawn
from tests.checkers.oracle import history


def test_a_lane_is_read_as_drawn() -> None:
    """Columns are times, marks are outcomes, words are functions, keys and values."""
    operations = parse(
        "p0: |-write x 1 @n2-|  |-cas x 1 2 saw 3 revision=9 mod=4-|\n"
        'p1:    |-read x nil "too late"-!  |-write x -7 final-?\n'
    ).operations
    write, failed, refused, unanswered = operations
    assert (write.f, write.key, write.input, write.node) == ("write", "x", 1, "n2")
    assert write.invoked_ns == 4 * COLUMN_NS
    assert (failed.outcome, failed.error) == (OpType.FAIL, "too late")
    assert refused.input == [1, 2]
    assert refused.output == {"swapped": False, "seen": 3}
    assert refused.meta == {"revision": 9, "mod": 4}
    assert (unanswered.input, unanswered.completed_ns) == (-7, None)
    assert unanswered.meta == {"final": True}


def test_equal_columns_are_equal_times_and_the_call_comes_first() -> None:
    """An interval is closed, in drawings too."""
    ops = parse("p0: |-write x 1-|\np1:             |-read x nil-|")
    assert [(op.process, op.type) for op in ops] == [
        (0, OpType.INVOKE),
        (1, OpType.INVOKE),
        (0, OpType.OK),
        (1, OpType.OK),
    ]
    assert ops[1].time_ns == ops[2].time_ns


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("p0: |-write x 1-|\nnonsense", "line 2: not a lane"),
        ("p0: |-write x 1-| and more", "line 1: outside of any"),
        ("p0: |-write-|", "line 1: '|-write-|': a function and a key"),
        ("p0: |-cas x 1 2 was 3-|", "line 1: '|-cas x 1 2 was 3-|': `saw VALUE`"),
    ],
)
def test_a_mistake_in_a_drawing_is_named_with_its_line(text: str, complaint: str) -> None:
    """Whoever writes a test finds his slip at once."""
    with pytest.raises(MalformedHistory) as caught:
        parse(text)
    assert str(caught.value).startswith(complaint)


def facts(operations: list[Operation]) -> list[object]:
    """What lanes keep of a history: who did what, and which of two came first."""
    return [
        (one.f, one.input if one.f != "read" else None, one.output, one.outcome)
        for one in operations
    ] + [
        one.completed_ns is not None and one.completed_ns < other.invoked_ns
        for one in operations
        for other in operations
    ]


def swap_tells_what_it_saw(operation: Operation) -> Operation:
    """A swap saw what it expected, whether or not its recorder wrote that down."""
    output = operation.output
    if operation.f == "cas" and isinstance(output, dict) and output["swapped"]:
        return msgspec.structs.replace(operation, output={"swapped": True})
    return operation


def test_drawing_and_reading_keeps_every_answer_and_every_order() -> None:
    """Distances may change; what came before what never does."""
    for seed in range(3000):
        original = sorted(history(drawn(seed)).operations, key=lambda one: one.process)
        again = sorted(parse(render(original)).operations, key=lambda one: one.process)
        before, after = (
            facts([swap_tells_what_it_saw(one) for one in operations])
            for operations in (original, again)
        )
        assert before == after, seed
