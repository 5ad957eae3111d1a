"""An anomaly as a proof in sentences, "Let ... Then ... However ...", and as lanes.

A proof can be checked sentence by sentence against the lanes, without knowledge of the judge: it
names operations, states which of two came first and why (one had returned when the other was
called, or one saw what the other wrote), and ends in a contradiction. The summary is one sentence.
`squall.checkers.proof_check` parses these sentences, so their patterns are fixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from squall.checkers.history import Operation, OpType, process_name
from squall.checkers.linearizability.registers import swapped
from squall.checkers.text.lanes import describe, render
from squall.checkers.text.words import listed
from squall.checkers.verdict import Anomaly

LANES_OPS_MAX: Final = 40
"""Proofs with more operations than this are not drawn as lanes."""


_LETTERS: Final = {
    "write": "W",
    "put": "W",
    "cas": "C",
    "txn": "T",
    "transfer": "T",
    "delete": "D",
    "add": "A",
    "append": "A",
    "acquire": "L",
    "release": "U",
    "compact": "C",
    "enqueue": "E",
    "dequeue": "D",
    "watch": "V",
    "grant": "G",
    "revoke": "X",
    "attach": "A",
    "keepalive": "K",
    "probe": "P",
    "guarded": "S",
}
"""The letter of an operation's name in a proof, by its function; any other function is a read."""


PART: Final = "shown-in-part"
"""In an operation's `meta`: it is the part of the history's operation that the proof needs."""


def in_part(whole: Operation, part: Operation) -> Operation:
    """Mark an operation as a part of another, so that its proof says so."""
    if (whole.input, whole.output) == (part.input, part.output):
        return whole
    return msgspec.structs.replace(part, meta={**(part.meta or {}), PART: True})


class Cast:
    """The operations a proof mentions, their names, and a common precision of time.

    `proofs` pairs unanswered operations with those which show that they happened.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        proofs: Iterable[tuple[Operation, Operation]] = (),
    ) -> None:
        operations = list(operations)
        named = {operation.index for operation in operations}
        self._proofs = []
        for unanswered, shown_by in proofs:
            if unanswered.index in named:
                named.add(shown_by.index)
                operations.append(shown_by)
                self._proofs.append((unanswered, shown_by))
        self.names: dict[int, str] = {}
        self.operations: list[Operation] = []
        letters: dict[str, int] = {}
        moments: set[int] = set()
        for operation in operations:
            if operation.index in self.names:
                continue
            letter = _LETTERS.get(operation.f, "R")
            letters[letter] = letters.get(letter, 0) + 1
            self.names[operation.index] = f"{letter}{letters[letter]}"
            self.operations.append(operation)
            moments |= {operation.invoked_ns, operation.completed_ns or operation.invoked_ns}
        digits = next(
            (d for d in (3, 6) if len({t // 10 ** (9 - d) for t in moments}) == len(moments)), 9
        )
        self._digits = digits

    def name(self, operation: Operation) -> str:
        """The operation's name: W1, R2, C3 ..."""
        return self.names[operation.index]

    def at(self, moment_ns: int) -> str:
        """A moment in seconds, with as many digits as it takes to distinguish all of them."""
        return f"{moment_ns / 1e9:.{self._digits}f} s"

    def introduce(self) -> str:
        """Return the Let sentences."""
        lines = []
        for operation in self.operations:
            until = operation.completed_ns
            when = (
                f"{self.at(operation.invoked_ns)} to {self.at(until)}"
                if until is not None
                else f"called at {self.at(operation.invoked_ns)}, never answered"
            )
            node = f" through {operation.node}" if operation.node else ""
            lines.append(
                f"{self.name(operation)} be {phrase(operation)}{node} "
                f"(op {operation.index}, {when})"
            )
        sentences = ["Let " + ",\n    ".join(lines) + "."]
        sentences += [
            f"{self.name(unanswered)} was never answered, but it happened, because "
            f"{self.name(shown_by)} found {value_phrase(written(unanswered))}."
            for unanswered, shown_by in self._proofs
        ]
        parts = [self.name(one) for one in self.operations if (one.meta or {}).get(PART)]
        if parts:
            sentences.append(
                f"Of {listed(parts)} only a part is shown: what the proof does not need is left "
                f"out."
            )
        return "\n".join(sentences)

    def order(self, first: Operation, second: Operation) -> str:
        """State why one came before the other: it had returned when the other was called."""
        return (
            f"{self.name(first)} had returned at {self.at(first.completed_ns or 0)} "
            f"when {self.name(second)} was called at {self.at(second.invoked_ns)}"
        )


_REGISTER_FUNCTIONS: Final = frozenset({"read", "serializable-read", "write", "cas"})
"""Operations with phrases of their own; others are written in the notation of the lanes."""


def value_phrase(value: Any) -> str:
    """Write a value within a sentence."""
    if isinstance(value, dict):
        inside = ", ".join(f"{key}: {value_phrase(one)}" for key, one in value.items())
        return f"{{{inside}}}"
    if isinstance(value, str):
        return f'"{value}"' if _LIKE_ANOTHER.fullmatch(value) else value
    return "nil" if value is None else str(value)


_LIKE_ANOTHER: Final = re.compile(r"|nil|None|True|False|[+-]?[\d.]+")
"""Texts that look like another kind of value: they are quoted."""


def who(operation: Operation) -> str:
    """The process's name in lanes."""
    return process_name(operation.process)


def phrase(operation: Operation) -> str:
    """Name an operation: "p0's write of 2"."""
    f, given = operation.f, operation.input
    if f not in _REGISTER_FUNCTIONS:
        return f"{who(operation)}'s `{describe(operation)}`"
    if f == "write":
        return f"{who(operation)}'s write of {value_phrase(given)}"
    if f == "cas":
        base = f"{who(operation)}'s compare-and-set of {value_phrase(given[0])} to "
        base += value_phrase(given[1])
        if operation.outcome is OpType.OK and not swapped(operation.output):
            output = operation.output
            if isinstance(output, dict) and "seen" in output:
                return f"{base}, refused because it saw {value_phrase(output['seen'])}"
            return f"{base}, refused"
        return base
    if operation.outcome is OpType.OK:
        return f"{who(operation)}'s {f} of {value_phrase(operation.output)}"
    return f"{who(operation)}'s {f}"


def observed(operation: Operation) -> Any:
    """The value an operation found: what it read, expected or was answered."""
    if operation.f == "cas":
        output = operation.output
        if operation.outcome is OpType.OK and not swapped(output) and isinstance(output, dict):
            return output.get("seen")
        return operation.input[0]
    return operation.output


def written(operation: Operation) -> Any:
    """The value an operation installed, or the one it saw when it installed none."""
    if operation.f == "write":
        return operation.input
    if operation.f == "cas" and (operation.outcome is not OpType.OK or swapped(operation.output)):
        return operation.input[1]
    return observed(operation)


def saw(operation: Operation) -> str:
    """What an operation found, as a predicate: "read 1", "replaced 1 by 5"."""
    value = value_phrase(observed(operation))
    if operation.f == "cas":
        if operation.outcome is OpType.OK and not swapped(operation.output):
            return f"saw {value}"
        return f"replaced {value} by {value_phrase(operation.input[1])}"
    return f"read {value}"


def had_done(operation: Operation) -> str:
    """What an operation did, as a clause in the past perfect: "p0's write of 2 had returned"."""
    if operation.f == "write" or written(operation) is not observed(operation):
        return f"{phrase(operation)} had returned"
    return f"{who(operation)} had seen {value_phrase(observed(operation))}"


def anomaly(
    kind: str,
    summary: str,
    sentences: Sequence[str],
    cast: Cast,
    *,
    shown: Sequence[Operation] | None = None,
    data: dict[str, Any] | None = None,
) -> Anomaly:
    """Assemble an anomaly from sentences and cast; `shown` are the lanes' operations."""
    shown = list(cast.operations if shown is None else shown)
    times = [one.invoked_ns for one in cast.operations]
    times += [one.completed_ns for one in cast.operations if one.completed_ns is not None]
    introduction = [cast.introduce()] if cast.operations else []
    return Anomaly(
        kind=kind,
        summary=summary,
        explanation="\n".join([*introduction, *sentences]),
        ops=tuple(one.index for one in cast.operations),
        key=cast.operations[0].key if cast.operations else None,
        lanes=render(shown) if len(shown) <= LANES_OPS_MAX else "",
        window_ns=(min(times), max(times)) if times else None,
        data=data or {},
    )
