"""How other tools write down what happened, and how we do.

Dialects differ where it matters:

* In Knossos a read that answered nil is one whose answer nobody kept, and a failed compare-and-set
  never happened. In Porcupine's etcd logs nil is an absent key and a failed compare-and-set is an
  answer: the value was not the one expected.
* A process that was given no number is whoever completes what was invoked last and looks like it.
* Jepsen's `independent` keys come as values [key, value] of registers.
* A multi-register's `read` and `write`, and long-fork's reads, are transactions.

The order of the file is the order of events. Times are kept, but never allowed to go back; in a
file without times every event is a millisecond after the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from checkers.history import History, MalformedHistory, Op, OpType

_TYPES: Final = {one.value: one for one in OpType}
_NAMES: Final = tuple(_TYPES)  # a tuple: what a file calls a type may not be hashable

REGISTER_KEY: Final = "register"
"""What the only register of a file is called."""


UNTIMED_NS: Final = 1_000_000
"""How far apart events are in a file that does not say when they happened."""


class Record(NamedTuple):
    """One event of a file, and the number of its line."""

    line: int
    fields: dict[str, Any]


def guess_model(records: Sequence[Record]) -> str:
    """Suggest a model by what the operations are called and look like; "" when nothing fits."""
    functions: set[str] = set()
    micro: set[str] = set()
    sample: dict[str, list[Any]] = {}
    keyed = False
    for record in records:
        fields = record.fields
        if not _is_client(fields):
            continue
        f, value = str(fields.get("f", "txn")), fields.get("value")
        functions.add(f)
        keyed = keyed or fields.get("key") is not None
        if value is not None:
            sample.setdefault(f, []).append(value)
        if _is_txn(value):
            micro |= {str(mop[0]) for mop in value or ()}
    for names, model in _BY_MICRO_OPS:
        if micro & names:
            return model
    if micro == {"r"}:
        return "long-fork" if "read" in functions else "rw-register"
    for names, model in _BY_FUNCTIONS:
        if functions and functions <= names and functions & (names - {"read", "r"}):
            return model
    if "transfer" in functions or any(isinstance(one, dict) for one in sample.get("read", ())):
        return "bank"
    collections = any(isinstance(one, list | frozenset) for one in sample.get("read", ()))
    if functions <= {"add", "read"} and "add" in functions:
        return "set" if collections else "counter"
    if functions <= {"read", "write", "cas", "serializable-read"} and functions:
        if any(isinstance(one, frozenset) for one in sample.get("read", ())):
            return "comments"
        return "cas-register"
    return ""


_BY_MICRO_OPS: Final = (
    (frozenset({"append"}), "list-append"),
    (frozenset({"w"}), "rw-register"),
    (frozenset({"read", "write"}), "multi-register"),
)
_BY_FUNCTIONS: Final = (
    (frozenset({"acquire", "release"}), "mutex"),
    (frozenset({"get", "put", "append"}), "kv"),
    (frozenset({"enqueue", "dequeue"}), "queue"),
    (frozenset({"range", "put", "delete", "txn", "compact"}), "etcd"),
)


def _is_txn(value: Any) -> bool:
    """Whether a value is a list of micro-operations."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(mop, list)
            and len(mop) == 3
            and isinstance(mop[0], str)
            and mop[0] in {"r", "w", "append", "read", "write"}
            for mop in value
        )
    )


def _is_client(fields: dict[str, Any]) -> bool:
    process = fields.get("process")
    return process is None or (isinstance(process, int) and not isinstance(process, bool))


def to_history(records: Sequence[Record], name: str, model: str, *, log: bool = False) -> History:
    """Make a history of a file's events; raises MalformedHistory with the line."""
    translate = _TRANSLATIONS.get(model, _plain)
    if log:
        translate = _porcupine_register
    independent = model in {"cas-register", "register"} and _independent(records)
    processes = _Processes(name)
    ops: list[Op] = []
    step_ns = 1 if any(isinstance(one.fields.get("time"), int) for one in records) else UNTIMED_NS
    time_ns, last_index = -step_ns, None
    for line, fields in records:
        if not _is_client(fields):
            continue
        where = f"{name}:{line}"
        kind, f = fields.get("type"), fields.get("f", "txn")
        if kind not in _NAMES or not isinstance(f, str) or not f.isprintable():
            raise MalformedHistory(f"{where}: an operation of type {kind!r} and f {f!r}")
        index = fields.get("index")
        if isinstance(index, int):
            if last_index is not None and index <= last_index:
                raise MalformedHistory(
                    f"{where}: op {index} comes after op {last_index}: out of order"
                )
            last_index = index
        given = fields.get("time")
        time_ns = max(time_ns + step_ns, given if isinstance(given, int) else 0)
        key, value = fields.get("key"), fields.get("value")
        if independent and isinstance(value, list):
            key, value = value if len(value) == 2 else (None, value)
        outcome = _TYPES[kind]
        process = processes.of(fields.get("process"), outcome, f, value, where)
        told = translate(_Event(outcome, f, key, value, where))
        if model in {"cas-register", "register"}:
            told = _restored(told, fields)
        outcome, f, key, value = told
        ops.append(
            Op(
                index=len(ops),
                time_ns=time_ns,
                process=process,
                type=outcome,
                f=f,
                key=None if key is None else str(key),
                value=value,
                error=None if fields.get("error") is None else str(fields["error"]),
                node=_text_or_none(fields.get("node")),
                meta=fields["meta"] if isinstance(fields.get("meta"), dict) else None,
            )
        )
    return History(ops)


def _independent(records: Sequence[Record]) -> bool:
    """Whether reads are asked for [key, nil]; where nothing is read, whether all is [key, ...]."""
    asked = [
        (record.fields.get("f"), record.fields.get("value"))
        for record in records
        if record.fields.get("type") == "invoke" and _is_client(record.fields)
    ]
    reads = [value for f, value in asked if f == "read"]
    if reads:
        return all(map(_pair, reads))
    return bool(asked) and all(
        isinstance(v, list) and len(v) == 2 and (f != "cas" or _pair(v[1])) for f, v in asked
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


class _Processes:
    """Who does what; where a file names no process, who must have done it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._busy: dict[int, tuple[str, Any, str]] = {}

    def of(self, process: Any, outcome: OpType, f: str, value: Any, where: str) -> int:
        """Return the process of an event; raises MalformedHistory."""
        if outcome is OpType.INVOKE:
            if process is None:
                process = next(n for n in range(len(self._busy) + 1) if n not in self._busy)
            elif process in self._busy:
                raise MalformedHistory(
                    f"{where}: process {process} invokes {f} while its {self._busy[process][0]} "
                    f"of {self._busy[process][2]} is still open"
                )
            self._busy[process] = (f, value, where)
            return int(process)
        if process is None:
            process = self._best(f, value)
        if process not in self._busy:
            raise MalformedHistory(f"{where}: {f} completes without having been invoked")
        asked, _, since = self._busy.pop(process)
        if asked != f:
            raise MalformedHistory(
                f"{where}: process {process} completes {f}, but invoked {asked} at {since}"
            )
        return int(process)

    def _best(self, f: str, value: Any) -> int | None:
        same = [process for process, (asked, _, _) in self._busy.items() if asked == f]
        exact = [process for process in same if self._busy[process][1] == value]
        return next(iter(exact or same), None)


class _Event(NamedTuple):
    outcome: OpType
    f: str
    key: Any
    value: Any
    where: str


_Translated = tuple[OpType, str, Any, Any]


def _restored(told: _Translated, fields: dict[str, Any]) -> _Translated:
    """Take back what `edn_writer` says in words of its own, where Knossos has none."""
    outcome, f, key, value = told
    kind, refused = fields["type"], fields.get("refused")
    if fields.get("absent") is True and f == "read" and kind == OpType.OK:
        outcome = OpType.OK  # it was read, and nothing was there
    if f == "read" and _pair(refused):
        if kind == OpType.INVOKE:
            return outcome, "cas", key, refused
        return outcome, "cas", key, {"swapped": False, "seen": value}
    if f == "cas" and refused is True and kind == OpType.FAIL:
        return OpType.OK, f, key, {"swapped": False}
    return outcome, f, key, value


def _plain(event: _Event) -> _Translated:
    return event.outcome, event.f, event.key, _json_like(event.value)


def _json_like(value: Any) -> Any:
    """Sets become lists in order, as JSON has none."""
    if isinstance(value, frozenset):
        return sorted(value, key=lambda one: (str(type(one)), str(one).rjust(20)))
    return value


def _knossos_register(event: _Event) -> _Translated:
    outcome, f, key, value, where = event
    key = REGISTER_KEY if key is None else key
    if f == "cas" and outcome is OpType.INVOKE and not _pair(value):
        raise MalformedHistory(f"{where}: a cas takes [expected, new], not {value!r}")
    if outcome is OpType.INVOKE:
        value = None if f == "read" else value
    elif outcome is OpType.OK and f == "cas":
        value = {"swapped": True}
    elif outcome is OpType.OK and f == "read" and value is None:
        outcome = OpType.FAIL  # its answer was not kept, so it constrains nothing
    return outcome, f, key, _json_like(value)


def _porcupine_register(event: _Event) -> _Translated:
    outcome, f, key, value, where = event
    if f == "cas" and outcome is OpType.INVOKE and not _pair(value):
        raise MalformedHistory(f"{where}: a cas takes [expected, new], not {value!r}")
    if outcome is OpType.INVOKE:
        value = None if f == "read" else value
    elif f == "cas" and outcome is not OpType.INFO:
        value = {"swapped": outcome is OpType.OK}
        outcome = OpType.OK
    return outcome, f, key or REGISTER_KEY, _json_like(value)


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _transaction(event: _Event) -> _Translated:
    outcome, _f, _, value, where = event
    if value is None and outcome is not OpType.INVOKE:
        value = []
    if not isinstance(value, list) or not all(
        isinstance(mop, list) and len(mop) == 3 for mop in value
    ):
        raise MalformedHistory(
            f"{where}: a transaction is a list of [function, key, value], not {value!r}"
        )
    mops = [
        [
            _SHORT.get(mop[0], mop[0]) if isinstance(mop[0], str) else mop[0],
            mop[1],
            None if mop[0] in ("r", "read") and outcome is not OpType.OK else _json_like(mop[2]),
        ]
        for mop in value
    ]
    return outcome, "txn", None, mops


_SHORT: Final = {"read": "r", "write": "w"}


def _key_value(event: _Event) -> _Translated:
    outcome, f, key, value, where = event
    if key is None:
        raise MalformedHistory(f"{where}: {f} without a key")
    return outcome, f, key, value


def _bank(event: _Event) -> _Translated:
    outcome, f, _, value, where = event
    if f == "read" and outcome is OpType.OK:
        if not isinstance(value, dict) or not all(
            isinstance(one, int) for one in value.values() if one is not None
        ):
            raise MalformedHistory(f"{where}: a read of accounts is a map of balances: {value!r}")
        value = {str(account): balance for account, balance in value.items()}
    if f == "transfer" and outcome is OpType.INVOKE:
        if not isinstance(value, dict) or not {"from", "to", "amount"} <= value.keys():
            raise MalformedHistory(f"{where}: a transfer has from, to and amount, not {value!r}")
        value = {"from": str(value["from"]), "to": str(value["to"]), "amount": value["amount"]}
    elif f == "transfer":
        value = None
    return outcome, f, "bank", value


def _named(name: str) -> Callable[[_Event], _Translated]:
    """Give the only object of a file a key."""

    def translate(event: _Event) -> _Translated:
        key = name if event.key is None else event.key
        value = None if event.f == "read" and event.outcome is OpType.INVOKE else event.value
        return event.outcome, event.f, key, _json_like(value)

    return translate


_TRANSLATIONS: Final[dict[str, Callable[[_Event], _Translated]]] = {
    "register": _knossos_register,
    "cas-register": _knossos_register,
    "list-append": _transaction,
    "rw-register": _transaction,
    "multi-register": _transaction,
    "long-fork": _transaction,
    "kv": _key_value,
    "bank": _bank,
    **{
        one: _named(one) for one in ("set", "counter", "mutex", "fenced-mutex", "queue", "comments")
    },
}
