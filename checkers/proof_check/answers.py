"""What proofs say of answers to other questions, and of what nobody put into an object."""

from __future__ import annotations

import json
import re
from typing import Any

from squall.checkers.etcd.requests import covers, ran
from squall.checkers.history import Operation, OpType
from squall.checkers.proof_check.grammar import (
    Contradicted,
    Unverified,
    moment,
    require,
    sentence,
    summary,
)
from squall.checkers.proof_check.proof import Proof, Told
from squall.checkers.proof_check.stores import replayed, sent, watches_of
from squall.checkers.text.lanes import value_text

_DIFFERS = re.compile(r"(?:the \w+ |no )?(.*) was asked, (.*) answered", re.DOTALL)


@summary("{p:who}'s {what} was answered with something else than was asked: {wrong}.")
def _something_else(proof: Proof, p: str, what: str, wrong: str) -> None:
    one = proof.someone(p, what, lambda one: what.partition(" of ")[0] == one.real.f)
    _differs(one.real, wrong)


@sentence("Then {w:op} is answered about what it asked for: {asked}.")
def _about_what_was_asked(proof: Proof, w: Told, asked: str) -> None:
    real = w.real
    mine = f"key {real.key}" if real.input is None else value_text(real.input)
    require(asked == mine, f"{w.name} asked for {mine}")
    proof.memory["asked"] = w


@sentence("However, {w:op} was answered with {answered}: {wrong}.")
def _was_answered(proof: Proof, w: Told, answered: str, wrong: str) -> None:
    require(proof.memory.get("asked") is w, "something else was said")
    require(answered == value_text(w.real.output), f"{w.name} was answered with something else")
    _differs(w.real, wrong)


def _differs(one: Operation, wrong: str) -> None:
    """Check what is said to be wrong with an answer."""
    found = _DIFFERS.fullmatch(wrong)
    if found is not None:
        require(found[1] != found[2], "that is what was asked")
        return
    if wrong.endswith(" is not among the keys asked for"):
        key = wrong.removesuffix(" is not among the keys asked for")
        require(_strange_key(one.f, one.input, one.output, key), f"{key} was asked for")
        return
    swap = re.fullmatch(r"it swapped, expecting (.*), and saw (.*)", wrong)
    if swap is not None:
        said = value_text(one.input[0]), value_text(one.output["seen"])
        require(swap.groups() == said and said[0] != said[1], f"it expected and saw {said}")
        return
    branch = re.fullmatch(r"its branch `(\w+)` has (\d+) \w+, which got (\d+) \w+", wrong)
    if branch is not None:
        asked, told = one.input.get(branch[1]) or (), one.output["answers"]
        require((branch[1] == "then") is bool(one.output["succeeded"]), "the other branch ran")
        require([len(asked), len(told)] == [int(branch[2]), int(branch[3])], "these are others")
        require(len(asked) != len(told), "each was answered")
        return
    raise Unverified("there is no reading of it")


def _strange_key(f: str, request: Any, answer: Any, key: str) -> bool:
    if f == "txn":
        return any(_strange_key(*one, key) for one in ran(request, answer))
    shown = [kv[0] for name in ("kvs", "prev_kvs") for kv in answer.get(name) or ()]
    shown += [kv[0] for name in ("prev", "prev_kv") if (kv := answer.get(name))]
    return key in map(str, shown) and not covers(request, key)


# --- elements out of thin air


@summary("{p:who} found {value} in {key}, whose {puts} had failed.")
def _refused(proof: Proof, p: str, value: str, key: str, puts: str) -> None:
    require(key in {proof.key, "the object"}, f"the object is {proof.key}")
    require(_asked_for(proof, puts, value), "nobody tried to put it there")
    proof.someone(p, f"found {value}", lambda one: value in _shown(one.real))


@summary("{p:who} found {value} in {key}, which nobody ever put there.")
def _never_put(proof: Proof, p: str, value: str, key: str) -> None:
    proof.someone(p, f"found {value}", lambda one: value in _shown(one.real))


@sentence("Then {value} was put into {key} once: {r:op} shows it.")
def _was_put(proof: Proof, value: str, key: str, r: Told) -> None:
    require(value in _shown(r.real), f"{r.name} does not show {value}")
    proof.memory["value"] = value


@sentence("However, no {puts} of {value} was called, and it was not there at the start.")
def _no_put(proof: Proof, puts: str, value: str) -> None:
    require(proof.memory.get("value") == value, "another element was shown")
    require(not _began_with(proof, value), "it was there at the start")
    found = _asked_for(proof, puts, value)
    require(not found, f"op {found[0].index if found else ''} asked for it")


@sentence("However, every {puts} of {value} failed for certain: {names}.")
def _every_put_failed(proof: Proof, puts: str, value: str, names: str) -> None:
    require(proof.memory.get("value") == value, "another element was shown")
    found = _asked_for(proof, puts, value)
    require(found and all(one.outcome is OpType.FAIL for one in found), "one of them may have")
    for name in re.findall(r"[A-Z]\d+", names):
        require(proof.named(name).real in found, f"{name} is none of them")


@sentence("However, no operation adds {value}, and it was not there at the start.")
def _no_add(proof: Proof, value: str) -> None:
    require(proof.memory.get("value", value) == value, "another element was shown")
    require(not _began_with(proof, value), "it was there at the start")
    found = _asked_for(proof, "add", value)
    require(not found, f"op {found[0].index if found else ''} adds {value}")


@sentence("However, only {names} add it, and each failed for certain.")
def _only_failed(proof: Proof, names: str) -> None:
    found = _asked_for(proof, "add", str(proof.memory.get("value", "")))
    named = [proof.named(name).real for name in re.findall(r"[A-Z]\d+", names)]
    require(sorted(map(id, found)) == sorted(map(id, named)), f"{len(found)} operations add it")
    require(all(one.outcome is OpType.FAIL for one in named), "one of them did not fail")


def _began_with(proof: Proof, value: str) -> bool:
    return isinstance(proof.begun, list) and value in map(value_text, proof.begun)


def _asked_for(proof: Proof, puts: str, value: str) -> list[Operation]:
    return [
        one
        for one in proof.facts.of_key(proof.key)
        if one.f == puts and value_text(one.input) == value
    ]


def _shown(one: Operation) -> list[str]:
    output = one.output
    return [value_text(each) for each in (output if isinstance(output, list) else [output])]


# --- totals


def _lasted(one: Told, called: str, answered: str) -> None:
    """Check when an operation was called and when it answered."""
    real = moment(one.real.invoked_ns, called), moment(one.real.completed_ns or 0, answered)
    require((called, answered) == real, f"{one.name} lasted from {real[0]} to {real[1]}")


@sentence(
    "Then {r:op} shows at least {low:int}, what had been acknowledged when it was called at "
    "{called:ns} with all that was subtracted until it answered at {answered:ns}, and at most "
    "{high:int}, all that had been added by then without what was subtracted for certain.",
    "Then {r:op} shows at least {low:int}, {least:int} at the start and what had been acknowledged "
    "when it was called at {called:ns} with all that was subtracted until it answered at "
    "{answered:ns}, and at most {high:int}, {most:int} at the start and all that had been added by "
    "then without what was subtracted for certain.",
)
def _signed_bounds(
    proof: Proof,
    r: Told,
    low: int,
    called: str,
    answered: str,
    high: int,
    least: int = 0,
    most: int = 0,
) -> None:
    real = r.real
    at = real.completed_ns or 0
    begun = proof.begun or 0
    require(least == most == begun, f"it was {begun} at the start")
    _lasted(r, called, answered)
    sums = [proof.begun or 0, proof.begun or 0]
    for one in proof.facts.of_key(proof.key):
        if one.f != "add" or one.outcome is OpType.FAIL:
            continue
        must = one.completed_ns is not None and one.completed_ns < real.invoked_ns
        may = one.invoked_ns <= at
        sums[0] += one.input if (must if one.input > 0 else may) else 0
        sums[1] += one.input if (may if one.input > 0 else must) else 0
    require(sums == [low, high], f"these sums are {sums[0]} and {sums[1]}")
    proof.memory["bounds"] = (r, (low, high))


# --- what a store held


@summary(
    "At revision {rev:int} {node} answered {said} for {key}, where its own changes leave {there}.",
    "At revision {rev:int} {node} answered {said}, where its own changes leave {there}.",
)
def _where(
    proof: Proof, rev: int, node: str, said: str, there: str, key: str | None = None
) -> None:
    one = list(proof.cast.values())[-1].real
    require(one.output["revision"] == rev, f"it answered at {one.output['revision']}")
    require(node == (one.node or "the store"), f"it was {one.node}")
    require(said != there, "that is the same")
    if key is not None:
        require(said == _held(one, key), f"it answered {_held(one, key)}")


@sentence(
    "Then {there} is at {key} at revision {rev:int}, because {w:op} {verb} it at revision "
    "{at:int}, and no request of the history can have changed it between.",
    "Then {there} is at {key} at revision {rev:int}, because the store was empty at the start, and "
    "no request of the history can have changed it since.",
)
def _is_there(
    proof: Proof,
    there: str,
    key: str,
    rev: int,
    w: Told | None = None,
    verb: str = "",
    at: int = 1,
) -> None:
    if w is not None:
        require(_looked_at(w.real) == at, f"{w.name} is of revision {_looked_at(w.real)}")
        if verb == "showed":
            require(there in _shown_at(w.real, key), f"{w.name} showed {_shown_at(w.real, key)}")
        else:
            require(_changed(w.real, key), f"{w.name} did not change {key}")
    else:
        require(there == "nothing", "the store was empty at the start")
    require(at <= rev, f"revision {at} came later")
    for one in proof.facts.history.operations:
        if one.outcome is not OpType.OK or not isinstance(one.output, dict):
            continue
        made = one.output.get("revision") or 0
        if one.f == "put" and one.input["key"] == key and at < made <= rev:
            raise Contradicted(f"op {one.index} put {key} at revision {made}")
    proof.memory["there"] = (key, there)


@sentence(
    "Then {there} is at {key} at revision {rev:int}, because {w:op} showed it at revision "
    "{at:int}, and it is of revision {mod:int}."
)
def _was_there_already(
    proof: Proof, there: str, key: str, rev: int, w: Told, at: int, mod: int
) -> None:
    require(_looked_at(w.real) == at, f"{w.name} is of revision {_looked_at(w.real)}")
    require(there in _shown_at(w.real, key), f"{w.name} showed {_shown_at(w.real, key)}")
    require(json.loads(there)[2] == mod, f"{there} is not of revision {mod}")
    require(mod <= rev <= at, "these revisions are in another order")
    proof.memory["there"] = (key, there)


@sentence("However, {r:op} shows {shown} at {key}.")
def _shows_at(proof: Proof, r: Told, shown: str, key: str) -> None:
    require(_held(r.real, key) == shown, f"it shows {_held(r.real, key)}")
    require(proof.memory.get("there", ("", shown))[1] != shown, "that is what is there")
    require(proof.memory.get("there", ("",))[0] == key, "nothing was said of it")


@sentence("Then what {r:op} shows is of revision {rev:int} or before, as of which it looked.")
def _looked_as_of(proof: Proof, r: Told, rev: int) -> None:
    require(_looked_at(r.real) == rev, f"it looked at {_looked_at(r.real)}")
    proof.memory["bound"] = (None, rev)


@sentence(
    "Then {key} at revision {rev:int} is of revision {at:int} or after, because {w:op} changed it "
    "at revision {at2:int}.",
)
def _is_of(proof: Proof, key: str, rev: int, at: int, at2: int, w: Told) -> None:
    require(at == at2 <= rev, "these revisions are in another order")
    require(at == _looked_at(w.real), f"{w.name} is of revision {_looked_at(w.real)}")
    require(_changed(w.real, key), f"{w.name} did not change {key}")
    proof.memory["bound"] = (at, None)


@sentence(
    "However, {r:op} shows {key} of revision {mod:int}.",
    "However, {r:op} shows it of revision {mod:int}.",
)
def _shows_of(proof: Proof, r: Told, mod: int, key: str | None = None) -> None:
    least, most = proof.memory.get("bound", (None, None))
    mods = [kv[3] for kv in r.real.output.get("kvs") or () if key in {None, str(kv[0])}]
    require(mod in mods, f"it shows {mods}")
    require(least is None or mod < least, "that is no contradiction")
    require(most is None or mod > most, "that is no contradiction")


@sentence(
    "Then, all changes before it replayed, {b:op} is answered with {expected}, the last to say of "
    "it being {w:op}; no unanswered request can have changed that.",
    "Then, all changes before it replayed, {b:op} is answered with {expected}; no unanswered "
    "request can have changed that.",
)
def _replayed(proof: Proof, b: Told, expected: str, w: Told | None = None) -> None:
    proof.memory["expected"] = (b, expected)
    texts = [value_text(one) for one in replayed(proof, b.real)]
    require(expected in texts, f"it is answered with {texts[0]}")


def _looked_at(one: Operation) -> int:
    return int(one.input.get("revision") or one.output["revision"])


def _changed(one: Operation, key: str) -> bool:
    """Whether an acknowledged request changed a key, alone or with others."""
    made = ran(one.input, one.output) if one.f == "txn" else [(one.f, one.input, one.output)]
    return any(
        (f == "put" and str(asked.get("key")) == key)
        or (f == "delete" and covers(asked, key) and answer.get("deleted", 1))
        for f, asked, answer in made
    )


def _shown_at(one: Operation, key: str) -> list[str]:
    """What an answer shows at a key, the ranges within a transaction too."""
    if one.f != "txn":
        return [_held(one, key)]
    return [
        value_text(list(kv[1:]))
        for f, _, answer in ran(one.input, one.output)
        if f == "range"
        for kv in answer.get("kvs") or ()
        if str(kv[0]) == key
    ]


def _held(one: Operation, key: str) -> str:
    for kv in one.output.get("kvs") or ():
        if str(kv[0]) == key:
            return value_text(list(kv[1:]))
    return "nothing"


# --- watches


@summary("{p:who}'s watch was sent {event}, which nobody put.")
def _sent_unwritten(proof: Proof, p: str, event: str) -> None:
    watches_of(proof, p)
    sent(proof, event)
    require(proof.memory.get("event", event) == event, "its proof is of another change")


@sentence("Then some request put {what}, because the watch was sent {event}.")
def _some_request(proof: Proof, what: str, event: str) -> None:
    value, _, key = what.rpartition(" to ")
    require(event.startswith(f"`put {key} {value}`"), f"{event} is another change")
    sent(proof, event)
    proof.memory["put"], proof.memory["event"] = what, event


@sentence(
    "However, no request that may have happened puts {what}.",
    "However, no request before the watch ended puts {what}.",
)
def _no_request(proof: Proof, what: str) -> None:
    require(proof.memory.get("put") == what, "another change was named")
    value, _, key = what.rpartition(" to ")
    watch = next(one.real for one in proof.cast.values() if one.real.f == "watch")
    for one in proof.facts.history.operations:
        if one.outcome is OpType.FAIL or one.f not in {"put", "txn"}:
            continue
        late = watch.completed_ns is not None and one.invoked_ns > watch.completed_ns
        inner = (
            [one.input]
            if one.f == "put"
            else [each for branch in ("then", "else") for _, each in one.input.get(branch) or ()]
        )
        puts = any(
            str(each.get("key")) == key and "value" in each and value_text(each["value"]) == value
            for each in inner
        )
        require(late or not puts, f"op {one.index} may have put it")
