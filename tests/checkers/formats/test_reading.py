"""However a history is written down, it is judged as what happened, or refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from squall.checkers.files import check_file
from squall.checkers.formats.edn_writer import Keyword, encode_edn
from squall.checkers.history import MalformedHistory
from squall.checkers.linearizability.models import CasRegister
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call
from squall.checkers.verdict import Budget, Verdict
from tests.checkers import oracle
from tests.checkers.seeds import SEEDS

Events = list[dict[str, Any]]

NAMES = ("writer", "client-2", "c/3", "reader one", "p1", "10.0.0.5:2379", "ü", "observer 2")


def random_calls(chance: Random) -> list[Call]:
    """Use a register; only what Knossos has words for, with times that are no placeholders."""
    return [
        call._replace(call=call.call + 5, ret=call.ret if call.ret == FOREVER else call.ret + 5)
        for call in oracle.random_calls(chance, noise=0.25)
        if call.ret == FOREVER
        or call.given[0] == "write"
        or (call.given[0] == "read" and call.answer is not None)
        or (call.given[0] == "cas" and call.answer["swapped"])
    ]


def events_of(calls: list[Call]) -> Events:
    """Write calls down as Knossos would, in order of time; clients are used again."""
    clients: list[int] = []  # when each is free again
    owners = []
    for call in sorted(calls, key=lambda call: call.call):
        process = next((n for n, free in enumerate(clients) if free < call.call), len(clients))
        clients[process : process + 1] = [call.ret]
        owners.append((process, call))
    events = []
    for number, (process, call) in enumerate(owners):
        f, value = call.given
        said = {"process": process, "f": f, "value": value}
        events.append((call.call, 0, number, {**said, "type": "invoke", "time": call.call}))
        if call.ret != FOREVER:
            answer = call.answer if f == "read" else value
            told = {**said, "value": answer, "type": "ok", "time": call.ret}
            events.append((call.ret, 1, number, told))
    return [event for *_, event in sorted(events, key=lambda event: event[:3])]


def indexed(events: Events) -> Events:
    """Number events: then the order of the numbers counts."""
    return [{"index": at, **event} for at, event in enumerate(events)]


def untimed(events: Events) -> Events:
    """Take the times away: then the order of the lines counts."""
    return [{name: event[name] for name in event if name != "time"} for event in events]


def by_client(events: Events, chance: Random) -> dict[Any, Events]:
    """Return the log of each client, in any order of clients."""
    logs: dict[Any, Events] = {}
    for event in events:
        logs.setdefault(event["process"], []).append(event)
    order = list(logs)
    chance.shuffle(order)
    return {process: logs[process] for process in order}


def interleaved(logs: dict[Any, Events], chance: Random) -> Iterator[dict[str, Any]]:
    """Let the lines of each log stay in order, among those of others."""
    left = [list(log) for log in logs.values()]
    while left:
        log = chance.choice(left)
        yield log.pop(0)
        left = [one for one in left if one]


def shuffled(events: Events, chance: Random) -> Events:
    """Put lines into any order."""
    return chance.sample(events, len(events))


def renamed(events: Events, chance: Random) -> Events:
    """Give some clients names, some other numbers."""
    who: list[Any] = [*chance.sample(NAMES, 5), *chance.sample(range(1000), 5)]
    chance.shuffle(who)
    return [{**event, "process": who[event["process"]]} for event in events]


def own_indexes(events: Events) -> Events:
    """Let every client count its own events."""
    seen: Counter[Any] = Counter()
    counted = []
    for event in events:
        seen[event["process"]] += 1
        counted.append({**event, "index": seen[event["process"]]})
    return counted


def written(events: Events, chance: Random) -> bytes:
    """Write events as an array, as lines, or as EDN; fields in any order."""
    events = [
        {name: event[name] for name in chance.sample([*event], len(event))} for event in events
    ]
    form = chance.randrange(4)
    if form == 0:
        return json.dumps(events).encode()
    if form == 1:
        return b"\xef\xbb\xbf" * chance.randrange(2) + "\n".join(map(json.dumps, events)).encode()
    edn = [
        {name: Keyword(value) if name in "ftype" else value for name, value in event.items()}
        for event in events
    ]
    return encode_edn(edn).encode() if form == 2 else "\n".join(map(encode_edn, edn)).encode()


def judged(data: bytes) -> str:
    """Judge a file; "refused" where it was."""
    try:
        verdict = check_file("h", data, "cas-register", Budget())
    except MalformedHistory:
        return "refused"
    return word(verdict)


def word(verdict: Verdict) -> str:
    """Return a verdict's word, or "vacuous"."""
    vacuous = (verdict.reason or "").startswith("vacuous")
    return "vacuous" if vacuous else verdict.validity.value


def truth(calls: list[Call]) -> str:
    """Judge by trying every order."""
    if not any(call.ret != FOREVER and call.given[0] != "write" for call in calls):
        return "vacuous"
    return "valid" if oracle.brute_force(CasRegister(), calls) else "invalid"


def in_sequence(calls: list[Call]) -> list[Call]:
    """Let the places of events be their times: invocations come first where times are equal."""
    places: dict[tuple[int, int, int], int] = {}
    ordered = sorted(calls, key=lambda call: call.call)
    for number, call in enumerate(ordered):
        places[call.call, 0, number] = 0
        if call.ret != FOREVER:
            places[call.ret, 1, number] = 0
    order = {place: at for at, place in enumerate(sorted(places))}
    return [
        call._replace(
            call=order[call.call, 0, number],
            ret=call.ret if call.ret == FOREVER else order[call.ret, 1, number],
        )
        for number, call in enumerate(ordered)
    ]


Way = Callable[[Events, Random], Events]

WAYS: dict[str, Way] = {
    "in order of time": lambda events, _: events,
    "with an index": lambda events, _: indexed(events),
    "with an index for each client": lambda events, _: own_indexes(events),
    "without times": lambda events, _: untimed(events),
    "without times, an index for each client": lambda events, _: own_indexes(untimed(events)),
    "the logs of clients one after the other": lambda events, chance: [
        event for log in by_client(events, chance).values() for event in log
    ],
    "the logs of clients mixed": lambda events, chance: list(
        interleaved(by_client(events, chance), chance)
    ),
    "the logs of clients mixed, each with its index": lambda events, chance: list(
        interleaved(by_client(own_indexes(events), chance), chance)
    ),
    "lines shuffled, with an index": lambda events, chance: shuffled(indexed(events), chance),
    "lines shuffled, with an index, without times": lambda events, chance: shuffled(
        indexed(untimed(events)), chance
    ),
}
"""How one and the same history may be written down so that it can be read for certain."""


@pytest.mark.parametrize("way", WAYS)
def test_a_history_is_judged_as_it_happened_however_its_lines_are_ordered(way: str) -> None:
    """And whatever its clients are called: the verdict is that of trying every order."""
    wrong = []
    for seed in range(SEEDS):
        chance = Random(seed)
        calls = random_calls(chance)
        lines = renamed(WAYS[way](events_of(calls), chance), chance)
        if not lines:
            continue
        found = judged(written(lines, chance))
        if found != truth(calls):
            wrong.append((seed, found, truth(calls)))
    assert not wrong


def test_shuffled_lines_with_times_only_are_judged_as_they_happened_or_refused() -> None:
    """What one client did at one instant has no order then."""
    found: Counter[str] = Counter()
    for seed in range(SEEDS):
        chance = Random(seed)
        calls = random_calls(chance)
        lines = shuffled(events_of(calls), chance)
        if lines:
            said = judged(written(lines, chance))
            assert said in {"refused", truth(calls)}, seed
            found[said] += 1
    assert found["refused"] < found["valid"]


@pytest.mark.parametrize("way", WAYS)
def test_a_dropped_field_never_changes_a_verdict(way: str) -> None:
    """One field of one event is gone: the verdict stays, or the file is refused."""
    found: Counter[str] = Counter()
    for seed in range(SEEDS):
        chance = Random(seed)
        calls = random_calls(chance)
        lines = renamed(WAYS[way](events_of(calls), chance), chance)
        if not lines:
            continue
        at = chance.randrange(len(lines))
        lines[at] = dict(lines[at])
        gone = chance.choice(list(lines[at]))
        del lines[at][gone]
        said = judged(written(lines, chance))
        assert said in {"refused", truth(calls)}, (seed, gone)
        found[said] += 1
    assert found["refused"]


@pytest.mark.parametrize("field", ["process", "time", "index", "value", "f", "type"])
def test_a_field_that_is_missing_everywhere_never_changes_a_verdict(field: str) -> None:
    """Without processes only what has one explanation is judged."""
    found: Counter[str] = Counter()
    for seed in range(SEEDS):
        chance = Random(seed)
        calls = random_calls(chance)
        lines = indexed(events_of(calls))
        if not lines:
            continue
        lines = [{name: line[name] for name in line if name != field} for line in lines]
        said = judged(written(lines, chance))
        allowed = {"refused", "vacuous"} if field == "value" else {"refused", truth(calls)}
        assert said in allowed, seed
        found[said] += 1
    assert sum(found.values())


def random_use(chance: Random, model: str) -> Events:
    """Use some object, mostly as it should be, by clients whose events are at different times."""
    state: list[int] = []
    events: Events = []
    left = [[n, chance.randint(1, 4)] for n in range(3)]
    open_calls: dict[int, dict[str, Any]] = {}
    fresh = 0
    while left or open_calls:
        process = chance.choice([*open_calls, *(n for n, _ in left if n not in open_calls)])
        time = 10 * (len(events) + 1)
        if process in open_calls:
            said = open_calls.pop(process)
            events.append({**said, "type": "info" if chance.random() < 0.1 else "ok", "time": time})
            continue
        fresh += 1
        f, asked, answer = _asked(chance, model, fresh, state)
        left = [[n, count - (n == process)] for n, count in left if count > (n == process)]
        events.append({"process": process, "f": f, "value": asked, "type": "invoke", "time": time})
        open_calls[process] = {"process": process, "f": f, "value": answer}
    return events


def _asked(chance: Random, model: str, fresh: int, state: list[int]) -> tuple[str, Any, Any]:
    """Draw an operation: function, argument, answer."""
    wrong = chance.random() < 0.1
    if model == "list-append":
        seen = state[:-1] if wrong else list(state)
        if chance.random() < 0.5:
            return "txn", [["r", "x", None]], [["r", "x", seen]]
        state.append(fresh)
        done = [["append", "x", fresh]]
        return "txn", done, done
    if model == "rw-register":
        if chance.random() < 0.5:
            seen = state[-1] if state and not wrong else None
            return "txn", [["r", "x", None]], [["r", "x", seen]]
        state.append(fresh)
        done = [["w", "x", fresh]]
        return "txn", done, done
    writes, takes = {
        "set": ("add", "read"),
        "fifo-queue": ("enqueue", "dequeue"),
    }[model]
    if chance.random() < 0.5:
        state.append(fresh)
        return writes, fresh, fresh
    if model == "set":
        return takes, None, state[:-1] if wrong else list(state)
    return takes, None, (state.pop() if wrong else state.pop(0)) if state else None


@pytest.mark.parametrize("model", ["list-append", "rw-register", "set", "fifo-queue"])
def test_whatever_is_judged_the_order_of_the_lines_changes_nothing(model: str) -> None:
    """Verdict and anomalies are those of the file as it was written down, or it is refused."""
    found: Counter[str] = Counter()
    for seed in range(SEEDS // 10):
        chance = Random(seed)
        events = random_use(chance, model)
        way = chance.choice(list(WAYS))
        told = [
            check_file("h", written(lines, chance), model, Budget())
            for lines in (events, WAYS[way](events, chance))
        ]
        assert word(told[0]) == word(told[1]), (seed, way)
        assert {one.kind for one in told[0].anomalies} == {one.kind for one in told[1].anomalies}
        found[word(told[0])] += 1
    assert SEEDS < 2000 or (found["valid"] and found["invalid"])
