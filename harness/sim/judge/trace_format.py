"""Formats the events of a transcript: what a message says, what a disk did, who led."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from squall.harness.sim.chaos.triggers import Trigger
from squall.harness.sim.judge.trace import Kind, TraceEvent
from squall.node.raft.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    RequestVote,
    SnapshotReply,
    VoteReply,
)
from squall.node.storage.disk import Append, Batch

TAGS = {kind: number for number, kind in enumerate(get_args(Message))}
"""A number for each kind of message, for the digest of a run."""

_SHORT = 100


def describe(event: TraceEvent) -> str:
    """Format one event of a run."""
    detail = event.detail
    match event.kind:
        case Kind.DELIVER | Kind.DROP:
            return f"n{(event.x >> 8) + 1} -> {message_text(detail)}"
        case Kind.PERSIST:
            return f"batch {event.x}, {event.y} us: {_batch_text(detail)}"
        case Kind.PERSISTED:
            return f"batch {event.x}"
        case Kind.NOTE:
            fields = " ".join(f"{name}={value}" for name, value in detail.fields.items())
            return f"{detail.name} {fields}"
        case Kind.START:
            return f"boot {event.x}"
        case Kind.CUT:
            return f"drops from {_nodes(event.x)}"
        case Kind.HEAL:
            return f"{event.x} messages had been dropped"
        case Kind.CLOCK:
            return f"jump {event.x} ns, rate {event.y} ppm" if event.x or event.y else "true again"
        case Kind.LINK:
            return f"clogged from n{event.x + 1} until {event.y / 1e6:.6f} s"
        case Kind.TRIGGER if isinstance(detail, Trigger):
            return f"{detail.action}, since it {detail.point}"
        case Kind.DIED | Kind.INVARIANT:
            return str(detail).replace("\n", " | ")
        case _:
            return _shorten(str(detail)) if detail is not None else ""


def message_text(message: Any) -> str:
    """Format one message between nodes."""
    match message:
        case RequestVote(term=term, last_index=index, last_term=at, pre=pre):
            return f"{'pre-' if pre else ''}vote? term {term}, log ends at {index}/{at}"
        case VoteReply(term=term, granted=granted, pre=pre):
            return f"{'pre-' if pre else ''}vote {'granted' if granted else 'refused'}, term {term}"
        case AppendEntries(term=term, prev_index=prev, prev_term=at, commit=commit, entries=all_):
            what = f"{all_[0].index}..{all_[-1].index}" if all_ else "nothing"
            return f"append {what} after {prev}/{at}, commit {commit}, term {term}"
        case AppendReply(term=term, index=index, rejected=False):
            return f"appended up to {index}, term {term}"
        case AppendReply(term=term, index=index, hint_index=hint, hint_term=at):
            return f"refuses after {index}, try {hint}/{at}, term {term}"
        case Heartbeat(term=term, commit=commit, round=number):
            return f"heartbeat {number}, commit {commit}, term {term}"
        case HeartbeatReply(term=term, round=number):
            return f"heartbeat {number} heard, term {term}"
        case InstallSnapshot(term=term, index=index, offset=offset, size=size):
            return f"snapshot at {index}, from byte {offset} of {size}, term {term}"
        case SnapshotReply(term=term, index=index, offset=offset):
            return f"snapshot at {index}, has {offset} bytes, term {term}"
        case _:
            return _shorten(repr(message))


def _batch_text(batch: Batch) -> str:
    return ", ".join(_op_text(batch.ops))


def _op_text(ops: Iterable[Any]) -> Iterable[str]:
    for op in ops:
        values = " ".join(str(getattr(op, name)) for name in op.__struct_fields__)
        if isinstance(op, Append):
            yield f"append {len(op.data)} bytes to {op.path} at {op.offset}"
        else:
            yield f"{type(op).__name__.lower()} {values}"


def _nodes(mask: int) -> str:
    return " ".join(f"n{number + 1}" for number in range(mask.bit_length()) if mask >> number & 1)


def _shorten(text: str) -> str:
    text = text.replace("\n", " | ")
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."
