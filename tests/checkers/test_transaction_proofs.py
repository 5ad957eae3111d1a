"""What is told of transactions is so: each sentence is held against the history it is about."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from checkers.history import History, Operation, OpType
from checkers.lanes import value_text
from checkers.serializability import LIST_APPEND, RW_REGISTER, check_isolation
from checkers.transactions import mismatch
from checkers.verdict import Anomaly, Budget
from tests.checkers import test_transaction_answers as answers
from tests.checkers.seeds import SEEDS
from tests.checkers.test_transactions import drawn, history

_LET = re.compile(r"(T\d+) be (p\d+)'s `txn (.*?)` \(op (\d+), (.*?)\)")


class Witness:
    """A history, and the names that a proof gives its transactions."""

    def __init__(self, events: History, proof: Anomaly) -> None:
        self.all = events.operations
        self.cast: dict[str, Operation] = {}
        by_index = {one.index: one for one in self.all}
        introduced, _, rest = proof.explanation.partition("\nThen ")
        for name, process, words, index, times in _LET.findall(introduced):
            one = self.cast[name] = by_index[int(index)]
            assert process == f"p{one.process}"
            asked = words.split()
            left = iter([self.word(mop) for mop in self.mops(one)])
            if "answered" in asked:
                asked = asked[: asked.index("answered")]
                left = iter([self.word(mop) for mop in one.input])
            assert all(word in left for word in asked), words
            if one.outcome is OpType.INFO or (mismatched(one) and "never" in times):
                assert times.endswith("never answered")
            else:
                begin, _, end = times.replace(" s", "").partition(" to ")
                assert float(begin) == one.invoked_ns / 1e9
                assert float(end) == (one.completed_ns or 0) / 1e9
        assert len(self.cast) == len(proof.ops)
        then, _, however = rest.partition("\nHowever, ")
        self.then = [line.strip() for line in re.split(r";\n    and ", then.rstrip("."))]
        self.however = however.rstrip(".")

    @staticmethod
    def word(mop: Any) -> str:
        return ":".join(map(value_text, mop))

    @staticmethod
    def mops(one: Operation) -> list[Any]:
        if one.outcome is OpType.OK and not mismatched(one):
            return list(one.output)
        return list(one.input)

    def reads(self, name: str, key: str) -> list[Any]:
        """What a transaction of the cast read of a key."""
        one = self.cast[name]
        assert one.outcome is OpType.OK
        assert not mismatched(one)
        return [v for f, k, v in one.output if f == "r" and value_text(k) == key]

    def writes(self, name: str, key: str) -> list[str]:
        """What it wrote to a key, or would have written."""
        return written(self.cast[name], key)

    def writers(self, key: str, value: str) -> list[Operation]:
        """Those who wrote a value to a key and did not fail, once for each time."""
        return [
            one
            for one in self.all
            if one.outcome is not OpType.FAIL
            for _ in range(written(one, key).count(value))
        ]

    def every_read(self, key: str) -> list[Any]:
        return [
            v
            for one in self.all
            if one.outcome is OpType.OK and not mismatched(one)
            for f, k, v in one.output
            if f == "r" and value_text(k) == key
        ]


def mismatched(one: Operation) -> bool:
    return one.outcome is OpType.OK and mismatch(one.input, one.output) is not None


def written(one: Operation, key: str) -> list[str]:
    return [value_text(v) for f, k, v in one.input if f != "r" and value_text(k) == key]


def texts(value: Any) -> list[str]:
    return [value_text(one) for one in value or ()]


def shown(value: Any) -> str:
    return "empty" if value in ([], None) else value_text(value)


def read_of_list(w: Witness, b: str, key: str, seen: str, a: str) -> None:
    (element,) = {v[-1] for v in w.reads(b, key) if value_text(v) == seen}
    assert w.writers(key, value_text(element)) == [w.cast[a]]


def stands_behind(w: Witness, a: str, mine: str, key: str, b: str, its: str) -> None:
    assert mine in w.writes(a, key)
    assert its in w.writes(b, key)
    for value in map(texts, w.every_read(key)):
        assert its not in value or mine in value[: value.index(its)]


def without(w: Witness, a: str, key: str, seen: str, element: str, b: str) -> None:
    assert any(shown(v) == seen and element not in texts(v) for v in w.reads(a, key))
    assert w.writers(key, element) == [w.cast[b]]


def read_of_register(w: Witness, b: str, key: str, value: str, a: str) -> None:
    assert value in map(value_text, w.reads(b, key))
    assert w.writers(key, value) == [w.cast[a]]


def set_later(w: Witness, a: str, key: str, old: str, b: str, new: str) -> None:
    assert w.writers(key, old) == [w.cast[a]]
    assert w.writers(key, new) == [w.cast[b]]


def read_before(w: Witness, a: str, key: str, old: str, b: str, new: str) -> None:
    assert old in map(value_text, w.reads(a, key))
    assert w.writers(key, new) == [w.cast[b]]


def read_initial(w: Witness, a: str, key: str, old: str, b: str, new: str) -> None:
    read_before(w, a, key, old, b, new)
    assert not w.writers(key, old)


def returned(w: Witness, a: str, at: str, b: str, since: str) -> None:
    ended, began = w.cast[a].completed_ns, w.cast[b].invoked_ns
    assert ended is not None
    assert ended < began
    assert (float(at), float(since)) == (ended / 1e9, began / 1e9)


def called(w: Witness, process: str, b: str, a: str) -> None:
    assert process == f"p{w.cast[a].process}" == f"p{w.cast[b].process}"
    assert w.cast[a].invoked_ns < w.cast[b].invoked_ns


def had_then_set(w: Witness, a: str, old: str, key: str, new: str) -> None:
    seen = [value_text(v) for f, k, v in w.mops(w.cast[a]) if value_text(k) == key]
    assert new in w.writes(a, key)
    assert old in seen[: len(seen) - 1 - seen[::-1].index(new)]


def nobody_wrote(w: Witness, old: str, a: str, new: str, key: str) -> None:
    assert not w.writers(key, old)
    assert new in [value_text(v) for f, k, v in w.mops(w.cast[a]) if value_text(k) == key]


_T, _V = r"(T\d+)", r"(\S+)"
REASONS: list[tuple[str, Callable[..., None]]] = [
    (rf"{_T} read {_V} as {_V}, whose last element {_T} appended", read_of_list),
    (rf"{_T} appended {_V} to {_V}, and {_T} appended {_V} behind it", stands_behind),
    (rf"{_T} read {_V} as {_V}, without the {_V} that {_T} appended", without),
    (rf"{_T} read {_V} as {_V}, which {_T} wrote", read_of_register),
    (rf"{_T} set {_V} to {_V}, and {_T} set it to {_V} later", set_later),
    (rf"{_T} read {_V} as {_V}, before {_T} set it to {_V}", read_before),
    (
        (
            rf"{_T} read {_V} as {_V}, which nobody wrote and which so can only be what it held at "
            rf"first, before {_T} set it to {_V}"
        ),
        read_initial,
    ),
    (rf"{_T} had returned at {_V} s when {_T} was called at {_V} s", returned),
    (rf"(p\d+) called {_T} after {_T}", called),
]


def holds(w: Witness, reason: str) -> None:
    """Hold one reason against the history."""
    for pattern, check in REASONS:
        if found := re.fullmatch(pattern, reason):
            check(w, *found.groups())
            return
    raise AssertionError(f"no rule for {reason!r}")


def circle(w: Witness) -> None:
    """Each step leads to where the next begins, the last to where the first began."""
    steps = [re.fullmatch(rf"{_T} came before {_T}, because (.*)", one) for one in w.then]
    last = re.fullmatch(rf"{_T} also came before {_T}, because (.*): a circle", w.however)
    ends = []
    for step in [*steps, last]:
        assert step is not None
        one, other, reason = step.groups()
        ends.append((one, other))
        names = re.findall(r"T\d+", reason)
        assert {one, other} == set(names), reason
        holds(w, reason)
    assert [other for _, other in ends] == [one for one, _ in [*ends[1:], ends[0]]]


def values_in_a_circle(w: Witness) -> None:
    """Each value came before the next."""
    pattern = rf"{_V} (?:also )?came before {_V} in {_V}, because (.*)"
    ends = []
    for line in [*w.then, w.however.removesuffix(": a circle")]:
        found = re.fullmatch(pattern, line)
        assert found is not None, line
        old, new, key, why = found.groups()
        ends.append((old, new))
        if same := re.fullmatch(rf"{_T} had {_V} there and then set it to {_V}", why):
            assert same.groups()[1:] == (old, new)
            had_then_set(w, same[1], old, key, new)
        elif first := re.fullmatch(rf"nobody wrote {_V}, and {_T} saw or wrote {_V}", why):
            nobody_wrote(w, first[1], first[2], first[3], key)
        else:
            timed = re.fullmatch(
                rf"{_T} last saw or wrote {_V}, {_T} first saw or wrote {_V}, and (.*)", why
            )
            assert timed is not None, why
            assert (timed[2], timed[4]) == (old, new)
            holds(w, timed[5])
            for name, value in ((timed[1], old), (timed[3], new)):
                mops = w.mops(w.cast[name])
                assert value in [value_text(v) for _, k, v in mops if value_text(k) == key]
    assert [new for _, new in ends] == [old for old, _ in [*ends[1:], ends[0]]]


def aborted(w: Witness) -> None:
    found = re.fullmatch(
        rf"{_T} had an effect, because {_T} found its {_V} in {_V}", "".join(w.then)
    )
    assert found is not None
    writer, reader, value, key = found.groups()
    assert w.cast[writer].outcome is OpType.FAIL
    assert value in w.writes(writer, key)
    assert any(
        value in (texts(v) if isinstance(v, list) else [value_text(v)])
        for v in w.reads(reader, key)
    )
    assert not w.writers(key, value)


def intermediate(w: Witness) -> None:
    found = re.fullmatch(
        rf"{_T} looked into the middle of {_T}, because it found {_V} as the latest in {_V}",
        "".join(w.then),
    )
    assert found is not None
    reader, writer, value, key = found.groups()
    latest = [value_text(v[-1] if isinstance(v, list) and v else v) for v in w.reads(reader, key)]
    assert value in latest
    assert value in w.writes(writer, key)[:-1]


def dirty(w: Witness) -> None:
    found = re.fullmatch(
        rf"{_T} came after {_T}, because its {_V} stands behind an element of {_T} in {_V}",
        "".join(w.then),
    )
    assert found is not None
    other, failed, value, again, key = found.groups()
    assert failed == again
    assert w.cast[failed].outcome is OpType.FAIL
    assert value in w.writes(other, key)
    assert any(
        value in one
        and set(w.writes(failed, key)) & set(one[: len(one) - 1 - one[::-1].index(value)])
        for one in map(texts, w.every_read(key))
    )


def unwritten(w: Witness) -> None:
    found = re.fullmatch(rf"somebody wrote {_V} to {_V}: {_T} found it", "".join(w.then))
    assert found is not None
    value, key, reader = found.groups()
    assert any(
        value in (texts(v) if isinstance(v, list) else [value_text(v)])
        for v in w.reads(reader, key)
    )
    assert not any(value in written(one, key) for one in w.all)
    claim = re.fullmatch(
        rf"no transaction of the whole history (writes|asks to write) {re.escape(value)} to "
        rf"{re.escape(key)}(.*)",
        w.however,
    )
    assert claim is not None, w.however
    verb, more = claim.groups()
    if verb == "writes":
        for one in w.all:
            assert not any(
                f != "r" and (value_text(k), value_text(v)) == (key, value)
                for f, k, v in (one.output if one.outcome is OpType.OK else ())
            )
    more = more.removeprefix(", and it was not there at first")
    if late := re.fullmatch(rf" when {_T} read it, because {_T} set {_V} to {_V}, and (.*)", more):
        assert late[1] == reader
        assert late[4] in w.writes(late[2], late[3])
        holds(w, late[5])
    elif session := re.fullmatch(
        rf", because (p\d+) had itself called {_T}, which set {_V} to {_V}, before {_T}", more
    ):
        called(w, session[1], session[5], session[2])
        assert session[4] in w.writes(session[2], session[3])
    elif missing := re.fullmatch(rf", because {_T} read {_V} as {_V}, without it", more):
        reads = w.reads(missing[1], key)
        assert any(shown(v) == missing[3] and value not in texts(v) for v in reads)
    elif behind := re.fullmatch(
        rf", because it stands behind {_V}, which {_T} asked to append", more
    ):
        assert behind[1] in w.writes(behind[2], key)
        assert any(
            behind[1] in texts(v)[: texts(v).index(value)]
            for v in w.reads(reader, key)
            if value in texts(v)
        )
    elif nothing := re.fullmatch(
        rf", because {_T} found nothing there, and nobody removes a value", more
    ):
        assert None in w.reads(nothing[1], key)
    elif another := re.fullmatch(
        rf", if {_V} was, which {_T} found and which nobody wrote either", more
    ):
        assert another[1] in map(value_text, w.reads(another[2], key))
        assert not any(another[1] in written(one, key) for one in w.all)
    else:
        assert more in ("", f", and {key} held 0 at first"), more


def internal(w: Witness) -> None:
    then = "".join(w.then)
    if later := re.fullmatch(
        rf"{_V} was in {_V} only after {_T} had written it, which no other transaction that may "
        rf"have happened did",
        then,
    ):
        value, key, name = later.groups()
        assert w.writers(key, value) == [w.cast[name]]
        mops = [mop for mop in w.mops(w.cast[name]) if value_text(mop[1]) == key]
        wrote = next(
            at for at, mop in enumerate(mops) if mop[0] != "r" and value_text(mop[2]) == value
        )
        assert any(
            mop[0] == "r"
            and value in (texts(mop[2]) if isinstance(mop[2], list) else [value_text(mop[2])])
            for mop in mops[:wrote]
        )
        return
    found = re.fullmatch(
        rf"within {_T} {_V} (is|ends in) {_V}, by what it had read and written before", then
    )
    assert found is not None, then
    name, key, verb, expected = found.groups()
    read = re.fullmatch(rf"the same {_T} then read {_V} as {_V}", w.however)
    assert read is not None
    assert value_text(read[3]) != expected
    if verb == "ends in":
        its, end = (text.strip("[]").split(",") for text in (read[3], expected))
        assert its[-len(end) :] != end
    values = [value_text(v) for v in w.reads(name, key)] + [
        value_text(v or []) for v in w.reads(name, key)
    ]
    assert read[3] in values


def repeated(w: Witness) -> None:
    found = re.fullmatch(
        rf"{_V} was appended to {_V} (twice|more than \d+ times), because {_T} found {_V}",
        "".join(w.then),
    )
    assert found is not None
    value, key, _, name, seen = found.groups()
    (of_list,) = {tuple(v) for v in w.reads(name, key) if value_text(v) == seen}
    count = len(w.writers(key, value))
    assert texts(of_list).count(value) > count
    assert re.match("only (one|[0-9]+) micro", w.however)[1] in (  # type: ignore[index]
        "one" if count == 1 else str(count)
    )


def forked(w: Witness) -> None:
    found = re.fullmatch(
        rf"what {_T} read, {_V}, and what {_T} read, {_V}, are moments of one list, .*",
        "".join(w.then),
    )
    assert found is not None
    one, mine, other, its = found.groups()
    key = next(value_text(mop[1]) for mop in w.cast[one].output if value_text(mop[2]) == mine)
    assert mine in map(value_text, w.reads(one, key))
    assert its in map(value_text, w.reads(other, key))
    short, long = sorted((mine.strip("[]").split(","), its.strip("[]").split(",")), key=len)
    assert long[: len(short)] != short


def torn(w: Witness) -> None:
    found = re.fullmatch(
        rf"{_V} follows {_V} in {_V}, because {_T} appended the one and the other", "".join(w.then)
    )
    assert found is not None
    second, first, key, writer = found.groups()
    name = re.fullmatch(rf"it does not in what {_T} found", w.however)
    assert name is not None
    mine = w.writes(writer, key)
    assert mine.index(second) == mine.index(first) + 1
    assert any(
        (second in one and first not in one[: one.index(second)])
        or (second not in one and first in one[:-1])
        for one in map(texts, w.reads(name[1], key))
    )


def lost(w: Witness) -> None:
    found = re.fullmatch(rf"each of them read {_V} as {_V}, as it was before either", w.however)
    assert found is not None
    key, value = found.groups()
    assert len(w.cast) == 2
    for name in w.cast:
        reads = [
            {"[]": "empty", "nil": "unset"}.get(value_text(v), value_text(v))
            for v in w.reads(name, key)
        ] + ["empty" for v in w.reads(name, key) if v is None]
        assert value in reads
        assert w.writes(name, key)
        for other in w.cast:
            assert value not in w.writes(other, key)
            assert not set(value.strip("[]").split(",")) & set(w.writes(other, key))


def answered_otherwise(w: Witness) -> None:
    (one,) = w.cast.values()
    assert mismatched(one)
    then = "".join(w.then)
    if counts := re.fullmatch(rf"{_T} asked for (\d+) micro-operations?", then):
        assert int(counts[2]) == len(one.input)
        assert w.however == f"it was answered with {len(one.output)}"
        return
    found = re.fullmatch(rf"micro-operation (\d+) of {_T} asked for `(.*)`", then)
    assert found is not None
    at = int(found[1]) - 1
    if found[3].startswith("["):
        assert found[3] == repr(list(one.input[at]))
        assert w.however.endswith(f"is `{list(one.output[at])!r}`")
        return
    assert found[3].split() == texts(one.input[at])[: len(found[3].split())]
    its = re.fullmatch(rf"micro-operation {at + 1} of its answer is `(.*)`", w.however)
    assert its is not None
    assert its[1].split() == texts(one.output[at])[: len(its[1].split())]
    assert found[3] != its[1]


RULES: dict[str, Callable[[Witness], None]] = {
    "answer-mismatch": answered_otherwise,
    "G1a": aborted,
    "G1b": intermediate,
    "dirty-update": dirty,
    "unwritten-value": unwritten,
    "internal": internal,
    "duplicate-elements": repeated,
    "incompatible-order": forked,
    "torn-append": torn,
    "lost-update": lost,
    "cyclic-versions": values_in_a_circle,
}


@pytest.mark.parametrize("data", [LIST_APPEND, RW_REGISTER])
def test_no_sentence_of_a_proof_is_contradicted_by_the_history(data: str) -> None:
    """Of histories damaged in every way: stale, forked, out of thin air, written twice."""
    appends, kinds = data == LIST_APPEND, set()
    for seed in range(SEEDS):
        random = Random(seed)
        plans = drawn(random, appends=appends, noise=random.choice([0.0, 0.2, 0.5]))
        if random.random() < 0.3:
            answers.out_of_thin_air(random, plans, appends=appends)
        if random.random() < 0.3:
            answers.write_twice(random, plans)
        if random.random() < 0.2 and (right := answers.answered(plans)):
            answers.answer_something_else(random, random.choice(right), appends=appends)
        options: dict[str, Any] = random.choice([{}, {"closed": False}])
        if not appends and random.random() < 0.1:
            options = {"initial": 0}
        events = history(plans)
        level = random.choice([*answers.LEVELS, "snapshot-isolation"])
        if random.random() < 0.1:
            events = History(list(events), header={"excerpt": True})
        verdict = check_isolation(events, Budget(), data=data, level=level, **options)
        for proof in verdict.anomalies:
            kinds.add(proof.kind)
            try:
                RULES.get(proof.kind, circle)(Witness(events, proof))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}\n{proof.explanation}") from error
    assert {"G-single", "G1a", "internal", "lost-update", "unwritten-value"} <= kinds, kinds
