"""Every sentence of every proof is true of its history, and one that is not is found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from bench.corpus import TIME_LIMIT_S
from squall.checkers import files
from squall.checkers.budget import UNTIMED, Meter
from squall.checkers.evidence import Evidence
from squall.checkers.files import judge_file, read_file
from squall.checkers.history import History
from squall.checkers.judge import judge
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.proof_check import ProofFlaw, Standing, check_proof, check_verdict, read_proof
from squall.checkers.proof_check.facts import Facts
from squall.checkers.proof_check.self_check import DEFECT, FLAWS, self_checked
from squall.checkers.text.lanes import parse
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict
from squall.harness.node_source import overlay
from squall.reports.output.terminal import _properties_in_full
from squall.reports.view.judgement import properties
from tests.checkers import cases
from tests.checkers.formats.test_corpus import CORPUS
from tests.checkers.proof_check.proofs import SOURCES
from tests.checkers.seeds import SEEDS

TESTDATA = Path(__file__).parents[1] / "testdata"
CASES = sorted(TESTDATA.glob("*/*.txt"))

FALSE = {Standing.CONTRADICTED, Standing.NOT_UNDERSTOOD}


def wrong(history: History, evidence: Evidence | None, verdict: Verdict) -> list[ProofFlaw]:
    """Sentences that the history contradicts, or that nobody understands."""
    return [one for one in check_verdict(history, verdict, evidence) if one.standing in FALSE]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_sentence_of_a_case_is_true(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a case tells was found in its own history, and in its nodes' evidence."""
    read: list[History] = []
    held: list[Evidence] = []

    def reading(text: str) -> History:
        read.append(parse(text))
        return read[-1]

    def holding(**fields: object) -> Evidence:
        held.append(Evidence(**fields))  # type: ignore[arg-type]
        return held[-1]

    monkeypatch.setattr(cases, "parse", reading)
    monkeypatch.setattr(cases, "Evidence", holding)
    verdict = cases.run_case(path.read_text().partition(cases.RULE)[0])
    assert check_verdict(read[0], verdict, held[0] if held else None) == ()


@pytest.mark.parametrize("name", SOURCES)
def test_no_proof_of_a_random_history_states_what_the_history_contradicts(name: str) -> None:
    """Of each kind of data, damaged in many ways."""
    invalid = verified = 0
    for seed in range(max(50, SEEDS // 20)):
        history, evidence, verdict = SOURCES[name](seed)
        invalid += bool(verdict.anomalies)
        verified += sum(len(read_proof(history, one, evidence)) for one in verdict.anomalies)
        assert not wrong(history, evidence, verdict), (name, seed)
    assert invalid
    assert verified > invalid


def test_nearly_every_sentence_can_be_checked() -> None:
    """What is not checked is told apart from what holds, and is rare."""
    standings = dict.fromkeys(Standing, 0)
    for source in SOURCES.values():
        for seed in range(30):
            history, evidence, verdict = source(seed)
            for anomaly in verdict.anomalies:
                for one in read_proof(history, anomaly, evidence):
                    standings[one.standing] += 1
    assert standings[Standing.UNVERIFIED] < standings[Standing.HOLDS] // 50


OPPOSITES = {
    "before": "after",
    "after": "before",
    "least": "most",
    "most": "least",
    "first": "second",
    "lacks": "shows",
    "shows": "lacks",
    "greater": "smaller",
    "nobody": "somebody",
    "only": "also",
    "no": "some",
    "never": "once",
    "failed": "succeeded",
}
_TOKEN = re.compile(r"\d+\.\d+ s|\b[A-Z]\d+\b|\bp\d+\b|\b\d+\b|\b[a-z]+\b")


def altered(random: Random, text: str) -> str | None:
    """Change one number, name, moment or word of order in a text."""
    found = [one for one in _TOKEN.finditer(text) if one[0] in OPPOSITES or not one[0].isalpha()]
    if not found:
        return None
    token = random.choice(found)
    word = token[0]
    if word in OPPOSITES:
        new = OPPOSITES[word]
    elif word.endswith(" s"):
        digits = len(word[:-2].partition(".")[2])
        new = f"{float(word[:-2]) + 10**-digits:.{digits}f} s"
    elif word[0].isdigit():
        new = str(int(word) + random.choice([1, -1, 5]))
    else:
        new = word[0] + str(int(word[1:]) + random.choice([1, 2, -1]))
    return text[: token.start()] + new + text[token.end() :]


@pytest.mark.parametrize("name", SOURCES)
def test_a_proof_with_one_value_name_moment_or_word_altered_is_found_out(name: str) -> None:
    """Nearly always: an altered word may happen to be true as well."""
    tried = missed = 0
    for seed in range(max(50, SEEDS // 40)):
        history, evidence, verdict = SOURCES[name](seed)
        facts = Facts(history, evidence)
        for anomaly in verdict.anomalies[:2]:
            random = Random(f"{name}{seed}{anomaly.kind}")
            field = random.choice(["summary", "explanation", "explanation", "lanes"])
            text = altered(random, getattr(anomaly, field))
            if text is None or check_proof(facts, anomaly):
                continue
            tried += 1
            lie = msgspec.structs.replace(anomaly, **{field: text})
            missed += not any(one.standing in FALSE for one in check_proof(facts, lie))
    assert tried
    assert missed <= tried // 50


STALE = parse("p0: |-write x 1-|  |-write x 2-|\np1:                               |-read x 1-|")


def stale() -> Anomaly:
    (found,) = check_linearizability(STALE, UNTIMED).anomalies
    return found


@pytest.mark.parametrize(
    ("true", "false", "says"),
    [
        ("W2 be p0's write of 2", "W2 be p0's write of 3", "op 2 is p0's write of 2"),
        ("(op 2, 0.019 s to", "(op 2, 0.020 s to", "op 2 lasted from 0.019 s to 0.031 s"),
        ("W1 had returned at 0.016 s", "W1 had returned at 0.015 s", "W1 returned at 0.016 s"),
        ("W1 came before W2", "W2 came before W1", "W1 came before W2"),
        ("And 1 was written only once", "And 2 was written only once", "R1 read 1"),
        ("R1 still read 1", "R1 still read 2", "R1 read 1"),
        ("W2 had returned at 0.031 s when R1", "W1 had returned at 0.016 s when R1", "nothing"),
    ],
)
def test_a_false_sentence_is_told_with_what_the_history_says(
    true: str, false: str, says: str
) -> None:
    """A wrong value, time, order, or operation."""
    anomaly = stale()
    assert true in anomaly.explanation
    lie = msgspec.structs.replace(anomaly, explanation=anomaly.explanation.replace(true, false))
    told = [one.says for one in check_proof(STALE, lie) if one.standing is Standing.CONTRADICTED]
    assert any(says in one for one in told), told


def test_a_sentence_that_no_pattern_fits_is_not_taken_for_true() -> None:
    """Whoever writes a new sentence must say what it states."""
    anomaly = stale()
    lie = msgspec.structs.replace(anomaly, explanation=anomaly.explanation + "\nSo it goes.")
    (found,) = check_proof(STALE, lie)
    assert (found.sentence, found.standing) == ("So it goes.", Standing.NOT_UNDERSTOOD)


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("write x 2", "write x 3"),
        ("read x 1-|", "read x 1-?"),
        ("p1:                             |", "p1:               |"),
    ],
)
def test_lanes_that_are_not_the_history_are_found_out(true: str, false: str) -> None:
    """A value, an outcome, an order in time."""
    anomaly = stale()
    lanes = anomaly.lanes.replace(true, false)
    lie = msgspec.structs.replace(anomaly, lanes=lanes)
    assert lanes != anomaly.lanes
    assert [one.sentence for one in check_proof(STALE, lie)] == ["lanes"]


def lying() -> Anomaly:
    return msgspec.structs.replace(
        stale(), explanation=stale().explanation.replace("R1 still read 1", "R1 still read 7")
    )


def accuse(*anomalies: Anomaly) -> Verdict:
    return Verdict(checker="made-up", validity=Validity.INVALID, anomalies=anomalies)


def test_a_verdict_whose_every_proof_is_false_is_unknown_for_a_defect_of_the_checker() -> None:
    """Nobody is accused by a proof that is known to be false, and nobody acquitted."""
    verdict = self_checked(accuse(lying()), STALE, None, UNTIMED, 1.0)
    assert verdict.validity is Validity.UNKNOWN
    assert (verdict.reason or "").startswith(DEFECT)
    assert not verdict.anomalies
    assert "R1 read 1" in verdict.stats[FLAWS][0]


def test_a_verdict_stays_invalid_while_one_of_its_proofs_stands() -> None:
    """The one that stands is told first; the other's flaw is told beside it."""
    verdict = self_checked(accuse(lying(), stale()), STALE, None, UNTIMED, 1.0)
    assert verdict.validity is Validity.INVALID
    assert verdict.anomalies == (stale(), lying())
    (line,) = verdict.stats[FLAWS]
    assert line.startswith("the proof of stale-read does not hold: please report it")
    assert any(line[:60] in text for text in _properties_in_full(properties(verdict)))


@pytest.mark.parametrize(
    ("field", "true", "false"),
    [("lanes", "write x 2", "write x 3"), ("summary", "p1 read 1", "p1 read 7")],
)
def test_what_only_repeats_a_proof_is_recorded_and_never_changes_the_verdict(
    field: str, true: str, false: str
) -> None:
    """A drawing or a summary that errs takes nothing away from the proof."""
    text = getattr(stale(), field)
    assert true in text
    drawn = msgspec.structs.replace(stale(), **{field: text.replace(true, false)})
    verdict = self_checked(accuse(drawn), STALE, None, UNTIMED, 1.0)
    assert verdict.validity is Validity.INVALID
    assert verdict.anomalies == (drawn,)
    assert len(verdict.stats[FLAWS]) == 1


def test_a_drawing_that_errs_beside_a_false_proof_is_not_the_reason() -> None:
    """The reason names the sentence that is false."""
    drawn = msgspec.structs.replace(lying(), lanes=lying().lanes.replace("write x 2", "write x 3"))
    verdict = self_checked(accuse(drawn), STALE, None, UNTIMED, 1.0)
    assert verdict.validity is Validity.UNKNOWN
    assert "R1 read 1" in (verdict.reason or "")


def test_the_verdict_of_a_run_is_that_of_the_proofs_which_stand() -> None:
    """A false proof of one checker leaves the run unknown, not invalid."""
    liar = Checker("made-up", lambda _history, _evidence, _budget: accuse(lying()))
    verdict = judge([liar], STALE, Evidence(), UNTIMED)
    assert verdict.validity is Validity.UNKNOWN
    assert DEFECT in (verdict.reason or "")


def test_a_true_verdict_is_not_touched() -> None:
    """Whose proofs hold is told as it was."""
    verdict = check_linearizability(STALE, UNTIMED)
    assert self_checked(verdict, STALE, None, UNTIMED, 1.0) is verdict


def test_reading_proofs_stops_when_its_share_of_the_time_is_spent() -> None:
    """What was not read is neither believed less nor more."""
    ticks = iter(range(1000))
    budget = Budget(now_s=lambda: float(next(ticks)))
    verdict = self_checked(accuse(lying(), lying()), STALE, None, budget, 0.0)
    assert verdict.validity is Validity.INVALID


def judged_files() -> Iterator[tuple[str, History, Verdict]]:
    """Histories of other tools, each with the verdict as its judge gave it."""
    for path in sorted(one for one in CORPUS.rglob("*") if one.suffix in {".edn", ".json", ".log"}):
        budget = Budget(time_s=TIME_LIMIT_S)
        try:
            found = read_file(path.name, path.read_bytes(), None, Meter(budget))
            yield path.name, found.history, judge_file(path.name, found, budget)
        except ValueError:
            continue  # no history, or of no known model


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside the checkout")
def test_no_proof_about_other_tools_histories_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every anomaly of the corpora, as it was found."""
    monkeypatch.setattr(files, "self_checked", lambda verdict, *_: verdict)
    proofs = 0
    for name, history, verdict in judged_files():
        proofs += len(verdict.anomalies)
        assert not wrong(history, None, verdict), name
    assert proofs > 100


HUNT = """
import sys
import squall.checkers.judge as judges
from squall.checkers.proof_check import check_verdict
from squall.checkers.proof_check.reading import anomalies_of
from squall.checkers.budget import UNTIMED
from squall.harness.sim.sweep.simulate import simulate
from squall.harness.sim.sweep.sweep import Sweep, workload_named
judges.self_checked = lambda verdict, *_: verdict
workload = workload_named(sys.argv[1])
shown = 0
for seed in range(20):
    if shown == 2:
        break
    run = simulate(seed, workload, Sweep(time_s=5.0, workload=sys.argv[1]).config(seed))
    if run.findings is None:
        continue
    evidence = run.findings.evidence
    verdict = judges.judge(workload.checkers(run.faults), run.history, evidence, UNTIMED)
    count = len(list(anomalies_of(verdict)))
    shown += bool(count)
    print("anomalies", count)
    for flaw in check_verdict(run.history, verdict, evidence):
        if flaw.standing != "unverified":
            print("FALSE", seed, flaw)
"""


@pytest.mark.parametrize(
    ("mutant", "workload"), [("truncate-always", "register"), ("watch-back-in-time", "watch")]
)
def test_no_proof_about_a_node_that_was_broken_on_purpose_is_false(
    mutant: str, workload: str, tmp_path: Path
) -> None:
    """Real anomalies of a whole cluster, with faults and the nodes' evidence."""
    root = Path(__file__).parents[3]
    source = tmp_path / "planted"
    shutil.copytree(root / "node", source / "node")
    patch = (root / "tests" / "mutants" / f"{mutant}.patch").read_bytes()
    applied = ["patch", "--quiet", "--forward", "--directory", str(source), "--strip", "1"]
    subprocess.run(applied, input=patch, check=True)
    overlay(source / "node", tmp_path)
    done = subprocess.run(
        [sys.executable, "-P", "-c", HUNT, workload],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"anomalies [1-9]", done.stdout)
    assert "FALSE" not in done.stdout
