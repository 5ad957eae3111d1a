"""Set: elements are added, each as a key of its own, and whole sets are read as intervals.

    add                 value v -> v
    read                value None -> every element, in ascending order
    serializable-read   likewise, from the node's own state

An element is an integer that no other add of the run uses. Sets come two at a time, and are retired
after a bounded number of operations, so that a read stays small. At the end every set is read from
every node, linearizably and serializably: an element whose add was acknowledged must be there.

`meta` of a completion: the store's `revision` and the answering node's `term`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from squall.checkers.campaign.final_reads import read_back
from squall.checkers.collections.sets import sets
from squall.checkers.etcd.revisions import revisions
from squall.checkers.history import Op
from squall.checkers.judge import common_checkers
from squall.checkers.verdict import Checker
from squall.workloads.client import Kv, Put, PutAnswer, Range, RangeAnswer
from squall.workloads.liveness import apart
from squall.workloads.rotating import READ, SERIALIZABLE_READ, Lane, Rotating
from squall.workloads.workload import Completion, ScriptConfig, Streams, Workload, done

if TYPE_CHECKING:
    from random import Random

ADD = "add"

DIGITS = 12
"""Of an element in its key, so that the store's order is that of the numbers."""

OPTIONS: dict[str, Any] = {
    "active_sets": 2,  # sets in use at one time
    "ops_per_set": 300,  # jittered by a quarter, so that sets do not retire in step
    "adds": 0.65,
    "reads": 0.30,
    "serializable_reads": 0.05,
}


class SetLane(Lane):
    """The operations of one set."""

    def __init__(
        self, random: Random, key: str, element: Callable[[], int], options: dict[str, Any]
    ):
        weights = {
            ADD: options["adds"],
            READ: options["reads"],
            SERIALIZABLE_READ: options["serializable_reads"],
        }
        super().__init__(random, key, weights, options["ops_per_set"])
        self._element = element

    def argument(self, f: str, process: int) -> Any:  # noqa: ARG002 - the base's
        """Return a new element to add."""
        return self._element() if f == ADD else None


class Sets(Rotating):
    """One run of the set workload."""

    def __init__(self, streams: Streams, config: ScriptConfig) -> None:
        options = OPTIONS | config.options
        active = options["active_sets"]
        super().__init__(streams, config, options, letter="s", active=active, lane=SetLane)

    async def invoke(self, kv: Kv, op: Op) -> Completion:
        """Do one operation."""
        prefix = f"{self._config.prefix}{op.key}"
        if op.f == ADD:
            element = f"{op.value:0{DIGITS}}"
            added = await kv.call(Put(key=f"{prefix}/{element}".encode(), value=element.encode()))
            assert isinstance(added, PutAnswer)
            return done(op.value, added)
        whole = Range(
            key=f"{prefix}/".encode(),
            range_end=f"{prefix}0".encode(),  # 0 comes after /
            serializable=op.f == SERIALIZABLE_READ,
        )
        found = await kv.call(whole)
        assert isinstance(found, RangeAnswer)
        return done([int(kv.value) for kv in found.kvs], found)


def _checkers(
    requested_faults: tuple[str, ...],
    options: dict[str, Any] | None = None,  # noqa: ARG001 - the protocol's
) -> tuple[Checker, ...]:
    return (*common_checkers(requested_faults), apart(revisions()), read_back(), apart(sets()))


WORKLOAD = Workload(
    name="set",
    description="sets that only grow, their elements added one by one and read all at once",
    options=OPTIONS,
    reads=frozenset({READ, SERIALIZABLE_READ}),
    checkers=_checkers,
    begin=Sets,
)
