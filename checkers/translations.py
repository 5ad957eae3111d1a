"""What the values of other tools' operations mean, model by model.

`guess_model` suggests what a file is about; `translation` returns the function that turns an
event's function, key and value into the words our checkers use.

Dialects differ where it matters:

* In Knossos a read that answered nil is one whose answer nobody kept, and a failed compare-and-set
  never happened. In Porcupine's etcd logs nil is an absent key and a failed compare-and-set is an
  answer: the value was not the one expected.
* Jepsen's `independent` keys come as values [key, value] of registers.
* A multi-register's `read` and `write`, and long-fork's reads, are transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from checkers.history import MalformedHistory, OpType

REGISTER_KEY: Final = "register"
"""What the only register of a file is called."""


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
        if not is_client(fields):
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


def is_client(fields: dict[str, Any]) -> bool:
    """Whether a client did this (and not the nemesis)."""
    process = fields.get("process")
    return process is None or (isinstance(process, int) and not isinstance(process, bool))


def translation(
    model: str, records: Sequence[Record], *, log: bool = False
) -> Callable[[Event], Translated]:
    """Return what turns the events of these records into our words; it raises MalformedHistory."""
    translate = _porcupine_register if log else _TRANSLATIONS.get(model, _plain)
    if model not in {"cas-register", "register"}:
        return translate
    independent = _independent(records)

    def register(event: Event) -> Translated:
        value = event.value
        if independent and isinstance(value, list):
            key, value = value if len(value) == 2 else (None, value)
            event = event._replace(key=key, value=value)
        return _restored(translate(event), event.fields)

    return register


def _independent(records: Sequence[Record]) -> bool:
    """Whether reads are asked for [key, nil]; where nothing is read, whether all is [key, ...]."""
    asked = [
        (record.fields.get("f"), record.fields.get("value"))
        for record in records
        if record.fields.get("type") == "invoke" and is_client(record.fields)
    ]
    reads = [value for f, value in asked if f == "read"]
    if reads:
        return all(map(_pair, reads))
    return bool(asked) and all(
        isinstance(v, list) and len(v) == 2 and (f != "cas" or _pair(v[1])) for f, v in asked
    )


class Event(NamedTuple):
    """One event of a file: `where` is its file and line, `fields` all that the file says of it."""

    outcome: OpType
    f: str
    key: Any
    value: Any
    where: str
    fields: dict[str, Any]


Translated = tuple[OpType, str, Any, Any]


def _restored(told: Translated, fields: dict[str, Any]) -> Translated:
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


def _plain(event: Event) -> Translated:
    return event.outcome, event.f, event.key, _json_like(event.value)


def _json_like(value: Any) -> Any:
    """Sets become lists in order, as JSON has none."""
    if isinstance(value, frozenset):
        return sorted(value, key=lambda one: (str(type(one)), str(one).rjust(20)))
    return value


def _knossos_register(event: Event) -> Translated:
    outcome, f, key, value, where, _fields = event
    key = REGISTER_KEY if key is None else key
    if f == "cas" and outcome is OpType.INVOKE and not _pair(value):
        raise MalformedHistory(f"{where}: a cas takes [expected, new], not {value!r}")
    if outcome is OpType.INVOKE:
        value = None if f == "read" else value
    elif outcome is OpType.OK and f == "cas":
        value = value if isinstance(value, list) else {"swapped": True}
    elif outcome is OpType.OK and f == "read" and value is None:
        outcome = OpType.FAIL  # its answer was not kept, so it constrains nothing
    return outcome, f, key, _json_like(value)


def _porcupine_register(event: Event) -> Translated:
    outcome, f, key, value, where, _fields = event
    if f == "cas" and outcome is OpType.INVOKE and not _pair(value):
        raise MalformedHistory(f"{where}: a cas takes [expected, new], not {value!r}")
    if outcome is OpType.INVOKE:
        value = None if f == "read" else value
    elif f == "cas" and outcome is not OpType.INFO:
        repeated = isinstance(value, list) and outcome is OpType.OK
        value = value if repeated else {"swapped": outcome is OpType.OK}
        outcome = OpType.OK
    return outcome, f, key or REGISTER_KEY, _json_like(value)


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _transaction(event: Event) -> Translated:
    outcome, _f, _, value, where, _fields = event
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


def _key_value(event: Event) -> Translated:
    outcome, f, key, value, where, _fields = event
    if key is None:
        raise MalformedHistory(f"{where}: {f} without a key")
    return outcome, f, key, value


def _bank(event: Event) -> Translated:
    outcome, f, _, value, where, _fields = event
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


def _named(name: str) -> Callable[[Event], Translated]:
    """Give the only object of a file a key."""

    def translate(event: Event) -> Translated:
        key = name if event.key is None else event.key
        value = None if event.f == "read" and event.outcome is OpType.INVOKE else event.value
        return event.outcome, event.f, key, _json_like(value)

    return translate


_TRANSLATIONS: Final[dict[str, Callable[[Event], Translated]]] = {
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
