"""kv: every kind of request of an etcd-like store, on a few keys shared by all clients.

Puts, deletes of a key or an interval, transactions with guards and several requests in either
branch, ranges (a key, an interval, a limited one, at an old revision, from the node's own state),
and now and then a compaction. Requests and answers are recorded as `squall.checkers.etcd.model`
states them, so every answer must follow from one order of all changes: that of their revisions.

Guards compare with what this generator last saw, so about half of them hold. Values are unique.
Reads of the past prefer revisions that were not acknowledged: they show which of the unanswered
requests made them, and a revision that was not read yet is not compacted. At the end every node is
asked for the whole store (linearizably, as it was at several old revisions, and from its own state)
and for each key; one node each is asked what the other unacknowledged revisions left.

An operation has no key of its own: all keys are one store. `meta` of an invocation: its `kind`,
finer than its function, or `final`; of a completion: the answering node's `term`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from squall.checkers.campaign.final_reads import read_back
from squall.checkers.etcd.order import etcd_order
from squall.checkers.etcd.requests import changed, ran
from squall.checkers.history import Op, OpType
from squall.checkers.judge import common_checkers
from squall.checkers.verdict import Checker
from squall.workloads.client import Kv
from squall.workloads.etcd_requests import answer_of, to_request
from squall.workloads.generator import (
    PENDING,
    Answer,
    Context,
    Drain,
    Generator,
    Invocation,
    Pinned,
)
from squall.workloads.workload import Completion, ScriptConfig, Streams, Workload

if TYPE_CHECKING:
    from random import Random

RANGE, PUT, DELETE, TXN, COMPACT = "range", "put", "delete", "txn", "compact"

OLD_AT_THE_END = 8
"""Old revisions at which every node is asked for the whole store at the end."""

LATE_MAX: Final = 500
"""Revisions made after the load's last answer that are looked at one by one."""

SETTLED: Final = 30
"""How far behind the last revision an unacknowledged one is read."""

WHOLE: Final = {"key": "k", "end": "l"}
"""The interval that holds every key of the run."""

OPTIONS: dict[str, Any] = {
    "keys": 8,
    "compact_behind": 100,  # revisions that a compaction leaves
    "old_within": 80,  # how far back a read at an old revision looks
    "put": 0.22,
    "delete": 0.05,
    "delete interval": 0.02,
    "txn": 0.22,
    "range": 0.20,
    "range interval": 0.08,
    "range limited": 0.05,
    "range old": 0.07,
    "range serializable": 0.06,
    "compact": 0.01,
}

KINDS: Final = tuple(OPTIONS)[3:]

_TARGETS: Final = ("mod", "mod", "mod", "value", "create", "version")
"""What a guard compares: mostly the revision of the last change, as clients of etcd do."""

_OPERATORS: Final = ("=", "=", "=", "!=", "<", ">")


class Load:
    """Requests without end."""

    def __init__(self, random: Random, options: dict[str, Any]) -> None:
        self._random = random
        self._options = options
        self._keys = [f"k{at}" for at in range(options["keys"])]
        self._put = 0
        self._kinds = [(kind, options[kind]) for kind in KINDS]
        self._all = sum(weight for _, weight in self._kinds)
        self._seen: dict[str, list[Any]] = {}  # key -> what a range would show of it
        self._running: dict[int, tuple[str, dict[str, Any]]] = {}
        self._unexplained: dict[int, None] = {}  # revisions neither acknowledged nor read
        self.revision = 1  # the highest one answered
        self.compacted = 1  # the highest one whose compaction was requested
        self._draws: dict[str, Callable[[], dict[str, Any]]] = {
            "put": self._a_put,
            "delete": lambda: {"key": self._key()},
            "delete interval": self._interval,
            "txn": self._txn,
            "range": lambda: {"key": self._key()},
            "range interval": self._interval,
            "range limited": lambda: self._interval() | {"limit": self._up_to(3)},
            "range old": self._old,
            "range serializable": self._serializable,
            "compact": self._compact,
        }

    @property
    def keys(self) -> list[str]:
        """Every key of the run."""
        return self._keys

    def next(self, context: Context) -> Answer:
        """Draw one request for a random free client."""
        if not context.free:
            return PENDING
        process = context.free[int(self._random.random() * len(context.free))].process
        kind = self._kind()
        f, asked = kind.partition(" ")[0], self._draws[kind]()
        self._running[process] = (f, asked)
        return Invocation(process, f, None, asked, {"kind": kind})

    def update(self, completion: Op) -> None:
        """Remember what was seen of the store, and which revisions are whose."""
        f, asked = self._running.pop(completion.process)  # type: ignore[arg-type]
        if completion.type is not OpType.OK:
            return
        answer = completion.value
        revision = answer["revision"]
        for passed in range(self.revision + 1, revision + 1):
            self._unexplained[passed] = None
        self.revision = max(self.revision, revision)
        if asked.get("revision"):
            self._unexplained.pop(asked["revision"], None)
        elif changed(f, asked, answer):
            self._unexplained.pop(revision, None)
        if revision == self.revision and not asked.get("revision"):
            self._remember(f, asked, answer)

    @property
    def unexplained(self) -> list[int]:
        """Revisions that were not acknowledged, and whose effect was not read."""
        return [one for one in self._unexplained if one > self.compacted]

    def old_revisions(self, count: int) -> list[int]:
        """Some revisions of the past that no compaction can have reached."""
        past = range(self.compacted, self.revision + 1)
        return sorted(self._random.sample(past, min(count, len(past))))

    def _remember(self, f: str, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        """Keep what an answer shows of the present keys; guards will compare with that."""
        key = asked.get("key", "")
        if f == TXN:
            for inner in ran(asked, answer):
                self._remember(*inner)
        elif f == PUT:
            old = self._seen.get(key, [key, None, self.revision, 0, 0])
            self._seen[key] = [key, asked["value"], old[2], self.revision, old[4] + 1]
        elif "end" not in asked:
            self._seen.pop(key, None)
        for kv in answer.get("kvs", ()):
            self._seen[kv[0]] = kv

    def _kind(self) -> str:
        point = self._random.random() * self._all
        for kind, weight in self._kinds:
            point -= weight
            if point < 0:
                return kind
        return KINDS[0]

    def _up_to(self, most: int) -> int:
        return 1 + int(self._random.random() * most)

    def _key(self) -> str:
        return self._keys[int(self._random.random() * len(self._keys))]

    def _value(self) -> str:
        self._put += 1
        return f"v{self._put}"

    def _a_put(self) -> dict[str, Any]:
        return {"key": self._key(), "value": self._value()}

    def _interval(self) -> dict[str, Any]:
        """A few neighbours, or all keys."""
        first = int(self._random.random() * len(self._keys))
        end = first + self._up_to(3)
        if end >= len(self._keys):
            return {"key": self._keys[first], "end": WHOLE["end"]}
        return {"key": self._keys[first], "end": self._keys[end]}

    def _old(self) -> dict[str, Any]:
        first = next(iter(self._unexplained), self.revision)
        if first < self.revision - SETTLED:
            return WHOLE | {"revision": first}
        back = int(self._random.random() * self._options["old_within"])
        return WHOLE | {"revision": max(self.compacted, self.revision - back)}

    def _serializable(self) -> dict[str, Any]:
        asked = WHOLE if self._random.random() < 0.5 else {"key": self._key()}
        return asked | {"serializable": True}

    def _compact(self) -> dict[str, Any]:
        behind = self.revision - self._options["compact_behind"]
        known = next(iter(self._unexplained), self.revision) - 1
        self.compacted = max(self.compacted, min(behind, known))
        return {"revision": self.compacted}

    def _txn(self) -> dict[str, Any]:
        keys = self._random.sample(self._keys, 4)
        guards = [self._guard(key) for key in keys[: self._up_to(2)]]
        then = [self._inner(key) for key in keys[: self._up_to(3)]]
        if self._random.random() < 0.25:
            then = [[RANGE, {"key": key}] for key in keys]  # one that only reads
        other = [[RANGE, {"key": guard[0]}] for guard in guards]
        if self._random.random() < 0.25:
            other.append([PUT, {"key": keys[3], "value": self._value()}])
        return {"if": guards, "then": then, "else": other}

    def _inner(self, key: str) -> list[Any]:
        point = self._random.random()
        if point < 0.6:
            return [PUT, {"key": key, "value": self._value()}]
        return [DELETE if point < 0.75 else RANGE, {"key": key}]

    def _guard(self, key: str) -> list[Any]:
        target = _TARGETS[int(self._random.random() * len(_TARGETS))]
        operator = _OPERATORS[int(self._random.random() * len(_OPERATORS))]
        seen = self._seen.get(key)
        if seen is None:  # as far as is known it is not there
            return [key, "create", "=", 0]
        operand = seen[{"value": 1, "create": 2, "mod": 3, "version": 4}[target]]
        return [key, target, operator, operand]


class Inquiry(Drain):
    """Asks every node the same questions, and one node each what unacknowledged revisions left.

    What had no answer when the load ended may have happened since: how many revisions that made is
    known from the first answer only.
    """

    def __init__(
        self, load: Load, questions: Iterator[dict[str, Any]], nodes: tuple[str, ...]
    ) -> None:
        super().__init__(_last(node, asked) for asked in questions for node in nodes)
        self._nodes = nodes
        self._until = load.revision
        for revision in load.unexplained:
            self._ask_about(revision)

    def update(self, completion: Op) -> None:
        """Ask about the revisions that came after the load's last answer."""
        super().update(completion)
        if completion.type is OpType.OK:
            now = min(completion.value["revision"], self._until + LATE_MAX)
            for revision in range(self._until + 1, now + 1):
                self._ask_about(revision)
            self._until = max(self._until, now)

    def _ask_about(self, revision: int) -> None:
        node = self._nodes[revision % len(self._nodes)]
        self.add(_last(node, WHOLE | {"revision": revision}))


def _last(node: str, asked: dict[str, Any]) -> Pinned:
    return Pinned(node=node, f=RANGE, value=dict(asked), meta={"final": True})


class KvScript:
    """One run of the kv workload."""

    def __init__(self, streams: Streams, config: ScriptConfig) -> None:
        self._config = config
        self._load = Load(streams("workload/ops"), OPTIONS | config.options)

    def load(self) -> Generator:
        """Requests of every kind, without end."""
        return self._load

    def final(self) -> Drain:
        """The whole store from every node in three ways, and every key; then the past."""
        return Inquiry(self._load, self._last_questions(), self._config.nodes)

    async def invoke(self, kv: Kv, op: Op) -> Completion:
        """Send one request."""
        answer = await kv.call(to_request(op.f, op.value, self._config.prefix))
        value = answer_of(answer, self._config.prefix)
        return Completion(type=OpType.OK, value=value, meta={"term": answer.term})

    def _last_questions(self) -> Iterator[dict[str, Any]]:
        yield WHOLE
        yield from ({"key": key} for key in self._load.keys)
        for revision in self._load.old_revisions(OLD_AT_THE_END):
            yield WHOLE | {"revision": revision}
        yield WHOLE | {"serializable": True}


def _checkers(
    requested_faults: tuple[str, ...],
    options: dict[str, Any] | None = None,  # noqa: ARG001 - the protocol's
) -> tuple[Checker, ...]:
    return (*common_checkers(requested_faults), read_back(), etcd_order())


WORKLOAD = Workload(
    name="kv",
    description="ranges, puts, deletes, transactions and compactions on a few keys",
    options=OPTIONS,
    reads=frozenset({RANGE}),
    checkers=_checkers,
    begin=KvScript,
)
