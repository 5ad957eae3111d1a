"""Hostile files are answered with one line that names the file and the line."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from bench.fuzz_checkers import check, damage
from squall.checkers.files import check_file
from squall.checkers.formats import edn
from squall.checkers.formats.jsonl import encode_history, read_history
from squall.checkers.history import MalformedHistory
from squall.checkers.registry import ENTRIES, UnknownModel
from squall.checkers.text.lanes import parse
from squall.checkers.verdict import Budget
from tests.checkers.cases import RULE
from tests.checkers.seeds import SEEDS
from tests.checkers.test_cases import CASES
from tests.checkers.test_situations import SITUATIONS

JUNK = (
    *(None, 0, 1, -1, "", "a", "1", True, False, 1.5, 10**30),
    *([], {}, [[]], [1, 2], [None], [["r"]], [[1, 2, 3]], {"a": 1}, {"key": None}),
)
"""What is put where something else should be."""


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where in a value something stands, at any depth."""
    yield place
    if not isinstance(value, dict | list):
        return
    for at, one in value.items() if isinstance(value, dict) else enumerate(value):
        yield from places(one, (*place, at))


def events_of(data: str | bytes) -> list[Any]:
    """The events of a situation, if it is a text of JSON or EDN."""
    text = data if isinstance(data, str) else ""
    try:
        return list(json.loads(text))
    except (ValueError, TypeError):
        pass
    try:
        lines = [json.loads(line) for line in text.splitlines()]
    except ValueError:
        lines = []
    try:
        return lines or json.loads(json.dumps(list(edn.read(text)), default=list))
    except (ValueError, TypeError):
        return []


def test_whatever_stands_anywhere_in_a_file_is_judged_or_refused_in_a_line() -> None:
    """No value at any place of any event ends in a traceback."""
    files = [(one.options.get("model"), events_of(one.data)) for one in SITUATIONS.values()]
    files = [(model, events) for model, events in files if events]
    assert len(files) > 80
    for seed in range(SEEDS):
        random = Random(f"junk {seed}")
        model, events = random.choice(files)
        events = json.loads(json.dumps(events))
        for _ in range(random.choice([1, 1, 2])):
            *way, last = random.choice([one for one in places(events) if len(one) > 1])
            inner = events
            for step in way:
                inner = inner[step]
            inner[last] = copy.deepcopy(random.choice(JUNK))
        model = model if random.random() < 0.8 else random.choice(sorted(ENTRIES))
        data = "\n".join(map(json.dumps, events)).encode()
        with contextlib.suppress(MalformedHistory, UnknownModel):
            check_file("h", data, model, Budget())


HEADER = b'{"squall":"history","version":1}\n'


def line(at: int, **fields: object) -> bytes:
    """One op as a line of ours."""
    op = {"index": at, "time_ns": at, "process": 0, "type": "invoke", "f": "read"}
    return json.dumps(op | {"key": "x"} | fields).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (HEADER + b'{"index":0,\n' + line(1), "h:2: "),
        (HEADER + line(0, index="first"), "h:2: Expected `int`, got `str` - at `$.index`"),
        (HEADER + line(0, type="done"), "h:2: Invalid enum value 'done' - at `$.type`"),
        (HEADER + line(0, process=[1]), "h:2: Expected `int | str`, got `array`"),
        (HEADER + line(0) + line(0), "h:3: op 0 where op 1 should follow"),
        (HEADER + line(0, time_ns=9) + line(1), "h:3: op 1 at 1 ns comes after 9 ns"),
        (HEADER + line(0) + line(1), "h:3: process 0 invokes read while its op 0 is still open"),
        (HEADER + line(0, type="ok"), "h:2: process 0 completes read on x without having invoked"),
        (HEADER + line(0) + line(1, type="ok", f="write"), "h:3: process 0 completes write on x"),
        (HEADER + b"\0" + line(0), "h:2: "),
        (HEADER + b"\xff" + line(0), "h:2: "),
        (HEADER + HEADER, "h:2: "),
        (b'{"squall":3}\n', "h:1: "),
        (b'{"squall":"history","version":1e400}\n', "h:1: "),
        (b"{" * 100_000, "h:1: "),
        (b'{"a":' * 100_000, "h:1: "),
        (b"#_" * 100_000, "h:1: "),
        (b"\n" * 100_000 + b"}", "h:100001: '}' closes nothing"),
        (b"garbage\n" * 100_000, "h:1: an operation is a map, not 'garbage'"),
    ],
)
def test_a_hostile_file_is_one_line_with_its_place(data: bytes, complaint: str) -> None:
    """Cut, of the wrong types, out of order, incomplete, with bytes that are no text."""
    with pytest.raises(MalformedHistory) as caught:
        check_file("h", data, None, Budget())
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_a_long_file_is_refused_at_its_first_wrong_line() -> None:
    """Without reading what follows: ten million lines take no longer than one."""

    def lines() -> Iterator[bytes]:
        yield HEADER
        yield b"nonsense\n"
        raise AssertionError("read on")

    with pytest.raises(MalformedHistory, match="h:2: "):
        read_history(lines(), "h")


def test_damaged_histories_are_judged_or_refused() -> None:
    """Never with a traceback; bench/fuzz_checkers.py goes on for as long as one likes."""
    whole = []
    for path in CASES:
        lanes = [one for one in path.read_text().partition(RULE)[0].splitlines() if ": " in one]
        whole.append((path.name, b"".join(encode_history(parse("\n".join(lanes))))))
    complaints = []
    for seed in range(SEEDS):
        chance = Random(seed)
        name, data = chance.choice(whole)
        try:
            check(name, damage(chance, data), chance.choice([None, *ENTRIES]), Budget())
        except (MalformedHistory, UnknownModel) as error:
            complaints.append(str(error))
    assert complaints
    assert not [one for one in complaints if "\n" in one]
