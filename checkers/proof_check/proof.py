"""One anomaly being read: who was introduced, and what was claimed so far."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from squall.checkers.history import Operation, OpType
from squall.checkers.proof_check.facts import Facts
from squall.checkers.proof_check.grammar import Contradicted, moment, require
from squall.checkers.text.proof import who
from squall.checkers.verdict import Anomaly

_ORDER = re.compile(r"([A-Z]\d+) had returned at (\S+ s) when ([A-Z]\d+) was called at (\S+ s)")


@dataclass(frozen=True, slots=True)
class Told:
    """An operation as it was introduced.

    `real` is the history's, `told` what the proof shows of it: the same, or a part. `pairs` are
    the micro-operations that are shown of a transaction, each with the real one.
    """

    name: str
    real: Operation
    told: Operation
    pairs: tuple[tuple[Any, Any], ...] = ()

    @property
    def partial(self) -> bool:
        """Whether something is left out."""
        return self.real is not self.told


@dataclass(slots=True)
class Proof:
    """The state of reading one proof.

    `edges` are the claims "A came before B", by name, in order. `parts_admitted` holds once the
    proof said of which operations only a part is told.
    """

    facts: Facts
    anomaly: Anomaly
    cast: dict[str, Told] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)

    def state(self) -> tuple[list[tuple[str, str]], dict[str, Any]]:
        """What a reading may change."""
        return list(self.edges), dict(self.memory)

    def restore(self, state: tuple[list[tuple[str, str]], dict[str, Any]]) -> None:
        """Take back what a reading changed that did not hold."""
        self.edges, self.memory = list(state[0]), dict(state[1])

    def named(self, name: str) -> Told:
        """The operation of a name; raises Contradicted."""
        if name not in self.cast:
            raise Contradicted(f"no operation was introduced as {name}")
        return self.cast[name]

    @property
    def key(self) -> str | None:
        """The key the anomaly is about."""
        return self.anomaly.key

    @property
    def begun(self) -> Any:
        """What the object held at first, as JSON: a value, elements, a number; None for nothing."""
        return self.anomaly.data.get("begun")

    def may_be_named(self, text: str) -> bool:
        """Whether a client or a node may have this name; only clients' names have blanks."""
        return not re.search(r"\s", text) or text in self.facts.clients

    def about(self, key: str, what: str = "the register") -> None:
        """Check the name of the key; a history of one object, which is `what`, has none for it."""
        real = what if self.key is None else str(self.key)
        require(key in {real, str(self.key)}, f"the operations are on {real}")

    def order(self, text: str) -> tuple[Told, Told]:
        """Check that one operation had returned when another was called; return the two."""
        found = _ORDER.fullmatch(text)
        assert found is not None
        first, second = self.named(found[1]), self.named(found[3])
        returned, called = first.real.completed_ns, second.real.invoked_ns
        if returned is None:
            raise Contradicted(f"{first.name} was never answered")
        require(
            moment(returned, found[2]) == found[2],
            f"{first.name} returned at {moment(returned, found[2])}",
        )
        require(
            moment(called, found[4]) == found[4],
            f"{second.name} was called at {moment(called, found[4])}",
        )
        require(returned < called, f"{first.name} had not returned when {second.name} was called")
        return first, second

    def claims(self, before: Told, after: Told) -> None:
        """Note that one operation came before another."""
        self.edges.append((before.name, after.name))

    def refuted(self, before: Told, after: Told) -> None:
        """Check that "before, then after" contradicts what was claimed."""
        require(
            (after.name, before.name) in self.edges,
            f"that {before.name} came before {after.name} contradicts nothing that was said",
        )

    def closes(self) -> None:
        """Check that what was claimed leads in a circle, each claim where the one before ended."""
        turned = self.edges[1:] + self.edges[:1]
        closed = all(one[1] == other[0] for one, other in zip(self.edges, turned, strict=True))
        require(bool(self.edges) and closed, "these steps do not close a circle")

    def by(self, process: str, holds: Callable[[Told], bool] = lambda _: True) -> Told | None:
        """The first introduced operation of a process for which something holds."""
        return next(self.all_by(process, holds), None)

    def all_by(
        self, process: str, holds: Callable[[Told], bool] = lambda _: True
    ) -> Iterator[Told]:
        """Every introduced operation of a process for which something holds."""
        return (one for one in self.cast.values() if who(one.real) == process and holds(one))

    def someone(self, process: str, what: str, holds: Callable[[Told], bool]) -> Told:
        """The introduced operation of a process that did something; raises Contradicted."""
        found = self.by(process, holds)
        if found is None:
            raise Contradicted(f"none of the operations of the proof is {process}'s that {what}")
        return found


def acknowledged(one: Operation) -> bool:
    """Whether an operation was answered with success."""
    return one.outcome is OpType.OK
