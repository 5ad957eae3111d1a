"""Append: transactions of a few reads and appends over many lists, for Elle's list-append analysis.

    txn                 value [["r", k, None], ["append", k, v], ...] -> the same, reads filled in
    serializable-read   value [["r", k, None], ...] -> likewise, from the node's own state

Every appended element is an integer that no other append of the run uses, so a list that was read
shows the whole order of its appends. A transaction that only reads is one Txn of Ranges. One that
appends reads its keys (one Txn of Ranges), computes the new lists, and writes all of them by one
Txn whose guards require that none of its keys has changed since. A failed guard is a `fail`,
"conflict": the transaction certainly did nothing, and is not retried.

A few keys are in use at a time; each is retired after a bounded number of appends, or of appends of
unknown outcome. At the end every key is read from every node, linearizably and serializably.

`meta` of an invocation: its `kind` (`read` or `append`), or `final`; of a completion: the
`revision` of the store at which it read or wrote, and the answering node's `term`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from squall.checkers.campaign.final_reads import read_back
from squall.checkers.etcd.revisions import revisions
from squall.checkers.history import Op, OpType
from squall.checkers.judge import common_checkers
from squall.checkers.transactions.checker import isolation
from squall.checkers.verdict import Checker
from squall.workloads.client import Compare, Kv, Put, Range, RangeAnswer, Txn, TxnAnswer
from squall.workloads.generator import (
    PENDING,
    Answer,
    Context,
    Drain,
    Generator,
    Invocation,
    Pinned,
)
from squall.workloads.guarded import CONFLICT, look, transact
from squall.workloads.liveness import apart
from squall.workloads.workload import Completion, ScriptConfig, Streams, Workload, done

if TYPE_CHECKING:
    from random import Random

TXN, SERIALIZABLE_READ = "txn", "serializable-read"
READ, APPEND = "r", "append"

FINAL_KEYS = 8
"""Keys read by one final read."""

OPTIONS: dict[str, Any] = {
    "active_keys": 12,  # keys in use at one time
    "micro_ops": 4,  # most in one transaction
    "reads": 0.35,  # part of the transactions that only read by design; others may by chance
    "appends": 0.5,  # part of the others' micro-operations that append
    "appends_per_key": 40,  # jittered by a quarter, so that keys do not retire in step
    "infos_per_key": 8,  # appends of unknown outcome after which a key is left alone
}

MicroOp = list[Any]


class Keys:
    """The lists in use; a spent one's place is taken by a new one."""

    def __init__(self, random: Random, options: dict[str, Any]) -> None:
        self._random = random
        self._appends = options["appends_per_key"]
        self._infos = options["infos_per_key"]
        self._left: dict[str, tuple[int, int]] = {}  # key -> appends and unknown ends left
        self._active = [self._open() for _ in range(options["active_keys"])]

    @property
    def all(self) -> tuple[str, ...]:
        """Every key opened so far, in order."""
        return tuple(self._left)

    def draw(self) -> str:
        """Choose one of those in use."""
        return self._active[int(self._random.random() * len(self._active))]

    def spend(self, key: str, *, appends: int = 0, infos: int = 0) -> None:
        """Count an append, or one of unknown end, and retire the key that has had enough."""
        left = self._left[key]
        self._left[key] = left = (left[0] - appends, left[1] - infos)
        if min(left) <= 0 and key in self._active:
            self._active[self._active.index(key)] = self._open()

    def _open(self) -> str:
        key, many = f"l{len(self._left)}", self._appends
        appends = self._random.randint(max(1, many * 3 // 4), max(1, many * 5 // 4))
        self._left[key] = (appends, self._infos)
        return key


class Load:
    """Transactions without end."""

    def __init__(self, random: Random, keys: Keys, options: dict[str, Any]) -> None:
        self._random = random
        self._keys = keys
        self._micro_ops = options["micro_ops"]
        self._reads = options["reads"]
        self._appends = options["appends"]
        self._appended = 0
        self._running: dict[int, set[str]] = {}  # process -> keys its transaction appends to

    def next(self, context: Context) -> Answer:
        """Draw one transaction for a random free client."""
        if not context.free:
            return PENDING
        draw = self._random.random
        process = context.free[int(draw() * len(context.free))].process
        appends = self._appends if draw() >= self._reads else 0.0
        mops = [self._micro_op(appends) for _ in range(1 + int(draw() * self._micro_ops))]
        appended = {key for f, key, _ in mops if f == APPEND}
        for f, key, _ in mops:
            if f == APPEND:
                self._keys.spend(key, appends=1)
        if appended:
            self._running[process] = appended
        kind = "append" if appended else "read"
        return Invocation(process, TXN, None, mops, {"kind": kind})

    def update(self, completion: Op) -> None:
        """Count what nobody knows the end of."""
        keys = self._running.pop(completion.process, ())  # type: ignore[arg-type]
        if completion.type is OpType.INFO:
            for key in sorted(keys):
                self._keys.spend(key, infos=1)

    def _micro_op(self, appends: float) -> MicroOp:
        key = self._keys.draw()
        if self._random.random() >= appends:
            return [READ, key, None]
        self._appended += 1
        return [APPEND, key, self._appended]


class Append:
    """One run of the append workload."""

    def __init__(self, streams: Streams, config: ScriptConfig) -> None:
        self._config = config
        options = OPTIONS | config.options
        self._keys = Keys(streams("workload/keys"), options)
        self._load = Load(streams("workload/ops"), self._keys, options)

    def load(self) -> Generator:
        """Transactions over a rotation of keys, without end."""
        return self._load

    def final(self) -> Drain:
        """Every key from every node, linearizably; then each node's own word on it."""
        keys = self._keys.all
        groups = [keys[at : at + FINAL_KEYS] for at in range(0, len(keys), FINAL_KEYS)]
        return Drain(
            (
                Pinned(
                    node=node,
                    f=f,
                    value=[[READ, key, None] for key in group],
                    meta={"final": True},
                )
                for f in (TXN, SERIALIZABLE_READ)
                for group in groups
                for node in self._config.nodes
            ),
        )

    async def invoke(self, kv: Kv, op: Op) -> Completion:
        """Do one transaction."""
        mops: Sequence[MicroOp] = op.value
        names = {key: f"{self._config.prefix}{key}".encode() for _, key, _ in mops}
        local = op.f == SERIALIZABLE_READ
        ranges = tuple(Range(key=name, serializable=local) for name in names.values())
        if all(f == READ for f, _, _ in mops):
            answer = await transact(kv, Txn(success=ranges))
            lists, _ = _lists(names, answer)
            return _filled(mops, lists, answer)
        seen = await look(kv, ranges)
        lists, revisions_seen = _lists(names, seen)
        after = dict(lists)
        for f, key, element in mops:
            if f == APPEND:
                after[key] = [*after[key], element]
        answer = await transact(
            kv,
            Txn(
                compares=tuple(
                    Compare(names[key], "mod", "=", revision)
                    for key, revision in revisions_seen.items()
                ),
                success=tuple(
                    Put(key=names[key], value=_text(after[key]))
                    for key in names
                    if after[key] is not lists[key]
                ),
            ),
        )
        if not answer.succeeded:
            return Completion(type=OpType.FAIL, error=CONFLICT)
        return _filled(mops, lists, answer)


def _lists(keys: Iterable[str], answer: TxnAnswer) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Return the list that each key holds, and the revision of its last change (0: never)."""
    lists: dict[str, list[int]] = {}
    changed: dict[str, int] = {}
    for key, found in zip(keys, answer.answers, strict=True):
        assert isinstance(found, RangeAnswer)
        lists[key] = [int(word) for word in found.kvs[0].value.split()] if found.kvs else []
        changed[key] = found.kvs[0].mod_revision if found.kvs else 0
    return lists, changed


def _text(elements: Sequence[int]) -> bytes:
    return b" ".join(b"%d" % element for element in elements)


def _filled(mops: Sequence[MicroOp], lists: dict[str, list[int]], answer: TxnAnswer) -> Completion:
    """Fill in the reads: each sees what its own transaction appended before it."""
    now = dict(lists)
    filled: list[MicroOp] = []
    for f, key, element in mops:
        if f == APPEND:
            now[key] = [*now[key], element]
            filled.append([f, key, element])
        else:
            filled.append([f, key, list(now[key])])
    return done(filled, answer)


def _checkers(
    requested_faults: tuple[str, ...],
    options: dict[str, Any] | None = None,  # noqa: ARG001 - the protocol's
) -> tuple[Checker, ...]:
    return (*common_checkers(requested_faults), apart(revisions()), read_back(), apart(isolation()))


WORKLOAD = Workload(
    name="append",
    description="transactions that read and append to several lists at once",
    options=OPTIONS,
    reads=frozenset({SERIALIZABLE_READ}),
    checkers=_checkers,
    begin=Append,
)
