"""A history: one list of events (Ops), of clients and of the nemesis alike.

An `Op` is an event. An invocation is recorded before its request is sent, its completion after the
reply arrived; both are stamped by one monotonic clock, the controller's. An `Operation` is the
pair: a closed interval in real time. Two operations that share an instant are concurrent.

Outcomes, as in Jepsen: `ok` (it happened, and this is the answer), `fail` (it did not happen and
never will), `info` (indeterminate: it may take effect at any later time, and its process issues no
further operation).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import msgspec

NEMESIS = "nemesis"
OBSERVER = "observer"


def is_nemesis(process: int | str) -> bool:
    """Whether a process is the nemesis: `nemesis`, or `nemesis/` and a kind of fault."""
    return isinstance(process, str) and (process == NEMESIS or process.startswith(f"{NEMESIS}/"))


def is_client(process: int | str) -> bool:
    """Whether a process is a client: neither the nemesis nor the observer."""
    return isinstance(process, int) or not (process == OBSERVER or is_nemesis(process))


def process_name(process: int | str) -> str:
    """Return the name of a process in lanes and sentences: `p3` for 3, a text unchanged."""
    return f"p{process}" if isinstance(process, int) else process


class OpType(enum.StrEnum):
    """The four kinds of event."""

    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    INFO = "info"


# Ops hold JSON, which has no reference cycles: with gc=False the cyclic GC does not track them.
class Op(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    kw_only=True,
    gc=False,
    forbid_unknown_fields=True,
):
    """One event of a history.

    Clients are numbers or names; faults run under `nemesis` or `nemesis/<kind>`; the observer's
    readings of the nodes' roles are `info` events of the process `observer`.

    `value` is the argument on an invocation and the answer on a completion. `meta` holds what is
    evidence rather than answer: revisions, the term of the answering node, whether an operation
    belongs to the final phase.

    `time_ns` is nanoseconds on the one clock of the history. `type` may be given as plain text
    ("invoke"). Raises ValueError for a type that is none, and TypeError for a process that is
    neither a number nor a name.
    """

    index: int
    time_ns: int
    process: int | str
    type: OpType
    f: str
    key: str | None = None
    value: Any = None
    error: str | None = None
    node: str | None = None
    meta: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.type.__class__ is not OpType or self.process.__class__ not in _PROCESSES:
            msgspec.structs.force_setattr(self, "type", _op_type(self.type))
            _check_process(self.process)

    @property
    def is_client(self) -> bool:
        """Whether a client did this (and not the nemesis or the observer)."""
        return is_client(self.process)


_PROCESSES = (int, str)


def _op_type(given: str) -> OpType:
    try:
        return OpType(given)
    except ValueError:
        kinds = ", ".join(OpType)
        raise ValueError(f"an event's type is one of {kinds}, not {given!r}") from None


def _check_process(process: object) -> None:
    if not isinstance(process, int | str) or isinstance(process, bool):
        raise TypeError(f"a process is a number or a name, not {process!r}")


class Operation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An invocation with its completion: a closed interval [invoked_ns, completed_ns].

    `completed_ns` is None if the outcome is indeterminate (`info`, or no completion recorded).
    `index` and `completion_index` are the positions of the two Ops in the history.
    """

    index: int
    completion_index: int | None
    process: int | str
    f: str
    key: str | None
    input: Any
    output: Any
    outcome: OpType  # OK, FAIL or INFO
    invoked_ns: int
    completed_ns: int | None
    node: str | None = None
    error: str | None = None
    meta: dict[str, Any] | None = None


class Accounting(msgspec.Struct, frozen=True, kw_only=True):
    """How the contents of a file were used: counts of lines, events and operations.

    `lines` counts the file's lines, `events` the records that were read (the nemesis' included),
    `operations` those of clients. `left_out` counts operations that are not judged, by reason.
    `notes` are sentences about how the file had to be read: sorted, without times, and the like.
    """

    lines: int = 0
    events: int = 0
    operations: int = 0
    left_out: dict[str, int] = {}
    notes: tuple[str, ...] = ()

    @property
    def judged(self) -> int:
        """Operations that are not left out."""
        return self.operations - sum(self.left_out.values())


class MalformedHistory(ValueError):
    """The history is not well-formed: a completion without an invocation, a busy process.

    The message names the offending line or op. It is an error of the recorder, not of the database.
    """


class History(Sequence[Op]):
    """An immutable list of Ops in order of time; invocations are paired with completions once.

    `header` is what the history's file says about it in its first line.
    """

    def __init__(self, ops: Sequence[Op], *, header: dict[str, Any] | None = None) -> None:
        self._ops = tuple(ops)
        self.header = header or {}

    def __len__(self) -> int:
        return len(self._ops)

    @overload
    def __getitem__(self, at: int) -> Op: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Op, ...]: ...
    def __getitem__(self, at: int | slice) -> Op | tuple[Op, ...]:
        return self._ops[at]

    def __iter__(self) -> Iterator[Op]:
        return iter(self._ops)

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """Every client operation, in order of invocation."""
        return tuple(_pair(op for op in self._ops if op.is_client))

    @cached_property
    def nemesis_operations(self) -> tuple[Operation, ...]:
        """Every start and stop of a fault, in order of invocation."""
        return tuple(_pair(op for op in self._ops if is_nemesis(op.process)))

    @cached_property
    def by_key(self) -> dict[str | None, list[Operation]]:
        """Client operations by key, keys in order of first use."""
        keys: dict[str | None, list[Operation]] = {}
        for operation in self.operations:
            keys.setdefault(operation.key, []).append(operation)
        return keys

    @property
    def duration_ns(self) -> int:
        """Time of the last event."""
        return self._ops[-1].time_ns if self._ops else 0


def _pair(ops: Iterator[Op]) -> Iterator[Operation]:
    open_ops: dict[int | str, Op] = {}
    done: list[tuple[Op, Op | None]] = []
    for op in ops:
        if op.type is OpType.INVOKE:
            if op.process in open_ops:
                raise MalformedHistory(
                    f"op {op.index}: process {op.process} invokes {op.f} while its op "
                    f"{open_ops[op.process].index} is still open"
                )
            open_ops[op.process] = op
        else:
            invoke = open_ops.pop(op.process, None)
            if invoke is None:
                raise MalformedHistory(
                    f"op {op.index}: process {op.process} completes {op.f} without an invocation"
                )
            done.append((invoke, op))
    done.extend((op, None) for op in open_ops.values())
    done.sort(key=lambda pair: pair[0].index)
    for invoke, completion in done:
        known = completion is not None and completion.type is not OpType.INFO
        yield Operation(
            index=invoke.index,
            completion_index=completion.index if completion is not None else None,
            process=invoke.process,
            f=invoke.f,
            key=invoke.key,
            input=invoke.value,
            output=completion.value if completion is not None else None,
            outcome=completion.type if completion is not None else OpType.INFO,
            invoked_ns=invoke.time_ns,
            completed_ns=completion.time_ns if completion is not None and known else None,
            node=invoke.node,
            error=completion.error if completion is not None else None,
            meta={**(invoke.meta or {}), **((completion.meta if completion else None) or {})}
            or None,
        )
