"""What a file is about: the right model, or a question; independent keys of any object; nil."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from squall.checkers.assumptions import Assumptions, Initial, Nil, NoValue, read_value
from squall.checkers.files import check_file
from squall.checkers.formats.edn_writer import encode_edn
from squall.checkers.history import MalformedHistory
from squall.checkers.registry import UnknownModel, judge_of
from squall.checkers.verdict import Budget, Validity, Verdict, worst
from tests.checkers.seeds import SEEDS

Event = tuple[int, str, str, Any]  # process, type, function, value


class Client:
    """Draws what one object is asked and answers, in Jepsen's words, one operation after another.

    `wrong`: how often an answer is falsified.
    """

    def __init__(self, random: Random, wrong: float) -> None:
        self.random, self.wrong, self.fresh = random, wrong, 0
        self.state: Any = None

    def next(self) -> tuple[str, Any, str, Any]:
        """Function, argument, outcome and answer of one operation."""
        self.fresh += 1
        return self.draw(self.random.random() < self.wrong)

    def draw(self, wrong: bool) -> tuple[str, Any, str, Any]:
        raise NotImplementedError


class Set(Client):
    def draw(self, wrong: bool) -> tuple[str, Any, str, Any]:
        state = self.state or []
        if self.random.random() < 0.5:
            self.state = [*state, self.fresh]
            return "add", self.fresh, "ok", self.fresh
        return "read", None, "ok", frozenset(state[1:] if wrong else state)


class Counter(Client):
    def draw(self, wrong: bool) -> tuple[str, Any, str, Any]:
        state = self.state or 0
        if self.random.random() < 0.5:
            self.state = state + self.fresh
            return "add", self.fresh, "ok", self.fresh
        return "read", None, "ok", state + wrong


class Register(Client):
    def draw(self, wrong: bool) -> tuple[str, Any, str, Any]:
        draw = self.random.random()
        if draw < 0.4:
            return "read", None, "ok", 999 if wrong else self.state
        if draw < 0.7:
            self.state = self.fresh
            return "write", self.fresh, "ok", self.fresh
        if self.state is None or draw > 0.9:
            return "cas", [-1, self.fresh], "fail", [-1, self.fresh]
        asked = [self.state, self.fresh]
        self.state = self.fresh
        return "cas", asked, "ok", asked


class Queue(Client):
    def draw(self, wrong: bool) -> tuple[str, Any, str, Any]:
        state = self.state or []
        if not state or self.random.random() < 0.5:
            self.state = [*state, self.fresh]
            return "enqueue", self.fresh, "ok", self.fresh
        self.state = state[1:]
        return "dequeue", None, "ok", 999 if wrong else state[0]


class Mutex(Client):
    def draw(self, wrong: bool) -> tuple[str, Any, str, Any]:
        held, self.state = self.state, not self.state
        return ("acquire" if not held or wrong else "release"), None, "ok", None


class Bank(Client):
    def draw(self, wrong: bool) -> tuple[str, Any, str, Any]:
        state = self.state or {"a": 50, "b": 50}
        self.state = state
        if self.random.random() < 0.5:
            asked = {"from": "a", "to": "b", "amount": 1}
            self.state = {"a": state["a"] - 1, "b": state["b"] + 1}
            return "transfer", asked, "ok", asked
        return "read", None, "ok", {**state, "a": state["a"] + 1} if wrong else state


class Appends(Client):
    def draw(self, wrong: bool) -> tuple[str, Any, str, Any]:
        state = self.state or []
        if self.random.random() < 0.5:
            self.state = [*state, self.fresh]
            asked = [["append", 0, self.fresh]]
            return "txn", asked, "ok", asked
        answer = [*state, 999] if wrong else state
        return "txn", [["r", 0, None]], "ok", [["r", 0, answer]]


class Registers(Client):
    def draw(self, wrong: bool) -> tuple[str, Any, str, Any]:
        if self.random.random() < 0.5:
            before, self.state = self.state, self.fresh
            asked = [["r", 0, None], ["w", 0, self.fresh]]
            return "txn", asked, "ok", [["r", 0, before], asked[1]]
        first = self.state if not wrong or self.fresh < 3 else 1
        return "txn", [["r", 0, None]], "ok", [["r", 0, first]]


OBJECTS: dict[str, type[Client]] = {
    "set": Set,
    "counter": Counter,
    "cas-register": Register,
    "queue": Queue,
    "mutex": Mutex,
    "bank": Bank,
    "list-append": Appends,
    "rw-register": Registers,
}
KEYS = [(1, 2), ("a", "b"), (1, "1"), (0,), ([1, 2], [3, 4])]


def recorded(
    random: Random, make: type[Client], keys: tuple[Any, ...], wrong: float
) -> dict[Any, list[Event]]:
    """The events of each key; each client works at one key, and never two at once."""
    parts: dict[Any, list[Event]] = {}
    for place, key in enumerate(keys):
        client = make(random, wrong if random.random() < 0.5 else 0.0)
        events: list[Event] = []
        for _ in range(random.randint(1, 6)):
            f, asked, outcome, answer = client.next()
            events.append((place, "invoke", f, asked))
            crashed = random.random() < 0.1 and f not in {"read", "dequeue", "txn"}
            events.append((place, "info" if crashed else outcome, f, asked if crashed else answer))
            if crashed:
                break
        parts[repr(key)] = events
    return parts


def shuffled(
    random: Random, parts: dict[Any, list[Event]], keys: tuple[Any, ...]
) -> list[tuple[Any, Event]]:
    """All events in one order that keeps each key's own."""
    left = [(key, list(parts[repr(key)])) for key in keys]
    mixed = []
    while any(events for _, events in left):
        key, events = random.choice([one for one in left if one[1]])
        mixed.append((key, events.pop(0)))
    return mixed


def written(events: list[tuple[Any, Event]], *, keyed: bool) -> bytes:
    """As Jepsen writes it: with independent keys, values are [key value]."""
    lines = []
    for key, (process, kind, f, value) in events:
        shown = [key, value] if keyed else value
        fields = {"process": process, "type": kind, "f": f, "value": shown}
        lines.append(encode_edn(fields))
    return "\n".join(lines).encode()


def judged(data: bytes, model: str | None = None) -> Verdict:
    return check_file("h", data, model, Budget())


def asked(data: bytes) -> tuple[Verdict, str]:
    """The verdict of a file nobody said anything about; or what its reader asks back."""
    try:
        return judged(data), ""
    except MalformedHistory as question:
        return Verdict(checker="none", validity=Validity.UNKNOWN), str(question)


@pytest.mark.parametrize("model", OBJECTS)
def test_independent_keys_are_judged_one_by_one(model: str) -> None:
    """The verdict on all is the worst on each; found by looking, whatever the keys look like."""
    outcomes = set()
    for seed in range(SEEDS // 8):
        random = Random(f"independent {model} {seed}")
        keys = random.choice(KEYS)
        parts = recorded(random, OBJECTS[model], keys, 0.4)
        alone = [
            judged(written([(key, one) for one in parts[repr(key)]], keyed=False), model)
            for key in keys
        ]
        telling = [one for one in alone if not str(one.reason or "").startswith("vacuous")]
        data = written(shuffled(random, parts, keys), keyed=True)
        together, question = asked(data)
        if question:
            assert f"--model {model}" in question, (seed, question)
            together = check_file("h", data, model, Budget(), Assumptions(independent=True))
        if not telling:  # all that one key lacks another may have
            assert together.validity is not Validity.INVALID, (seed, together)
            continue
        expected = worst([one.validity for one in telling])
        assert together.validity is expected, (seed, data.decode(), together)
        assert together.stats["model"] == model, (seed, together.stats)
        outcomes.add(expected)
    assert {Validity.VALID, Validity.INVALID} <= outcomes


@pytest.mark.parametrize("model", OBJECTS)
def test_a_guess_never_contradicts_what_made_the_file(model: str) -> None:
    """The model that made it, or a question which names it; with or without keys."""
    for seed in range(SEEDS // 8):
        random = Random(f"guess {model} {seed}")
        keyed = random.random() < 0.5
        keys = random.choice(KEYS) if keyed else (0,)
        parts = recorded(random, OBJECTS[model], keys, 0.0)
        data = written(shuffled(random, parts, keys), keyed=keyed)
        verdict, question = asked(data)
        if question:
            commands = re.findall(r"squall check h --model ([\w-]+)", question)
            assert model in commands, (seed, question)
            assert len(commands) == 2, question
        elif verdict.stats["model"] != model:
            # Nothing was read, so that no model could accuse: which one is told does not matter.
            assert verdict.validity is Validity.UNKNOWN, (seed, verdict, data.decode())
        else:
            assert verdict.validity is not Validity.INVALID, (seed, data.decode(), verdict)


AMBIGUOUS = {
    "sums or elements": (
        [("add", 1, 1), ("read", None, 1), ("read", None, [1])],
        {"counter", "set"},
    ),
    "an end that is marked, of a counter": (
        [("add", 1, 1), ("read final", None, 1)],
        {"counter", "pn-counter"},
    ),
    "an end that is marked, of a set": (
        [("add", 1, 1), ("read final", None, [1])],
        {"set", "set-eventual"},
    ),
    "a lock that answers with numbers": (
        [("acquire", None, 7), ("release", None, None)],
        {"mutex", "fenced-mutex"},
    ),
    "maps that are read": ([("read", None, {"x": "y"})], {"bank", "cas-register"}),
}


@pytest.mark.parametrize("situation", AMBIGUOUS)
def test_where_two_models_fit_the_user_is_asked_with_both_commands(situation: str) -> None:
    """Instead of a verdict by luck; either command then judges."""
    operations, models = AMBIGUOUS[situation]
    lines = []
    for f, asked, answer in operations:
        f, _, final = f.partition(" ")
        mark = {"final?": True} if final else {}
        lines.append(encode_edn({"process": 0, "type": "invoke", "f": f, "value": asked} | mark))
        lines.append(encode_edn({"process": 0, "type": "ok", "f": f, "value": answer} | mark))
    data = "\n".join(lines).encode()
    with pytest.raises(MalformedHistory) as caught:
        check_file("h.edn", data, None, Budget())
    said = str(caught.value)
    assert "\n" not in said
    assert set(re.findall(r"squall check h\.edn --model ([\w-]+)", said)) == models


CAS = "{:process 0 :type :invoke :f :cas :value [1 [2 3]]}{:process 0 :type :ok :f :cas :value %s}"


def test_a_pair_that_may_be_a_key_or_not_is_asked_about() -> None:
    """Where nothing is read [1 [2 3]] may be two things."""
    data = (CAS % "[1 [2 3]]").encode()
    with pytest.raises(MalformedHistory, match=r"--no-independent, or squall check h --model"):
        judged(data)
    one = check_file("h", data, "cas-register:1", Budget(), Assumptions(independent=False))
    other = check_file("h", data, "cas-register:2", Budget(), Assumptions(independent=True))
    assert one.validity is other.validity is Validity.VALID
    neither = check_file("h", data, "cas-register:2", Budget(), Assumptions(independent=False))
    assert neither.validity is Validity.INVALID


def test_operations_with_and_without_a_key_are_asked_about() -> None:
    data = (
        b"{:process 0 :type :invoke :f :read :value nil}"
        b"{:process 1 :type :invoke :f :read :value [1 nil]}"
        b"{:process 1 :type :ok :f :read :value [1 4]}"
    )
    with pytest.raises(MalformedHistory, match=r"some operations are asked for \[key nil\]"):
        judged(data, "cas-register")


STALE_NIL = """{:process 0 :type :invoke :f :write :value 6}
{:process 0 :type :ok :f :write :value 6}
{:process 1 :type :invoke :f :read :value nil}
{:process 1 :type :ok :f :read :value nil}
"""


@pytest.mark.parametrize(
    ("nil", "validity"),
    [(None, "unknown"), (Nil.UNKNOWN, "unknown"), (Nil.ABSENT, "invalid")],
)
def test_a_read_of_nil_says_what_the_user_says_it_does(nil: Nil | None, validity: str) -> None:
    """Knossos takes it for an answer that was not kept, unless told; then nothing is read."""
    verdict = check_file("h", STALE_NIL.encode(), None, Budget(), Assumptions(nil=nil))
    assert verdict.validity.value == validity


@pytest.mark.parametrize(
    ("model", "value", "text"),
    [
        ("cas-register", 0, "0"),
        ("cas-register", "a b", '"a b"'),
        ("register", [1, 2], "[1 2]"),
        ("register", "red", ":red"),
        ("kv", "ab", '"ab"'),
        ("sequential-register", 3, "3"),
    ],
)
def test_what_an_object_holds_at_first_can_be_said(model: str, value: Any, text: str) -> None:
    """Behind a colon, or beside the model: the first read of it is right, and of another wrong."""
    f = "get" if model == "kv" else "read"
    for shown, right in ((value, True), (77, False)):
        events = [(0, (0, "invoke", f, None)), (0, (0, "ok", f, shown))]
        data = written(events, keyed=False)
        if model == "kv":
            data = data.replace(b":f ", b':key "k", :f ')
        for verdict in (
            check_file("h", data, f"{model}:{text}", Budget()),
            check_file("h", data, model, Budget(), Assumptions(initial=Initial.of(value))),
        ):
            assert verdict.validity is (Validity.VALID if right else Validity.INVALID), verdict


def test_values_are_read_as_json_or_edn() -> None:
    assert [read_value(text) for text in ("0", "nil", "null", '{"x": 1}', "{:x 1}", "#{2 1}")] == [
        *(0, None, None, {"x": 1}, {"x": 1}, [1, 2])
    ]
    for text in ("", "1 2", "[1", "}"):
        with pytest.raises(NoValue):
            read_value(text)


@pytest.mark.parametrize(
    ("model", "initial", "why"),
    [
        ("mutex:1", None, "mutex takes nothing behind a colon"),
        ("mutex", 1, "mutex holds nothing at first"),
        ("counter:x", None, "a counter begins with a whole number"),
        ("set:3", None, "begins with a list of elements"),
        ("bank", [1], "bank cannot begin with"),
        ("register:1", 1, "say the same thing"),
        ("register:[1", None, "is no value of JSON or EDN"),
    ],
)
def test_what_cannot_be_there_at_first_is_refused(model: str, initial: Any, why: str) -> None:
    given = None if initial is None else Initial.of(initial)
    with pytest.raises(UnknownModel, match=why):
        judge_of(model, initial=given)


STARTS: dict[str, tuple[Callable[[Random], Any], type[Client]]] = {
    "cas-register": (lambda random: random.choice([0, 42, "x", None]), Register),
    "counter": (lambda random: random.randint(-3, 50), Counter),
    "set": (lambda random: random.sample([901, 902, 903], random.randint(0, 3)), Set),
    "fifo-queue": (lambda random: random.sample([901, 902, 903], random.randint(0, 3)), Queue),
    "unordered-queue": (lambda random: random.sample([901, 902], random.randint(0, 2)), Queue),
    "sequential-register": (lambda random: random.choice([0, 42]), Register),
}


@pytest.mark.parametrize("model", STARTS)
def test_an_object_that_began_with_something_is_judged_from_there(model: str) -> None:
    """One client's answers are right from what there was, and wrong from nothing or another."""
    start, make = STARTS[model]
    told_apart = 0
    for seed in range(SEEDS // 8):
        random = Random(f"begin {model} {seed}")
        begun = start(random)
        client = make(random, 0.0)
        client.state = begun
        events = []
        for _ in range(random.randint(2, 7)):
            f, asked, outcome, answer = client.next()
            events += [(0, (0, "invoke", f, asked)), (0, (0, outcome, f, answer))]
        data = written(events, keyed=False)
        assume = Assumptions(initial=Initial.of(begun), nil=Nil.ABSENT)
        verdict = check_file("h", data, model, Budget(), assume)
        assert verdict.validity is not Validity.INVALID, (seed, begun, data.decode(), verdict)
        bare = Assumptions(nil=Nil.ABSENT)
        otherwise = check_file("h", data, model, Budget(), bare)
        told_apart += otherwise.validity is Validity.INVALID
    assert told_apart > 0
