"""Every kind of file is read for what it says; what it leaves open is said, or asked for."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from squall.checkers.files import check_file
from squall.checkers.formats import edn
from squall.checkers.formats.foreign import load_report
from squall.checkers.history import MalformedHistory
from squall.checkers.verdict import Budget, Validity, Verdict

HEADER = '{"squall":"history","version":1}\n'


def check(text: str | bytes, model: str | None = None, *, strict: bool = False) -> Verdict:
    """Judge a file called h."""
    data = text.encode() if isinstance(text, str) else text
    return check_file("h", data, model, Budget(), strict=strict)


def complaint(text: str | bytes, model: str | None = None) -> str:
    """Return why a file called h is refused, in one line."""
    with pytest.raises(MalformedHistory) as caught:
        check(text, model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def event(process: Any, kind: str, f: str, value: Any = None, **more: Any) -> str:
    """One event as a line of JSON."""
    return json.dumps({"process": process, "type": kind, "f": f, "value": value, **more}) + "\n"


def call(process: Any, f: str, asked: Any, answer: Any, **more: Any) -> str:
    """An operation that was answered, as two lines of JSON."""
    return event(process, "invoke", f, asked, **more) + event(process, "ok", f, answer, **more)


def own(*ops: tuple[Any, str, str, Any]) -> str:
    """A history of our own: (process, type, f, value), a millisecond apart, about the key x."""
    return HEADER + "".join(
        event(process, kind, f, value, key="x", index=at, time_ns=at * 1_000_000)
        for at, (process, kind, f, value) in enumerate(ops)
    )


# Clients with names


def test_clients_with_names_are_clients() -> None:
    """In other tools' files and in ours: a value that nobody wrote is found, and who read it."""
    for text in (
        call("client-1", "write", 5, 5) + call("client-2", "read", None, 9),
        own(("a", "invoke", "write", 5), ("a", "ok", "write", 5))
        + event("client-2", "invoke", "read", key="x", index=2, time_ns=2_000_000)
        + event("client-2", "ok", "read", 9, key="x", index=3, time_ns=3_000_000),
    ):
        verdict = check(text)
        assert verdict.validity is Validity.INVALID
        assert "client-2 found 9" in verdict.anomalies[0].summary


def test_a_named_client_beside_a_numbered_one_is_not_dropped() -> None:
    """Its write explains what the other read."""
    verdict = check(call("writer", "write", 5, 5) + call(2, "read", None, 5))
    assert verdict.validity is Validity.VALID
    assert verdict.stats["accounting"]["judged"] == 2


def test_the_nemesis_and_the_observer_are_no_clients() -> None:
    """Whatever they report is no operation on the database."""
    faults = [
        event("nemesis", "info", "start", "cut"),
        event("nemesis/kill", "invoke", "start", "n1"),
        event("observer", "info", "observe", {}),
    ]
    verdict = check(call(0, "write", 1, 1) + "".join(faults) + call(0, "read", None, 1))
    assert verdict.validity is Validity.VALID
    assert verdict.stats["accounting"]["operations"] == 2
    assert verdict.stats["accounting"]["events"] == 7


@pytest.mark.parametrize("process", [True, [1], 1.5, {"id": 1}, "a\x1b[31mb"])
def test_a_process_that_is_neither_number_nor_name_is_refused(process: Any) -> None:
    """It used to be dropped silently."""
    assert complaint(call(process, "write", 1, 1)).startswith("h:1: a process is a number or a")


def test_whole_floats_are_numbers_of_processes() -> None:
    """Some JSON writers know no integers."""
    assert check(call(1.0, "write", 1, 1) + call(1, "read", None, 1)).validity is Validity.VALID


# Nothing is left out silently


def test_reads_that_are_left_out_are_counted_and_told() -> None:
    """The verdict says how many, and why."""
    text = call(0, "write", 1, 1) + call(0, "read", None, 1) + call(0, "read", None, None)
    verdict = check(text)
    assert verdict.validity is Validity.VALID
    told = verdict.stats["accounting"]
    assert (told["lines"], told["operations"], told["judged"]) == (6, 3, 2)
    ((reason, count),) = told["left_out"].items()
    assert "nil" in reason
    assert count == 1


def test_strict_makes_any_omission_unknown() -> None:
    """And only that."""
    whole = call(0, "write", 1, 1) + call(0, "read", None, 1)
    assert check(whole, strict=True).validity is Validity.VALID
    verdict = check(whole + call(0, "read", None, None), strict=True)
    assert verdict.validity is Validity.UNKNOWN
    assert (verdict.reason or "").startswith("strict: 1 left out: ")


def test_a_history_whose_every_read_is_left_out_is_vacuous() -> None:
    """Five acknowledged writes, then twenty reads of nothing: never a pass."""
    text = "".join(call(0, "write", n, n) for n in range(5)) + call(1, "read", None, None) * 20
    verdict = check(text)
    assert verdict.validity is Validity.UNKNOWN
    assert (verdict.reason or "").startswith("vacuous: nothing was read")
    assert "20 left out" in (verdict.reason or "")


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (own((0, "invoke", "write", 1), (0, "ok", "write", 1)), None),
        (call(0, "write", 1, 1), None),
        (call(0, "add", 1, 1), "set"),
        (call(0, "add", 1, 1), "counter"),
        (call(0, "enqueue", 1, 1), "queue"),
        (call(0, "put", "a", "a", key="k"), "kv"),
        (call(0, "txn", [["w", "x", 1]], [["w", "x", 1]]), None),
        (call(0, "txn", [["append", "x", 1]], [["append", "x", 1]]), None),
        (call(0, "write", 1, 1) + event(1, "invoke", "read"), None),
    ],
)
def test_a_history_in_which_nothing_was_read_is_no_pass(text: str, model: str | None) -> None:
    """Whatever was written, nothing could have contradicted the claim."""
    verdict = check(text, model)
    assert verdict.validity is Validity.UNKNOWN
    assert "vacuous" in (verdict.reason or "")


def test_a_compare_and_set_that_succeeded_was_a_look() -> None:
    """It could have contradicted what was written."""
    text = call(0, "write", 1, 1) + call(0, "cas", [1, 2], [1, 2])
    assert check(text).validity is Validity.VALID


def test_our_own_fields_without_the_header_line_are_refused() -> None:
    """With the line to add."""
    ops = own((0, "invoke", "write", 1), (0, "ok", "write", 1)).removeprefix(HEADER)
    for text in (ops, "[" + ",".join(ops.splitlines()) + "]", "{:process 0 :time_ns 3 :type :ok}"):
        assert complaint(text).startswith("h:1: time_ns is a field of Squall's own")
        assert HEADER.strip() in complaint(text)


# Order and time


def test_logs_of_clients_put_one_after_the_other_are_sorted_by_time() -> None:
    """And the verdict says so."""
    text = "".join(
        event(process, kind, f, value, time=time)
        for process, kind, f, value, time in [
            (0, "invoke", "write", 1, 1000),
            (0, "ok", "write", 1, 2000),
            (0, "invoke", "write", 2, 5000),
            (0, "ok", "write", 2, 6000),
            (1, "invoke", "read", None, 3000),
            (1, "ok", "read", 1, 4000),
        ]
    )
    verdict = check(text)
    assert verdict.validity is Validity.VALID
    assert verdict.stats["accounting"]["notes"] == (
        "times run backwards at line 5: sorted by time, taken as one clock of all clients",
    )


def test_events_at_one_time_of_several_clients_are_concurrent() -> None:
    """The order of their lines is whoever's log was written first."""
    lines = [
        event(0, "invoke", "write", 1, time=10),
        event(0, "ok", "write", 1, time=20),
        event(1, "invoke", "read", None, time=20),
        event(1, "ok", "read", None, time=30),
        event(0, "invoke", "write", 2, time=40),
        event(0, "ok", "write", 2, time=50),
        event(1, "invoke", "read", None, time=50),
        event(1, "ok", "read", 1, time=60),
    ]
    verdict = check("".join(lines))
    assert verdict.validity is Validity.VALID
    assert any("taken as concurrent" in note for note in verdict.stats["accounting"]["notes"])
    later = lines[:6] + [line.replace('"time": 50', '"time": 51') for line in lines[6:]]
    assert check("".join(later)).validity is Validity.INVALID


def test_an_index_that_contradicts_the_times_is_refused() -> None:
    """One of the two is wrong."""
    times = [1, 2, 5, 6, 3, 4]
    text = "".join(
        event(at // 2 % 2, ("invoke", "ok")[at % 2], "write", at // 2, index=at, time=time)
        for at, time in enumerate(times)
    )
    assert "index and time contradict each other" in complaint(text)


def test_an_index_of_each_process_is_ignored() -> None:
    """It says nothing about the others."""
    text = """{:type :invoke, :f :txn :value [[:w :x 71]], :process 1, :index 1}
{:type :ok, :f :txn :value [[:w :x 71]], :process 1, :index 2}
{:type :invoke, :f :txn :value [[:w :x 72]], :process 2, :index 1}
{:type :ok, :f :txn :value [[:w :x 72]], :process 2, :index 2}
{:type :invoke, :f :txn :value [[:r :x nil]], :process 1, :index 3}
{:type :ok, :f :txn :value [[:r :x 71]], :process 1, :index 4}
"""
    assert check(text).validity is Validity.INVALID


@pytest.mark.parametrize("time", ["noon", True, [1]])
def test_a_time_that_is_no_number_is_refused(time: Any) -> None:
    """It used to be ignored."""
    assert complaint(call(0, "write", 1, 1, time=time)).startswith("h:1: a time is a number")


def test_a_file_of_completions_only_is_judged_without_time() -> None:
    """Serializability needs none; what needs it is refused."""
    text = "[{:type :ok, :value [[:append :x 3] [:r :y [8]]]} {:type :ok, :value [[:append :y 8]]}]"
    verdict = check(text)
    assert verdict.validity is Validity.VALID
    assert verdict.stats["model"] == "list-append:serializable"
    assert "nothing is known about time" in verdict.stats["accounting"]["notes"][0]
    broken = text.replace("[:append :y 8]", "[:append :y 8] [:r :x [3]]")
    assert check(broken).validity is Validity.INVALID
    assert "ask for list-append:serializable" in complaint(text, "list-append:strict-serializable")
    assert "nothing in this file is invoked" in complaint(
        "{:type :ok :f :read :value 1}", "register"
    )


def test_an_answer_that_could_be_two_operations_needs_a_process() -> None:
    """Matching them by luck would move an interval."""
    asked = '{"type": "invoke", "f": "read", "value": null}\n'
    text = asked + asked + '{"type": "ok", "f": "read", "value": 1}\n'
    assert (
        complaint(text, "register")
        == "h:3: this may answer the read of line 1 and 2; say which by a process"
    )


# What files look like


@pytest.mark.parametrize(
    "line",
    [
        "INFO [2026-01-02 03:04:05,678] jepsen worker 0 - jepsen.util {}",
        "2026-01-02 03:04:05,678{{GMT}}\tINFO\t[jepsen worker 0] jepsen.util: {}",
        "{}",
    ],
)
def test_what_jepsen_logs_is_a_history(line: str) -> None:
    """Its console, its jepsen.log, its history.txt; other lines are skipped."""
    events = [
        "0\t:invoke\t:write\t1",
        "0\t:ok\t:write\t1",
        ":nemesis\t:info\t:start\tnil",
        "1\t:invoke\t:read\tnil",
        '1\t:info\t:read\tnil\t:timeout ["a" 1]',
        "2\t:invoke\t:read\tnil",
        "2\t:ok\t:read\t7",
    ]
    text = "\n".join(map(line.format, events)) + "\n"
    if "jepsen" in line:
        text = text.replace("\n", "\nWARN [2026] jepsen node n1 - jepsen.control: no route\n", 1)
    verdict = check(text)
    assert verdict.validity is Validity.INVALID
    assert verdict.anomalies[0].kind == "unwritten-value"
    assert verdict.stats["format"] == "jepsen-log"
    assert verdict.stats["accounting"]["operations"] == 3
    broken = text.replace(":ok\t:read\t7", ":ok\tread")
    assert "an event that is not process, type, function, value" in complaint(broken)


def test_reads_of_two_places_are_read() -> None:
    """As Elle's tests and papers write them."""
    text = """{:process 1, :type :invoke, :f :txn, :value [[:r :a] [:append :b 11]]}
{:process 1, :type :ok, :f :txn, :value [[:r :a [21]] [:append :b 11]]}
{:process 2, :type :invoke, :f :txn, :value [[:r :b]]}
{:process 2, :type :ok, :f :txn, :value [[:r :b [11]]]}
{:process 2, :type :invoke, :f :txn, :value [[:append :a 21]]}
{:process 2, :type :ok, :f :txn, :value [[:append :a 21]]}
"""
    assert [one.kind for one in check(text).anomalies] == ["G1c-process"]


def test_a_function_of_nil_is_none() -> None:
    """As records of Jepsen's print it."""
    text = "{:f nil :process 0 :type :invoke :value [[:append 1 1] [:r 1 nil]]}\n"
    answer = "{:f nil :process 0 :type :ok :value [[:append 1 1] [:r 1 [1]]]}"
    assert check(text + answer).validity is Validity.VALID


def test_a_byte_order_mark_is_no_part_of_a_file() -> None:
    """In JSON, EDN and our own format."""
    ours = own((0, "invoke", "read", None), (0, "ok", "read", None))
    for text in (call(0, "write", 1, 1), "{:process 0 :type :invoke :f :read}", ours):
        assert check("\ufeff" + text).stats == check(text).stats
    assert complaint(ours.encode("utf-16")).startswith("h:1: not UTF-8 text but UTF-16")


def test_a_compressed_file_is_decompressed() -> None:
    """Up to a bound; damage is told."""
    data = gzip.compress((call(0, "write", 1, 1) + call(1, "read", None, 9)).encode())
    assert check(data).validity is Validity.INVALID
    assert complaint(data[:-9]) == "h: the compressed file ends in the middle"
    assert complaint(data[:12] + b"\xff" + data[13:]).startswith(
        "h: compressed by gzip, but damaged"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("process,type,f,value\n0,invoke,read,\n", "h:1: this looks like a table"),
        ("<!doctype html>\n<html>", "h:1: this looks like a page"),
        (b"JEPSEN\0\1\2", "h:1: Jepsen's binary format"),
        (b"\xc1\xd0\x00\xff", "h:1: not UTF-8 text"),
        ("{:valid? true}", "h:1: these are results"),
        (
            '{"ClientId":0,"Input":{"op":1},"Call":0,"Output":null,"Return":100}',
            "h:1: an operation whose function has no name: 1; write",
        ),
        (
            '{"op":"read","key":"k","client":0,"start":0.1,"end":0.2}',
            "h:1: this ok of read has no value; nothing is written as null or nil",
        ),
        (
            '{"op":"read","key":"k","client":0,"start":0.1,"duration":0.2}',
            "h:1: one record an operation",
        ),
        ('{"process": 0, "f": "read"}', "h:1: an event without a type"),
    ],
)
def test_what_is_no_history_is_refused_with_what_is(text: str | bytes, why: str) -> None:
    """One line, which names what can be read."""
    found = complaint(text)
    assert found.startswith(why)
    assert "history" in found or "value" in found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('#:client{:node "n1" :a/b 2 :_/c 3}', {"client/node": "n1", "a/b": 2, "c": 3}),
        (r"[\( \newline \u0041 \a]", ["(", "\n", "A", "a"]),
        (r'#"a+\(\"b"', r"a+\(\"b"),
        ("^:m ^{:a 1} [^String x]", ["x"]),
        ("[#<Object foo {bar> #<A #<B>> 3]", ["#<Object foo {bar>", "#<A #<B>>", 3]),
    ],
)
def test_what_clojure_prints_is_read(text: str, value: Any) -> None:
    """Namespaced maps, characters, patterns, metadata, objects without a notation."""
    assert list(edn.read(text)) == [value]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{:a 1 :a 2}", "a map with the key 'a' twice"),
        ("{:a}", "a map with a key and no value"),
        ("#(inc 1)", "cannot read '#(inc 1)'"),
    ],
)
def test_what_is_no_edn_is_refused_with_the_true_reason(text: str, why: str) -> None:
    """And nothing is read twice."""
    assert complaint(text) == f"h:1: {why}"


# etcd


def requested(kind: str, body: dict[str, Any], call_ns: int, answer: dict[str, Any]) -> str:
    """An operation of etcd's robustness report."""
    asked = {"Type": kind, **body}
    fields = {"ClientId": 1, "Input": asked, "Call": call_ns, "Output": answer}
    return json.dumps({**fields, "Return": call_ns + 500}) + "\n"


def put(key: str, value: str, call_ns: int, **answer: Any) -> str:
    """A put as the reports have it."""
    operation = {
        "Type": "put-operation",
        "Put": {"Key": key, "Value": {"Value": value, "Hash": 0}, "LeaseID": 0},
    }
    txn = {"Conditions": None, "OperationsOnSuccess": [operation], "OperationsOnFailure": None}
    told = {"Txn": {"Failure": False, "Results": [{"KVs": None, "Deleted": 0}]}, **answer}
    return requested("txn", {"Txn": txn}, call_ns, told)


def ranged(key: str, call_ns: int, revision: int, *kvs: tuple[str, int, int]) -> str:
    """A range as the reports have it, with (value, modification, version) of its key."""
    shown = [
        {"Key": key, "Value": {"Value": value, "Hash": 0}, "ModRevision": mod, "Version": version}
        for value, mod, version in kvs
    ]
    answer = {"Range": {"KVs": shown, "Count": len(shown)}, "Revision": revision}
    return requested("range", {"Range": {"Start": key, "End": "", "Limit": 0}}, call_ns, answer)


def watched(*events: tuple[str, str, int]) -> str:
    """A watch of everything, which was sent puts of (key, value, revision)."""
    told = [
        {
            "Type": "put-operation",
            "Key": key,
            "Value": {"Value": value, "Hash": 0},
            "Revision": revision,
            "IsCreate": False,
        }
        for key, value, revision in events
    ]
    response = {"Events": told, "IsProgressNotify": False, "Revision": events[-1][2], "Time": 9000}
    request = {"Key": "", "Revision": 1, "WithPrefix": True}
    return json.dumps({"Request": request, "Responses": [response]}) + "\n"


def test_a_robustness_report_of_etcd_is_judged_as_store_and_as_watch() -> None:
    """Requests by their revisions, watches by what the requests changed."""
    done = put("k", "a", 1000, Revision=2) + put("k", "b", 2000, Revision=3)
    read = ranged("k", 3000, 3, ("b", 3, 2))
    assert check(done + read).validity is Validity.VALID
    verdict = check(done + read + watched(("k", "a", 2), ("k", "b", 3)))
    assert verdict.validity is Validity.VALID
    assert [child.checker for child in verdict.children] == ["etcd-order", "watch"]
    assert verdict.stats["accounting"]["operations"] == 4
    lost = check(done + read + watched(("k", "b", 3)))
    assert [one.kind for child in lost.children for one in child.anomalies] == ["watch-reliable"]
    stale = check(done + ranged("k", 3000, 3, ("a", 2, 1)))
    assert stale.validity is Validity.INVALID


def test_a_report_is_a_folder_of_files() -> None:
    """Each client's operations and watches; messages name the file and the line."""
    files = [("c1/operations.json", put("k", "a", 1000, Revision=2).encode())]
    found = load_report([*files, ("c1/watch.json", watched(("k", "a", 2)).encode())])
    assert (found.model, found.format) == ("etcd+watch", "etcd-robustness")
    with pytest.raises(MalformedHistory, match=r"c1/watch.json:1: not as in a report"):
        load_report([*files, ("c1/watch.json", b'{"Request": {}, "Responses": []}')])


def test_a_request_of_a_report_that_failed_may_have_happened() -> None:
    """Its effect may be seen, or not; and what hides when a key began is said."""
    lost = put("k", "b", 2000, Error="deadline exceeded")
    done = put("k", "a", 1000, Revision=2)
    assert check(done + lost + ranged("k", 3000, 2, ("a", 2, 1))).validity is Validity.VALID
    seen = check(done + lost + ranged("k", 3000, 3, ("b", 3, 2)))
    assert seen.validity is not Validity.INVALID
    assert "hide when a key began" in seen.stats["accounting"]["notes"][0]
    assert check(done + lost + ranged("k", 3000, 2, ("z", 2, 1))).validity is Validity.INVALID


def test_requests_and_watches_in_one_file_of_ours_are_judged_together() -> None:
    """With --model etcd the watches are left out, and counted."""
    ops = [
        (0, "invoke", "put", {"key": "k", "value": "a"}),
        (0, "ok", "put", {"revision": 2}),
        (1, "invoke", "watch", {"key": "k", "start": 2}),
        (1, "ok", "watch", {"created": 2, "responses": [told]}),
    ]
    verdict = check(own(*ops))
    assert verdict.validity is Validity.VALID
    assert [child.checker for child in verdict.children] == ["etcd-order", "watch"]
    alone = check(own(*ops), "etcd")
    assert alone.validity is Validity.VALID
    assert alone.stats["accounting"]["judged"] == 1
    wrong = {"revision": 2, "events": [["put", "k", "z", 2]]}
    ops[3] = (1, "ok", "watch", {"created": 2, "responses": [wrong]})
    assert check(own(*ops)).validity is Validity.INVALID


told = {"revision": 2, "events": [["put", "k", "a", 2]]}
