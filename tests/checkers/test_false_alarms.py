"""A store that keeps its promises is never accused, and one that breaks them a little is caught."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from squall.checkers.campaign.lost_commits import check_lost_commits
from squall.checkers.etcd.revisions import check_revisions
from squall.checkers.evidence import Evidence, LogEntry, NodeEvidence
from squall.checkers.history import History, Op, OpType
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.verdict import Budget, Validity

KEYS = ("r0", "r1", "r2")
NODES = ("n1", "n2", "n3")


@dataclass
class Store:
    """A revisioned store in one place, with the log of its changes."""

    random: Random
    revision: int = 1
    held: dict[str, tuple[Any, int]] = field(default_factory=dict)
    log: list[tuple[str, int]] = field(default_factory=list)

    def change(self, key: str, value: int) -> None:
        self.revision += 1
        self.held[key] = (value, self.revision)
        self.log.append((key, value))


@dataclass
class Run:
    """Clients on a store: every operation takes effect at one instant of its interval."""

    random: Random
    events: list[tuple[int, int, int, dict[str, Any]]] = field(default_factory=list)
    processes: int = 0

    def __post_init__(self) -> None:
        self.store = Store(self.random)

    def load(self, n: int, clients: int, crash: float) -> None:
        plan, free = [], [0] * clients
        for _ in range(n):
            client = self.random.randrange(clients)
            call = free[client] + self.random.randrange(4)
            ret = call + 2 + self.random.randrange(12)
            free[client] = ret + 1
            at = self.random.uniform(call, ret)
            plan.append((at, call, ret, self.random.random() < crash))
        for value, (_, call, ret, crashed) in enumerate(sorted(plan), 1):
            self.operation(value, call, ret, crashed)

    def operation(self, value: int, call: int, ret: int, crashed: bool) -> None:
        store, key = self.store, self.random.choice(KEYS)
        f = self.random.choice(["read", "read", "write", "cas"])
        happens = not crashed or self.random.random() < 0.5
        held, mod = store.held.get(key, (None, 0))
        given: Any = None
        answer: Any = held
        if f == "write":
            given = answer = value
        elif f == "cas":
            given = [held if self.random.random() < 0.7 else 10_000, value]
            answer = {"swapped": True} if given[0] == held else {"swapped": False, "seen": held}
        if happens and (f == "write" or (f == "cas" and answer["swapped"])):
            store.change(key, value)
            mod = store.revision
        meta = {"revision": store.revision, "mod": mod}
        end = None if not crashed else OpType.FAIL if f == "read" else OpType.INFO
        self.record(f, key, call, ret, given, answer, meta, end)

    def final(self) -> None:
        start = max(time for time, *_ in self.events) + 10
        for f in ("read", "serializable-read"):
            for key in KEYS:
                for node in NODES:
                    held, mod = self.store.held.get(key, (None, 0))
                    meta = {"revision": self.store.revision, "mod": mod, "final": True}
                    self.record(f, key, start, start + 1, None, held, meta, None, node)
                    start += 2

    def record(
        self,
        f: str,
        key: str,
        call: int,
        ret: int,
        given: Any,
        answer: Any,
        meta: dict[str, Any],
        end: OpType | None,
        node: str | None = None,
    ) -> None:
        process = self.processes
        self.processes += 1
        node = node or self.random.choice(NODES)
        common = {"process": process, "f": f, "key": key, "node": node}
        self.events.append((call, 0, process, {**common, "type": OpType.INVOKE, "value": given}))
        done = {**common, "type": end or OpType.OK}
        if end is None:
            done |= {"value": answer, "meta": meta}
        self.events.append((ret, 1, process, done))

    def history(self) -> History:
        ordered = sorted(self.events, key=lambda event: event[:3])
        return History(
            [Op(index=i, time_ns=time, **op) for i, (time, _, _, op) in enumerate(ordered)]
        )

    def evidence(self) -> Evidence:
        entries = tuple(
            LogEntry(1, index, 0, str(value), ((f"store/{key}", str(value)),))
            for index, (key, value) in enumerate(self.store.log, 1)
        )
        nodes = {
            name: NodeEvidence(node=name, entries=entries, committed=len(entries)) for name in NODES
        }
        return Evidence(nodes=nodes, recovery={"recovered": True})


def run(seed: int) -> Run:
    random = Random(seed)
    one = Run(random)
    one.load(random.choice([5, 20, 60]), random.choice([2, 5]), random.choice([0.0, 0.1, 0.4]))
    one.final()
    return one


def test_a_store_that_keeps_its_promises_is_never_accused() -> None:
    """No checker raises a false alarm, whatever crashed."""
    for seed in range(600):
        one = run(seed)
        history = one.history()
        for verdict in (
            check_linearizability(history, Budget()),
            check_revisions(history),
            check_lost_commits(history, one.evidence()),
        ):
            assert verdict.validity is not Validity.INVALID, (seed, verdict.anomalies)


def test_an_acknowledged_write_missing_from_the_log_is_always_found() -> None:
    """Overwritten or not, seen or not: the log tells, and names the operation."""
    for seed in range(200):
        one = run(seed)
        history = one.history()
        acknowledged = [
            op
            for op in history.operations
            if op.f == "write" and op.outcome is OpType.OK and not (op.meta or {}).get("final")
        ]
        if not acknowledged or len(one.store.log) < 2:
            continue
        victim = one.random.choice(acknowledged)
        one.store.log.remove((str(victim.key), victim.input))
        verdict = check_lost_commits(history, one.evidence())
        assert verdict.validity is Validity.INVALID, seed
        assert verdict.stats["lost"] == 1
        assert victim.index in verdict.anomalies[0].ops


def test_a_store_that_forgets_its_last_changes_is_found_by_final_reads() -> None:
    """Without any log: what was acknowledged last on a key is not there."""
    found = 0
    for seed in range(300):
        random = Random(seed)
        one = Run(random)
        one.load(30, 3, 0.0)
        before = one.history().operations
        last = max((op.completed_ns or 0, op.index) for op in before)
        changes = [op for op in before if op.f == "write" and (op.completed_ns, op.index) <= last]
        if not changes:
            continue
        victim = max(changes, key=lambda op: op.invoked_ns)
        others = [
            op
            for op in before
            if op.key == victim.key and op.f in {"write", "cas"} and op.index != victim.index
        ]
        if any((op.completed_ns or 0) >= victim.invoked_ns for op in others):
            continue  # something else could have come last
        one.store.held[str(victim.key)] = (others[-1].input, 1) if others else (None, 0)
        if others and others[-1].f != "write":
            continue
        one.final()
        verdict = check_lost_commits(one.history(), Evidence())
        assert verdict.validity is Validity.INVALID, seed
        found += 1
    assert found > 20


def test_a_revision_given_twice_or_taken_back_is_found() -> None:
    """Whatever the values say, the store broke its own contract."""
    found = 0
    for seed in range(300):
        one = run(seed)
        changes = [
            event
            for event in one.events
            if event[3]["type"] is OpType.OK and event[3]["f"] == "write"
        ]
        if len(changes) < 2:
            continue
        first, second = one.random.sample(changes, 2)
        second[3]["meta"]["revision"] = first[3]["meta"]["revision"]
        verdict = check_revisions(one.history())
        assert verdict.validity is Validity.INVALID, seed
        assert {anomaly.kind for anomaly in verdict.anomalies} == {"revision-contract"}
        found += 1
    assert found > 100
