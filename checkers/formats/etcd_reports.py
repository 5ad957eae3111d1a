"""Reads the reports of etcd's robustness tests: `client-N/operations.json` and `watch.json`.

An operation is one JSON object a line, with times in ns of one clock:

    {"ClientId": 1, "Input": {"Type": "txn", ...}, "Call": 10, "Output": {...}, "Return": 20}

and a watch holds its request with all its responses. They become the requests and watches that
`squall.checkers.etcd.model` and `squall.checkers.watch.rules` describe. A report has no create
revision of a key: it is derived from the key's other changes; where unanswered requests leave it
open, the read is judged by revision and count only, and a note says so. The start of a watch
without a start revision is known only from the first event it was sent.

An answer with an error may or may not have happened (`info`), unless the error is one that etcd
gives before it does anything. Grants of leases and defragmentations change no key: they are left
out, and counted. A revoked lease deletes keys that the report does not name: it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from squall.checkers.etcd.requests import ran
from squall.checkers.formats.translations import Record
from squall.checkers.history import Accounting, History, MalformedHistory, Op, OpType

REQUESTS: Final = frozenset({"range", "put", "delete", "txn", "compact"})
"""Functions of etcd requests."""

STORE: Final = "store"
"""The key of every operation: the whole store."""

KEYS_END: Final = "\U0010ffff"
"""The end of a range of all keys."""

NEVER: Final = 1 << 62
"""A return later than this never happened."""

REFUSALS: Final = ("required revision has been compacted", "required revision is a future revision")
"""Errors of requests that had no effect."""

UNJUDGED: Final = frozenset({"leaseGrant", "defragment"})
"""Requests that change no key."""


class _Done(NamedTuple):
    """An operation: its call and return (None: never), function, request and answer."""

    call: int
    ret: int | None
    process: int | str
    f: str
    asked: Any
    outcome: OpType
    answer: Any
    error: str | None
    where: str


def is_report(fields: dict[str, Any]) -> bool:
    """Whether a JSON object is an operation or a watch of such a report."""
    asked = fields.get("Input")
    if isinstance(asked, dict) and isinstance(asked.get("Type"), str):
        return {"Call", "Return"} <= fields.keys()
    return {"Request", "Responses"} <= fields.keys()


def to_history(files: Sequence[tuple[str, Sequence[Record]]]) -> tuple[History, Accounting]:
    """Make one history of a report's files; raises MalformedHistory with file and line."""
    done: list[_Done] = []
    left_out: dict[str, int] = {}
    records = 0
    for name, lines in files:
        for line, fields in lines:
            records += 1
            where = f"{name}:{line}"
            try:
                one = _watch(fields, where) if "Request" in fields else _operation(fields, where)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                if isinstance(error, MalformedHistory):
                    raise
                raise MalformedHistory(
                    f"{where}: not as in a report of etcd's robustness tests: {error!r:.80}"
                ) from None
            if isinstance(one, str):
                left_out[one] = left_out.get(one, 0) + 1
            else:
                done.append(one)
    notes = _fill_in(done, files)
    events: list[tuple[int, int, int, _Done]] = []
    for number, one in enumerate(done):
        events.append((one.call, 0, number, one))
        if one.ret is not None:
            events.append((one.ret, 1, number, one))
    events.sort(key=lambda event: event[:3])
    ordered = list(_alternating(events))
    _sequential(ordered)
    history = History([_op(at, *event) for at, event in enumerate(ordered)])
    operations = len(done) + sum(left_out.values())
    return history, Accounting(
        events=records, operations=operations, left_out=left_out, notes=notes
    )


def _fill_in(
    done: Sequence[_Done], files: Sequence[tuple[str, Sequence[Record]]]
) -> tuple[str, ...]:
    """Give every kv that was read its create revision, or leave it out; return a note on that."""
    changes: dict[str, dict[int, str]] = {}
    for one in done:
        if one.outcome is not OpType.OK:
            continue
        if one.f == "watch":
            for response in one.answer["responses"]:
                for kind, key, _, revision, *_ in response["events"]:
                    changes.setdefault(key, {})[revision] = kind
        elif "revision" in one.answer:
            inner = ran(one.asked, one.answer) if one.f == "txn" else [(*one[3:5], one.answer)]
            for f, request, said in inner:
                if f == "put" or (f == "delete" and said.get("deleted")):
                    changes.setdefault(request["key"], {})[one.answer["revision"]] = f
    created = {
        (event["Key"], event["Revision"])
        for _, lines in files
        for _, fields in lines
        for response in fields.get("Responses") or ()
        for event in response.get("Events") or ()
        if event.get("IsCreate")
    }
    doubtful = any(one.outcome is OpType.INFO and one.f not in ("range", "watch") for one in done)
    without = 0
    for one in done:
        if one.outcome is OpType.OK and one.f != "watch":
            for answer in (one.answer, *one.answer.get("answers", ())):
                kvs = answer.get("kvs", ())
                if not all(_complete(kv, changes, created, doubtful=doubtful) for kv in kvs):
                    del answer["kvs"]
                    without += 1
    if not without:
        return ()
    reads = f"{without} read{'s' if without > 1 else ''}"
    return (
        f"{reads} judged by revision and count only: unanswered requests hide when a key began",
    )


def _complete(
    kv: list[Any],
    changes: dict[str, dict[int, str]],
    created: set[tuple[str, int]],
    *,
    doubtful: bool,
) -> bool:
    """Complete a kv's create revision, and its version if the report has none."""
    key, _, _, mod, version = kv
    create, puts = mod, 0
    mine = changes.get(key, {})
    for revision in sorted((one for one in mine if one <= mod), reverse=True):
        if mine[revision] == "delete":
            break
        create, puts = revision, puts + 1
        if (key, revision) in created:
            break
    certain = version == 1 or (mod in mine and version in (puts, None)) or not doubtful
    if version == 1:
        create = mod
    kv[2], kv[4] = create, puts if version is None else version
    return certain


_Event = tuple[int, int, int, _Done]


def _alternating(events: list[_Event]) -> Iterator[_Event]:
    """Place each client's answer before its next call where both have one time."""
    waiting: list[_Event] = []
    busy: dict[int | str, int] = {}
    now = None
    for event in [*events, None]:
        if event is None or event[0] != now:
            yield from waiting
            waiting, now = [], event[0] if event else None
        if event is None:
            return
        _, ends, number, one = event
        if ends:
            ready = [held for held in waiting if held[3].process == one.process]
            if busy.get(one.process) == number:
                yield event
                busy.pop(one.process)
                for held in ready[:1]:
                    waiting.remove(held)
                    busy[held[3].process] = held[2]
                    yield held
                continue
            waiting.append(event)
        elif one.process in busy:
            waiting.append(event)
        else:
            busy[one.process] = number
            yield event


def _sequential(events: Sequence[_Event]) -> None:
    """Raise unless each client ended one request before it called the next."""
    busy: dict[int | str, _Done] = {}
    for _, ends, _, one in events:
        if ends:
            busy.pop(one.process, None)
        elif one.process in busy:
            raise MalformedHistory(
                f"{one.where}: client {one.process} calls at {one.call} while its request of "
                f"{busy[one.process].where} is still open"
            )
        else:
            busy[one.process] = one


def _op(index: int, time_ns: int, ends: int, _number: int, one: _Done) -> Op:
    return Op(
        index=index,
        time_ns=time_ns,
        process=one.process,
        type=one.outcome if ends else OpType.INVOKE,
        f=one.f,
        key=STORE,
        value=one.answer if ends else one.asked,
        error=one.error if ends else None,
    )


def _operation(fields: dict[str, Any], where: str) -> _Done | str:
    """Return an operation, or why it is left out."""
    asked = fields["Input"]
    kind = asked["Type"]
    if kind in UNJUDGED:
        return f"{kind}: changes no key"
    if kind == "leaseRevoke":
        raise MalformedHistory(
            f"{where}: a revoked lease deletes keys that the report does not name; judge a report "
            f"of traffic without leases"
        )
    client, call, ret = fields["ClientId"], fields["Call"], fields.get("Return")
    if isinstance(client, bool) or not isinstance(client, int | str):
        raise MalformedHistory(f"{where}: a client is a number, not {client!r:.60}")
    for time in (call, ret or 0):
        if isinstance(time, bool) or not isinstance(time, int) or time < 0:
            raise MalformedHistory(f"{where}: a time is a number of ns, not {time!r:.60}")
    if ret is not None and ret < call:
        raise MalformedHistory(f"{where}: it returned at {ret}, before its call at {call}")
    f, request, whole = _request(kind, asked, where)
    output = fields.get("Output") or {}
    error = output.get("ClientError") or output.get("Error") or None
    outcome, answer = OpType.OK, None
    if error or not output or output.get("Persisted"):
        refused = error and any(refusal in error for refusal in REFUSALS)
        outcome = OpType.FAIL if refused else OpType.INFO
    else:
        answer = _answer(kind, f, output, whole)
    open_end = ret is None or ret >= NEVER
    return _Done(call, None if open_end else ret, client, f, request, outcome, answer, error, where)


def _request(kind: str, asked: dict[str, Any], where: str) -> tuple[str, Any, bool]:
    """Return function and request, and whether it is the only request of a transaction."""
    if kind == "range":
        return "range", _range(asked["Range"]), False
    if kind == "compact":
        return "compact", {"revision": asked["Compact"]["Revision"]}, False
    if kind != "txn":
        raise MalformedHistory(f"{where}: a request of type {kind!r:.40}")
    txn = asked["Txn"]
    guards = [_guard(one) for one in txn.get("Conditions") or ()]
    then = [_inner(one, where) for one in txn.get("OperationsOnSuccess") or ()]
    other = [_inner(one, where) for one in txn.get("OperationsOnFailure") or ()]
    if not guards and len(then) == 1 and then[0][0] != "range":
        return then[0][0], then[0][1], True
    return "txn", {"if": guards, "then": then, "else": other}, False


def _guard(one: dict[str, Any]) -> list[Any]:
    if (version := one.get("ExpectedVersion") or 0) > 0:
        return [one["Key"], "version", "=", version]
    return [one["Key"], "mod", "=", one.get("ExpectedRevision") or 0]


def _inner(one: dict[str, Any], where: str) -> list[Any]:
    kind = one["Type"]
    if kind == "put-operation":
        return ["put", {"key": one["Put"]["Key"], "value": _value(one["Put"]["Value"])}]
    if kind == "delete-operation":
        return ["delete", {"key": one["Delete"]["Key"]}]
    if kind == "range-operation":
        return ["range", _range(one["Range"])]
    raise MalformedHistory(f"{where}: a transaction with a {kind!r:.40}")


def _range(one: dict[str, Any]) -> dict[str, Any]:
    found = {"key": one["Start"]}
    for name, field in (("end", "End"), ("limit", "Limit"), ("revision", "Revision")):
        if one.get(field):
            found[name] = one[field]
    return found


def _value(value: Any) -> str:
    """Return a value, or the hash that stands for a long one."""
    if isinstance(value, dict):
        return f"hash {value['Hash']}" if value.get("Hash") else str(value["Value"])
    return str(value)


def _answer(kind: str, f: str, output: dict[str, Any], whole: bool) -> dict[str, Any]:
    revision = {"revision": output["Revision"]} if output.get("Revision") else {}
    if kind == "range":
        return revision | _ranged(output["Range"])
    if kind == "compact":
        return revision
    txn = output["Txn"]
    results = txn.get("Results") or []
    if whole:
        return revision | ({"deleted": results[0].get("Deleted") or 0} if f == "delete" else {})
    answers = [_ranged(one) | {"deleted": one.get("Deleted") or 0} for one in results]
    return revision | {"succeeded": not txn.get("Failure"), "answers": answers}


def _ranged(found: dict[str, Any]) -> dict[str, Any]:
    kvs = [
        [one["Key"], _value(one["Value"]), None, one["ModRevision"], one.get("Version")]
        for one in found.get("KVs") or ()
    ]
    return {"kvs": kvs, "count": found.get("Count") or len(kvs)}


def _watch(fields: dict[str, Any], where: str) -> _Done:
    request, responses = fields["Request"], fields["Responses"] or []
    asked: dict[str, Any] = {"key": request["Key"]}
    if request.get("WithPrefix"):
        asked["end"] = _prefix_end(request["Key"])
    if request.get("Revision"):
        asked["start"] = request["Revision"]
    if request.get("WithPrevKV"):
        asked["prev"] = True
    told, error = [], None
    for response in responses:
        if response.get("Error"):
            error = str(response["Error"])
            break
        told.append(
            {
                "revision": response["Revision"],
                "events": [
                    _event(one, bool(request.get("WithPrevKV"))) for one in response["Events"] or ()
                ],
                "progress": bool(response.get("IsProgressNotify")),
            }
        )
    first = next((min(mods) for one in told if (mods := _revisions(one))), None)
    answer = {"created": 0 if first is None else first - 1, "responses": told}
    times = [response["Time"] for response in responses]
    begin, end = (min(times), max(times)) if times else (0, 0)
    return _Done(begin, end, f"watch of {where}", "watch", asked, OpType.OK, answer, error, where)


def _revisions(response: dict[str, Any]) -> list[int]:
    """The revisions that a response shows the watch to have reached."""
    return [event[3] for event in response["events"]] or (
        [response["revision"] + 1] if response["progress"] else []
    )


def _event(event: dict[str, Any], prev: bool) -> list[Any]:
    kind = event["Type"].removesuffix("-operation")
    value = _value(event["Value"]) if kind == "put" and event.get("Value") is not None else None
    told = [kind, event["Key"], value, event["Revision"]]
    if prev:
        before = event.get("PrevValue")
        told.append(_value(before["Value"]) if before else None)
    return told


def _prefix_end(prefix: str) -> str:
    """Return the first key after all that begin with a prefix."""
    for at in range(len(prefix) - 1, -1, -1):
        if (code := ord(prefix[at])) < 0x10FFFF:
            return prefix[:at] + chr(code + 1 + (0x800 if code == 0xD7FF else 0))
    return KEYS_END
