"""A history on disk: `history.jsonl`, a header line and then one Op a line.

    {"squall":"history","version":1,"run":"..."}
    {"index":0,"time_ns":1200,"process":3,"type":"invoke","f":"read","key":"r17"}

Lines are written as events happen, so a controller that is killed leaves a truncated last line: it
is accepted, and reported. Any other error raises MalformedHistory with the file and the line
number. Lines come in and go out as bytes; opening files is up to the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from squall.checkers.history import OBSERVER, History, MalformedHistory, Op, OpType

VERSION: Final = 1
"""The format this module writes, and the highest it reads."""

LINE_BYTES_MAX: Final = 16 << 20
"""The longest line read: an etcd request is at most 1.5 MiB, and its answer a handful of those."""

RESERVED: Final = (
    f"the process {OBSERVER!r} is Squall's own and only reports (info): "
    "give the client another name"
)
"""What is said of an operation of the observer."""

FORM: Final = (
    'an event is like {"index":0,"time_ns":1200,"process":"alice","type":"invoke","f":"write",'
    '"key":"x","value":1}: index counts all events from 0, time_ns is in whole nanoseconds, type '
    "is invoke, ok, fail or info, key is a text; error, node and meta may follow, nothing else"
)
"""What is said of a line that is no event."""

TIME_NS_MAX: Final = 1 << 62
"""From here on a time would be later than the end of operations that were never answered."""

COARSE_SHARE: Final = 0.5
"""The share of calls at the very time of their client's previous answer from which on a file's
clock is too coarse to order anything. Simulated runs, in which a client can call again within one
microsecond, have a tenth."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Op)


class Reading(NamedTuple):
    """A history that was read, and the number of its last line, if that one was truncated."""

    history: History
    cut_line: int | None = None


def encode_header(**fields: Any) -> bytes:
    """Return the first line of a history, with its newline."""
    return _encoder.encode({"squall": "history", "version": VERSION, **fields}) + b"\n"


def encode_op(op: Op) -> bytes:
    """Return one Op as a line, with its newline."""
    return _encoder.encode(op) + b"\n"


def encode_history(history: History) -> Iterator[bytes]:
    """Return a whole history as lines."""
    yield encode_header(**{k: v for k, v in history.header.items() if k not in _FIXED})
    for op in history:
        yield encode_op(op)


_FIXED: Final = frozenset({"squall", "version"})


def read_history(lines: Iterable[bytes], name: str = "history.jsonl") -> Reading:
    """Read a history from lines of bytes (an open file, for example).

    `name` is the file's name in messages. Raises MalformedHistory.
    """
    header: dict[str, Any] | None = None
    ops: list[Op] = []
    decode = _decoder.decode
    open_ops: dict[int | str, Op] = {}
    invoke_type = OpType.INVOKE
    cut: tuple[int, Exception] | None = None
    latest_ns = 0
    number = 0
    for number, line in enumerate(lines, 1):
        if cut is not None:
            raise MalformedHistory(f"{name}:{cut[0]}: {cut[1]}")
        if not line.strip():
            continue
        if len(line) > LINE_BYTES_MAX:
            raise MalformedHistory(f"{name}:{number}: a line of {len(line):,} bytes")
        if header is None:
            header = _header(line, name, number)
            continue
        try:
            op = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # Only a line without its newline can be one that was cut; and only the last.
            if line.endswith(b"\n") or _whole(line):
                form = f"; {FORM}" if isinstance(error, msgspec.ValidationError) else ""
                raise MalformedHistory(f"{name}:{number}: {error}{form}") from None
            cut = (number, error)
            continue
        if op.index != len(ops):
            raise MalformedHistory(
                f"{name}:{number}: op {op.index} where op {len(ops)} should follow"
            )
        if op.time_ns < latest_ns:
            raise MalformedHistory(
                f"{name}:{number}: op {op.index} at {op.time_ns} ns comes after {latest_ns} ns; "
                f"sort the lines by time_ns, and number them anew"
            )
        latest_ns = op.time_ns
        process = op.process
        if isinstance(process, str) and not process.isprintable():
            raise MalformedHistory(f"{name}:{number}: a process called {process!r:.60}")
        if process == OBSERVER and op.type is not OpType.INFO:
            raise MalformedHistory(f"{name}:{number}: {RESERVED}")
        if op.type is invoke_type:
            if process in open_ops:
                raise MalformedHistory(
                    f"{name}:{number}: process {process} invokes {op.f} while its op "
                    f"{open_ops[process].index} is still open"
                )
            open_ops[process] = op
        elif not _completes(invoke := open_ops.pop(process, None), op):
            raise MalformedHistory(
                f"{name}:{number}: process {process} completes {op.f} on {op.key} "
                + (
                    f"but invoked {invoke.f} on {invoke.key} as op {invoke.index}"
                    if invoke is not None
                    else "without having invoked it"
                )
            )
        ops.append(op)
    if latest_ns >= TIME_NS_MAX:
        raise MalformedHistory(
            f"{name}:{number}: op {len(ops) - 1} at {latest_ns} ns, which is no time of a run; "
            f"the most is {TIME_NS_MAX - 1}"
        )
    if header is None:
        raise MalformedHistory(f"{name}: empty; a history begins with its header line")
    if cut is not None:
        header["cut_line"] = cut[0]
    return Reading(History(ops, header=header), cut[0] if cut else None)


class Ties(NamedTuple):
    """How often a history's clock does not tell two events of clients apart.

    `touching` counts the calls, of `calls`, at the very time of the same client's previous answer:
    the two operations count as concurrent although one client did both. `shared` counts events at
    the time of another client's event.
    """

    calls: int
    touching: int
    shared: int


def ties_of(history: History) -> Ties:
    """Count the events of clients that share their times; equal times stand side by side."""
    answered: dict[int | str, int] = {}
    together: list[int | str] = []  # the clients of the events of one time
    calls = touching = shared = 0
    at_ns = -1
    for op in history:
        if not op.is_client:
            continue
        if op.time_ns != at_ns:
            shared += _by_several(together)
            together, at_ns = [], op.time_ns
        together.append(op.process)
        if op.type is OpType.INVOKE:
            if op.process in answered:
                calls += 1
                touching += answered[op.process] == op.time_ns
        else:
            answered[op.process] = op.time_ns
    return Ties(calls, touching, shared + _by_several(together))


def _by_several(together: list[int | str]) -> int:
    """How many events of one time there are, if they are not one client's alone."""
    return len(together) if len(together) > 1 and len(set(together)) > 1 else 0


def _whole(line: bytes) -> bool:
    """Whether a line is JSON to its end, so that nothing was cut off."""
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _completes(invoke: Op | None, op: Op) -> bool:
    """Whether an event may stand at its place; only observers complete without an invocation."""
    if invoke is None:
        return op.type is OpType.INFO and not op.is_client
    return invoke.f == op.f and invoke.key == op.key


def _header(line: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        header = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedHistory(f"{name}:{number}: not a header line: {error}") from None
    if header.get("squall") != "history":
        raise MalformedHistory(
            f'{name}:{number}: a history begins with {{"squall":"history","version":{VERSION}}}'
        )
    version = header.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise MalformedHistory(
            f"{name}:{number}: version {version!r}; this Squall reads up to version {VERSION}"
        )
    return header
