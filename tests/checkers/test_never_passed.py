"""What its definition calls wrong is never passed, in whatever file it comes.

Uses of every model are drawn, one answer is changed, and the whole is written as Jepsen's EDN, as
JSON, with independent keys, as one record an operation and as our own history. Trying all orders
says what is right. A file may be refused, and a verdict unknown: both are counted, and bounded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import pytest

from squall.checkers.assumptions import Assumptions, Initial, Nil
from squall.checkers.files import check_file
from squall.checkers.formats.edn_writer import encode_edn
from squall.checkers.history import MalformedHistory, OpType
from squall.checkers.linearizability.models import MODELS, UNKNOWN
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call
from squall.checkers.verdict import Budget, Validity
from tests.checkers.collections import test_queues as queues
from tests.checkers.linearizability.test_objects import DRAWS, drawn
from tests.checkers.oracle import brute_force, random_calls
from tests.checkers.seeds import SEEDS
from tests.checkers.transactions import test_bank_order as banks
from tests.checkers.transactions import test_transactions as txns

Event = dict[str, Any]
NAMES = ("a", "client-2", "c/3", "ü", "10.0.0.5:2379", "n1/worker", "w-7", "z")


class Use(NamedTuple):
    """Calls with who made them (None: each its own client), and the functions that answer."""

    model: str
    calls: list[Call]
    right: Callable[[list[Call]], bool]
    owners: list[int] | None = None


def _by_model(model: str) -> Callable[[list[Call]], bool]:
    return lambda calls: brute_force(MODELS[model](), calls)


def of_object(model: str) -> Callable[[Random], Use]:
    """A use of an object that has a sequential model."""
    return lambda random: Use(model, drawn(model, random.randrange(1 << 30)), _by_model(model))


def of_register(model: str) -> Callable[[Random], Use]:
    """A use of a register, whose values may repeat."""

    def use(random: Random) -> Use:
        calls = random_calls(random, values=random.choice([None, None, 3]), noise=0.05)
        if model == "register":
            calls = [one for one in calls if one.given[0] != "cas"]
        return Use(model, calls, _by_model(model))

    return use


def of_queue(model: str, steps: queues.Steps) -> Callable[[Random], Use]:
    """A use of a queue; nobody knows what an unanswered dequeue took."""
    return lambda random: Use(
        model,
        queues.drawn(random, steps, ()),
        lambda calls: queues.explained(steps, calls, ()),
    )


def of_bank(random: Random) -> Use:
    """A use of a bank in which each read shows one moment."""
    calls = banks.drawn(random, dict.fromkeys(banks.ACCOUNTS, 9))
    return Use("bank-linearizable:negative", calls, lambda all_: brute_force(banks.Bank(), all_))


def of_transactions(model: str) -> Callable[[Random], Use]:
    """Transactions, as calls: what failed has no place among them."""
    appends = model == "list-append"

    def right(calls: list[Call], owners: list[int]) -> bool:
        plans = []
        for owner, one in zip(owners, calls, strict=True):
            open_ = one.ret == FOREVER
            plan = txns.Plan(owner, one.call, one.ret, OpType.INFO if open_ else OpType.OK)
            plan.asked = one.given[1]
            plan.answered = one.given[1] if open_ else one.answer
            plans.append(plan)
        return txns.brute_force(plans, appends=appends, realtime=True)

    def use(random: Random) -> Use:
        plans = [
            plan
            for plan in txns.drawn(random, appends=appends, noise=random.choice([0.0, 0.3]))
            if plan.outcome is not OpType.FAIL
        ]
        calls = [
            Call(plan.call, FOREVER, ("txn", plan.asked), UNKNOWN)
            if plan.outcome is OpType.INFO
            else Call(plan.call, plan.ret, ("txn", plan.asked), plan.answered)
            for plan in plans
        ]
        owners = [plan.process for plan in plans]
        return Use(model, calls, lambda all_: right(all_, owners), owners)

    return use


USES: dict[str, Callable[[Random], Use]] = {
    "register": of_register("register"),
    "cas-register": of_register("cas-register"),
    **{name: of_object(name) for name in DRAWS if not name.endswith("-queue")},
    "fifo-queue": of_queue("fifo-queue", queues.fifo_steps),
    "unordered-queue": of_queue("unordered-queue", queues.unordered_steps),
    "bank-linearizable": of_bank,
    "list-append": of_transactions("list-append"),
    "rw-register": of_transactions("rw-register"),
}


def changed(random: Random, use: Use) -> tuple[list[Call], bool]:
    """Change one answer; return whether that alone makes it wrong, whatever the order is."""
    calls = list(use.calls)
    told = [at for at, one in enumerate(calls) if one.ret != FOREVER]
    if not told:
        return calls, False
    at = random.choice(told)
    one = calls[at]
    f, given = one.given
    others = [two.answer for two in calls if two.ret != FOREVER and two.given[0] == f]
    if f == "txn":
        return _changed_txn(random, calls, at)
    if f in {"write", "put", "append", "add", "remove", "enqueue"}:
        answer = random.choice([given, None, True, "ok", 55, "other"])
        calls[at] = one._replace(answer=answer)
        return calls, answer in {55, "other"} and answer != given
    if f == "transfer":
        answer = dict(given) | random.choice([{}, {"amount": 7}, {"from": given["to"]}])
        calls[at] = one._replace(answer=answer)
        return calls, answer != given
    if f == "read" and isinstance(one.answer, list):
        calls[at] = one._replace(answer=random.choice([one.answer[1:], [*one.answer, 77], *others]))
    elif f == "read" and isinstance(one.answer, dict):
        account = random.choice(sorted(one.answer))
        more = {**one.answer, account: one.answer[account] + 1}
        calls[at] = one._replace(answer=random.choice([more, *others]))
    elif f in {"read", "get", "dequeue"}:
        strange = "zz" if use.model == "kv" else 99
        calls[at] = one._replace(answer=random.choice([strange, None, *others]))
        if use.model == "counter" and calls[at].answer is None:
            calls[at] = one
    elif f == "acquire" and use.model == "fenced-mutex":
        calls[at] = one._replace(answer=random.choice([1, 2, 3]))
    elif f == "cas":
        calls[at] = one._replace(answer=random.choice([{"swapped": True}, *others]))
    return calls, False


def _changed_txn(random: Random, calls: list[Call], at: int) -> tuple[list[Call], bool]:
    mops = [list(mop) for mop in calls[at].answer]
    number = random.randrange(len(mops))
    f, key, value = mops[number]
    how = random.choice(["drop", "more", "key", "function", "read", "read", "read", "read"])
    if how == "drop":
        del mops[number]
    elif how == "more":
        mops.append(["r", key, None])
    elif how == "key":
        mops[number] = [f, "z", value]
    elif how == "function":
        mops[number] = ["w" if f == "r" else "r", key, value]
    elif f == "r":
        seen = [
            mop[2]
            for one in calls
            if one.ret != FOREVER
            for mop in one.answer
            if mop[:2] == ["r", key]
        ]
        more = [[*value, 77]] if isinstance(value, list) else [77]
        mops[number] = [f, key, random.choice([*seen, *more])]
    calls = [*calls[:at], calls[at]._replace(answer=mops), *calls[at + 1 :]]
    return calls, mops != calls[at].answer or how in {"drop", "more", "key", "function"}


def events_of(use: Use, calls: list[Call], random: Random) -> list[Event]:
    """Write calls down in order of time, calls before answers where both have one time."""
    names: list[Any] = list(range(10))
    if random.random() < 0.5:
        names[: len(NAMES)] = random.sample(NAMES, min(len(NAMES), len(names)))
    key = {"key": "x"} if use.model == "kv" else {}
    events = []
    for at, one in enumerate(calls):
        f, given = one.given
        who = names[use.owners[at] if use.owners else at]
        said = {"process": who, "f": f, **key}
        events.append((one.call, 0, at, {**said, "type": "invoke", "value": given}))
        if one.ret == FOREVER:
            if random.random() < 0.5:
                told = {**said, "type": "info", "value": given, "error": "timeout"}
                events.append((one.call + random.randrange(9), 1, at, told))
            continue
        answer = one.answer
        if answer is None and f not in {"read", "get", "dequeue"}:
            answer = given  # as Jepsen repeats what was asked
        events.append((one.ret, 1, at, {**said, "type": "ok", "value": answer}))
    events.sort(key=lambda event: event[:3])
    return [{**event, "time": 5 + time} for time, _, _, event in events]


def edn(use: Use, calls: list[Call], random: Random) -> bytes:
    return "\n".join(map(encode_edn, events_of(use, calls, random))).encode()


def array(use: Use, calls: list[Call], random: Random) -> bytes:
    events = events_of(use, calls, random)
    if use.owners is None or random.random() < 0.5:
        return json.dumps(events).encode()
    logs: dict[Any, list[Event]] = {}  # the logs of clients one after the other
    for event in events:
        logs.setdefault(event["process"], []).append(event)
    return json.dumps([event for log in logs.values() for event in log]).encode()


def keyed(use: Use, calls: list[Call], random: Random) -> bytes:
    """Two independent keys, the other of which says nothing."""
    events = [
        {**event, "value": [1, event["value"]]}
        for event in events_of(use, calls, random)
        if event.pop("key", None) != "y"
    ]
    return "\n".join(json.dumps(event) for event in events).encode()


def own(use: Use, calls: list[Call], random: Random) -> bytes:
    lines = [{"squall": "history", "version": 1}]
    for at, event in enumerate(events_of(use, calls, random)):
        fields = {**event, "index": at, "time_ns": event.pop("time"), "key": event.get("key", "x")}
        fields.pop("time", None)
        if event["f"] == "txn":
            fields.pop("key")
        elif event["type"] == "ok" and event["value"] is not None and event["f"] == "cas":
            fields["value"] = event["value"]
        lines.append(fields)
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def records(use: Use, calls: list[Call], random: Random) -> bytes:
    """One record an operation, as Porcupine's."""
    lines = []
    for at, one in enumerate(calls):
        f, given = one.given
        asked = {"f": f, "value": given} | ({"key": "x"} if use.model == "kv" else {})
        record = {"ClientId": use.owners[at] if use.owners else at, "Input": asked}
        record |= {"Call": one.call + 5}
        answered = one.ret != FOREVER
        record["Output"] = one.answer if answered else None
        record["Return"] = one.ret + 5 if answered else None
        lines.append(record)
    random.shuffle(lines)
    return json.dumps(lines).encode()


FORMS: dict[str, Callable[[Use, list[Call], Random], bytes]] = {
    "edn": edn,
    "json": array,
    "independent": keyed,
    "own": own,
    "records": records,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", USES)
def test_what_no_order_explains_is_never_passed(model: str, form: str) -> None:
    """And what some order explains is never called wrong; few files leave it open."""
    outcomes: Counter[tuple[bool, str]] = Counter()
    for seed in range(SEEDS // 20):
        random = Random(f"{model} {form} {seed}")
        use = USES[model](random)
        calls, mismatched = changed(random, use)
        if not calls:
            continue
        truth = not mismatched and use.right(calls)
        data = FORMS[form](use, calls, random)
        begun = Initial.absent() if use.owners else None
        assume = Assumptions(begun, Nil.ABSENT, independent=form == "independent")
        try:
            found = check_file("h", data, use.model, Budget(), assume)
        except MalformedHistory:
            outcomes[truth, "refused"] += 1
            continue
        outcomes[truth, found.validity.value] += 1
        if found.validity is Validity.VALID and not truth:
            # Registers whose values have no order by what was seen are passed: Elle's inference.
            assert use.model == "rw-register", (seed, data.decode())
            assert not mismatched, (seed, data.decode())
        if found.validity is Validity.INVALID:
            assert not truth, (seed, found.anomalies, data.decode())
    assert outcomes[False, "invalid"] > 0
    assert outcomes[False, "valid"] <= sum(outcomes.values()) // 50
