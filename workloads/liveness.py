"""Writes of the harness itself, by which it proves that a bare quorum commits.

They stand in the history like those of any client: a `put` as `squall.checkers.etcd.model` has it,
each by a process of its own, `meta` says that its `kind` is `liveness`. Their key lies outside of
every run's prefix, so no operation of a workload can see them; but each takes a revision, and
whoever judges the order of all revisions must know of it. A model of one data type has no word for
a put of a stranger's key: `apart` leaves these writes out for its checker, and counts them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Op, OpType
from squall.checkers.verdict import Budget, Checker, Verdict
from squall.workloads.client import Answer, Definite, Put
from squall.workloads.workload import Completion

LIVENESS: Final = "liveness"
"""The `kind` of these writes, and the first part of their processes' names."""

KEY: Final = "\0squall/liveness"

LEFT_OUT: Final = "the harness wrote a key of its own to prove that a bare quorum commits"
"""Why these writes have no part in a verdict on a workload's own data."""


def write(value: int) -> Put:
    """Return the request; `value` must differ from that of every other such write of the run."""
    return Put(KEY.encode(), str(value).encode())


def recorded(request: Put) -> dict[str, Any]:
    """Return what an invocation holds: its `f`, `value` and `meta`."""
    value = {"key": request.key.decode(), "value": request.value.decode()}
    return {"f": "put", "value": value, "meta": {"kind": LIVENESS}}


def completion(outcome: Answer | Exception) -> Completion:
    """Return how a write ended: only a Definite error proves that it never happened."""
    if isinstance(outcome, Definite):
        return Completion(type=OpType.FAIL, error=str(outcome))
    if isinstance(outcome, Exception):
        return Completion(type=OpType.INFO, error=str(outcome))
    value = {"revision": outcome.revision}
    return Completion(type=OpType.OK, value=value, meta={"term": outcome.term})


def is_liveness_write(op: Op) -> bool:
    """Whether an invocation is one of these writes."""
    return op.type is OpType.INVOKE and (op.meta or {}).get("kind") == LIVENESS


def without(history: History) -> History:
    """Return the history without these writes; itself if it has none."""
    processes = {op.process for op in history if is_liveness_write(op)}
    if not processes:
        return history
    ops = [op for op in history if op.process not in processes]
    return History(ops, header=history.header)


def apart(checker: Checker) -> Checker:
    """Return a checker that judges a history without these writes, and counts what it left out."""

    def check(history: History, evidence: Evidence, budget: Budget) -> Verdict:
        verdict: Verdict = checker.check(without(history), evidence, budget)
        count = sum(map(is_liveness_write, history))
        if not count:
            return verdict
        left_out = {**verdict.stats.get("left_out", {}), LEFT_OUT: count}
        return msgspec.structs.replace(verdict, stats={**verdict.stats, "left_out": left_out})

    return Checker(name=checker.name, check=check)
