"""What is told of transactions is so: each sentence is read again, in damaged histories.

`proof_check` reads them; here is drawn what it reads, that each of its patterns has held of some
history, and that what is not so is found out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from squall.checkers.history import History, Op, OpType
from squall.checkers.proof_check import Standing, check_proof, transactions
from squall.checkers.proof_check.facts import Facts
from squall.checkers.proof_check.grammar import Grammar, Pattern, because, clause, sentence, summary
from squall.checkers.registry import judge_of
from squall.checkers.text.lanes import parse
from squall.checkers.transactions.checker import LIST_APPEND, RW_REGISTER, check_isolation
from squall.checkers.transactions.long_fork import check_long_fork
from squall.checkers.verdict import Anomaly, Budget, Verdict
from tests.checkers import cases
from tests.checkers.seeds import SEEDS
from tests.checkers.transactions import test_answers as answers
from tests.checkers.transactions.test_transactions import Plan, drawn, history

FALSE = {Standing.CONTRADICTED, Standing.NOT_UNDERSTOOD}
LONG_FORK = "long-fork"
KINDS = [LIST_APPEND, RW_REGISTER, LONG_FORK]


def judged(data: str, seed: int) -> tuple[History, Verdict]:
    """A random history, damaged in some ways, and its verdict."""
    random = Random(seed)
    if data == LONG_FORK:
        return forked(random)
    appends = data == LIST_APPEND
    plans = drawn(random, appends=appends, noise=random.choice([0.0, 0.2, 0.5]))
    if random.random() < 0.3:
        answers.out_of_thin_air(random, plans, appends=appends)
    if random.random() < 0.3:
        answers.write_twice(random, plans)
    if random.random() < 0.4:
        mangle(random, plans, appends=appends)
    if random.random() < 0.2 and (right := answers.answered(plans)):
        answers.answer_something_else(random, random.choice(right), appends=appends)
    options: dict[str, Any] = random.choice([{}, {"closed": False}])
    if not appends and random.random() < 0.1:
        options = {"initial": 0}
    events = History(
        [
            msgspec.structs.replace(op, error="conflict")
            if op.type is OpType.FAIL and op.index % 2
            else op
            for op in history(plans)
        ]
    )
    level = random.choice([*answers.LEVELS, "snapshot-isolation"])
    if random.random() < 0.1:
        events = History(list(events), header={"excerpt": True})
    return events, check_isolation(events, Budget(), data=data, level=level, **options)


def mangle(random: Random, plans: list[Plan], *, appends: bool) -> None:
    """Let something go wrong: reads of the future, an effect of what failed, lists taken apart."""
    right = answers.answered(plans)
    reads = [(plan, mop) for plan in right for mop in plan.answered if mop[0] == "r"]
    writes = [(plan, mop) for plan in plans for mop in plan.answered if mop[0] != "r"]
    how = random.choice(["future", "failed", "mixed", "again", "torn", "stranger"])
    if how == "failed" and len(plans) > 1:
        random.choice(plans).outcome = OpType.FAIL
    elif how == "future" and writes:
        plan, (_, key, value) = random.choice(writes)
        plan.asked.insert(0, ["r", key, None])
        plan.answered.insert(0, ["r", key, [value] if appends else value])
    elif not reads:
        return
    elif not appends:
        for _, mop in random.sample(reads, min(2, len(reads))):
            mop[2] = random.choice([77, 78, None, *(one[2] for _, one in writes)])
    elif how == "torn" and writes:
        plan, (_, key, value) = random.choice(writes)
        more = 50 + random.randrange(9)
        for mops in (plan.asked, plan.answered):
            mops.append(["append", key, more])
        for _, mop in reads:
            if mop[1] == key and value in (mop[2] or ()):
                at = mop[2].index(value)
                mop[2] = [*mop[2][:at], more, *mop[2][at:]]
    else:
        _, mop = random.choice(reads)
        mop[2] = list(mop[2] or ())
        random.shuffle(mop[2])
        if how == "again":
            mop[2] += mop[2][: random.randint(0, 2)]
        elif how == "stranger":
            mop[2].insert(random.randint(0, len(mop[2])), 77)


def forked(random: Random) -> tuple[History, Verdict]:
    """Writes of three keys, some failed or open or twice, and reads of several that disagree."""
    asked: list[tuple[OpType, list[Any], list[Any]]] = []
    wrote: dict[str, list[Any]] = {key: [] for key in "xyz"}
    for key in random.sample("xyz", random.randint(1, 3)):
        for _ in range(random.choice([1, 1, 1, 1, 2])):
            value = random.choice([1, 1, 1, "a b", True])
            outcome = random.choice([OpType.OK, OpType.OK, OpType.OK, OpType.INFO, OpType.FAIL])
            wrote[key].append(value)
            asked.append((outcome, [["w", key, value]], [["w", key, value]]))
    for _ in range(random.randint(1, 5)):
        keys = random.sample("xyz", random.randint(2, 3))
        known = [wrote[key] + [None] * 2 + [9] * (random.random() < 0.1) for key in keys]
        answer = [["r", key, random.choice(some)] for key, some in zip(keys, known, strict=True)]
        asked.append((OpType.OK, [["r", key, None] for key in keys], answer))
        if random.random() < 0.05:
            random.choice(answer)[1] = "q"
    random.shuffle(asked)
    ops: list[Op] = []
    for at, (outcome, given, answer) in enumerate(asked):
        for kind, value in ((OpType.INVOKE, given), (outcome, answer)):
            told = value if kind in {OpType.INVOKE, OpType.OK} else None
            index = len(ops)
            ops.append(Op(index=index, time_ns=index, process=at, type=kind, f="txn", value=told))
    options: dict[str, Any] = random.choice([{}, {}, {"closed": False}, {"initial": 9}])
    header = {"excerpt": True} if random.random() < 0.1 else None
    events = History(ops, header=header)
    return events, check_long_fork(events, **options)


@pytest.mark.parametrize("data", KINDS)
def test_no_sentence_of_a_proof_is_contradicted_by_the_history(data: str) -> None:
    """Of histories damaged in every way: stale, forked, out of thin air, written twice."""
    kinds: set[str] = set()
    for seed in range(SEEDS):
        events, verdict = judged(data, seed)
        facts = Facts(events)
        for proof in verdict.anomalies:
            kinds.add(proof.kind)
            assert not check_proof(facts, proof), (seed, proof.explanation)
    expected = {"G-single", "G1a", "internal", "lost-update", "unwritten-value", "answer-mismatch"}
    if data == LONG_FORK:
        expected = {"long-fork", "G1a", "unwritten-value", "answer-mismatch"}
    assert expected <= kinds, kinds


RARE = [
    (RW_REGISTER, "p0: |-txn w:x:1-|\np1:                |-txn r:x:7-|"),
    (LONG_FORK, "p0: |-txn w:y:1-|\np1: |-txn r:x:8 r:y:1-|\np2: |-txn r:x:9 r:y:1-|"),
]
"""Histories of others, told in words that random ones seldom are."""

EACH_FORM = 5
"""Proofs in one form of words, but for numbers, that are altered."""


@cache
def proofs() -> list[tuple[Facts, Anomaly]]:
    """Proofs of every kind, some in each form of words."""
    found: list[tuple[Facts, Anomaly]] = []
    for data in KINDS:
        times: dict[str, int] = {}
        for seed in range(max(SEEDS, 2000)):
            events, verdict = judged(data, seed)
            for proof in verdict.anomalies:
                words = re.sub(r"\d+|\[.*?\]", "#", proof.explanation.partition("\nThen ")[2])
                form = f"{proof.kind} {words}"
                times[form] = times.get(form, 0) + 1
                if times[form] <= EACH_FORM:
                    found.append((Facts(events), proof))
    for data, lanes in RARE:
        verdict = judge_of(data, closed=False)(parse(lanes), Budget())
        found += [(Facts(parse(lanes)), proof) for proof in verdict.anomalies]
    for path in sorted((Path(__file__).parents[1] / "testdata" / "invalid").glob("*.txt")):
        given = path.read_text().partition(cases.RULE)[0]
        checker = re.search(r"^checker ([\w-]+).*\n", given, flags=re.MULTILINE)
        if checker is not None and checker[1] in KINDS:
            facts = Facts(parse(given[checker.end() :]))
            found += [(facts, proof) for proof in cases.run_case(given).anomalies]
    return found


NEVER = ("nobody wrote ", ", and ", " saw or wrote ", "")
"""A circle of values through the first one: edges between transactions show the same, and are
told instead."""

GRAMMARS: list[Grammar] = [sentence, summary, clause, because, transactions.why_value]


def test_every_pattern_of_the_sentences_of_transactions_holds_of_some_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pattern that nothing fits reads what nobody tells any more."""
    held: set[tuple[str, ...]] = set()

    def noted(pattern: Pattern) -> Pattern:
        def check(*given: Any, **slots: Any) -> Any:
            returned = pattern.check(*given, **slots)
            held.add(pattern.literals)
            return returned

        return pattern._replace(check=check)

    wanted: set[tuple[str, ...]] = set()
    for grammar in GRAMMARS:
        mine = [one for one in grammar.patterns if one.check.__module__ == transactions.__name__]
        wanted |= {one.literals for one in mine}
        monkeypatch.setattr(grammar, "patterns", [noted(one) for one in grammar.patterns])
    for facts, proof in proofs():
        check_proof(facts, proof)
    assert wanted - held <= {NEVER}


def lies(text: str) -> Iterator[str]:
    """A proof with one name, number, moment or word changed, in each place."""
    body = text.index("\nThen ")
    for found in re.finditer(r"\d+\.\d+|\b[A-Z]\d+\b|\bp\d+\b|\b\d+\b|\b[a-z]{3,}\b", text):
        word = found[0]
        if word.isalpha() and found.start() < body:
            continue
        for new in _instead(word):
            yield text[: found.start()] + new + text[found.end() :]


def _instead(word: str) -> Iterator[str]:
    if word.isalpha():
        yield {"before": "after", "behind": "before", "twice": "once"}.get(word, word + "s")
    elif "." in word:
        digits = len(word.partition(".")[2])
        yield f"{float(word) + 10**-digits:.{digits}f}"
    elif word.isdigit():
        yield str(int(word) + 17)
    else:
        yield word[0] + str(int(word[1:]) + 1)
        yield word[0] + str(max(1, int(word[1:]) - 1) if int(word[1:]) != 1 else 7)


def test_a_sentence_with_one_thing_changed_is_found_out() -> None:
    """Whatever is changed: nearly all of it, as a changed word may happen to be true."""
    tried: dict[str, int] = {}
    missed: dict[str, list[str]] = {}
    per_kind = max(3, SEEDS // 400)
    for facts, proof in proofs():
        if tried.get(proof.kind, 0) > per_kind * 20:
            continue
        for lie in lies(proof.explanation):
            tried[proof.kind] = tried.get(proof.kind, 0) + 1
            told = msgspec.structs.replace(proof, explanation=lie)
            if not any(one.standing in FALSE for one in check_proof(facts, told)):
                missed.setdefault(proof.kind, []).append(lie)
    for kind, count in tried.items():
        assert len(missed.get(kind, ())) <= count // 50, (kind, missed[kind][:3])
