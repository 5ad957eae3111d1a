"""The meaning of the values of other tools' operations, model by model.

`guess_model` suggests a file's model; `translation` returns the function that maps an event's
function, key and value to those of our checkers.

Dialects differ where it matters:

* In Knossos the answer of a read answered nil is not recorded, and a failed compare-and-set never
  happened. In Porcupine's etcd logs nil is an absent key and a failed compare-and-set is an answer:
  the value was not the expected one.
* Jepsen's `independent` keys come as values [key, value], of whatever object.
* A multi-register's `read` and `write`, and long-fork's reads, are transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeGuard

from squall.checkers.assumptions import NOTHING_SAID, Assumptions, Nil
from squall.checkers.history import MalformedHistory, OpType
from squall.checkers.history import is_client as is_client_process
from squall.checkers.text.lanes import value_text

REGISTER_KEY: Final = "register"
"""The key of the only register of a file."""


class Record(NamedTuple):
    """One event of a file, and the number of its line."""

    line: int
    fields: dict[str, Any]


class LeftOut(NamedTuple):
    """Raised by a translation: an operation constrains nothing.

    The whole operation, its invocation too, is left out of the history that is judged, and the
    reader of the file counts it under the reason.
    """

    reason: str


NIL_READ: Final = (
    "a read answered nil, taken as an answer that was not kept (--nil absent judges it)"
)
"""Why a read is left out whose answer is nil, where nil does not mean absent."""


def guess_model(records: Sequence[Record], name: str = "FILE") -> str:
    """Suggest a model by the functions and values of the operations; "" when nothing fits.

    Raises MalformedHistory where two models fit that may judge differently: the message has both
    commands. `name` is the file's name in them.
    """
    clients = [one.fields for one in records if is_client(one.fields)]
    seen = _Seen({}, set())
    independent = _independent(records, name)
    for fields in clients:
        f, value = str(fields.get("f", "txn")), fields.get("value")
        if independent and _pair(value):
            value = value[1]
        seen.values.setdefault(f, [])
        if value is not None:
            seen.values[f].append((fields.get("type") == OpType.INVOKE, value))
        if _is_txn(value):
            seen.micro.update(str(mop[0]) for mop in value)
    return _by_look(seen, clients, name)


class _Seen(NamedTuple):
    """What a file's operations look like.

    `values[f]` are (whether it is an invocation's, the value) for all values of f that are not nil;
    `micro` the functions of micro-operations.
    """

    values: dict[str, list[tuple[bool, Any]]]
    micro: set[str]

    def answers(self, f: str) -> list[Any]:
        """The answers of a function."""
        return [value for asked, value in self.values.get(f, ()) if not asked]

    def asked(self, f: str) -> list[Any]:
        """The arguments of a function."""
        return [value for asked, value in self.values.get(f, ()) if asked]


def _by_look(seen: _Seen, clients: Sequence[dict[str, Any]], name: str) -> str:
    functions = set(seen.values)
    for names, model in _BY_MICRO_OPS:
        if seen.micro & names:
            return model
    if seen.micro == {"r"}:
        lists = any(
            len(mop) == 3 and isinstance(mop[2], list | frozenset)
            for f in functions
            for txn in seen.answers(f)
            if _is_txn(txn)
            for mop in txn
        )
        return "list-append" if lists else "long-fork" if "read" in functions else "rw-register"
    if functions == {"acquire", "release"} and _tokens(seen):
        raise _either(name, "its acquires are answered with numbers", "mutex", "fenced-mutex")
    if functions <= _BY_KEY and any(
        isinstance(one, dict) and "key" in one for f in functions for one in seen.asked(f)
    ):
        return "etcd"
    for names, model in _BY_FUNCTIONS:
        if functions and functions <= names and functions & (names - {"read", "r"}):
            return model
    reads = seen.answers("read")
    if "transfer" in functions:
        return "bank"
    if functions == {"read"} and reads:
        return _only_read(reads, name)
    if "add" in functions and functions <= {"add", "read", "remove"}:
        final = any(one.get("final?") or one.get("final") for one in clients)
        return _set_or_counter(seen, name, final=final)
    if functions and functions <= {"read", "write", "cas", "serializable-read"}:
        if any(isinstance(one, frozenset) for one in reads):
            return "comments"
        return "cas-register"
    return ""


def _only_read(reads: Sequence[Any], name: str) -> str:
    """Choose by the answers alone, for an object that nothing is ever done to."""
    if all(isinstance(one, dict) and all(map(_number, one.values())) for one in reads):
        return "bank"
    if any(isinstance(one, dict) for one in reads):
        raise _either(name, "it only reads maps", "bank", "cas-register")
    if all(map(_number, reads)):
        raise _either(name, "it only reads numbers", "counter", "cas-register")
    if all(isinstance(one, list) for one in reads):
        raise _either(name, "it only reads lists", "set", "cas-register")
    return "comments" if any(isinstance(one, frozenset) for one in reads) else "cas-register"


def _set_or_counter(seen: _Seen, name: str, *, final: bool) -> str:
    """Choose by the answers of reads, else by what is added or removed."""
    reads = seen.answers("read")
    collections = [one for one in reads if isinstance(one, list | frozenset)]
    if collections and len(collections) < len(reads):
        raise _either(name, "some reads show collections and some do not", "counter", "set")
    if collections or "remove" in seen.values or not all(map(_number, seen.asked("add"))):
        if final and collections:
            raise _either(name, "some reads are final", "set", "set-eventual")
        return "set"
    if final and reads:
        raise _either(name, "some reads are final", "counter", "pn-counter")
    return "counter"  # without any read neither is judged


def _tokens(seen: _Seen) -> bool:
    """Whether acquires are answered with numbers that were not in the request."""
    asked = [one for one in seen.asked("acquire") if _number(one)]
    return any(_number(one) and one not in asked for one in seen.answers("acquire"))


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _either(name: str, why: str, *models: str) -> MalformedHistory:
    """Raise: two models fit, and may judge differently, so the user has to choose."""
    return MalformedHistory(
        f"{name}: {why}, so {' and '.join(models)} both fit; {_commands(name, models)}"
    )


def _commands(name: str, models: Sequence[str]) -> str:
    """List the commands that the user may type."""
    return "say which: " + ", or ".join(f"squall check {name} --model {one}" for one in models)


_BY_KEY: Final = frozenset({"range", "put", "delete", "txn", "compact"})
"""Functions of an etcd-like store: the key is in what is asked."""

_BY_MICRO_OPS: Final = (
    (frozenset({"append"}), "list-append"),
    (frozenset({"w"}), "rw-register"),
    (frozenset({"read", "write"}), "multi-register"),
)
_BY_FUNCTIONS: Final = (
    (frozenset({"acquire", "release"}), "mutex"),
    (frozenset({"get", "put", "append"}), "kv"),
    (frozenset({"enqueue", "dequeue"}), "queue"),
    (frozenset({"enqueue", "dequeue", "drain"}), "total-queue"),
    (frozenset({"publish", "consume", "dequeue", "drain", "read"}), "total-queue"),
    (frozenset({"broadcast", "read"}), "broadcast"),
    (frozenset({"generate"}), "unique-ids"),
    (_BY_KEY, "etcd"),
)


def _is_txn(value: Any) -> TypeGuard[list[list[Any]]]:
    """Whether a value is a list of micro-operations."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(mop, list)
            and len(mop) in {2, 3}
            and isinstance(mop[0], str)
            and mop[0]
            in ({"r", "w", "append", "read", "write"} if len(mop) == 3 else {"r", "read"})
            for mop in value
        )
    )


def is_client(fields: dict[str, Any]) -> bool:
    """Whether a client did this (and not the nemesis)."""
    process = fields.get("process")
    return not isinstance(process, str) or is_client_process(process)


def translation(
    model: str,
    records: Sequence[Record],
    *,
    log: bool = False,
    assume: Assumptions = NOTHING_SAID,
    name: str = "FILE",
) -> Callable[[Event], Translated | LeftOut]:
    """Return the function that translates the events of these records; it raises MalformedHistory.

    `log`: the records are Porcupine's, in which nil is an absent value. `name` is the file's name
    in messages. Raises MalformedHistory where the values may mean two things.
    """
    if model in _NEVER_INDEPENDENT:
        independent = False
    elif assume.independent is None:
        independent = _independent(records, name, model)
    else:
        independent = assume.independent
    keys = _Keys(records) if independent else None
    translate = _porcupine_register if log else _TRANSLATIONS.get(model, _plain)

    def of_model(event: Event) -> Translated | LeftOut:
        if keys is not None:
            event = keys.unwrap(event)
        told = translate(event)
        if keys is not None and told[2] != event.key:
            told = (told[0], told[1], event.key, told[3])
        if model in REGISTERS:
            told = _restored(told, event.fields)
        if event.outcome is OpType.OK and told[3] is None and told[0] is OpType.OK:
            return _answered_nil(model, told, event, assume, log=log)
        return told

    return of_model


REGISTERS: Final = frozenset({"register", "cas-register", "sequential-register"})
"""Models that are read, written, and compared and set."""

_NEVER_INDEPENDENT: Final = frozenset(
    {"etcd", "watch", "watch-end", "lease", "lock", "comments", "unique-ids", ""}
)
"""Models of a whole store, or without keys: values that look like independent pairs are not."""

ASKS_NOTHING: Final = frozenset(
    {
        *("read", "serializable-read", "get", "dequeue", "consume", "drain", "acquire", "release"),
        "generate",
    }
)
"""Functions without an argument: a value in their invocation can only be a key."""


def _independent(records: Sequence[Record], name: str, model: str = "") -> bool:
    """Whether values are [key, value] as Jepsen's `independent` makes them.

    Decisive are the invocations of functions without an argument: [key, nil], or nil, if answers
    repeat the key. Transactions are recognised by their micro-operations, transfers by their map.
    If there is no such invocation, only compare-and-sets are judged at all, and the meaning of [1
    [2 3]] is for the user to state. Raises MalformedHistory.
    """
    keyed = bare = transactions = with_key = without_key = 0
    rest: list[Any] = []
    for record in records:
        fields = record.fields
        if not is_client(fields):
            continue
        if fields.get("type") != OpType.INVOKE:
            if fields.get("f") in ASKS_NOTHING and fields.get("type") == OpType.OK:
                with_key += _pair(fields.get("value"))
                without_key += fields.get("value") is not None and not _pair(fields.get("value"))
            continue
        if fields.get("key") is not None:
            return False  # the key is in a field of its own
        f, value = fields.get("f", "txn"), fields.get("value")
        if _is_txn(value):
            return False
        if _pair(value) and (_is_txn(value[1]) or (f == "transfer" and isinstance(value[1], dict))):
            transactions += 1
        elif f in ASKS_NOTHING:
            keyed += _pair(value) and value[1] is None
            bare += value is None
        else:
            rest.append((f, value))
    if keyed and without_key and not with_key:
        return False  # no answer repeats a key: the request only looks like one
    if keyed and bare:
        what = f"--model {model or 'MODEL'}"
        raise MalformedHistory(
            f"{name}: some operations are asked for [key nil] and some for nil; say whether values "
            f"are [key value]: squall check {name} {what} --independent, or squall check {name} "
            f"{what} --no-independent"
        )
    if keyed or transactions:
        return True
    compared = [value for f, value in rest if f == "cas"]
    if bare or not compared or not all(_pair(one) and _pair(one[1]) for one in compared):
        return False
    written = [value for f, value in rest if f != "cas"]
    if not all(map(_pair, written)):
        return False
    if written and not any(one[0] in written for one in compared):
        return True  # the compared value was never written: it is a key
    what = f"squall check {name} --model {model or 'cas-register'}"
    raise MalformedHistory(
        f"{name}: nothing is read, and a cas of [1 [2 3]] may be one of 1 to [2 3] or, for the "
        f"independent key 1, of 2 to 3; say which: {what} --no-independent, or "
        f"{what} --independent"
    )


class _Keys:
    """Splits [key, value]; different keys have different names."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Find the names that two keys of different types share."""
        values = [one.fields.get("value") for one in records if is_client(one.fields)]
        keys = [value[0] for value in values if _pair(value)]
        self._names = {value_text(key) for key in keys if not isinstance(key, str)}

    def unwrap(self, event: Event) -> Event:
        """Return an event of one key; raises MalformedHistory."""
        value = event.value
        if value is None and event.outcome is not OpType.INVOKE:
            return event._replace(key=None)  # the invocation has the key
        if not _pair(value):
            raise MalformedHistory(
                f"{event.where}: {event.f} of {value!r}, where other values are [key value] of "
                f"independent keys"
            )
        key = value[0]
        if not isinstance(key, str):
            key = value_text(key)
        elif key in self._names:
            key = f'"{key}"'  # "1" beside 1
        return event._replace(key=key, value=value[1])


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
    """Restore what `edn_writer` wrote in entries of its own, where Knossos has no form."""
    outcome, f, key, value = told
    kind, refused = fields["type"], fields.get("refused")
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
        value = _swapped(value)
    return outcome, f, key, _json_like(value)


def _swapped(value: Any) -> Any:
    """What a compare-and-set that succeeded was answered; false says that it did not swap."""
    if isinstance(value, bool):
        return {"swapped": value}
    if value is None or (isinstance(value, str) and value.lower() == "ok"):
        return {"swapped": True}
    return value


def _answered_nil(
    model: str, told: Translated, event: Event, assume: Assumptions, *, log: bool
) -> Translated | LeftOut:
    """Return what an answer of nil means: an absent value, or an unrecorded answer.

    The user's assumption counts; else the convention of Knossos and Jepsen, and in Porcupine's logs
    absence. A dequeue that answered nil found the queue empty.
    """
    outcome, f, key, _ = told
    if event.fields.get("absent") is True:
        return told  # written by `edn_writer`: it was read, and nothing was there
    if f in _TAKES:
        return (OpType.INFO, f, key, None) if assume.nil is Nil.UNKNOWN else told
    if f not in {"read", "serializable-read"} or model not in _NIL_COUNTS:
        return told
    if assume.nil is Nil.UNKNOWN or (assume.nil is None and not log):
        return LeftOut(NIL_READ)
    return outcome, f, key, _EMPTY.get(model)


_TAKES: Final = frozenset({"dequeue", "consume"})
"""Functions that change something even if their answer was not recorded."""

_EMPTY: Final[dict[str, Any]] = {
    "counter": 0,
    "pn-counter": 0,
    "set": [],
    "set-eventual": [],
    "broadcast": [],
}
"""The value of a read that found nothing, where that is not nil."""

_NIL_COUNTS: Final = frozenset({*REGISTERS, *_EMPTY, "bank", "bank-linearizable", "total-queue"})
"""Models whose reads may be answered nil."""


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


def _pair(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and len(value) == 2


def _transaction(event: Event) -> Translated:
    outcome, _f, its_key, value, where, _fields = event
    if value is None and outcome is OpType.OK:
        raise MalformedHistory(
            f"{where}: a transaction that succeeded is answered with its micro-operations, "
            f"not nil; one whose answer was not kept is an info"
        )
    if value is None and outcome is not OpType.INVOKE:
        value = []
    if isinstance(value, list) and outcome is not OpType.OK:
        # [:r :a] is short for [:r :a nil].
        value = [
            [*mop, None]
            if isinstance(mop, list) and len(mop) == 2 and mop[0] in ("r", "read")
            else mop
            for mop in value
        ]
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
    return outcome, "txn", its_key, mops


_SHORT: Final = {"read": "r", "write": "w"}


def _key_value(event: Event) -> Translated:
    outcome, f, key, value, where, _fields = event
    if key is None:
        raise MalformedHistory(f"{where}: {f} without a key")
    return outcome, f, key, value


def _bank(event: Event) -> Translated:
    outcome, f, key, value, where, _fields = event
    if f == "read" and outcome is OpType.INVOKE:
        value = None
    if f == "read" and outcome is OpType.OK and value is not None:
        if not isinstance(value, dict) or not all(
            _number(one) for one in value.values() if one is not None
        ):
            raise MalformedHistory(f"{where}: a read of accounts is a map of balances: {value!r}")
        value = {str(account): balance for account, balance in value.items()}
    if f == "transfer" and outcome is OpType.INVOKE:
        if not isinstance(value, dict) or not {"from", "to", "amount"} <= value.keys():
            raise MalformedHistory(f"{where}: a transfer has from, to and amount, not {value!r}")
        value = {"from": str(value["from"]), "to": str(value["to"]), "amount": value["amount"]}
    elif f == "transfer" and isinstance(value, dict):
        # Accounts are texts here; whether these are the ones asked for is for `answers` to say.
        value = {name: str(one) if name in {"from", "to"} else one for name, one in value.items()}
    elif f == "transfer" and outcome is not OpType.OK:
        value = None
    return outcome, f, "bank" if key is None else key, value


def _named(model: str) -> Callable[[Event], Translated]:
    """Give the only object of a file a key."""
    name = "queue" if model in _QUEUES else model

    def translate(event: Event) -> Translated:
        key = name if event.key is None else event.key
        f = _SYNONYMS.get((model, event.f), event.f)
        value = event.value
        if event.outcome is OpType.INVOKE and f in ASKS_NOTHING:
            value = None
        return event.outcome, f, key, _json_like(value)

    return translate


_QUEUES: Final = ("queue", "fifo-queue", "unordered-queue", "total-queue")

_SYNONYMS: Final = {
    ("broadcast", "broadcast"): "add",
    **{(queue, "publish"): "enqueue" for queue in _QUEUES},
    **{(queue, "consume"): "dequeue" for queue in _QUEUES},
}
"""Synonyms of functions, by model."""


_TRANSLATIONS: Final[dict[str, Callable[[Event], Translated]]] = {
    "register": _knossos_register,
    "cas-register": _knossos_register,
    "list-append": _transaction,
    "rw-register": _transaction,
    "multi-register": _transaction,
    "long-fork": _transaction,
    "kv": _key_value,
    "sequential-register": _knossos_register,
    "bank": _bank,
    "bank-linearizable": _bank,
    **{
        one: _named(one)
        for one in (
            *("set", "set-eventual", "counter", "pn-counter", "mutex", "fenced-mutex", "comments"),
            *(*_QUEUES, "broadcast", "unique-ids"),
        )
    },
}
