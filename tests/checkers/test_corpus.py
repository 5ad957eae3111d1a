"""Other tools' histories get the verdicts that those tools' own tests state."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from checkers import edn
from checkers.foreign import read_edn, read_json, read_log, to_history
from checkers.history import History, MalformedHistory
from checkers.linearizability import check_linearizability
from checkers.verdict import Budget

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
REGISTERS = ("cas-register",)


def files() -> list[tuple[str, str]]:
    """Every register history of the corpus with its expected verdict; none without the corpus."""
    manifest = CORPUS / "manifest.tsv"
    if not manifest.exists():
        return []
    with manifest.open(encoding="utf-8") as lines:
        return [
            (row["file"], row["expected"])
            for row in csv.DictReader(lines, delimiter="\t")
            if row["model"].startswith(REGISTERS)
        ]


def read(name: str) -> History:
    path = CORPUS / name
    if path.suffix == ".log":
        maps = read_log(path.read_text().splitlines(), name)
    elif path.suffix == ".json":
        maps = read_json(path.read_bytes(), name)
    else:
        maps = read_edn(path.read_text(), name)
    return to_history(maps, name=name, knossos=path.suffix != ".log")


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside the checkout")
def test_every_register_history_of_the_corpus_gets_its_known_verdict() -> None:
    """All of them are decided; one without any effective operation is called what it is."""
    wrong, vacuous = [], []
    for name, expected in files():
        verdict = check_linearizability(read(name), Budget())
        if verdict.reason == "there is no operation to judge":
            vacuous.append(name)
            assert expected == "valid"
        elif verdict.validity != expected:
            wrong.append((name, expected, verdict.validity, verdict.reason))
    assert not wrong
    assert len(files()) > 150
    assert all("etcd_095" in name or "mongodb" in name for name in vacuous), vacuous


def test_edn_is_read_as_clojure_writes_it() -> None:
    """Keywords, strings, sets, tags, comments, discards, commas."""
    text = (
        '[{:f :read, :value nil} ; why\n #{1 2} #inst "2026" #_ 7 (true -3 1.5 12N) "a\\"\\n"]\n:x'
    )
    assert list(edn.read(text)) == [
        [{"f": "read", "value": None}, frozenset({1, 2}), "2026", [True, -3, 1.5, 12], 'a"\n'],
        "x",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1\n 2", "h.edn: line 2: '[' is never closed"),
        ("[1)", "h.edn: line 1: '[' is closed by ')'"),
        ("\n]", "h.edn: line 2: ']' closes nothing"),
        ("{:a}", "h.edn: line 1: a map with a key and no value"),
        ("[1 2]", "h.edn: an operation is a map, not 1"),
        ("[" * 500, "h.edn: line 1: nested too deeply"),
    ],
)
def test_malformed_edn_is_named_with_its_line(text: str, complaint: str) -> None:
    """One line says what is wrong."""
    with pytest.raises(MalformedHistory) as caught:
        read_edn(text, "h.edn")
    assert str(caught.value) == complaint
