"""The "Let" sentence: which operations a proof speaks of, and what it shows of them.

An operation is shown whole, in the words of the lanes, or in part: some of a transaction's
micro-operations, some elements of a list, some responses of a watch. What is shown of it must be
there in the same order, and the proof must say that it is a part.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from squall.checkers.history import Operation, OpType
from squall.checkers.proof_check.facts import believed
from squall.checkers.proof_check.grammar import Contradicted, moment, require, sentence
from squall.checkers.proof_check.proof import Proof, Told
from squall.checkers.text.lanes import describe, value_text
from squall.checkers.text.proof import phrase, value_phrase, who

_ENTRY = re.compile(r"([A-Z]\d+) be (.*) \(op (\d+), (.*)\)", re.DOTALL)
_SEVERAL = re.compile(r",\n    (?=[A-Z]\d+ be )")
_WHEN = re.compile(r"(\S+ s) to (\S+ s)")
_OPEN = re.compile(r"called at (\S+ s), never answered")


def introduce(proof: Proof, text: str) -> None:
    """Read a sentence "Let W1 be ..., R1 be ..."; raises Contradicted."""
    wrong: Contradicted | None = None
    for entry in _SEVERAL.split(text.removeprefix("Let ").removesuffix(".")):
        try:
            _entry(proof, entry)
        except Contradicted as why:
            wrong = wrong or why  # the others are read nonetheless: later sentences name them
    if wrong is not None:
        raise wrong
    listed = set(proof.anomaly.ops)
    named = {one.real.index for one in proof.cast.values()}
    require(listed == named, f"the anomaly names ops {sorted(listed)}, its proof {sorted(named)}")


def _entry(proof: Proof, entry: str) -> None:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise Contradicted(f"{entry!r} introduces no operation")
    name, what, index, when = found.groups()
    real = proof.facts.by_index.get(int(index))
    if real is None:
        raise Contradicted(f"op {index} is no client's invocation")
    require(name not in proof.cast, f"{name} was introduced before")
    turn = 1 + sum(other[0] == name[0] for other in proof.cast)
    same = [one.name for one in proof.cast.values() if one.real.index == real.index]
    require(not same, f"op {index} was introduced as {same and same[0]}")
    proof.cast[name] = Told(name, real, real, _whole(real))
    _timed(real, when)
    proof.cast[name] = _told(name, real, what)
    require(int(name[1:]) == turn, f"the next of its kind is {name[0]}{turn}")


def _timed(real: Operation, when: str) -> None:
    answered = _WHEN.fullmatch(when)
    if answered is not None:
        if real.completed_ns is None:
            raise Contradicted(f"op {real.index} was never answered")
        called, returned = answered.groups()
        is_called, is_returned = (
            moment(real.invoked_ns, called),
            moment(real.completed_ns, returned),
        )
        require(
            (called, returned) == (is_called, is_returned),
            f"op {real.index} lasted from {is_called} to {is_returned}",
        )
        return
    still = _OPEN.fullmatch(when)
    if still is None:
        raise Contradicted(f"{when!r} is no stretch of time")
    is_called = moment(real.invoked_ns, still[1])
    require(still[1] == is_called, f"op {real.index} was called at {is_called}")
    require(real.completed_ns is None, f"op {real.index} was answered")


def _told(name: str, real: Operation, what: str) -> Told:
    through = f" through {real.node}" if real.node else ""
    if what == phrase(real) + through:
        return Told(name, real, real, _whole(real))
    require(what.endswith(through), f"op {real.index} went through {real.node or 'no known node'}")
    shown = what.removesuffix(through) if through else what
    found = part_of(real, shown)
    if found is None:
        raise Contradicted(f"op {real.index} is {phrase(real)}{through}")
    told, pairs = found
    return Told(name, real, told, pairs)


def _mops(one: Operation) -> list[Any]:
    """A transaction's micro-operations: as answered, if what was asked was answered; else asked."""
    if one.f != "txn" or not isinstance(one.input, list | tuple):
        return []
    if believed(one):
        return list(one.output)
    asked = [[*mop, None][:3] for mop in one.input]
    return [mop for mop in asked if mop[0] != "r"] if one.outcome is OpType.OK else asked


def _whole(real: Operation) -> tuple[tuple[Any, Any], ...]:
    return tuple((mop, mop) for mop in _mops(real))


Part = tuple[Operation, tuple[tuple[Any, Any], ...]]


def part_of(real: Operation, shown: str) -> Part | None:
    """Read an operation of which a part is shown, in a proof or in a lane; None if it is none."""
    shown = shown.removeprefix(f"{who(real)}'s ")
    if shown.startswith("`") and shown.endswith("`"):
        shown = shown[1:-1]
    if real.f == "txn" and not isinstance(real.input, dict):
        return _part_of_transaction(real, shown)
    if real.f.endswith("read") and isinstance(real.output, list):
        return _part_of_list(real, shown)
    if isinstance(real.input, dict) and isinstance(real.output, dict):
        return _part_of_map(real, shown)
    return None


def is_sublist(some: Sequence[Any], whole: Sequence[Any]) -> bool:
    """Whether some elements stand in a list, in the same order."""
    rest = iter(whole)
    return all(any(one == other for other in rest) for one in some)


def _part_of_transaction(real: Operation, shown: str) -> Part | None:
    """Find each shown micro-operation among the real ones, in order; lists may lack elements."""
    words = shown.split(" ")
    mops = list(_mops(real))
    tail = describe(msgspec.structs.replace(real, input=[], output=[])).split(" ")[1:]
    if words[0] != "txn" or (tail and words[-len(tail) :] != tail):
        return None
    words = words[1 : len(words) - len(tail)]
    pairs = _aligned(words, mops)
    if pairs is None:
        return None
    told = [mop for mop, _ in pairs]
    asked = [[f, key, None if f == "r" else value] for f, key, value in told]
    if believed(real):
        return msgspec.structs.replace(real, input=asked, output=told), tuple(pairs)
    whole = real.outcome is not OpType.OK and told == mops
    part = msgspec.structs.replace(
        # An answer to something else is shown as none.
        real,
        input=asked,
        output=None,
        outcome=OpType.INFO if real.outcome is OpType.OK else real.outcome,
    )
    return real if whole else part, tuple(pairs)


def _aligned(words: list[str], mops: list[Any]) -> list[tuple[Any, Any]] | None:
    """Pair each word with the micro-operation it shows, whole ones first."""
    for part in (False, True):
        pairs: list[tuple[Any, Any]] = []
        rest = iter(mops)
        for word in words:
            shown = ((_as_told(word, mop, part=part), mop) for mop in rest)
            found = next((pair for pair in shown if pair[0] is not None), None)
            if found is None:
                break
            pairs.append(found)
        else:
            return pairs
    return None


def _as_told(word: str, mop: Any, *, part: bool) -> Any | None:
    """The micro-operation as a word shows it, if the word can be it; `part`: or a part of it."""
    f, key, value = mop
    prefix = f"{f}:{value_text(key)}:"
    if not word.startswith(prefix):
        return None
    said = word[len(prefix) :]
    if said == value_text(value):
        return mop
    if part and f == "r" and isinstance(value, list):
        kept = _kept(said, value)
        is_end = kept and kept[-1] == value[-1]  # else it would say that another is the last
        return [f, key, kept] if is_end else None
    return None


def _kept(said: str, whole: Sequence[Any]) -> list[Any] | None:
    """Which elements of a list are shown by a text of some of them."""
    try:
        shown = json.loads(said)
    except ValueError:
        return None
    if not isinstance(shown, list):
        return None
    kept, rest = [], iter(whole)
    for one in shown:
        text = json.dumps(one).replace(" ", "_")
        match = next(
            (each for each in rest if json.dumps(each, default=str).replace(" ", "_") == text),
            _NONE,
        )
        if match is _NONE:
            return None
        kept.append(match)
    return kept


_NONE = object()


def _part_of_list(real: Operation, shown: str) -> Part | None:
    """A read of which some elements are shown: "read of [1, 2]", or "read s [1,2]" in a lane."""
    listed: Any = None
    if shown.startswith(f"{real.f} of "):
        try:
            listed = ast.literal_eval(shown.removeprefix(f"{real.f} of "))
        except (ValueError, SyntaxError):
            return None
    else:
        prefix = f"{real.f} {real.key or '-'} "
        tail = describe(msgspec.structs.replace(real, output=[])).removeprefix(prefix + "[]")
        if shown.startswith(prefix) and shown.endswith(tail):
            listed = _kept(shown[len(prefix) : len(shown) - len(tail)], real.output)
    if not isinstance(listed, list) or not is_sublist(listed, real.output):
        return None
    return msgspec.structs.replace(real, output=listed), ()


def _part_of_map(real: Operation, shown: str) -> Part | None:
    """A watch of which some events are shown, or a range of which some keys are."""
    bare = msgspec.structs.replace(real, output={})
    begin, _, end = describe(bare).rpartition("{}")
    if not (shown.startswith(begin) and shown.endswith(end)):
        return None
    try:
        said = json.loads(shown[len(begin) : len(shown) - len(end)])
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    rebuilt = _responses(said, real.output) if real.f == "watch" else _rows(said, real.output)
    if rebuilt is None or value_text(rebuilt) != value_text(said):
        return None
    return msgspec.structs.replace(real, output=rebuilt), ()


def _responses(said: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any] | None:
    responses: list[Any] = []
    rest = iter(whole.get("responses", ()))
    for one in said.get("responses", ()):
        match = next((mine for each in rest if (mine := _response(one, each)) is not None), None)
        if match is None:
            return None
        responses.append(match)
    return {**whole, "responses": responses}


def _response(said: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any] | None:
    """A response of which some events are shown, or its progress alone."""
    shown = {name: value for name, value in whole.items() if name in said}
    if "events" in shown:
        texts = list(map(value_text, said["events"]))
        kept, rest = [], iter(shown["events"])
        for text in texts:
            match = next((each for each in rest if value_text(each) == text), None)
            if match is None:
                return None
            kept.append(match)
        shown["events"] = kept
    return shown if value_text(_ordered(shown, said)) == value_text(said) else None


def _ordered(one: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    return {name: one[name] for name in like if name in one}


def _rows(said: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any] | None:
    texts = list(map(value_text, said.get("kvs", ())))
    kept = [row for row in whole.get("kvs", ()) if value_text(row) in texts]
    return {**whole, "kvs": kept, "count": len(kept)}


@sentence(
    "Of {names} only a part is shown: what the proof does not need is left out.",
)
def _only_a_part(proof: Proof, names: str) -> None:
    said = [each for name in names.split(", ") for each in name.split(" and ")]
    for name in said:
        proof.named(name)
    partial = sorted(one.name for one in proof.cast.values() if one.partial)
    require(sorted(said) == partial, f"it is so of {', '.join(partial) or 'none'}")
    proof.memory["admitted"] = True


def admit_parts(proof: Proof) -> None:
    """Check that a proof that shows parts of operations says so."""
    partial = [one for one in proof.cast.values() if one.partial]
    if partial and not proof.memory.get("admitted"):
        one = partial[0]
        raise Contradicted(f"{one.name} is a part only: op {one.real.index} is {phrase(one.real)}")


__all__ = ["admit_parts", "introduce", "is_sublist", "part_of", "value_phrase"]
