"""A watch is judged as by computing what it should have been sent."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any, NamedTuple

from squall.checkers.history import History, Op, OpType
from squall.checkers.verdict import Validity
from squall.checkers.watch.rules import check_watches
from tests.checkers.seeds import SEEDS


class Change(NamedTuple):
    """One event of the store."""

    type: str
    key: str
    value: Any
    mod: int
    prev: Any


class Asked(NamedTuple):
    """What a watch asked for, and when it was created."""

    key: str
    end: str | None
    start: int | None
    filters: tuple[str, ...]
    prev: bool
    created: int

    def wants(self, change: Change) -> bool:
        """Whether a change is to be sent."""
        mine = self.key == change.key if self.end is None else self.key <= change.key < self.end
        return mine and change.type not in self.filters and change.mod >= self.first

    @property
    def first(self) -> int:
        """The first revision that is to be sent."""
        return self.created + 1 if self.start is None else self.start


def store(random: Random) -> list[Change]:
    """What happened: revisions 2, 3 ..., some of several keys at once."""
    values = itertools.count(1)
    now: dict[str, Any] = {}
    changes = []
    for mod in range(2, 2 + random.randint(2, 7)):
        for key in random.sample("abc", random.choice([1, 1, 2])):
            gone = key in now and random.random() < 0.25
            value = None if gone else next(values)
            changes.append(Change("delete" if gone else "put", key, value, mod, now.get(key)))
            if gone:
                del now[key]
            else:
                now[key] = value
    return changes


Response = tuple[int, list[Change], bool]
"""Revision, events, whether it is progress."""


def sent(random: Random, asked: Asked, changes: list[Change]) -> list[Response]:
    """What a right store sends: all that is asked for, in batches of whole revisions."""
    upto = random.randint(asked.created, changes[-1].mod)
    due = [one for one in changes if asked.wants(one) and one.mod <= upto]
    responses: list[Response] = []
    batch: list[Change] = []
    for mod, group in itertools.groupby(due, key=lambda one: one.mod):
        batch += group
        if random.random() < 0.6:
            responses.append((mod, batch, False))
            batch = []
            if random.random() < 0.2:
                responses.append((mod, [], True))
    if batch:
        responses.append((batch[-1].mod, batch, False))
    if random.random() < 0.3:
        responses.append((upto, [], True))
    return responses


def damaged(random: Random, responses: list[Response]) -> list[Response]:
    """Lose, repeat, swap, alter or split something."""
    responses = [(revision, list(events), progress) for revision, events, progress in responses]
    full = [at for at, one in enumerate(responses) if one[1]]
    if not full:
        return responses
    at = random.choice(full)
    revision, events, _ = responses[at]
    place = random.randrange(len(events))
    way = random.choice(["lose", "repeat", "swap", "value", "prev", "split", "progress", "early"])
    if way == "lose":
        events.pop(place)
    elif way == "repeat":
        responses.insert(random.randint(at, len(responses)), (revision, [events[place]], False))
    elif way == "swap":
        other = random.choice(full)
        responses[at], responses[other] = responses[other], responses[at]
    elif way == "value":
        events[place] = events[place]._replace(value=99)
    elif way == "prev":
        events[place] = events[place]._replace(prev=99)
    elif way == "split":
        responses[at : at + 1] = [
            (revision, events[:place], False),
            (revision, events[place:], False),
        ]
    elif way == "progress":
        responses.insert(at, (revision, [], True))
    else:
        early = events[place]._replace(mod=1)
        responses[at] = (revision, [early, *events], False)
    return responses


def right(asked: Asked, responses: list[Response], changes: list[Change]) -> bool:
    """Whether this is what should have been sent, straight from the definition."""
    got = [(at, one) for at, (_, events, _) in enumerate(responses) for one in events]
    vouched = max([one.mod for _, one in got], default=0)
    vouched = max([vouched, *(revision for revision, _, progress in responses if progress)])
    due = [one for one in changes if asked.wants(one) and one.mod <= vouched]
    if not asked.prev:
        due = [one._replace(prev=None) for one in due]
        got = [(at, one._replace(prev=None)) for at, one in got]
    # Within one revision the order of keys is nobody's promise.
    if sorted(due, key=str) != sorted((one for _, one in got), key=str):
        return False
    mods = [one.mod for _, one in got]
    if mods != sorted(mods):
        return False
    for mod in set(mods):
        if len({at for at, one in got if one.mod == mod}) > 1:
            return False
    return not any(
        progress and any(one.mod <= revision for at, one in got if at > place)
        for place, (revision, _, progress) in enumerate(responses)
    )


def recorded(asked: Asked, responses: list[Response], changes: list[Change]) -> History:
    """The store's changes as their clients saw them, and one watch."""
    ops: list[tuple[str, Any, Any]] = []
    for one in changes:
        given = {"key": one.key} | ({"value": one.value} if one.type == "put" else {})
        answer = {"revision": one.mod} | ({"deleted": 1} if one.type == "delete" else {})
        ops.append((one.type, given, answer))
    named: dict[str, Any] = {"key": asked.key, "filters": list(asked.filters), "prev": asked.prev}
    named |= {"end": asked.end} if asked.end else {}
    named |= {"start": asked.start} if asked.start is not None else {}
    told = [
        {
            "revision": revision,
            "progress": progress,
            "events": [[*one[:4], *([one.prev] if asked.prev else [])] for one in events],
        }
        for revision, events, progress in responses
    ]
    ops.append(("watch", named, {"created": asked.created, "responses": told}))
    events = []
    for at, (f, given, answer) in enumerate(ops):
        for kind, value in ((OpType.INVOKE, given), (OpType.OK, answer)):
            index = len(events)
            events.append(Op(index=index, time_ns=index, process=at, type=kind, f=f, value=value))
    return History(events)


def test_a_watch_is_judged_as_by_computing_what_it_should_have_been_sent() -> None:
    """In both directions, with every kind of damage; all nine kinds of anomaly show up."""
    outcomes: dict[bool, int] = {True: 0, False: 0}
    kinds: set[str] = set()
    for seed in range(SEEDS):
        random = Random(seed)
        changes = store(random)
        key, end = random.choice([("a", None), ("b", None), ("a", "c"), ("a", "z")])
        created = random.randint(1, changes[-1].mod)
        start = random.choice([None, random.randint(2, created + 1)])
        filters = random.choice([(), (), ("put",), ("delete",)])
        asked = Asked(key, end, start, filters, random.random() < 0.6, created)
        responses = sent(random, asked, changes)
        if random.random() < 0.7:
            responses = damaged(random, responses)
        verdict = check_watches(recorded(asked, responses, changes))
        truth = right(asked, responses, changes)
        assert (verdict.validity is not Validity.INVALID) is truth, (seed, asked, responses)
        outcomes[truth] += 1
        kinds |= {one.kind for one in verdict.anomalies}
    assert min(outcomes.values()) > SEEDS // 10
    assert len(kinds) == 9, kinds
