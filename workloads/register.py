"""Registers: many keys, each read, written and compare-and-set by several clients at once.

Every written value is an integer that no other write of the run uses, so a read identifies its
writer, and most histories are decided without search. A few keys are in use at a time; each is
retired after a bounded number of operations, or of operations of unknown outcome.

A compare-and-set expects the value this generator last saw at the key, so most succeed. One that
does not is no error: its transaction reads the key instead and returns what it saw. At the end
every key is read from every node, linearizably and serializably.

    read                value None -> the integer, or None if the key was never written
    write               value v
    cas                 value [expected, new] -> {"swapped": true} or {"swapped": false, "seen": v}
    serializable-read   as read, from the node's own state

`meta` of a completion: `revision` of the store when it answered, `mod` the key's own last revision,
`term` of the answering node. Final reads carry `final` in the meta of their invocation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from squall.checkers.campaign.lost_commits import lost_commits
from squall.checkers.etcd.revisions import revisions
from squall.checkers.history import Op, OpType
from squall.checkers.judge import common_checkers
from squall.checkers.linearizability.checker import linearizability
from squall.checkers.linearizability.models import CasRegister
from squall.checkers.verdict import Checker
from squall.workloads.client import (
    Compare,
    KeyValue,
    Kv,
    Put,
    PutAnswer,
    Range,
    RangeAnswer,
    Txn,
    TxnAnswer,
)
from squall.workloads.liveness import apart
from squall.workloads.rotating import READ, SERIALIZABLE_READ, Lane, Rotating
from squall.workloads.workload import Completion, ScriptConfig, Streams, Workload

if TYPE_CHECKING:
    from random import Random

WRITE, CAS = "write", "cas"

OPTIONS: dict[str, Any] = {
    "active_keys": 5,  # keys in use at one time
    "ops_per_key": 150,  # jittered by a quarter, so that keys do not retire in step
    "infos_per_key": 8,  # writes of unknown outcome after which a key is left alone
    "reads": 0.45,
    "writes": 0.30,
    "cas": 0.20,
    "serializable_reads": 0.05,
}


class RegisterLane(Lane):
    """The operations of one register."""

    def __init__(self, random: Random, key: str, value: Callable[[], int], options: dict[str, Any]):
        weights = {
            READ: options["reads"],
            WRITE: options["writes"],
            CAS: options["cas"],
            SERIALIZABLE_READ: options["serializable_reads"],
        }
        super().__init__(random, key, weights, options["ops_per_key"])
        self._value = value
        self._infos_left = options["infos_per_key"]
        self._seen: int | None = None
        self._swapping: dict[int, int] = {}  # process -> the value its cas would install

    def is_spent(self) -> bool:
        """Whether its operations, or those of unknown outcome, are used up."""
        return super().is_spent() or self._infos_left <= 0

    def argument(self, f: str, process: int) -> Any:
        """Return a new value to write; a compare-and-set expects the value seen last."""
        if f == WRITE:
            return self._value()
        if f == CAS:
            new = self._swapping[process] = self._value()
            return [self._seen, new]
        return None

    def update(self, completion: Op) -> None:
        """Remember the latest value seen, and count operations of unknown outcome."""
        new = self._swapping.pop(completion.process, None)  # type: ignore[arg-type]
        if completion.type is OpType.INFO:
            self._infos_left -= 1
        elif completion.type is OpType.OK:
            value = completion.value
            if completion.f == CAS:
                self._seen = new if value["swapped"] else value["seen"]
            elif completion.f != SERIALIZABLE_READ:
                self._seen = value


class Register(Rotating):
    """One run of the register workload."""

    def __init__(self, streams: Streams, config: ScriptConfig) -> None:
        options = OPTIONS | config.options
        active = options["active_keys"]
        super().__init__(streams, config, options, letter="r", active=active, lane=RegisterLane)

    async def invoke(self, kv: Kv, op: Op) -> Completion:
        """Do one operation."""
        key = f"{self._config.prefix}{op.key}".encode()
        if op.f == WRITE:
            return await _write(kv, key, op.value)
        if op.f == CAS:
            expected, new = op.value
            return await _cas(kv, key, expected, new)
        return await _read(kv, key, serializable=op.f == SERIALIZABLE_READ)


async def _read(kv: Kv, key: bytes, *, serializable: bool) -> Completion:
    answer = await kv.call(Range(key=key, serializable=serializable))
    assert isinstance(answer, RangeAnswer)
    value, mod = _value_of(answer.kvs)
    return Completion(
        type=OpType.OK,
        value=value,
        meta={"revision": answer.revision, "mod": mod, "term": answer.term},
    )


async def _write(kv: Kv, key: bytes, value: int) -> Completion:
    answer = await kv.call(Put(key=key, value=str(value).encode()))
    assert isinstance(answer, PutAnswer)
    return Completion(
        type=OpType.OK,
        value=value,
        meta={"revision": answer.revision, "mod": answer.revision, "term": answer.term},
    )


async def _cas(kv: Kv, key: bytes, expected: int | None, new: int) -> Completion:
    if expected is None:
        guard = Compare(key, "create", "=", 0)  # etcd's way of saying "absent"
    else:
        guard = Compare(key, "value", "=", str(expected).encode())
    answer = await kv.call(
        Txn(
            compares=(guard,),
            success=(Put(key=key, value=str(new).encode()),),
            failure=(Range(key=key),),
        )
    )
    assert isinstance(answer, TxnAnswer)
    mod = answer.revision
    value: dict[str, Any] = {"swapped": True}
    if not answer.succeeded:
        (inner,) = answer.answers
        assert isinstance(inner, RangeAnswer)
        seen, mod = _value_of(inner.kvs)
        value = {"swapped": False, "seen": seen}
    return Completion(
        type=OpType.OK,
        value=value,
        meta={"revision": answer.revision, "mod": mod, "term": answer.term},
    )


def _value_of(kvs: tuple[KeyValue, ...]) -> tuple[int | None, int]:
    return (int(kvs[0].value), kvs[0].mod_revision) if kvs else (None, 0)


def _checkers(
    requested_faults: tuple[str, ...],
    options: dict[str, Any] | None = None,  # noqa: ARG001 - the protocol's
) -> tuple[Checker, ...]:
    own = revisions(), lost_commits(), linearizability(CasRegister.name)
    return (*common_checkers(requested_faults), *map(apart, own))


WORKLOAD = Workload(
    name="register",
    description="many keys, each read, written and compare-and-set by several clients at once",
    options=OPTIONS,
    reads=frozenset({READ, SERIALIZABLE_READ}),
    checkers=_checkers,
    begin=Register,
)
