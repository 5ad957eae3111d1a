"""What a workload is: a name, the operations it draws, one step of a client, and its checkers.

A `Workload` is a description. `begin` gives a `Script`: the state of one run (which keys exist,
which values were written), fed only by the random streams and options handed in. The interpreter
drives the script's generators and calls its client step; it knows nothing of registers or any other
data type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from squall.checkers.history import Op, OpType
from squall.checkers.verdict import Checker
from squall.workloads.client import Answer, Kv
from squall.workloads.generator import Drain, Generator

if TYPE_CHECKING:
    from random import Random

Streams = Callable[[str], "Random"]
"""Named random streams: the same name always begins at the same place."""


class Completion(msgspec.Struct, frozen=True):
    """How one client step ended: `ok`, or `fail` when it certainly never happened."""

    type: OpType
    value: Any = None
    meta: dict[str, Any] | None = None
    error: str | None = None


def done(value: Any, answer: Answer) -> Completion:
    """Return how a step ended whose last request was answered: `ok`, at this revision and term."""
    meta = {"revision": answer.revision, "term": answer.term}
    return Completion(type=OpType.OK, value=value, meta=meta)


class ScriptConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a script is given. `prefix` keeps this run's keys apart from all others."""

    nodes: tuple[str, ...]
    prefix: str
    options: dict[str, Any] = {}


class Script(Protocol):
    """One run of a workload."""

    def load(self) -> Generator:
        """The operations of the main phase: endless; rate and time are put around it."""
        ...

    def final(self) -> Drain:
        """What reads everything back once the cluster has healed, from every node."""
        ...

    async def invoke(self, kv: Kv, op: Op) -> Completion:
        """Do one operation: one request that may change something, never two.

        Raises Definite or Indefinite.
        """
        ...


class Judges(Protocol):
    """The checkers of a workload."""

    def __call__(
        self, requested_faults: tuple[str, ...], options: dict[str, Any] | None = None, /
    ) -> tuple[Checker, ...]:
        """Return the checkers for what a run was asked to do.

        `requested_faults` are the kinds of fault to inject; `options` are the workload's, as the
        run had them: None stands for its defaults, a missing name for one that is not known.
        """
        ...


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A workload's description.

    `options` are its parameters with their defaults; all of them end up in run.json. `reads` are
    the operations without any effect: when one errs it is a `fail`, whatever the error.
    """

    name: str
    description: str
    options: dict[str, Any]
    reads: frozenset[str]
    checkers: Judges
    begin: Callable[[Streams, ScriptConfig], Script]
