"""A history file is read as written, and whatever is wrong with one is named with its line."""

from __future__ import annotations

from random import Random

import pytest

from squall.checkers.formats.jsonl import encode_header, encode_history, encode_op, read_history
from squall.checkers.history import History, MalformedHistory
from squall.checkers.text.lanes import parse

HISTORY = parse(
    "p0: |-write x 1 @n2 revision=7-|  |-cas x 1 2 saw 3-|\n"
    'p1:    |-read x nil "too late"-!   |-write x 4-?\n'
    "nemesis/kill: |-start kill-1 targets=n1,n2-|   |-stop kill-1 effective=true-|",
    header={"run": "storm-1"},
)
LINES = list(encode_history(HISTORY))


def test_what_was_written_is_read() -> None:
    """Every field survives, and the header too."""
    reading = read_history(LINES)
    assert list(reading.history) == list(HISTORY)
    assert reading.history.header["run"] == "storm-1"
    assert reading.cut_line is None


def test_a_line_is_written_the_moment_its_op_happens() -> None:
    """Header and ops one by one make the same file."""
    assert b"".join([encode_header(run="storm-1"), *map(encode_op, HISTORY)]) == b"".join(LINES)


def test_a_history_is_readable_however_far_its_last_line_got() -> None:
    """A controller killed while writing leaves all lines but the last."""
    whole = b"".join(LINES)
    start = len(whole) - len(LINES[-1])
    for end in range(start + 1, len(whole) - 1):
        reading = read_history(whole[:end].splitlines(keepends=True))
        assert len(reading.history) == len(HISTORY) - 1
        assert reading.cut_line == len(LINES)
        assert reading.history.header["cut_line"] == len(LINES)
    # Only its newline is missing: nothing is lost.
    assert len(read_history(whole[:-1].splitlines(keepends=True)).history) == len(HISTORY)


OP = b'{"index":%d,"time_ns":%d,"process":%s,"type":"%s","f":"read","key":"x"}\n'


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "h.jsonl: empty"),
        ([b"nonsense\n"], "h.jsonl:1: not a header line"),
        ([b'{"index":0}\n'], "h.jsonl:1: a history begins with"),
        ([b'{"squall":"history","version":99}\n'], "h.jsonl:1: version 99; this Squall reads"),
        ([LINES[0], b"\x00\x00\x00\n", LINES[1]], "h.jsonl:2: JSON is malformed"),
        ([LINES[0], LINES[1][:20] + b"\n", LINES[2]], "h.jsonl:2: "),
        ([LINES[0], LINES[1][:20], LINES[2]], "h.jsonl:2: "),
        ([LINES[0], b'{"index":"zero"}\n'], "h.jsonl:2: Expected `int`, got `str` - at `$.index`"),
        ([LINES[0], b'{"index":0}\n'], "h.jsonl:2: Object missing required field `time_ns`"),
        ([LINES[0], b"\xff\xfe\n"], "h.jsonl:2: "),
        ([LINES[0], LINES[2]], "h.jsonl:2: op 1 where op 0 should follow"),
        (
            [LINES[0], OP % (0, 9, b"1", b"invoke"), OP % (1, 8, b"1", b"ok")],
            "h.jsonl:3: op 1 at 8 ns comes after 9 ns",
        ),
        (
            [LINES[0], OP % (0, 1, b"1", b"ok")],
            "h.jsonl:2: process 1 completes read on x without having invoked it",
        ),
        (
            [LINES[0], OP % (0, 1, b"1", b"invoke"), OP % (1, 2, b"1", b"invoke")],
            "h.jsonl:3: process 1 invokes read while its op 0 is still open",
        ),
    ],
)
def test_a_malformed_history_is_named_with_file_and_line(
    lines: list[bytes], complaint: str
) -> None:
    """One line says what is wrong, and where."""
    with pytest.raises(MalformedHistory) as caught:
        read_history(lines, "h.jsonl")
    assert str(caught.value).startswith(complaint), str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_the_observer_notes_needs_no_invocation() -> None:
    """Readings of the nodes' roles are events of their own."""
    note = b'{"index":0,"time_ns":1,"process":"observer","type":"info","f":"roles","value":{}}\n'
    assert (
        len(read_history([LINES[0], note, note.replace(b'"index":0', b'"index":1')]).history) == 2
    )


def test_damaged_files_never_end_in_anything_but_a_clear_message() -> None:
    """Bytes flipped, lines dropped, swapped and doubled: a history or a MalformedHistory."""
    whole = b"".join(LINES)
    random = Random(1)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        lines = bytes(data).splitlines(keepends=True)
        if random.random() < 0.3:
            lines.insert(random.randrange(len(lines)), random.choice(lines))
        try:
            reading = read_history(lines, "h.jsonl")
        except MalformedHistory as error:
            assert "h.jsonl:" in str(error)  # noqa: PT017 - either end is fine
        else:
            assert isinstance(reading.history, History)
            assert reading.history.operations is not None
