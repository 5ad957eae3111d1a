"""Random histories that are wrong, each with the verdict of its judge: whose proofs are read again.

`SOURCES` holds by name a function from a seed to (history, evidence, verdict). They are drawn as in
the tests of each judge, and damaged more.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from checkers.bank import check_bank
from checkers.catalogue import judge_of
from checkers.etcd_order import check_etcd_order
from checkers.evidence import Evidence
from checkers.history import History, Op, OpType
from checkers.leases import check_leases
from checkers.linearizability import check_linearizability
from checkers.locks import check_locks
from checkers.long_fork import check_long_fork
from checkers.lost_commits import check_lost_commits
from checkers.read_back import check_read_back
from checkers.revisions import check_revisions
from checkers.serializability import check_isolation
from checkers.sets import check_sets
from checkers.verdict import Budget, Verdict
from checkers.watch_end import check_watch_end
from checkers.watches import check_watches
from tests.checkers import (
    oracle,
    test_definitions,
    test_etcd_order,
    test_false_alarms,
    test_linearizability,
    test_locks_and_leases,
    test_objects,
    test_sets,
    test_transactions,
    test_watch_oracle,
)

Judged = tuple[History, Evidence | None, Verdict]


def registers(seed: int) -> Judged:
    """Registers with unique and repeated values, and refusals that say nothing."""
    history = oracle.history(test_linearizability.drawn(seed))
    return history, None, check_linearizability(history, Budget())


def failed(history: History, random: Random) -> History:
    """The same, with one write that failed instead of succeeding."""
    writes = [op for op in history if op.type is OpType.OK and op.f == "write"]
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
