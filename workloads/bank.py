"""Bank: money is moved between accounts, and all of them are read at once.

    transfer            value {"from", "to", "amount"} -> the same
    read                value None -> {account: balance}, of every account
    serializable-read   likewise, from the node's own state

An account that nobody has touched holds `opening`. A transfer reads both accounts (one Txn of
Ranges) and writes both by one Txn, under guards that neither has changed since. A lost guard is a
`fail`, "conflict"; so is a transfer that would overdraw, "too little": either way nothing was
written, and nobody tries it again. At the end every node is asked for all accounts.

`meta` of a completion: the store's `revision` and the answering node's `term`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from squall.checkers.campaign.final_reads import read_back
from squall.checkers.etcd.revisions import revisions
from squall.checkers.history import Op, OpType
from squall.checkers.judge import common_checkers
from squall.checkers.transactions.bank import bank
from squall.checkers.verdict import Checker
from squall.workloads.client import Answer as Answered
from squall.workloads.client import Compare, Kv, Put, Range, RangeAnswer, Txn
from squall.workloads.generator import (
    PENDING,
    Answer,
    Context,
    Drain,
    Generator,
    Invocation,
    final_reads,
)
from squall.workloads.guarded import CONFLICT, look, transact
from squall.workloads.liveness import apart
from squall.workloads.workload import Completion, ScriptConfig, Streams, Workload, done

if TYPE_CHECKING:
    from random import Random

TRANSFER, READ, SERIALIZABLE_READ = "transfer", "read", "serializable-read"

OPTIONS: dict[str, Any] = {
    "accounts": 12,
    "opening": 100,  # what an account holds at first
    "most": 20,  # the largest amount of one transfer
    "transfers": 0.6,
    "reads": 0.35,
    "serializable_reads": 0.05,
}


class Load:
    """Transfers and reads without end."""

    def __init__(self, random: Random, options: dict[str, Any]) -> None:
        self._random = random
        self._most = options["most"]
        self._accounts = accounts(options)
        self._transfers = options["transfers"]
        self._reads = self._transfers + options["reads"]
        self._all = self._reads + options["serializable_reads"]

    def next(self, context: Context) -> Answer:
        """Draw one operation for a random free client."""
        if not context.free:
            return PENDING
        draw = self._random.random
        process = context.free[int(draw() * len(context.free))].process
        point = draw() * self._all
        if point >= self._transfers:
            return Invocation(process, READ if point < self._reads else SERIALIZABLE_READ)
        giver, taker = self._random.sample(self._accounts, 2)
        amount = 1 + int(draw() * self._most)
        return Invocation(process, TRANSFER, None, {"from": giver, "to": taker, "amount": amount})

    def update(self, completion: Op) -> None:
        """Learn nothing."""


class Bank:
    """One run of the bank workload."""

    def __init__(self, streams: Streams, config: ScriptConfig) -> None:
        self._config = config
        self._options = OPTIONS | config.options
        self._load = Load(streams("workload/ops"), self._options)

    def load(self) -> Generator:
        """Transfers and reads, without end."""
        return self._load

    def final(self) -> Drain:
        """All accounts from every node, linearizably; then each node's own word on them."""
        return final_reads((READ, SERIALIZABLE_READ), self._config.nodes)

    async def invoke(self, kv: Kv, op: Op) -> Completion:
        """Do one operation."""
        if op.f == TRANSFER:
            return await self._transfer(kv, op.value)
        names = accounts(self._options)
        local = op.f == SERIALIZABLE_READ
        ranges = tuple(Range(key=self._key(name), serializable=local) for name in names)
        answer = await transact(kv, Txn(success=ranges))
        balances = [self._balance(found) for found in answer.answers]
        return done(dict(zip(names, balances, strict=True)), answer)

    async def _transfer(self, kv: Kv, asked: dict[str, Any]) -> Completion:
        giver, taker = self._key(asked["from"]), self._key(asked["to"])
        seen = await look(kv, (Range(key=giver), Range(key=taker)))
        left, right = seen.answers
        rest = self._balance(left) - asked["amount"]
        if rest < 0:
            return Completion(type=OpType.FAIL, error="too little")
        guards = (
            Compare(giver, "mod", "=", _changed(left)),
            Compare(taker, "mod", "=", _changed(right)),
        )
        puts = (_put(giver, rest), _put(taker, self._balance(right) + asked["amount"]))
        answer = await transact(kv, Txn(compares=guards, success=puts))
        if not answer.succeeded:
            return Completion(type=OpType.FAIL, error=CONFLICT)
        return done(asked, answer)

    def _key(self, account: str) -> bytes:
        return f"{self._config.prefix}{account}".encode()

    def _balance(self, found: Answered) -> int:
        assert isinstance(found, RangeAnswer)
        return int(found.kvs[0].value) if found.kvs else int(self._options["opening"])


def accounts(options: dict[str, Any]) -> list[str]:
    """Name every account."""
    return [f"a{at}" for at in range(options["accounts"])]


def _changed(found: Answered) -> int:
    assert isinstance(found, RangeAnswer)
    return found.kvs[0].mod_revision if found.kvs else 0


def _put(key: bytes, balance: int) -> Put:
    return Put(key=key, value=str(balance).encode())


def _checkers(
    requested_faults: tuple[str, ...], options: dict[str, Any] | None = None
) -> tuple[Checker, ...]:
    given = OPTIONS if options is None else options
    # Without what the run was given (its run.json is gone) the first read says what there is.
    told = {"accounts", "opening"} <= given.keys()
    total = given["accounts"] * given["opening"] if told else None
    return (
        *common_checkers(requested_faults),
        apart(revisions()),
        read_back(),
        apart(bank(total=total)),
    )


WORKLOAD = Workload(
    name="bank",
    description="money moved between accounts, whose total never changes",
    options=OPTIONS,
    reads=frozenset({READ, SERIALIZABLE_READ}),
    checkers=_checkers,
    begin=Bank,
)
