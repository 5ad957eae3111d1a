"""What is written for another tool says the same as what was read, and gets the same verdict."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from squall.checkers.assumptions import Assumptions
from squall.checkers.files import check_file
from squall.checkers.formats.edn_writer import encode_history
from squall.checkers.formats.foreign import load
from squall.checkers.formats.jsonl import encode_history as encode_jsonl
from squall.checkers.history import History, Op, OpType
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.linearizability.models import CasRegister
from squall.checkers.linearizability.porcupine import visualise
from squall.checkers.registry import judge_of
from squall.checkers.text.lanes import parse, render
from squall.checkers.verdict import Budget, Verdict
from tests.checkers import oracle
from tests.checkers.cases import RULE
from tests.checkers.test_cases import CASES

LINEARIZABLE = "checker linearizable"


def given(path: Path) -> tuple[str, str]:
    """Return the model a case is judged against, and its lanes; "" where a file has no judge."""
    model, lanes = "cas-register", []
    for line in path.read_text().partition(RULE)[0].splitlines():
        word, _, rest = line.partition(" ")
        if line.startswith(LINEARIZABLE):
            model = line.removeprefix(LINEARIZABLE).strip() or model
        elif word == "checker":
            try:
                judge_of(rest)
            except ValueError:
                return "", ""
            model = rest
        elif word in {"recovered", "unrecovered", "requested", "node"}:
            return "", ""
        else:
            lanes.append(line)
    return model, "\n".join(lanes)


def to_edn(history: History) -> bytes:
    """Write a history for Jepsen's tools."""
    return "".join(encode_history(history)).encode()


def told(verdict: Verdict) -> Any:
    """Return what a verdict says but for places in the file."""
    return verdict.validity, [one.kind for one in verdict.anomalies]


FILES = [(path, *given(path)) for path in CASES]


@pytest.mark.parametrize(
    ("model", "lanes"),
    [pytest.param(model, lanes, id=path.stem) for path, model, lanes in FILES if model],
)
def test_a_history_gets_the_same_verdict_after_a_journey_through_edn(
    model: str, lanes: str
) -> None:
    """And through our own format."""
    history = parse(lanes)
    straight = check_file("h", b"".join(encode_jsonl(history)), model, Budget())
    through = check_file("h", to_edn(history), model, Budget())
    assert through.stats["format"] == "edn"
    if model.partition(":")[0] not in {"list-append", "rw-register", "long-fork"}:
        assert told(through) == told(straight)
        return
    # Elsewhere a value may have been there before the history began, so that it proves nothing.
    assert told(through) == told(judge_of(model, closed=False)(parse(lanes), Budget()))


@pytest.mark.parametrize("seed", range(300))
def test_random_registers_get_the_same_verdict_after_a_journey_through_edn(seed: int) -> None:
    """With ties, unanswered and refused operations, over one key and over two."""
    chance = Random(seed)
    calls = oracle.random_calls(chance, ops_max=8, opaque=chance.random() < 0.3, noise=0.2)
    one = oracle.history(calls, "x")
    many = oracle.two_keys(calls, oracle.random_calls(chance, ops_max=5))
    for history in (one, many):
        if not history.operations:
            continue
        verdict = check_linearizability(history, Budget(), CasRegister)
        keyed = len(history.by_key) > 1
        assume = Assumptions(independent=keyed)  # compare-and-sets alone do not say
        again = check_file("h", to_edn(history), "cas-register", Budget(), assume)
        if again.reason is None or not again.reason.startswith("vacuous"):
            assert told(again) == told(verdict)
        back = check_file("h", b"".join(encode_jsonl(history)), "cas-register", Budget())
        if not (back.reason or "").startswith("vacuous"):
            assert told(back) == told(verdict)


def test_edn_speaks_of_a_register_as_knossos_does() -> None:
    """Keywords, independent keys; what Knossos has no words for stands beside."""
    history = parse("""
p0: |-write x 1-|
p1:               |-cas x 1 2 saw 1-| |-cas y 1 2 saw 3 @n2 revision=7-| |-cas y 3 4 refused-|
p2:               |-read y nil---------------|
p3:    |-write y 4 "a b"--!   |-cas y 1 2-?
""")
    lines = to_edn(history).decode().splitlines()
    assert [line.partition(", :process ")[2] for line in lines] == [
        '0, :type :invoke, :f :write, :value ["x" 1]}',
        '3, :type :invoke, :f :write, :value ["y" 4]}',
        '0, :type :ok, :f :write, :value ["x" 1]}',
        '1, :type :invoke, :f :read, :value ["x" nil], :refused [1 2]}',
        '2, :type :invoke, :f :read, :value ["y" nil]}',
        '3, :type :fail, :f :write, :value ["y" 4], :error "a b"}',
        '3, :type :invoke, :f :cas, :value ["y" [1 2]]}',
        '1, :type :ok, :f :read, :value ["x" 1], :refused [1 2]}',
        '1, :type :invoke, :f :read, :value ["y" nil], :refused [1 2], :node "n2"}',
        '3, :type :info, :f :cas, :value ["y" [1 2]]}',
        '2, :type :ok, :f :read, :value ["y" nil], :absent true}',
        (
            '1, :type :ok, :f :read, :value ["y" 3], :refused [1 2], :node "n2", '
            ":meta {:revision 7}}"
        ),
        '1, :type :invoke, :f :cas, :value ["y" [3 4]]}',
        '1, :type :fail, :f :cas, :value ["y" [3 4]], :refused true}',
    ]


def test_the_order_of_events_keeps_what_was_concurrent() -> None:
    """At equal times invocations come first; a process in its own way gets another number."""
    times = [(0, 0, "invoke"), (5, 0, "ok"), (5, 1, "invoke"), (5, 0, "invoke"), (9, 1, "ok")]
    history = History(
        [
            Op(index=at, time_ns=ns, process=process, type=OpType(kind), f="write", key="x")
            for at, (ns, process, kind) in enumerate(times)
        ]
    )
    lines = to_edn(history).decode().splitlines()
    found = [re.search(r":time (\d+), :process (\d+), :type :(\w+)", line) for line in lines]
    assert [match.groups() for match in found if match] == [
        *(("0", "0", "invoke"), ("5", "1", "invoke"), ("5", "2", "invoke")),
        *(("5", "0", "ok"), ("9", "1", "ok")),
    ]


def test_the_visualisers_data_shows_how_far_an_order_goes() -> None:
    """Intervals by client, the order with its states, a fault beside them."""
    history = parse("""
p0: |-write x 1-|
p1:    |-write x 2----|
p2:                      |-read x 2-| |-read x 1-|
p3: |-write x 9---?
nemesis/kill: |-start kill-1 targets=n1-| |-stop kill-1-|
""")
    data = visualise(history, CasRegister, Budget())
    assert json.loads(json.dumps(data)) == data
    (part,) = data["Partitions"]
    assert [(one["ClientId"], one["Description"]) for one in part["History"]] == [
        *((0, "write 1"), (3, "write 9"), (1, "write 2"), (2, "read 2"), (2, "read 1")),
    ]
    assert part["PartialLinearizations"] == [
        [
            {"Index": 0, "StateDescription": "1"},
            {"Index": 2, "StateDescription": "2"},
            {"Index": 3, "StateDescription": "2"},
        ]
    ]
    (fault,) = data["Annotations"]
    assert (fault["Tag"], fault["Description"], fault["Details"]) == ("kill", "kill-1", "n1")


def test_a_valid_history_is_shown_with_a_whole_order() -> None:
    """Every operation that answered is in it."""
    history = parse("p0: |-write x 1-| |-read x 1-|\np1:  |-write x 2-?")
    (part,) = visualise(history, CasRegister, Budget())["Partitions"]
    assert [step["StateDescription"] for step in part["PartialLinearizations"][0]] == ["1", "1"]
    assert part["Largest"] == {"0": 0, "2": 0}


NAMED = parse("""
writer: |-write x 1-| |-write x 2---?
p3:                     |-read x 1-|
c/2:                       |-cas x 1 4-|
nemesis/kill: |-start kill-1 targets=n1-| |-stop kill-1-|
""")


def test_clients_keep_their_names_on_every_journey() -> None:
    """Through EDN, our own format and lanes; Porcupine's page knows numbers only."""
    names = ["writer", 3, "c/2"]
    assert list(dict.fromkeys(one.process for one in NAMED.operations)) == ["writer", 3, "c/2"]
    for data in (to_edn(NAMED), b"".join(encode_jsonl(NAMED))):
        found = load(data, "h").history
        assert list(dict.fromkeys(one.process for one in found.operations)) == names
    assert parse(render(NAMED.operations)).operations[0].process == "writer"
    (part,) = visualise(NAMED, CasRegister, Budget())["Partitions"]
    assert sorted({one["ClientId"] for one in part["History"]}) == [3, 4, 5]


def test_names_that_lanes_cannot_write_stay_apart() -> None:
    """Two clients never share a lane."""
    text = "".join(
        json.dumps({"process": name, "type": kind, "f": "write", "value": value}) + "\n"
        for value, name in enumerate(("a b", "a_b", "a.b", "p1", 1))
        for kind in ("invoke", "ok")
    )
    lanes = render(load(text.encode(), "h").history.operations)
    assert len(lanes.splitlines()) == 5
    assert len({one.process for one in parse(lanes).operations}) == 5
