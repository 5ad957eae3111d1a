"""Situations that users of such tools came into, each with its right answer argued.

A situation is a sentence, a file, and what has to be said of it: the verdict, or that the file is
refused; what kind of anomaly; and the words that tell a user what to do. Most files are written as
Jepsen's EDN from lines of `process type function value`, at no time and in order.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from squall.checkers.assumptions import Assumptions, Initial, Nil, read_value
from squall.checkers.history import MalformedHistory
from squall.checkers.registry import UnknownModel, check_file
from squall.checkers.verdict import Anomaly, Budget, Verdict

REFUSED = "refused"


class Situation(NamedTuple):
    """A file, what is said beside it, and what has to come of it.

    `says` are words of the reason, of the anomalies' sentences or of the refusal.
    """

    data: str | bytes
    verdict: str
    kind: str = ""
    says: tuple[str, ...] = ()
    options: Mapping[str, Any] = MappingProxyType({})


def edn(text: str) -> str:
    """Lines of `process type function value`, parted by line or by |, as EDN."""
    lines = []
    for line in text.replace("|", "\n").strip().splitlines():
        process, kind, f, value = line.strip().split(" ", 3)
        lines.append(f"{{:process {process}, :type :{kind}, :f :{f}, :value {value}}}")
    return "\n".join(lines) + "\n"


def of(text: str, verdict: str, kind: str = "", *says: str, **options: Any) -> Situation:
    """A situation of operations in EDN."""
    return Situation(edn(text), verdict, kind, says, options)


def event(process: Any, kind: str, f: str, value: Any = None, **more: Any) -> dict[str, Any]:
    return {"process": process, "type": kind, "f": f, "value": value, **more}


def write(process: Any, value: Any) -> list[dict[str, Any]]:
    return [event(process, "invoke", "write", value), event(process, "ok", "write", value)]


def read(process: Any, value: Any) -> list[dict[str, Any]]:
    return [event(process, "invoke", "read"), event(process, "ok", "read", value)]


def timed(events: list[dict[str, Any]], *times: Any, name: str = "time") -> list[dict[str, Any]]:
    return [{**one, name: time} for one, time in zip(events, times, strict=True)]


def js(events: list[Any], verdict: str, kind: str = "", *says: str, **options: Any) -> Situation:
    """A situation in an array of JSON."""
    return Situation(json.dumps(events), verdict, kind, says, options)


def own(*ops: tuple[Any, ...], header: bool = True) -> str:
    """A history of our own: (process, type, f, key, value)."""
    lines = [json.dumps({"squall": "history", "version": 1})] * header
    for at, (process, kind, f, key, value) in enumerate(ops):
        fields = {"index": at, "time_ns": at * 1000, "process": process, "type": kind, "f": f}
        lines.append(json.dumps({**fields, "key": key, "value": value}))
    return "\n".join(lines) + "\n"


def operation(f: str, value: Any, start: Any, end: Any, **more: Any) -> dict[str, Any]:
    return {"op": f, "value": value, "start": start, "end": end, **more}


def porcupine(client: int, asked: Any, call: int, answer: Any, ret: int) -> dict[str, Any]:
    return {"ClientId": client, "Input": asked, "Call": call, "Output": answer, "Return": ret}


W1R2 = "0 invoke write 1 | 0 ok write 1 | 1 invoke read nil | 1 ok read 2"
W1W2R1 = [*write(0, 1), *write(0, 2), *read(1, 1)]
ACCOUNTS = "0 invoke read nil | 0 ok read {0 5, 1 5}"

ANSWERS = {
    "a set adds another element than it was asked to": of(
        "0 invoke add 1 | 0 ok add 2 | 1 invoke read nil | 1 ok read #{1}",
        *("invalid", "answer-mismatch", "1 was asked, 2 answered"),
    ),
    "a counter adds another amount": of(
        "0 invoke add 1 | 0 ok add 2 | 1 invoke read nil | 1 ok read 1",
        *("invalid", "answer-mismatch"),
        model="counter",
    ),
    "a counter of Maelstrom's adds another amount": js(
        [event(0, "invoke", "add", 1), event(0, "ok", "add", 7), *read(0, 1)],
        *("invalid", "answer-mismatch"),
        model="pn-counter",
    ),
    "a queue takes another element in": of(
        "0 invoke enqueue 1 | 0 ok enqueue 2 | 1 invoke dequeue nil | 1 ok dequeue 1",
        *("invalid", "answer-mismatch"),
    ),
    "a queue that is drained takes another element in": of(
        "0 invoke enqueue 1 | 0 ok enqueue 2 | 1 invoke drain nil | 1 ok drain [1]",
        *("invalid", "answer-mismatch"),
    ),
    "a broadcast of another message": of(
        "0 invoke broadcast 1 | 0 ok broadcast 2 | 1 invoke read nil | 1 ok read [1]",
        *("invalid", "answer-mismatch"),
    ),
    "a transfer of another amount": of(
        f"{ACCOUNTS} | 0 invoke transfer {{:from 0 :to 1 :amount 2}}"
        "| 0 ok transfer {:from 0 :to 1 :amount 3}",
        *("invalid", "answer-mismatch", "amount 2 was asked, 3 answered"),
    ),
    "a transfer the other way round, judged by moments": of(
        f"{ACCOUNTS} | 0 invoke transfer {{:from 0 :to 1 :amount 2}}"
        "| 0 ok transfer {:from 1 :to 0 :amount 2}",
        *("invalid", "answer-mismatch"),
        model="bank-linearizable",
    ),
    "a compare-and-set of other values": of(
        "0 invoke write 1 | 0 ok write 1 | 0 invoke cas [1 2] | 0 ok cas [1 3]",
        *("invalid", "answer-mismatch"),
    ),
    "a read of an independent key answers for another": of(
        "0 invoke write [1 5] | 0 ok write [1 5] | 1 invoke read [1 nil] | 1 ok read [2 5]",
        *("invalid", "answer-mismatch"),
    ),
    "a transaction is answered in another order": of(
        "0 invoke txn [[:w :x 1] [:r :y nil]] | 0 ok txn [[:r :y nil] [:w :x 1]]",
        *("invalid", "answer-mismatch"),
    ),
    "a transaction is answered with more than it asked": of(
        "0 invoke txn [[:append :x 1]] | 0 ok txn [[:append :x 1] [:r :x [1]]]",
        *("invalid", "answer-mismatch"),
    ),
    "a transaction is answered with nothing": of(
        "0 invoke txn [[:append :x 1]] | 0 ok txn []", "invalid", "answer-mismatch"
    ),
    "a put of etcd's is answered as a delete": Situation(
        own(
            (0, "invoke", "put", "store", {"key": "k", "value": "a"}),
            (0, "ok", "put", "store", {"revision": 2, "deleted": 1}),
        ),
        *("invalid", "answer-mismatch"),
    ),
    "true was written and 1 answered": js(
        [event(0, "invoke", "write", True), event(0, "ok", "write", 1), *read(1, True)],
        *("invalid", "answer-mismatch"),
    ),
    "a write that did not happen is told as ok and false": of(
        "0 invoke write 1 | 0 ok write false | 1 invoke read nil | 1 ok read 1",
        *(REFUSED, "", "what did not happen is a fail"),
    ),
    "an element was there already, which add says by false": of(
        "0 invoke add 1 | 0 ok add true | 0 invoke add 1 | 0 ok add false"
        "| 1 invoke read nil | 1 ok read #{1}",
        "valid",
    ),
    "a compare-and-set says by false that it did not swap": of(
        "0 invoke write 1 | 0 ok write 1 | 0 invoke cas [3 2] | 0 ok cas false"
        "| 0 invoke read nil | 0 ok read 1",
        "valid",
    ),
    "a compare-and-set says by false that it did not swap what was there": of(
        "0 invoke write 1 | 0 ok write 1 | 0 invoke cas [1 2] | 0 ok cas false"
        "| 0 invoke read nil | 0 ok read 1",
        "invalid",
    ),
    "a compare-and-set says something that nobody can read": of(
        "0 invoke write 1 | 0 ok write 1 | 0 invoke cas [1 2] | 0 ok cas 7",
        *(REFUSED, "", "a cas answers"),
    ),
    "an info has a value, which is no answer": of(
        "0 invoke write 5 | 0 ok write 5 | 1 invoke read nil | 1 info read 9"
        "| 2 invoke read nil | 2 ok read 5",
        "valid",
    ),
}

THIN_AIR = {
    "an element of a set that nobody added": of(
        "0 invoke add 1 | 0 ok add 1 | 1 invoke read nil | 1 ok read #{1 9}",
        *("invalid", "unexpected-element"),
    ),
    "a counter shows more than was added": of(
        "0 invoke add 1 | 0 ok add 1 | 1 invoke read nil | 1 ok read 3", "invalid", "phantom-add"
    ),
    "a queue hands out what nobody put in": of(
        "0 invoke enqueue 1 | 0 ok enqueue 1 | 1 invoke dequeue nil | 1 ok dequeue 9",
        *("invalid", "unexpected-element"),
    ),
    "a drain shows what nobody put in": of(
        "0 invoke enqueue 1 | 0 ok enqueue 1 | 1 invoke drain nil | 1 ok drain [1 9]",
        *("invalid", "unexpected-element"),
    ),
    "a text that nobody put": Situation(
        edn("0 invoke put a | 0 ok put a | 1 invoke get nil | 1 ok get z").replace(
            ":f ", ':key "k", :f '
        ),
        "invalid",
    ),
    "an element behind what was appended": of(
        "0 invoke txn [[:append :x 1]] | 0 ok txn [[:append :x 1]]"
        "| 1 invoke txn [[:r :x nil]] | 1 ok txn [[:r :x [1 9]]]",
        "invalid",
    ),
    "a value behind the reader's own write": of(
        "0 invoke txn [[:w :x 5]] | 0 ok txn [[:w :x 5]]"
        "| 0 invoke txn [[:r :x nil]] | 0 ok txn [[:r :x 6]]",
        *("invalid", "unwritten-value"),
    ),
    "two values of one register that nobody wrote": of(
        "0 invoke txn [[:r :x nil]] | 0 ok txn [[:r :x 8]]"
        "| 1 invoke txn [[:r :x nil]] | 1 ok txn [[:r :x 9]]",
        *("invalid", "unwritten-value"),
    ),
    "a value that may have been there, strictly": of(
        "0 invoke txn [[:r :x nil] [:w :x 5]] | 0 ok txn [[:r :x 9] [:w :x 5]]",
        *("unknown", "", "strict"),
        strict=True,
    ),
    "a new account": of(
        f"{ACCOUNTS} | 0 invoke read nil | 0 ok read {{0 5, 1 3, 2 2}}",
        *("invalid", "wrong-accounts"),
    ),
    "true where 1 was written": js([*write(0, 1), *read(1, True)], "invalid", "unwritten-value"),
    "1 where a transaction wrote true": js(
        [
            event(0, "invoke", "txn", [["w", "x", True]]),
            event(0, "ok", "txn", [["w", "x", True]]),
            event(0, "invoke", "txn", [["r", "x", None]]),
            event(0, "ok", "txn", [["r", "x", 1]]),
        ],
        *("invalid", "unwritten-value"),
    ),
    "1 where a transaction appended true": js(
        [
            event(0, "invoke", "txn", [["append", "x", True]]),
            event(0, "ok", "txn", [["append", "x", True]]),
            event(1, "invoke", "txn", [["r", "x", None]]),
            event(1, "ok", "txn", [["r", "x", [1]]]),
        ],
        "invalid",
    ),
    "a number that floats cannot tell apart": js(
        [*write(0, 9007199254740993), *read(1, 9007199254740992)], "invalid", "unwritten-value"
    ),
    "what a failed add would have added": of(
        "0 invoke add 1 | 0 fail add 1 | 0 invoke add 2 | 0 ok add 2 | 1 invoke read nil"
        "| 1 ok read #{1 2}",
        *("invalid", "unexpected-element", "refused"),
    ),
}

FUTURE = {
    "a transaction alone reads what it writes afterwards": of(
        "0 invoke txn [[:r 1 nil] [:w 1 20]] | 0 ok txn [[:r 1 20] [:w 1 20]]",
        *("invalid", "internal"),
    ),
    "and the first of two that it writes": of(
        "0 invoke txn [[:r 1 nil] [:w 1 20] [:w 1 21]] | 0 ok txn [[:r 1 20] [:w 1 20] [:w 1 21]]",
        *("invalid", "internal"),
    ),
    "and a part of what it appends": of(
        "0 invoke txn [[:r 1 nil] [:append 1 5] [:append 1 6]]"
        "| 0 ok txn [[:r 1 [5]] [:append 1 5] [:append 1 6]]",
        *("invalid", "internal"),
    ),
    "a register shows a value before it is written": of(
        "1 invoke read nil | 1 ok read 5 | 0 invoke write 5 | 0 ok write 5",
        *("invalid", "future-read"),
    ),
    "a set shows an element before it is added": of(
        "1 invoke read nil | 1 ok read #{5} | 0 invoke add 5 | 0 ok add 5",
        *("invalid", "future-read"),
    ),
    "a queue hands out an element before it is put in": of(
        "1 invoke dequeue nil | 1 ok dequeue 5 | 0 invoke enqueue 5 | 0 ok enqueue 5", "invalid"
    ),
}

INDEPENDENT = {
    "queues by key": of(
        "0 invoke enqueue [1 5] | 0 ok enqueue [1 5] | 1 invoke enqueue [2 5] | 1 ok enqueue [2 5]"
        "| 0 invoke dequeue [1 nil] | 0 ok dequeue [1 5] | 1 invoke dequeue [2 nil]"
        "| 1 ok dequeue [2 5]",
        "valid",
    ),
    "a queue hands out what is in another": of(
        "0 invoke enqueue [1 5] | 0 ok enqueue [1 5] | 1 invoke enqueue [2 6] | 1 ok enqueue [2 6]"
        "| 0 invoke dequeue [1 nil] | 0 ok dequeue [1 6]",
        *("invalid", "unexpected-element"),
    ),
    "a drain by key lacks an element": of(
        "0 invoke enqueue [1 5] | 0 ok enqueue [1 5] | 1 invoke drain [1 nil] | 1 ok drain [1 []]"
        "| 1 invoke drain [2 nil] | 1 ok drain [2 []]",
        *("invalid", "lost-element"),
    ),
    "banks by key": of(
        "0 invoke read [1 nil] | 0 ok read [1 {0 5, 1 5}] | 1 invoke read [2 nil]"
        "| 1 ok read [2 {0 7, 1 7}]",
        "valid",
    ),
    "transactions by key": of(
        "0 invoke txn [1 [[:append :x 1]]] | 0 ok txn [1 [[:append :x 1]]]"
        "| 1 invoke txn [2 [[:r :x nil]]] | 1 ok txn [2 [[:r :x nil]]]",
        "valid",
    ),
    "counters in JSON": js(
        [
            *(event(0, kind, "add", ["a", 5]) for kind in ("invoke", "ok")),
            *(event(1, kind, "read", ["b", n]) for kind, n in (("invoke", None), ("ok", 5))),
        ],
        *("invalid", "phantom-add"),
    ),
    "a lock that is held twice": of(
        "0 invoke acquire [1 nil] | 0 ok acquire [1 nil] | 1 invoke acquire [1 nil]"
        "| 1 ok acquire [1 nil]",
        "invalid",
    ),
    "keys 1 and true and the text 1": js(
        [
            *(
                event(0, kind, "write", [key, 5 + at])
                for at, key in enumerate((1, True, "1"))
                for kind in ("invoke", "ok")
            ),
            *(
                event(0, kind, "read", [key, None if kind == "invoke" else 5 + at])
                for at, key in enumerate((1, True, "1"))
                for kind in ("invoke", "ok")
            ),
        ],
        "valid",
    ),
    "tuples printed as records": Situation(
        "".join(
            f"{{:process 0 :type :{kind} :f :{f} "
            f":value #jepsen.independent.Tuple{{:key {key} :value {value}}}}}\n"
            for f, key, asked, answer in (
                ("write", 1, 5, 5),
                ("write", 2, 6, 6),
                ("read", 1, "nil", 5),
            )
            for kind, value in (("invoke", asked), ("ok", answer))
        ),
        "valid",
    ),
    "the key stands beside a transaction": js(
        [
            *(event(0, kind, "txn", [["append", "x", 1]], key="a") for kind in ("invoke", "ok")),
            event(0, "invoke", "txn", [["r", "x", None]], key="b"),
            event(0, "ok", "txn", [["r", "x", [1]]], key="b"),
            event(0, "invoke", "txn", [["r", "x", None]], key="b"),
            event(0, "ok", "txn", [["r", "x", []]], key="b"),
        ],
        "invalid",
    ),
}

BEGINNINGS = {
    "a register that began with 0": of(
        "0 invoke read nil | 0 ok read 0 | 0 invoke write 1 | 0 ok write 1", "valid", initial="0"
    ),
    "the same behind a colon": of(
        "0 invoke read nil | 0 ok read 0 | 0 invoke write 1 | 0 ok write 1",
        "valid",
        model="cas-register:0",
    ),
    "the same unsaid": of(
        "0 invoke read nil | 0 ok read 0 | 0 invoke write 1 | 0 ok write 1",
        *("invalid", "unwritten-value", "--initial '0'"),
    ),
    "a counter that began with 100, unsaid": of(
        "0 invoke read nil | 0 ok read 100 | 0 invoke add 1 | 0 ok add 1 | 0 invoke read nil"
        "| 0 ok read 101",
        *("invalid", "phantom-add", "--initial '100'"),
    ),
    "a queue with something in it, unsaid": of(
        "0 invoke dequeue nil | 0 ok dequeue 7 | 0 invoke enqueue 1 | 0 ok enqueue 1",
        *("invalid", "unexpected-element", "--initial '[7]'"),
    ),
    "a text that was there, unsaid": Situation(
        edn('0 invoke get nil | 0 ok get "z" | 0 invoke put "a" | 0 ok put "a"').replace(
            ":f ", ':key "k", :f '
        ),
        *("invalid", "not-linearizable"),
        says=("--initial 'z'",),
    ),
    "a sequential register that began with 0, unsaid": of(
        "0 invoke write 1 | 0 ok write 1 | 1 invoke read nil | 1 ok read 0",
        *("invalid", "unwritten-value", "--initial '0'"),
        model="sequential-register",
    ),
    "what was there comes back": of(
        "0 invoke read nil | 0 ok read 100 | 0 invoke add 1 | 0 ok add 1 | 0 invoke read nil"
        "| 0 ok read 100",
        *("invalid", "phantom-add"),
    ),
    "false is not the 0 that was there": js(
        [*read(0, False), *write(0, 1)], "invalid", "unwritten-value", initial="0"
    ),
    "accounts below zero": of(
        "0 invoke read nil | 0 ok read {0 15, 1 -5}", "invalid", "overdrawn", "bank:negative"
    ),
    "accounts below zero where that is allowed": of(
        "0 invoke read nil | 0 ok read {0 15, 1 -5}", "valid", model="bank:negative"
    ),
    "balances of an old moment, of which a bank claims nothing": of(
        f"{ACCOUNTS} | 0 invoke transfer {{:from 0 :to 1 :amount 1}} | 0 ok transfer nil"
        "| 1 invoke read nil | 1 ok read {0 5, 1 5}",
        *("valid", "", "--model bank-linearizable"),
    ),
    "balances of an old moment, judged by moments": of(
        f"{ACCOUNTS} | 0 invoke transfer {{:from 0 :to 1 :amount 1}} | 0 ok transfer nil"
        "| 1 invoke read nil | 1 ok read {0 5, 1 5}",
        "invalid",
        model="bank-linearizable",
    ),
    "a balance that is true": js(
        [
            *read(0, {"a": True, "b": 4}),
            event(0, "invoke", "transfer", dict.fromkeys(("from", "to", "amount"), 1)),
        ],
        *(REFUSED, "", "a map of balances"),
    ),
}

MAELSTROM = {
    "a read of a key that was never written": of(
        "1 invoke read [0 nil] | 1 ok read [0 nil] | 0 invoke write [0 3] | 0 ok write [0 3]"
        "| 1 invoke read [0 nil] | 1 ok read [0 4]",
        *("invalid", "unwritten-value"),
    ),
    "an echo": of('0 invoke echo "a" | 0 ok echo "a"', REFUSED, "", "no model is known"),
    "a log of messages": of(
        '0 invoke send [[:send "1" 2]] | 0 ok send [[:send "1" [0 2]]]',
        *(REFUSED, "", "no model is known"),
    ),
    "an id that was given and perhaps never told": of(
        "0 invoke generate nil | 0 ok generate 1 | 1 invoke generate nil | 1 info generate 1",
        "valid",
    ),
    "an id that was given twice": of(
        '0 invoke generate nil | 0 ok generate "a-1" | 1 invoke generate nil| 1 ok generate "a-1"',
        *("invalid", "duplicate-id"),
    ),
    "a final read shows what failed": js(
        [
            event(0, "invoke", "add", 1),
            event(0, "fail", "add", 1),
            event(0, "invoke", "add", 3),
            event(0, "ok", "add", 3),
            event(1, "invoke", "read", None, **{"final?": True}),
            event(1, "ok", "read", 4, **{"final?": True}),
        ],
        *("invalid", "wrong-final-total"),
        model="pn-counter",
    ),
    "a final read of a set lacks an element": js(
        [
            event(0, "invoke", "add", 1),
            event(0, "ok", "add", 1),
            event(1, "invoke", "read", None, **{"final?": True}),
            event(1, "ok", "read", [], **{"final?": True}),
        ],
        *("invalid", "lost-element"),
        model="g-set",
    ),
    "a drain that nobody answered may have taken it": of(
        "0 invoke enqueue 1 | 0 ok enqueue 1 | 1 invoke drain nil | 1 info drain nil"
        "| 2 invoke drain nil | 2 ok drain []",
        *("unknown", "", "never answered"),
    ),
    "an acquire that is ok and false": of(
        "0 invoke acquire nil | 0 ok acquire false | 1 invoke acquire nil | 1 ok acquire true",
        *(REFUSED, "", "what did not happen is a fail"),
    ),
    "the keys 1 and the text 1 of a store": js(
        [
            *(event(0, kind, "put", "a", key=1) for kind in ("invoke", "ok")),
            event(1, "invoke", "get", None, key="1"),
            event(1, "ok", "get", "", key="1"),
        ],
        "valid",
    ),
    "a kv of etcd's that is cut short": Situation(
        own(
            (0, "invoke", "put", "store", {"key": "a", "value": "1"}),
            (0, "ok", "put", "store", {"revision": 2}),
            (0, "invoke", "range", "store", {"key": "a"}),
            (0, "ok", "range", "store", {"revision": 2, "kvs": [["a"]], "count": 1}),
        ),
        REFUSED,
        says=("op 2: kvs are lists of",),
    ),
    "a function that is no word": Situation(
        '[{"process": 0, "type": "invoke", "f": [1], "value": null}]', REFUSED, says=("f a name",)
    ),
}

CLIENTS = {
    "a named client beside a numbered one": js(
        [*write("client-a", 1), *write(3, 2), *read("b", 9)],
        *("invalid", "unwritten-value", "b found 9"),
    ),
    "a client named by a keyword": of(
        ":worker-1 invoke write 9 | :worker-1 ok write 9 | 0 invoke write 8 | 0 ok write 8"
        "| :worker-1 invoke read nil | :worker-1 ok read 9",
        *("invalid", "stale-read"),
    ),
    "the name 0 is not the number 0": js(
        [
            *write("0", 1),
            event(0, "invoke", "write", 2),
            *read("0", 1),
            event(0, "ok", "write", 2),
        ],
        "valid",
    ),
    "some events have no process": js([*write(None, 1), *read(0, 1)], REFUSED, "", "process"),
    "a process that is a list": js([*write([1], 1)], REFUSED, "", "a process is a number"),
    "a process goes on after an info": of(
        "0 invoke write 1 | 0 info write 1 | 0 invoke write 2 | 0 ok write 2"
        "| 1 invoke read nil | 1 ok read 1",
        "valid",
    ),
    "an operation ends twice": of(
        "0 invoke write 1 | 0 info write 1 | 0 ok write 1", REFUSED, "", "without having been"
    ),
    "faults within faults": of(
        ":nemesis invoke kill nil | :nemesis invoke kill nil | 0 invoke write 1 | 0 ok write 1"
        "| :nemesis info kill nil | 0 invoke read nil | 0 ok read 1",
        "valid",
    ),
}

FIELDS = {
    "a read that has lost its value": js(
        [*write(0, 1), event(1, "invoke", "read"), {"process": 1, "type": "ok", "f": "read"}],
        *(REFUSED, "", "no value"),
    ),
    "a dequeue that has lost its value": js(
        [
            event(0, "invoke", "dequeue"),
            {"process": 0, "type": "ok", "f": "dequeue"},
        ],
        *(REFUSED, "", "no value"),
    ),
    "an id that was lost": js(
        [event(0, "invoke", "generate"), {"process": 0, "type": "ok", "f": "generate"}],
        *(REFUSED, "", "no value"),
    ),
    "a message that was lost": js(
        [
            {"process": 0, "type": "invoke", "f": "broadcast"},
            {"process": 0, "type": "ok", "f": "broadcast"},
            *read(0, []),
        ],
        *(REFUSED, "", "no value"),
    ),
    "a field that is there twice": Situation(
        '[{"process":0,"type":"invoke","f":"write","value":1,"value":2}]',
        REFUSED,
        says=("the key 'value' twice",),
    ),
    "our own fields without our header": js(
        timed([*write(0, 1), *read(1, None)], 0, 1, 2, 3, name="time_ns"),
        *(REFUSED, "", '{"squall":"history","version":1}'),
    ),
    "our own header and a last line with a wrong field": Situation(
        '{"squall":"history","version":1}\n{"index":0,"time":1,"process":0,"type":"invoke"}',
        REFUSED,
        says=("time_ns",),
    ),
    "a read that was answered in two places": of(
        "0 invoke txn [[:r :a]] | 0 ok txn [[:r :a]]", REFUSED, "", "[function, key, value]"
    ),
    "a value that is written twice": of(
        "0 invoke txn [[:w :x 1]] | 0 ok txn [[:w :x 1]] | 1 invoke txn [[:w :x 1]]"
        "| 1 ok txn [[:w :x 1]] | 1 invoke txn [[:r :x nil]] | 1 ok txn [[:r :x 1]]",
        *("unknown", "", "workload"),
    ),
    "an element that is appended twice": of(
        "0 invoke txn [[:append :x 1]] | 0 ok txn [[:append :x 1]] | 1 invoke txn [[:append :x 1]]"
        "| 1 ok txn [[:append :x 1]] | 1 invoke txn [[:r :x nil]] | 1 ok txn [[:r :x [1 1]]]",
        *("unknown", "", "workload"),
    ),
    "an operation that a bank does not have": of(
        f"{ACCOUNTS} | 0 invoke deposit {{0 1}} | 0 ok deposit nil | {ACCOUNTS}",
        *("unknown", "", "a bank has no operation deposit"),
        model="bank",
    ),
    "an operation beside the giving of ids": of(
        "0 invoke generate nil | 0 ok generate 1 | 0 invoke release 1 | 0 ok release 1"
        "| 0 invoke generate nil | 0 ok generate 1",
        *("unknown", "", "unique-ids has no operation release"),
        model="unique-ids",
    ),
    "an empty read where nil is absent": of(
        "0 invoke write 1 | 0 ok write 1 | 0 invoke read nil | 0 ok read nil",
        *("invalid", "stale-read"),
        nil="absent",
    ),
    "an empty read where nobody says what nil is": of(
        "0 invoke write 1 | 0 ok write 1 | 0 invoke read nil | 0 ok read nil",
        *("unknown", "", "--nil absent"),
    ),
    "nothing but writes": of("0 invoke write 1 | 0 ok write 1", "unknown", "", "vacuous"),
    "nothing but puts to etcd of one revision": Situation(
        own(
            *(
                (
                    at,
                    kind,
                    "put",
                    "store",
                    {"key": key, "value": "1"} if kind == "invoke" else {"revision": 2},
                )
                for at, key in enumerate("ab")
                for kind in ("invoke", "ok")
            ),
        ),
        *("invalid", "shared-revision"),
    ),
}

TIMES = {
    "the logs of clients one after the other": js(
        timed([*write(0, 1), *write(0, 2), *read(1, 1)], 10, 20, 50, 60, 30, 40),
        *("valid", "", "sorted by time"),
    ),
    "and one of them is stale": js(timed(W1W2R1, 10, 20, 50, 60, 70, 80), "invalid", "stale-read"),
    "times before zero": js(timed(W1W2R1, -60, -50, -40, -30, -20, -10), "invalid", "stale-read"),
    "seconds with fractions": js(timed(W1W2R1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), "invalid"),
    "one time for everything": js(timed(W1W2R1, *[7] * 6), REFUSED, "", "of every event is 7"),
    "times for some": js([*timed(write(0, 1), 1, 2), *read(1, 1)], REFUSED, "", "no time"),
    "times as texts": js(
        timed([*write(0, 1), *read(1, 1)], "10ms", "20ms", "30ms", "40ms"),
        *(REFUSED, "", "a time is a number"),
    ),
    "times under another name that run backwards": js(
        timed(W1W2R1, 10, 20, 50, 60, 30, 40, name="time_ms"), REFUSED, "", "call it time"
    ),
    "dates under another name that run backwards": js(
        timed(W1W2R1, *(f"2026-01-01T00:00:{n}" for n in (10, 20, 50, 55, 30, 40)), name="ts"),
        *(REFUSED, "", "call it time"),
    ),
    "milliseconds as texts under another name that run backwards": js(
        timed(W1W2R1, *(f"{n} ms" for n in (10, 20, 50, 55, 30, 40)), name="wall-time"),
        *(REFUSED, "", "call it time"),
    ),
    "an index that is a text": js(
        [{**one, "index": str(at)} for at, one in enumerate(W1W2R1)],
        *(REFUSED, "", "an index is a number"),
    ),
    "index and time contradict each other": js(
        [{**one, "index": at} for at, one in enumerate(timed(W1W2R1, 10, 20, 50, 60, 30, 40))],
        *(REFUSED, "", "contradict each other"),
    ),
    "each client counts for itself": js(
        [
            {**one, "index": at % 2}
            for at, one in enumerate([*write(0, 1), *write(1, 2), *read(2, 1)])
        ],
        *("invalid", "stale-read"),
    ),
    "completions only, of registers": Situation(
        "{:type :ok, :f :write :value 1}{:type :ok :f :read :value 2}",
        REFUSED,
        says=("nothing in this file is invoked",),
    ),
    "completions only, of lists, in a circle": Situation(
        "{:type :ok, :value [[:append :x 3] [:r :y [8]]]}"
        "{:type :ok, :value [[:append :x 4] [:append :y 8]]}"
        "{:type :ok, :value [[:r :x [3 4]]]}",
        *("invalid", "G1c"),
    ),
}

FILES = {
    "carriage returns": Situation(edn(W1R2).replace("\n", "\r\n"), "invalid", "unwritten-value"),
    "a byte order mark": Situation("\ufeff" + edn(W1R2), "invalid", "unwritten-value"),
    "empty lines": Situation(edn(W1R2).replace("\n", "\n\n"), "invalid", "unwritten-value"),
    "compressed": Situation(gzip.compress(edn(W1R2).encode()), "invalid", "unwritten-value"),
    "cut off": Situation(edn(W1R2)[:-6], REFUSED),
    "our own, with a mark and carriage returns": Situation(
        "\ufeff"
        + own(
            (0, "invoke", "write", "x", 1),
            (0, "ok", "write", "x", 1),
            (1, "invoke", "read", "x", None),
            (1, "ok", "read", "x", None),
        ).replace("\n", "\r\n"),
        *("invalid", "stale-read"),
    ),
    "one record an operation": js(
        [
            operation("write", 1, 0.1, 0.2, client=0, status="ok"),
            operation("write", 2, 0.3, 0.4, client=0, status="ok"),
            operation("read", 1, 0.5, 0.6, client=1, status="ok"),
        ],
        *("invalid", "stale-read"),
    ),
    "one record an operation, of which one timed out": js(
        [
            operation("write", 1, 0.1, 0.2, client=0, status="timeout"),
            operation("write", 2, 0.3, 0.4, client=0, status="ok"),
            operation("read", 1, 0.5, 0.6, client=1, status="ok"),
        ],
        *("valid", "", "one record an operation"),
    ),
    "one record an operation, of which one never returned": js(
        [operation("write", 1, 1, None, client=0), operation("read", 1, 3, 4, client=1)], "valid"
    ),
    "one record an operation, with a status that may mean anything": js(
        [operation("write", 1, 1, 2, status=200)], REFUSED, "", "none of ok, fail and info", "write"
    ),
    "one record an operation, and a read without its answer": js(
        [operation("write", 1, 1, 2), {"op": "read", "start": 3, "end": 4}],
        *(REFUSED, "", "no value"),
    ),
    "Porcupine's operations": js(
        [
            porcupine(0, {"op": "put", "key": "x", "value": "a"}, 0, None, 10),
            porcupine(1, {"op": "get", "key": "x"}, 20, "", 30),
        ],
        "invalid",
    ),
    "Porcupine's operations whose functions are numbers": js(
        [porcupine(0, {"op": 1, "value": 5}, 0, None, 10)],
        *(REFUSED, "", "whose function has no name", '"f": "write"'),
    ),
    "a client of Porcupine's that does two things at once": js(
        [
            porcupine(0, {"op": "write", "value": 5}, 0, None, 10),
            porcupine(0, {"op": "read"}, 5, 5, 30),
        ],
        *(REFUSED, "", "still open"),
    ),
    "it returned before it was called": js(
        [porcupine(0, {"op": "write", "value": 5}, 10, None, 5)], REFUSED, "", "before its call"
    ),
}

SITUATIONS = {
    f"{group}: {name}": one
    for group, many in {
        "answers": ANSWERS,
        "thin air": THIN_AIR,
        "future": FUTURE,
        "independent": INDEPENDENT,
        "beginnings": BEGINNINGS,
        "maelstrom and others": MAELSTROM,
        "clients": CLIENTS,
        "fields": FIELDS,
        "times": TIMES,
        "files": FILES,
    }.items()
    for name, one in many.items()
}


def anomalies(verdict: Verdict) -> list[Anomaly]:
    return [*verdict.anomalies, *(one for child in verdict.children for one in anomalies(child))]


def judged(data: str | bytes, options: Mapping[str, Any]) -> tuple[str, list[Anomaly], str]:
    """The verdict or that it is refused, the anomalies, and all that is said of it."""
    given = dict(options)
    initial = given.get("initial")
    nil = given.get("nil")
    assume = Assumptions(
        None if initial is None else Initial.of(read_value(initial)), Nil(nil) if nil else None
    )
    content = data.encode() if isinstance(data, str) else data
    try:
        verdict = check_file(
            *("h", content, given.get("model"), Budget(), assume),
            strict=given.get("strict", False),
        )
    except (MalformedHistory, UnknownModel) as refused:
        return REFUSED, [], str(refused)
    found = anomalies(verdict)
    notes = verdict.stats["accounting"]["notes"]
    reasons = [verdict.reason or "", *(child.reason or "" for child in verdict.children)]
    said = "\n".join([*reasons, *(one.summary for one in found), *notes])
    return verdict.validity.value, found, said


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_right_answer_is_given(name: str) -> None:
    """The verdict, the kind of anomaly that tells it, and the words that say what to do."""
    one = SITUATIONS[name]
    verdict, found, said = judged(one.data, one.options)
    assert verdict == one.verdict, said
    assert verdict != REFUSED or "\n" not in said
    assert not one.kind or one.kind in {each.kind for each in found}, said
    for words in one.says:
        assert words in said


TRIED = [
    folder / "shared" / "tried"
    for folder in Path(__file__).resolve().parents[3:5]
    if (folder / "shared" / "tried" / "CASES.md").exists()
]
"""Files that came from users' reports, where they lie beside the checkout."""

# Verdict, then an anomaly's kind or words that are said, then options.
RIGHT: dict[str, tuple[Any, ...]] = {
    "01-first-answer-wrong.edn": ("invalid", "aborted-read"),
    "02-info-writes-flip.edn": ("valid",),
    "02b-one-flip-too-many.edn": ("invalid",),
    "03-reads-own-future-write.edn": ("invalid", "internal"),
    "03b-future-read-register.edn": ("invalid", "internal"),
    "03c-no-lost-update.edn": ("invalid", "internal"),
    "04a-wr-process-wr.edn": ("invalid", "G1c-process"),
    "04b-wr-process-wr-3place.edn": ("invalid", "G1c-process"),
    "04c-future-read.edn": ("invalid", "internal"),
    "05-value-out-of-thin-air.edn": ("invalid", "unwritten-value"),
    "05c-thin-air-register.edn": ("invalid", "unwritten-value"),
    "06-index-per-process.edn": ("invalid", "cyclic-versions"),
    "06b-no-index.edn": ("invalid", "cyclic-versions"),
    # 3 was appended before 4, and who appended 3 had read what came with 4: a circle without time.
    "07-only-completions.edn": ("invalid", "G1c"),
    "08-hex-and-own-functions.edn": (REFUSED, "path/to/file.py:Name"),
    "09-counter-failed-add-seen.edn": ("invalid", "phantom-add"),
    "09b-counter-decrement.edn": ("invalid",),
    "09c-counter-decrement-ok.edn": ("valid",),
    "10-delete-lost-at-compaction.jsonl": ("invalid", "watch-reliable"),
    "11-event-twice.jsonl": ("invalid", "watch-unique"),
    "13-paused-member-stale.jsonl": ("invalid", "stale-revision"),
    "14-revision-decreases.jsonl": ("invalid", "shared-revision"),
    "15-unanswered-txn-seen-by-watch.jsonl": ("valid",),
    "16-event-after-progress.jsonl": ("invalid", "watch-bookmarkable"),
    "17a-queue-drain.edn": ("valid",),
    "17b-queue-unordered.edn": ("unknown", "--model unordered-queue"),
    "17c-queue-lost.edn": ("invalid", "duplicated-element"),
    "18-bank-negative-allowed.edn": ("invalid", "bank:negative"),
    "18b-bank-total-drifts.edn": ("invalid", "wrong-total"),
    "19-independent-set.edn": ("valid",),
    "19b-independent-set-lost.edn": ("invalid", "lost-element"),
    "20-set-concurrent-final-reads.edn": ("valid",),
    "20b-set-final-read-disagree.edn": ("invalid", "stale-set-read"),
    "21-write-skew.edn": ("invalid", "G2-item"),
    "22-reads-change-within-txn.edn": ("invalid", "G0"),
    "23-completes-never-invoked.edn": (REFUSED, ":3:"),
    "24-initial-value-zero.edn": ("invalid", "--initial '0'"),
    "25-cas-from-nil-twice.edn": ("invalid", "lost-update"),
    "25b-cas-from-nil-ok.edn": ("valid",),
    "25c-read-nil-after-write.edn": ("unknown", "--nil absent"),
    "26-string-processes.json": ("invalid", "unwritten-value"),
    "26b-int-processes.json": ("invalid", "unwritten-value"),
    "26c-named-and-numbered-processes.json": ("valid",),
    "27-independent-counter.edn": ("valid",),
    "27c-independent-mutex.edn": ("valid",),
    "27d-independent-register.edn": ("valid",),
    "28-register-few-values.edn": ("valid",),
    "29-read-nil-then-append.edn": ("valid",),
    "30-versioned-map-values.edn": ("invalid", "answer-mismatch"),
    "31-timeout-as-fail.edn": ("invalid", "aborted-read"),
    "32-sequential-only.edn": ("invalid", "stale-read"),
    "33-elle-cyclic-versions.edn": ("valid",),
    "34b-jepsen-log-0.3.log": ("invalid", "unwritten-value"),
    "34c-history.txt": ("valid",),
    "35-duplicate-element.edn": ("invalid", "duplicate-elements"),
    "36-set-never-read.edn": ("valid",),
    "37-value-with-key-mixed.edn": ("invalid", "unwritten-value"),
    "38-cas-and-write-overlap.edn": ("invalid", "stale-read"),
    "39-bank-5000-events.edn": ("valid",),
    "39b-bank-stale-read.edn": ("valid", "--model bank-linearizable"),
    "40-answer-of-other-functions.edn": ("invalid", "answer-mismatch"),
    "40b-answer-of-other-key.edn": ("invalid", "answer-mismatch"),
    "40c-answer-shorter.edn": ("invalid", "answer-mismatch"),
    "40d-append-answer-other-element.edn": ("invalid", "answer-mismatch"),
    "40e-read-answer-not-a-list.edn": (REFUSED, "op 2"),
    "40f-write-answer-other-value.edn": ("invalid", "answer-mismatch"),
    "41-element-added-twice.edn": ("valid",),
    "41b-added-fail-then-ok.edn": ("invalid", "lost-element"),
    "43-session-snapshot.edn": ("invalid",),
    "45-porcupine-operations.json": (REFUSED, "whose function has no name"),
    "46-one-record-per-operation.json": ("valid", "one record an operation"),
    "47-client-logs-concatenated.json": ("valid", "sorted by time"),
    "48-f-nil.edn": ("unknown", "vacuous"),
    "49-bom.json": ("invalid", "unwritten-value"),
    "50-maelstrom-broadcast.edn": ("valid",),
    "51-edn-namespaced-map-regex-char.edn": ("unknown", "vacuous"),
    "52-jepsen-0.3-records.edn": ("valid",),
    "53-same-value-written-twice.edn": ("unknown", "workload"),
    "55-own-fields-without-header.jsonl": (REFUSED, '{"squall":"history","version":1}'),
    "55b-own-fields-with-header.jsonl": ("invalid", "stale-read"),
    "56-writes-only.jsonl": ("unknown", "vacuous"),
}

OTHERWISE: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("18-bank-negative-allowed.edn", {"model": "bank:negative"}, "valid"),
    ("21-write-skew.edn", {"model": "list-append:snapshot-isolation"}, "valid"),
    ("22-reads-change-within-txn.edn", {"model": "rw-register:read-uncommitted"}, "invalid"),
    ("24-initial-value-zero.edn", {"initial": "0"}, "valid"),
    ("25c-read-nil-after-write.edn", {"nil": "absent"}, "invalid"),
    ("32-sequential-only.edn", {"model": "sequential-register"}, "valid"),
    ("39-bank-5000-events.edn", {"model": "bank-linearizable"}, "valid"),
    ("39b-bank-stale-read.edn", {"model": "bank-linearizable"}, "invalid"),
    ("43-session-snapshot.edn", {"model": "list-append:serializable"}, "valid"),
    (
        "43-session-snapshot.edn",
        {"model": "list-append:strong-session-serializable"},
        "invalid",
    ),
    ("17b-queue-unordered.edn", {"model": "unordered-queue"}, "valid"),
    ("17b-queue-unordered.edn", {"model": "fifo-queue"}, "invalid"),
    ("07-only-completions.edn", {"model": "list-append:read-uncommitted"}, "valid"),
)
"""What is said of some of them beside the file, and what comes of it."""


@pytest.mark.skipif(not TRIED, reason="the files of users are not beside the checkout")
@pytest.mark.parametrize("name", RIGHT)
def test_what_users_reported_gets_its_right_answer(name: str) -> None:
    """Each file by itself, with nothing said beside it."""
    expected, *says = RIGHT[name]
    verdict, found, said = judged((TRIED[0] / name).read_bytes(), {})
    assert verdict == expected, said
    for words in says:
        assert words in said or words in {one.kind for one in found}, said


@pytest.mark.skipif(not TRIED, reason="the files of users are not beside the checkout")
@pytest.mark.parametrize(("name", "options", "expected"), OTHERWISE)
def test_what_users_reported_is_judged_as_they_say(
    name: str, options: dict[str, Any], expected: str
) -> None:
    verdict, _, said = judged((TRIED[0] / name).read_bytes(), options)
    assert verdict == expected, said
