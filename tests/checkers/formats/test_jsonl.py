"""A history file is read as written, and whatever is wrong with one is named with its line."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from squall.checkers.budget import UNTIMED
from squall.checkers.files import check_file
from squall.checkers.formats.jsonl import encode_header, encode_history, encode_op, read_history
from squall.checkers.history import History, MalformedHistory
from squall.checkers.registry import UnknownModel
from squall.checkers.text.lanes import parse
from squall.checkers.verdict import Validity, Verdict

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


HEAD = b'{"squall":"history","version":1}\n'


def own(*events: dict[str, object]) -> bytes:
    """Return a file of our own format; index and time_ns are counted unless an event has them."""
    lines = [
        msgspec.json.encode({"index": at, "time_ns": 1000 * at, **event})
        for at, event in enumerate(events)
    ]
    return HEAD + b"".join(line + b"\n" for line in lines)


def judged(data: bytes, model: str = "cas-register") -> Verdict:
    return check_file("h.jsonl", data, model, UNTIMED)


WRITTEN = (
    {"process": "a", "type": "invoke", "f": "write", "key": "x", "value": 1},
    {"process": "a", "type": "ok", "f": "write", "key": "x"},
)


@pytest.mark.parametrize("field", ["args", "val", "result", "ts"])
def test_a_field_that_an_event_does_not_have_is_refused_with_those_it_has(field: str) -> None:
    """Dropped, it would turn every value into nil and a wrong store into a right one."""
    data = own(*WRITTEN, {"process": "b", "type": "invoke", "f": "read", "key": "x", field: None})
    with pytest.raises(MalformedHistory, match=rf"h\.jsonl:4: .*`{field}`.*key is a text") as found:
        judged(data)
    assert "\n" not in str(found.value)


def test_a_client_called_observer_is_asked_for_another_name() -> None:
    """Only Squall's own readings have that name, and they are never operations."""
    stale = (
        {"process": "observer", "type": "invoke", "f": "read", "key": "x"},
        {"process": "observer", "type": "ok", "f": "read", "key": "x", "value": None},
    )
    with pytest.raises(MalformedHistory, match="give the client another name"):
        judged(own(*WRITTEN, *stale))
    foreign = b"\n".join(
        msgspec.json.encode(
            {
                "process": one["process"],
                "type": one["type"],
                "f": one["f"],
                "value": one.get("value"),
            }
        )
        for one in (*WRITTEN, *stale)
    )
    with pytest.raises(MalformedHistory, match="give the client another name"):
        judged(foreign)


def test_a_clock_that_orders_nothing_of_what_one_client_did_is_refused() -> None:
    """A client's stale read would count as concurrent with its own write."""
    stale = (
        {"process": "a", "type": "invoke", "f": "read", "key": "x"},
        {"process": "a", "type": "ok", "f": "read", "key": "x", "value": None},
    )
    same_time = [{**event, "time_ns": 5} for event in (*WRITTEN, *stale)]
    with pytest.raises(MalformedHistory, match=r"1 of 1 calls .* too coarse.*monotonic_ns"):
        judged(own(*same_time))
    assert judged(own(*WRITTEN, *stale)).validity is Validity.INVALID


def test_calls_at_the_time_of_ones_own_answer_are_counted_in_a_note() -> None:
    many = [{**event, "time_ns": 10 * (at // 2 * 2)} for at, event in enumerate(WRITTEN * 3)]
    many = [
        {**event, "value": at // 2} if "value" in event else event for at, event in enumerate(many)
    ]
    many[2] |= {"time_ns": 0}
    many[3] |= {"time_ns": 20}
    accounting = judged(own(*many)).stats["accounting"]
    assert any(
        "1 call at the time of the same client's previous answer" in one
        for one in accounting["notes"]
    )


def test_a_header_that_names_no_model_there_is_is_refused() -> None:
    data = own(*WRITTEN).replace(b'"version":1', b'"version":1,"model":"list-append:serialisable"')
    with pytest.raises(UnknownModel, match="serialisable"):
        check_file("h.jsonl", data, None, UNTIMED)


def did(process: str, f: str, asked: object, answered: object) -> tuple[dict[str, object], ...]:
    """Return an operation's two events."""
    common = {"process": process, "f": f}
    return (
        {**common, "type": "invoke", "value": asked},
        {**common, "type": "ok", "value": answered},
    )


@pytest.mark.parametrize(
    ("model", "operations", "validity"),
    [
        (
            "set",
            [("add", 1, None), ("add", 2, None), ("remove", 2, None), ("read", None, [1, 1])],
            Validity.INVALID,
        ),
        ("cas-register", [("write", ["{}", ["a", 1]], None), ("read", None, {"a": 1})], "invalid"),
        (
            "fenced-mutex",
            [("acquire", None, 0), ("release", None, None), ("acquire", None, 1)],
            Validity.VALID,
        ),
        (
            "etcd",
            [
                ("put", {"key": "a", "value": "1"}, {"revision": 2}),
                ("put", {"key": "a", "value": "2"}, {"revision": 3}),
                (
                    "range",
                    {"key": "a", "revision": 2},
                    {"revision": 3, "kvs": [["a", "1", 2, 2, 1]], "count": 1},
                ),
                ("put", {"key": "b", "value": "x"}, {}),
            ],
            Validity.UNKNOWN,
        ),
        (
            "lease",
            [
                ("grant", {"ttl_ms": 1000}, {"id": 1, "ttl_ms": 1000}),
                ("revoke", {"id": 1}, None),
                ("grant", {"ttl_ms": 1000}, {"id": 1, "ttl_ms": 1000}),
                ("attach", {"id": 1, "key": "x"}, None),
                ("probe", {"key": "x"}, True),
            ],
            Validity.VALID,
        ),
    ],
    ids=[
        "an element that is read twice is no set, removals or not",
        "a list that looks like a map inside is no map",
        "the first token may be 0",
        "a read of the past is not executed as one of the present",
        "a lease granted again is another lease",
    ],
)
def test_what_an_operation_means_is_not_confused(
    model: str, operations: list[tuple[str, object, object]], validity: str
) -> None:
    events = [event for f, asked, answered in operations for event in did("a", f, asked, answered)]
    assert judged(own(*events), model).validity == validity


def test_a_time_later_than_the_end_of_what_is_never_answered_is_refused() -> None:
    late = [{**event, "time_ns": (1 << 62) + at} for at, event in enumerate(WRITTEN)]
    with pytest.raises(MalformedHistory, match="no time of a run"):
        judged(own(*late))


def test_the_empty_text_is_a_key_like_any_other() -> None:
    """A sentence about it is read as well, so that a proof is not thrown away."""
    twice = [{**event, "key": ""} for event in (*WRITTEN, *WRITTEN)]
    refused = [
        {"process": "a", "type": "invoke", "f": "cas", "key": "", "value": [1, 2]},
        {
            "process": "a",
            "type": "ok",
            "f": "cas",
            "key": "",
            "value": {"swapped": False, "seen": 1},
        },
    ]
    verdict = judged(own(*twice, *refused))
    assert verdict.validity is Validity.INVALID
    assert "proof_flaws" not in verdict.stats
