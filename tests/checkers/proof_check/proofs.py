"""Random histories that are wrong, each with the verdict of its judge: whose proofs are read again.

`SOURCES` holds by name a function from a seed to (history, evidence, verdict). They are drawn as in
the tests of each judge, and damaged more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from squall.checkers.assumptions import Initial
from squall.checkers.campaign.final_reads import check_read_back
from squall.checkers.campaign.lost_commits import check_lost_commits
from squall.checkers.collections.leases import check_leases
from squall.checkers.collections.locks import check_locks
from squall.checkers.collections.sets import check_sets
from squall.checkers.etcd.order import check_etcd_order
from squall.checkers.etcd.revisions import check_revisions
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, MalformedHistory, Op, OpType
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.linearizability.models import MODELS, UNKNOWN
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call
from squall.checkers.registry import judge_of
from squall.checkers.transactions.bank import check_bank
from squall.checkers.transactions.checker import check_isolation
from squall.checkers.transactions.long_fork import check_long_fork
from squall.checkers.verdict import Budget, Validity, Verdict
from squall.checkers.watch.end_state import check_watch_end
from squall.checkers.watch.rules import check_watches
from tests.checkers import oracle, test_definitions, test_false_alarms
from tests.checkers.collections import test_locks_and_leases, test_queues, test_sets
from tests.checkers.etcd import test_order as test_etcd_order
from tests.checkers.linearizability import test_linearizability, test_objects, test_sequential
from tests.checkers.transactions import test_bank_order, test_transactions
from tests.checkers.watch import test_oracle as test_watch_oracle

Judged = tuple[History, Evidence | None, Verdict]


def registers(seed: int) -> Judged:
    """Registers with unique and repeated values, and refusals that say nothing."""
    history = oracle.history(test_linearizability.drawn(seed))
    return history, None, check_linearizability(history, Budget())


def failed(history: History, random: Random) -> History:
    """The same, with one write that failed instead of succeeding."""
    changing = {"write", "cas", "enqueue", "add", "put", "append"}
    writes = [op for op in history if op.type is OpType.OK and op.f in changing]
    if not writes:
        return history
    gone = random.choice(writes)
    return History(
        [
            msgspec.structs.replace(op, type=OpType.FAIL, error="conflict") if op is gone else op
            for op in history
        ]
    )


def failing_registers(seed: int) -> Judged:
    """Registers of which one write is said to have failed."""
    random = Random(seed)
    calls = oracle.random_calls(random, ops_max=7, values=None if seed % 2 else 3, noise=0.2)
    history = failed(oracle.history(calls), random)
    return history, None, check_linearizability(history, Budget())


def busy_registers(seed: int) -> Judged:
    """Longer ones, several keys, with falsified reads."""
    random = Random(seed)
    calls = oracle.random_calls(
        random, ops_max=40, clients=4, values=None if seed % 3 else 4, noise=0.05, grain=12
    )
    history = oracle.two_keys(calls, oracle.random_calls(random, ops_max=10, noise=0.2))
    return history, None, check_linearizability(history, Budget())


def objects(name: str) -> Callable[[int], Judged]:
    """An object of a model, damaged in two ways."""

    def source(seed: int) -> Judged:
        damaged = (
            test_objects.mutated(name, seed)[0] if seed % 2 else test_objects.drawn(name, seed)
        )
        history = oracle.history(damaged, "o")
        return history, None, judge_of(name)(history, Budget())

    return source


def strange(random: Random, history: History, values: list[Any]) -> History:
    """Sometimes let a read, a get or a dequeue be answered with something else."""
    ops = list(history)
    answers = [
        at
        for at, op in enumerate(ops)
        if op.type is OpType.OK and op.f in {"read", "get", "dequeue", "generate"}
    ]
    if answers and random.random() < 0.3:
        at, value = random.choice(answers), random.choice(values)
        if isinstance(ops[at].value, list):
            value = [*ops[at].value, value]
        ops[at] = msgspec.structs.replace(ops[at], value=value)
    return History(ops)


BEGUN: dict[str, list[Any]] = {
    "kv": ["ab", "7"],
    "set": [[1, 2], [0]],
    "counter": [5, -3],
    "fifo-queue": [[91, 92], ["a", 93, 94], [91, 91]],
    "unordered-queue": [[91, 92], [93], [91, 91]],
    "queue": [[91, 92], [93]],
    "multi-register": [{"x": 7, "y": 8}, 9],
}
"""What objects hold at first, by model."""


def begun(name: str) -> Callable[[int], Judged]:
    """An object that holds something at first; it may be used as if it did not."""
    drawn = {"queue": "fifo-queue"}.get(name, name)

    def source(seed: int) -> Judged:
        random = Random(f"begun {name} {seed}")
        value = random.choice(BEGUN[name])
        state = frozenset(value) if name == "set" else value
        state = tuple(value) if name.endswith("queue") else state
        if name == "multi-register":
            state = value if isinstance(value, dict) else {"x": value, "y": value}
        calls = test_objects.drawn(drawn, seed, None if random.random() < 0.3 else state)
        history = oracle.history(calls, random.choice([None, "o"]))
        history = strange(random, failed(history, random), [99, 91, 1, None, "ab"])
        judge = judge_of(name, initial=Initial.of(value))
        try:
            return history, None, judge(history, Budget())
        except MalformedHistory:  # a total that is no number, say
            return history, None, Verdict(checker=name, validity=Validity.UNKNOWN)

    return source


def begun_registers(seed: int) -> Judged:
    """Registers that hold something at first, which most reads before a write show."""
    random = Random(f"begun register {seed}")
    value = random.choice([7, "a b", True, [1, 2], {"a": 1}, 1])
    values = None if seed % 2 else 3
    calls = oracle.random_calls(random, ops_max=7, values=values, noise=0.2)

    def first(shown: Any) -> Any:
        return value if shown is None and random.random() < 0.9 else shown

    for at, one in enumerate(calls):
        if one.given[0] == "read" and one.ret != FOREVER:
            calls[at] = one._replace(answer=first(one.answer))
        elif one.given[0] == "cas":
            answer = one.answer
            if isinstance(answer, dict) and "seen" in answer:
                answer = {**answer, "seen": first(answer["seen"])}
            calls[at] = one._replace(given=("cas", [*map(first, one.given[1])]), answer=answer)
    history = failed(oracle.history(calls, random.choice([None, "x"])), random)
    name = random.choice(["cas-register", "sequential-register"])
    return history, None, judge_of(name, initial=Initial.of(value))(history, Budget())


def begun_sets(seed: int) -> Judged:
    """Sets that hold elements at first, which some reads lack and somebody may add again."""
    random = Random(f"begun set {seed}")
    value: list[Any] = random.choice([[50], [50, 51], ["a"], [10, 11, 50]])
    calls, _ = test_sets.drawn(seed)
    calls = [
        one._replace(answer=[*value, *(each for each in one.answer if each not in value)])
        if one.given[0] == "read" and one.ret != FOREVER and random.random() < 0.8
        else one
        for one in calls
    ]
    history = strange(random, failed(oracle.history(calls, "s"), random), [77, 50, 10])
    name = random.choice(["set", "set-eventual"])
    return history, None, judge_of(name, initial=Initial.of(value))(history, Budget())


def begun_counters(seed: int) -> Judged:
    """Counters that hold something at first, with and without amounts below zero."""
    random = Random(f"begun counter {seed}")
    value = random.choice([5, 1, -3])
    calls = [
        one._replace(answer=one.answer + value)
        if one.given[0] == "read" and one.ret != FOREVER
        else one
        for one in test_definitions.counting(random)
    ]
    if random.random() < 0.5:
        calls = [
            one._replace(given=("add", abs(one.given[1]))) if one.given[0] == "add" else one
            for one in calls
        ]
    history = oracle.history(calls, "c")
    return history, None, judge_of("counter", initial=Initial.of(value))(history, Budget())


def final_totals(seed: int) -> Judged:
    """Counters of which the end is judged, from something or from nothing."""
    random = Random(f"pn {seed}")
    value = random.choice([0, 0, 5, -3])
    calls = test_definitions.counting(random)
    end = max((one.ret for one in calls if one.ret != FOREVER), default=0) + 1
    total = value + sum(one.given[1] for one in calls if one.given[0] == "add")
    shown = total + random.choice([0, 0, 1, -1, 2])
    calls = [
        one._replace(answer=one.answer + value)
        if one.given[0] == "read" and one.ret != FOREVER
        else one
        for one in calls
    ]
    history = oracle.history([*calls, Call(end, end + 1, ("read", None), shown)], "c")
    ops = list(history)
    if random.random() < 0.7:
        ops = [
            msgspec.structs.replace(op, meta={"final": True}) if op.time_ns >= end else op
            for op in ops
        ]
    history = History(ops)
    return history, None, judge_of("pn-counter", initial=Initial.of(value))(history, Budget())


def busy_texts(seed: int) -> Judged:
    """Long use of texts; sometimes a get shows what another showed, or lacks what was appended."""
    random = Random(f"texts {seed}")
    calls: list[Call] = []
    state: Any = None
    for fresh, (call, ret, happens) in enumerate(
        oracle.intervals(random, random.choice([8, 12, 50]), clients=4, crash=0.05), 1
    ):
        given, answer, after = test_objects.kv(random, state, fresh)
        if given[0] == "put" and random.random() < 0.8:
            given, after = ("append", given[1]), (state or "") + given[1]
        calls.append(Call(call, ret, given, UNKNOWN if ret == FOREVER else answer))
        state = after if happens else state
    gets = [at for at, one in enumerate(calls) if one.given[0] == "get" and one.ret != FOREVER]
    if len(gets) > 1:
        at, other = random.sample(gets, 2)
        shown = calls[other].answer if random.random() < 0.7 else calls[at].answer[:-3]
        calls[at] = calls[at]._replace(answer=shown)
    history = oracle.history(calls, random.choice([None, "t"]))
    history = failed(history, random) if random.random() < 0.2 else history
    return history, None, judge_of("kv")(history, Budget())


def failing_sets(seed: int) -> Judged:
    """Sets of which adds failed, one of an element that shows nonetheless."""
    random = Random(f"failing set {seed}")
    calls, _ = test_sets.drawn(seed)
    history = failed(oracle.history(calls, random.choice([None, "s"])), random)
    return history, None, judge_of("set")(history, Budget())


def failing_queues(seed: int) -> Judged:
    """Queues of which an enqueue failed; what it would have put in may come out."""
    random = Random(f"failing queue {seed}")
    name = random.choice(["fifo-queue", "unordered-queue", "total-queue"])
    steps = test_queues.unordered_steps if name == "unordered-queue" else test_queues.fifo_steps
    history = oracle.history(test_queues.drawn(random, steps, ()), random.choice([None, "q"]))
    history = strange(random, failed(history, random), [99, 1])
    return history, None, judge_of(name)(history, Budget())


def strange_watches(seed: int) -> Judged:
    """Watches that are sent what nobody put, or what was put too late or in vain."""
    random = Random(f"strange watch {seed}")
    history, _, _ = watches(seed)
    ops = list(history)
    at = random.randrange(len(ops))
    if ops[at].f == "watch" and isinstance(ops[at].value, dict) and "responses" in ops[at].value:
        answer = json.loads(json.dumps(ops[at].value))
        sent = [event for one in answer["responses"] for event in one.get("events", ())]
        if sent:
            random.choice(sent)[2] = 77
            ops[at] = msgspec.structs.replace(ops[at], value=answer)
    elif ops[at].type is OpType.OK and ops[at].f == "put":
        ops[at] = msgspec.structs.replace(ops[at], type=OpType.FAIL, value=None)
    history = History(ops)
    return history, None, check_watches(history)


def ids(seed: int) -> Judged:
    """Ids, some of which were given before."""
    random = Random(f"ids {seed}")
    calls = [
        Call(call, ret, ("generate", None), UNKNOWN if ret == FOREVER else random.randrange(12))
        for call, ret, _ in oracle.intervals(random, random.randint(2, 7), crash=0.1)
    ]
    history = oracle.history(calls)
    return history, None, judge_of("unique-ids")(history, Budget())


def queues(seed: int) -> Judged:
    """Queues as their own tests draw them: elements repeat, and some were there at first."""
    random = Random(f"queues {seed}")
    name = random.choice(["fifo-queue", "unordered-queue"])
    steps = test_queues.fifo_steps if name == "fifo-queue" else test_queues.unordered_steps
    value: Any = random.choice([(), (), (91, 92), (1,), (91, 91)])
    history = oracle.history(test_queues.drawn(random, steps, value), random.choice([None, "q"]))
    history = failed(history, random) if seed % 3 == 0 else history
    return history, None, judge_of(name, initial=Initial.of([*value]))(history, Budget())


def searched_queues(seed: int) -> Judged:
    """Queues without a discipline's own rules: what a search alone tells of them."""
    random = Random(f"searched {seed}")
    name = random.choice(["fifo-queue", "unordered-queue"])
    steps = test_queues.fifo_steps if name == "fifo-queue" else test_queues.unordered_steps
    calls = [one for one in test_queues.drawn(random, steps, ()) if one.ret != FOREVER]
    history = oracle.history(calls, "q")
    return history, None, check_linearizability(history, Budget(), MODELS[name])


def total_queues(seed: int) -> Judged:
    """Queues that are drained or read in the end, when elements are missing, strange, or twice."""
    random = Random(f"total {seed}")
    held: list[int] = []
    calls: list[Call] = []
    at = 0
    for fresh, (call, ret, happens) in enumerate(
        oracle.intervals(random, random.randint(2, 9), crash=0.2), 1
    ):
        at = max(at, call, 0 if ret == FOREVER else ret)
        if random.random() < 0.6:
            calls.append(Call(call, ret, ("enqueue", fresh), UNKNOWN if ret == FOREVER else None))
            held += [fresh] if happens and random.random() < 0.8 else []
        else:
            taken = held.pop(random.randrange(len(held))) if held and happens else None
            calls.append(Call(call, ret, ("dequeue", None), UNKNOWN if ret == FOREVER else taken))
            held += [taken] if taken is not None and random.random() < 0.2 else []
    shown = [*held, *([99] if random.random() < 0.2 else [])]
    calls.append(Call(at + 1, at + 2, (random.choice(["drain", "read"]), None), shown))
    history = failed(oracle.history(calls, random.choice([None, "q"])), random)
    return history, None, judge_of("total-queue")(history, Budget())


def sequential(seed: int) -> Judged:
    """Registers judged by each client's own order, from nothing or something."""
    random = Random(f"sequential {seed}")
    history = test_sequential.recorded(test_sequential.drawn(random))
    history = strange(random, failed(history, random), [99, 1, 7])
    value = random.choice([None, None, 7, "a b", 1])
    judge = judge_of("sequential-register", initial=Initial.of(value))
    return history, None, judge(history, Budget())


def ordered_banks(seed: int) -> Judged:
    """Banks of which each read shows one moment, with balances that are told or found out."""
    random = Random(f"ordered bank {seed}")
    opening = {one: random.randrange(3) for one in test_bank_order.ACCOUNTS}
    calls = test_bank_order.drawn(random, opening)
    history = oracle.history(calls, random.choice([None, "b"]))
    told = Initial.of(opening) if random.random() < 0.5 else None
    return history, None, judge_of("bank-linearizable:negative", initial=told)(history, Budget())


def named_clients(seed: int) -> Judged:
    """Registers whose clients have names with blanks and other signs."""
    history, evidence, _ = busy_registers(seed)
    names: dict[int | str, str] = {
        0: "client 1",
        1: "10.0.0.5:2379",
        2: "client_1",
        3: "a, b and c",
    }
    named = [
        msgspec.structs.replace(op, process=names.get(op.process, op.process)) for op in history
    ]
    history = History(named)
    return history, evidence, check_linearizability(history, Budget())


def lists(seed: int) -> Judged:
    """Transactions over lists."""
    random = Random(seed)
    plans = (
        test_transactions.mutated(random)[0]
        if seed % 2
        else test_transactions.drawn(random, appends=True, noise=random.choice([0.1, 0.4]))
    )
    garbled(random, plans, appends=True)
    history = test_transactions.history(plans)
    return history, None, check_isolation(history, Budget(), data="list-append")


def txn_registers(seed: int) -> Judged:
    """Transactions over registers."""
    random = Random(seed)
    plans = test_transactions.drawn(random, appends=False, noise=random.choice([0.1, 0.4]))
    garbled(random, plans, appends=False)
    history = test_transactions.history(plans)
    return history, None, check_isolation(history, Budget(), data="rw-register")


def garbled(random: Random, plans: list[Any], *, appends: bool) -> None:
    """Sometimes let a read find what nobody wrote, or a list be turned round."""
    mops = [mop for plan in plans for mop in plan.answered]
    writes = [mop for mop in mops if mop[0] != "r"]
    reads = [mop for mop in mops if mop[0] == "r"]
    if random.random() < 0.1 and reads:
        mop = random.choice(reads)
        value = random.choice([99, *(one[2] for one in writes)])
        mop[2] = [*(mop[2] or ()), value] if appends else value
    if appends and random.random() < 0.1 and reads:
        mop = random.choice(reads)
        mop[2] = [*reversed(mop[2] or ())]


def sets(seed: int) -> Judged:
    """Sets that only grow; now and then an add failed, or an element comes twice."""
    random = Random(seed)
    calls, _ = test_sets.drawn(seed)
    history = oracle.history(calls, "s")
    ops = list(history)
    for at, op in enumerate(ops):
        if op.type is OpType.OK and op.f == "add" and random.random() < 0.05:
            ops[at] = msgspec.structs.replace(op, type=OpType.FAIL)
        elif op.type is OpType.OK and op.f == "read" and op.value and random.random() < 0.05:
            ops[at] = msgspec.structs.replace(
                op, value=[*op.value, random.choice([op.value[0], 77])]
            )
    history = History(ops)
    return history, None, check_sets(history)


def counters(seed: int) -> Judged:
    """Counters."""
    history = oracle.history(test_definitions.counting(Random(seed)), "c")
    return history, None, judge_of("counter")(history, Budget())


def banks(seed: int) -> Judged:
    """Banks, overdrawn and torn; sometimes an account is missing or new."""
    random = Random(seed)
    calls = test_definitions.banking(random)
    for call in calls:
        if call.given[0] == "read" and random.random() < 0.1:
            call.answer.pop("b", None)
        elif call.given[0] == "read" and random.random() < 0.1:
            call.answer["d"] = 0
        elif call.given[0] == "read" and random.random() < 0.1:
            call.answer["a"] = -1
    history = oracle.history(calls, "bank")
    return history, None, check_bank(history, total=30 if seed % 2 else None)


def forks(seed: int) -> Judged:
    """Reads of three keys."""
    random = Random(seed)
    ops: list[Op] = []
    for at, keys in enumerate(test_definitions.forking(random)):
        for kind in (OpType.INVOKE, OpType.OK):
            value = [["r", key, 1 if key in keys else None] for key in "xyz"]
            index = len(ops)
            ops.append(Op(index=index, time_ns=index, process=at, type=kind, f="txn", value=value))
    history = History(ops)
    return history, None, check_long_fork(history)


def locks(seed: int) -> Judged:
    """Locks, with and without tokens."""
    random = Random(seed)
    draw = test_locks_and_leases.fencing if seed % 2 else test_locks_and_leases.locking
    history = test_locks_and_leases.recorded(draw(random), "door")
    return history, None, check_locks(history)


def leases(seed: int) -> Judged:
    """Leases."""
    steps = test_locks_and_leases.leasing(Random(seed))
    ms = test_locks_and_leases.MS
    timed = [one._replace(call=one.call * ms, ret=one.ret * ms) for one in steps]
    history = test_locks_and_leases.recorded(timed, None)
    return history, None, check_leases(history)


def etcd(seed: int) -> Judged:
    """Requests to etcd."""
    random = Random(seed)
    ops = test_etcd_order.drawn(
        seed, ops=random.choice([4, 6, 12]), crash=random.choice([0.0, 0.1, 0.25])
    )
    for _ in range(random.randint(1, 2)):
        ops = test_etcd_order.falsify(random, ops)
    history = History(ops)
    return history, None, check_etcd_order(history)


def watches(seed: int) -> Judged:
    """Watches, damaged."""
    random = Random(seed)
    changes = test_watch_oracle.store(random)
    key, end = random.choice([("a", None), ("b", None), ("a", "c"), ("a", "z")])
    created = random.randint(1, changes[-1].mod)
    start = random.choice([None, random.randint(2, created + 1)])
    filters = random.choice([(), (), ("put",), ("delete",)])
    asked = test_watch_oracle.Asked(key, end, start, filters, random.random() < 0.6, created)
    responses = test_watch_oracle.damaged(random, test_watch_oracle.sent(random, asked, changes))
    if random.random() < 0.3:
        responses = test_watch_oracle.damaged(random, responses)
    history = test_watch_oracle.recorded(asked, responses, changes)
    return history, None, check_watches(history)


def watch_ends(seed: int) -> Judged:
    """What two nodes tell and hold in the end."""
    random = Random(seed)
    changes: list[list[Any]] = [
        ["put", random.choice("ab"), mod, mod]
        if random.random() < 0.7
        else ["delete", "a", None, mod]
        for mod in range(2, random.randint(4, 9))
    ]
    upto = changes[-1][3]
    ops: list[Op] = []
    for process, node in enumerate(("n1", "n2")):
        told: list[list[Any]] = [list(one) for one in changes]
        if random.random() < 0.4:
            told.pop(random.randrange(len(told)))
        elif random.random() < 0.4:
            random.choice(told)[2] = 99
        held: dict[str, Any] = {}
        for kind, key, value, mod in told if random.random() < 0.7 else changes:
            held.pop(key, None)
            if kind == "put":
                held[key] = [key, value, mod, mod, 1]
        responses = [{"revision": one[3], "events": [one]} for one in told]
        answers = [
            (
                "watch",
                {"key": "a", "end": "z", "start": 2},
                {"created": upto, "responses": [*responses, {"revision": upto, "progress": True}]},
            ),
            (
                "range",
                {"key": "a", "end": "z"},
                {"revision": upto, "kvs": list(held.values()), "count": len(held)},
            ),
        ]
        for f, asked, answer in answers:
            for kind, value in ((OpType.INVOKE, asked), (OpType.OK, answer)):
                ops.append(
                    Op(
                        index=len(ops),
                        time_ns=len(ops) * 1000,
                        process=process,
                        type=kind,
                        f=f,
                        value=value,
                        node=node,
                        meta={"final": True},
                    )
                )
    history = History(ops)
    return history, None, check_watch_end(history)


def _run(seed: int) -> tuple[Any, Random]:
    random = Random(seed)
    one = test_false_alarms.Run(random)
    one.load(random.choice([5, 15, 40]), random.choice([2, 5]), random.choice([0.0, 0.1, 0.3]))
    return one, random


def revisioned(seed: int) -> Judged:
    """Registers with revisions, some of which are wrong."""
    one, random = _run(seed)
    done = [event[3] for event in one.events if event[3].get("meta")]
    for _ in range(random.randint(1, 3)):
        if done:
            changed = random.choice(done)
            name = random.choice(["revision", "mod"])
            changed["meta"][name] = max(0, changed["meta"][name] + random.choice([-2, -1, 1, 2]))
            if random.random() < 0.3 and changed["f"] == "read":
                changed["value"] = random.randint(1, 8)
    history = one.history()
    return history, None, check_revisions(history)


def lost(seed: int) -> Judged:
    """Registers whose end forgot something, by its reads, its logs, or both."""
    one, random = _run(seed)
    store = one.store
    if store.log and random.random() < 0.7:
        store.held[random.choice(list(store.held))] = random.choice(
            [(None, 0), (store.log[0][1], 2), (random.choice(store.log)[1], 3)]
        )
    one.final()
    if store.log and random.random() < 0.5:
        store.log.remove(random.choice(store.log))
    if random.random() < 0.3:
        locals_ = [
            e[3] for e in one.events if e[3]["f"] == "serializable-read" and e[3].get("meta")
        ]
        random.choice(locals_)["value"] = 1
    history, evidence = one.history(), one.evidence()
    if random.random() < 0.3:
        evidence = Evidence(recovery=evidence.recovery)
    return history, evidence, check_lost_commits(history, evidence)


def replicas(seed: int) -> Judged:
    """Nodes that hold something else than the cluster serves, asked in three ways."""
    random = Random(seed)
    ops: list[Op] = []
    style = seed % 3
    for node in ("n1", "n2"):
        for local in (False, True):
            values = {key: 1 if random.random() < 0.8 else 2 for key in "ab"}
            asked: Any
            answer: Any
            if style == 0:
                f, asked, answer = "read", None, values["a"]
                f = "serializable-read" if local else f
            elif style == 1:
                f, asked = (
                    "range",
                    {"key": "a", "end": "z"} | ({"serializable": True} if local else {}),
                )
                rows = [[key, value, 2, 2, 1] for key, value in values.items()]
                answer = {"revision": 2, "kvs": rows, "count": 2}
            else:
                f = "serializable-read" if local else "txn"
                asked = [["r", key, None] for key in "ab"]
                answer = [["r", key, value] for key, value in values.items()]
            for kind, value in ((OpType.INVOKE, asked), (OpType.OK, answer)):
                ops.append(
                    Op(
                        index=len(ops),
                        time_ns=len(ops) * 1000,
                        process=0,
                        type=kind,
                        f=f,
                        key="x" if style == 0 else None,
                        value=value,
                        node=node,
                        meta={"final": True, "revision": 2},
                    )
                )
    history = History(ops)
    return history, None, check_read_back(history, Evidence())


SOURCES: dict[str, Callable[[int], Judged]] = {
    "registers": registers,
    "failing-registers": failing_registers,
    "busy-registers": busy_registers,
    **{name: objects(name) for name in test_objects.DRAWS},
    **{f"begun-{name}": begun(name) for name in BEGUN},
    "begun-registers": begun_registers,
    "begun-grown-sets": begun_sets,
    "begun-counters": begun_counters,
    "final-totals": final_totals,
    "busy-texts": busy_texts,
    "failing-sets": failing_sets,
    "failing-queues": failing_queues,
    "strange-watches": strange_watches,
    "ids": ids,
    "queues": queues,
    "searched-queues": searched_queues,
    "total-queues": total_queues,
    "sequential-registers": sequential,
    "ordered-banks": ordered_banks,
    "named-clients": named_clients,
    "lists": lists,
    "txn-registers": txn_registers,
    "sets": sets,
    "counters": counters,
    "banks": banks,
    "forks": forks,
    "locks": locks,
    "leases": leases,
    "etcd": etcd,
    "watches": watches,
    "watch-ends": watch_ends,
    "revisions": revisioned,
    "lost-commits": lost,
    "replicas": replicas,
}
