"""Watches: some clients change a few keys, others watch them, while faults are injected.

Writers put and delete unique integers, one key at a time or several in one transaction (so that a
revision has several events), read ranges, and now and then compact the history. Watchers ask for a
key, a range or everything; from now on, from a revision in the past or one still to come; with
filters, with previous values, with progress notifications; some are slow. A watch lasts for a drawn
time, or until its stream breaks, or until the compaction has overtaken it: then it is one
operation, with all it was sent. Others continue where it ended, at another node.

    put       {"key", "value"}                      delete    {"key"}
    txn       {"if": [...], "then": [...], ...}     compact   {"revision"}
    range     {"key", "end"?, "serializable"?}      all five as `squall.checkers.etcd.model` has
                                                    them
    watch     {"key", "end"?, "start"?, "filters"?, "prev"?, "progress"?,
               "lasts_ms", "rest_ms"?, "asks"?}     as `squall.checkers.watch.rules` has it

`lasts_ms` is how long it lasts, `rest_ms` the time a slow client needs for an answer, `asks` that
it requests progress itself. An answer's `ended` says why it ended.

At the end all keys are read from every node, and every node is asked for the whole history, from
the beginning or the last compaction on, until it promises that this was all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from squall.checkers.campaign.availability import availability
from squall.checkers.campaign.coverage import coverage
from squall.checkers.campaign.recovery import recovery
from squall.checkers.campaign.statistics import statistics
from squall.checkers.etcd.order import watched_etcd_order
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Op, OpType
from squall.checkers.raft.safety import raft_safety
from squall.checkers.verdict import Budget, Checker, Verdict
from squall.checkers.watch.coverage import watch_coverage
from squall.checkers.watch.end_state import watch_end
from squall.checkers.watch.rules import watches
from squall.workloads.client import Kv
from squall.workloads.generator import PENDING, Answer, Client, Context, Drain, Invocation, Pinned
from squall.workloads.watch_steps import NS_PER_MS, WATCH, Steps
from squall.workloads.workload import Completion, ScriptConfig, Streams, Workload

if TYPE_CHECKING:
    from random import Random

PUT, DELETE, TXN, RANGE, COMPACT = "put", "delete", "txn", "range", "compact"

FIRST, END = "k", "l"
"""Every key lies in [FIRST, END)."""

FIRST_REVISION = 2
"""The revision of the first change of an empty store."""

FINAL_LASTS_MS: Final = 30_000
"""How long a node may take to send the whole history: thousands of events take it a second."""

RESUMABLE_MAX: Final = 32
"""Watches that ended and may be continued; older ones are dropped."""

OPTIONS: dict[str, Any] = {
    "keys": 10,
    "watchers": 0.4,  # of all clients, at one time
    "resumed": 0.45,  # of all new watches: where an earlier one ended
    "puts": 0.55,
    "deletes": 0.15,
    "txns": 0.20,
    "ranges": 0.10,
    "compactions": 0.004,
    "lasts_ms": [100, 300, 300, 800, 800, 1500, 3000],
}

BEGIN_P: Final = 0.3
"""How likely the next operation is a watch while there are too few."""

PAST_MAX, FUTURE_MAX, KEPT_MAX = 200, 20, 100
"""Revisions: how far back and ahead a watch may begin, and how many a compaction may leave."""


class Watching:
    """The load: draws operations and learns from their answers how far the store has come."""

    def __init__(self, random: Random, options: dict[str, Any]) -> None:
        self._random = random
        self._options = options
        self._keys = [f"{FIRST}{number:02}" for number in range(options["keys"])]
        self._written = 0
        self.latest = 1  # the highest revision seen
        self.compacted = 0  # the highest revision that a compaction may have reached
        self._open: dict[int, tuple[dict[str, Any], str]] = {}  # process -> its watch, at a node
        self._ended: deque[tuple[dict[str, Any], int, str]] = deque(maxlen=RESUMABLE_MAX)

    def next(self, context: Context) -> Answer:
        """Draw one operation for a free client."""
        free, draw = context.free, self._random.random
        if not free:
            return PENDING
        wanted = max(1, int(self._options["watchers"] * (len(free) + context.busy)))
        if len(self._open) < wanted and draw() < BEGIN_P:
            return self._watch(free)
        process = free[int(draw() * len(free))].process
        return Invocation(process, *self._request())

    def update(self, completion: Op) -> None:
        """Learn how far the store has come, and where a watch ended."""
        answer = completion.value if completion.type is OpType.OK else None
        if completion.f == WATCH:
            asked, node = self._open.pop(completion.process)  # type: ignore[arg-type]
            if answer is not None:
                self._ended.append((asked, _next_revision(asked, answer), node))
        elif answer is not None:
            self.latest = max(self.latest, answer["revision"])

    def _watch(self, free: Any) -> Invocation:
        client: Client = free[int(self._random.random() * len(free))]
        if self._ended and self._random.random() < self._options["resumed"]:
            at = int(self._random.random() * len(self._ended))
            asked, start, node = self._ended[at]
            del self._ended[at]
            client = next((each for each in free if each.node != node), client)
            asked = {**asked, "start": start}
        else:
            asked = self._interest()
        asked = {**asked, **self._manner()}
        self._open[client.process] = (asked, client.node)
        return Invocation(
            client.process, WATCH, None, asked, extra_time_ns=asked["lasts_ms"] * NS_PER_MS
        )

    def _interest(self) -> dict[str, Any]:
        """Draw what a new watch asks for."""
        draw = self._random.random
        keys, asked = self._keys, {}
        where = draw()
        if where < 0.4:
            asked["key"] = self._pick(keys)
        elif where < 0.7:
            first = int(draw() * len(keys))
            last = first + 1 + int(draw() * (len(keys) - first))
            asked |= {"key": keys[first], "end": keys[last] if last < len(keys) else END}
        else:
            asked |= {"key": FIRST, "end": END}
        when = draw()
        if when < 0.35:
            asked["start"] = max(FIRST_REVISION, self.latest - int(draw() * PAST_MAX))
        elif when < 0.5:
            asked["start"] = self.latest + 1 + int(draw() * FUTURE_MAX)
        if draw() < 0.2:
            asked["filters"] = [self._pick((PUT, DELETE))]
        if draw() < 0.4:
            asked["prev"] = True
        return asked

    def _manner(self) -> dict[str, Any]:
        """Draw how a client listens."""
        draw = self._random.random
        manner: dict[str, Any] = {"lasts_ms": self._pick(self._options["lasts_ms"])}
        if draw() < 0.3:
            manner["rest_ms"] = self._pick((5, 20, 100))
        if draw() < 0.4:
            manner["progress"] = True
        if draw() < 0.4:
            manner["asks"] = True
        return manner

    def _request(self) -> tuple[str, str | None, dict[str, Any]]:
        """Draw a request: its function, the key it is about, and what it asks."""
        options, draw = self._options, self._random.random
        if draw() < options["compactions"] and self.latest > FIRST_REVISION:
            revision = max(FIRST_REVISION, self.latest - int(draw() * KEPT_MAX))
            self.compacted = max(self.compacted, revision)
            return COMPACT, None, {"revision": revision}
        weights = {name: options[name] for name in ("puts", "deletes", "txns", "ranges")}
        point = draw() * sum(weights.values())
        key = self._pick(self._keys)
        if (point := point - weights["puts"]) < 0:
            return PUT, key, self._put(key)
        if (point := point - weights["deletes"]) < 0:
            return DELETE, key, {"key": key}
        if point < weights["txns"]:
            return TXN, None, self._txn()
        return RANGE, None, {"key": FIRST, "end": END}

    def _put(self, key: str) -> dict[str, Any]:
        self._written += 1
        return {"key": key, "value": self._written}

    def _txn(self) -> dict[str, Any]:
        """Draw a transaction of several keys; some are guarded by whether a key is there."""
        draw = self._random.random
        keys = self._random.sample(self._keys, min(len(self._keys), 2 + int(draw() * 3)))
        changes = [
            [DELETE, {"key": key}] if draw() < 0.25 else [PUT, self._put(key)] for key in keys[1:]
        ]
        changes.append([PUT, self._put(keys[0])])  # its unique value identifies the transaction
        txn: dict[str, Any] = {"then": changes}
        if draw() < 0.3:
            txn["if"] = [[keys[0], "version", self._pick((">", "=")), 0]]
            txn["else"] = [[RANGE, {"key": keys[0]}]]
        return txn

    def _pick(self, choices: Any) -> Any:
        return choices[int(self._random.random() * len(choices))]


def _next_revision(asked: dict[str, Any], answer: dict[str, Any]) -> int:
    """Return where to go on: behind all that a watch was sent, or promised."""
    if compacted := answer.get("compacted"):
        return int(compacted)
    start = int(asked.get("start") or answer["created"] + 1)
    for response in answer["responses"]:
        if response.get("progress"):
            start = max(start, response["revision"] + 1)
        for event in response.get("events", ()):
            start = max(start, event[3] + 1)
    return start


class WatchScript:
    """One run of the watch workload."""

    def __init__(self, streams: Streams, config: ScriptConfig) -> None:
        self._nodes = config.nodes
        self._load = Watching(streams("workload/ops"), OPTIONS | config.options)
        self._steps = Steps(config.prefix)

    def load(self) -> Watching:
        """Changes and watches, without end."""
        return self._load

    def final(self) -> Drain:
        """Every key from every node, linearizably and locally; then each node's whole history."""
        everything = {"key": FIRST, "end": END}
        start, latest = max(FIRST_REVISION, self._load.compacted), self._load.latest
        whole = {"start": start, "asks": True, "until": latest, "lasts_ms": FINAL_LASTS_MS}
        asked = (
            (RANGE, everything, 0),
            (RANGE, {**everything, "serializable": True}, 0),
            (WATCH, {**everything, **whole}, FINAL_LASTS_MS * NS_PER_MS),
        )
        return Drain(
            (
                Pinned(
                    node=node, f=f, value=value, meta={"final": True}, extra_time_ns=extra_time_ns
                )
                for f, value, extra_time_ns in asked
                for node in self._nodes
            ),
        )

    async def invoke(self, kv: Kv, op: Op) -> Completion:
        """Do one operation."""
        return await self._steps.invoke(kv, op)


def _of(view: Callable[[History], History], checker: Checker) -> Checker:
    """Return a checker that judges another view of the history."""

    def check(history: History, evidence: Evidence, budget: Budget) -> Verdict:
        verdict: Verdict = checker.check(view(history), evidence, budget)
        return verdict

    return Checker(checker.name, check)


def _without_watches(history: History) -> History:
    """Leave the watches out: one that ended in time is not an answer to a request."""
    ops = [op for op in history if not (op.is_client and op.f == WATCH)]
    return History(ops, header=history.header)


def _checkers(
    requested_faults: tuple[str, ...],
    options: dict[str, Any] | None = None,  # noqa: ARG001 - the protocol's
) -> tuple[Checker, ...]:
    return (
        statistics(),
        coverage(requested_faults),
        watch_coverage(),
        recovery(),
        raft_safety(),
        _of(_without_watches, availability()),
        watches(),
        watch_end(),
        watched_etcd_order(),
    )


WORKLOAD = Workload(
    name="watch",
    description="some clients change keys, others watch them, slowly, filtered, from the past on",
    options=OPTIONS,
    reads=frozenset({WATCH, RANGE}),
    checkers=_checkers,
    begin=WatchScript,
)
