"""Other tools' histories get the verdicts that those tools' own tests state."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.corpus import judge_corpus
from squall.checkers.files import check_file
from squall.checkers.formats import edn
from squall.checkers.formats.foreign import load
from squall.checkers.history import MalformedHistory
from squall.checkers.registry import ENTRIES, UnknownModel, judge_of
from squall.checkers.verdict import Budget, Validity

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus"

VACUOUS = {
    "elle-cli/custom/comments.edn",  # no claim about it is stated anywhere
    "elle-cli/jepsen/counter.edn",  # never read
    "elle-cli/jepsen/counter.json",
    "knossos/cas-register/good/mongodb-v0-ack-rollback-.edn",  # nothing happened
    "knossos/cas-register/good/mongodb-v0-ack-rollback-10.edn",
    "knossos/cas-register/good/mongodb-v0-ack-rollback-9.edn",
    "porcupine/jepsen/etcd_095.log",  # empty
}


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside the checkout")
def test_every_history_of_the_corpus_gets_its_known_verdict() -> None:
    """Each is decided by detection alone; one in which nothing is to be judged is called so."""
    rows = list(judge_corpus(CORPUS))
    assert not [row.text() for row in rows if row.wrong]
    assert {row.file for row in rows if row.word == "vacuous"} == VACUOUS
    assert len(rows) > 160


def test_edn_is_read_as_clojure_writes_it() -> None:
    """Keywords, strings, sets, tags, comments, discards, commas."""
    text = (
        '[{:f :read, :value nil} ; why\n #{1 2} #inst "2026" #_ 7 (true -3 1.5 12N) "a\\"\\n"]\n:x'
    )
    assert list(edn.read(text)) == [
        [{"f": "read", "value": None}, frozenset({1, 2}), "2026", [True, -3, 1.5, 12], 'a"\n'],
        "x",
    ]


WRITE = "{:process 0 :type :invoke :f :write :value 1}{:process 0 :type :ok :f :write :value 1}"


@pytest.mark.parametrize(
    ("text", "kind", "model"),
    [
        (f"[{WRITE}]", "edn", "cas-register"),
        (f"({WRITE})", "edn", "cas-register"),
        (f"; a comment\n{WRITE}", "edn", "cas-register"),
        (
            '[{"process":0,"type":"invoke","f":"txn","value":[["append",1,1]]}]',
            "json",
            "list-append",
        ),
        ('{"process":0,"type":"invoke","f":"txn","value":[["w",1,1]]}\n', "json", "rw-register"),
        ("INFO  jepsen.util - 0\t:invoke\t:read\tnil\n", "log", "cas-register"),
        ('{:process 0 :type :invoke :f :get :key "1" :value nil}', "edn", "kv"),
        ("{:process 0 :type :invoke :f :acquire}", "edn", "mutex"),
        ("{:process 0 :type :invoke :f :add :value 1}", "edn", "counter"),
        (
            (
                "{:process 0 :type :invoke :f :add :value 1}{:process 1 :type :invoke :f :read}"
                "{:process 1 :type :ok :f :read :value [1]}"
            ),
            "edn",
            "set",
        ),
    ],
)
def test_format_and_model_are_found_by_looking(text: str, kind: str, model: str) -> None:
    """Nobody has to say what a file is."""
    found = load(text.encode(), "h")
    assert (found.format, found.model) == (kind, model)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1\n 2", "h:1: an operation is a map, not 1"),
        ("[{:f :read}\n {:f", "h:2: '{' is never closed"),
        ("[1)", "h:1: an operation is a map, not 1"),
        ("[{:f 1})", "h:1: '[' is closed by ')'"),
        ("\n]", "h:2: ']' closes nothing"),
        (f'{WRITE}{" " * 5000}\n"abc', "h:2: cannot read '\"abc'"),
        ("{:process 0} #_", "h:1: ends in the middle"),
        ("{:a}", "h:1: a map with a key and no value"),
        ("[" * 500, "h:1: nested too deeply"),
        ('[{"f":"read"},\n{"f":]', "h:2: not JSON: Expecting value"),
        ('[{"f":"read"},\n', "h:2: ends before the array is closed by ']'"),
        (
            f"{WRITE}\n{{:process 0 :type :ok :f :read :value 1}}",
            "h:2: read completes without having been invoked",
        ),
        (
            "{:process 0 :type :invoke :f :read}\n{:process 0 :type :invoke :f :read}",
            "h:2: process 0 invokes read while its read of h:1 is still open",
        ),
        (
            "{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :write}",
            "h:2: process 0 completes write, but invoked read at h:1",
        ),
        (
            "{:process 0 :type :done :f :read}",
            (
                "h:1: an operation of type 'done' and f 'read'; a type is invoke, ok, fail or "
                "info, and f a name"
            ),
        ),
        ("{:process 0 :type :invoke :f :cas :value 3}", "h:1: a cas takes [expected, new], not 3"),
        (
            (
                "{:process 0 :type :invoke :f :write :value 1 :index 5}\n"
                "{:process 0 :type :ok :f :write :value 1 :index 3}"
            ),
            "h:2: op 3 comes after op 5: out of order",
        ),
        ("{:process 0\n\0 :type :invoke}", "h:2: a NUL byte; this is no text"),
        (
            "{:process 0 :type :invoke :f :fly}",
            (
                "h: no model is known for operations called fly; name one of bank, "
                "bank-linearizable, broadcast, cas-register, comments, counter, etcd, "
                "etcd+watch, fenced-mutex, fifo-queue, kv, lease, list-append, lock, long-fork, "
                "multi-register, mutex, pn-counter, queue, register, rw-register, "
                "sequential-register, set, set-eventual, total-queue, unique-ids, "
                "unordered-queue, watch, watch-end, or a model of your own as path/to/file.py:Name"
            ),
        ),
        ('{"squall":"history","version":9}\n', "h:1: version 9; this Squall reads up to version 1"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(text: str, complaint: str) -> None:
    """One line says what is wrong and where."""
    with pytest.raises(MalformedHistory) as caught:
        check_file("h", text.encode(), None, Budget())
    assert str(caught.value).partition("; readable are ")[0] == complaint


def test_a_byte_that_is_no_text_is_named_with_its_line() -> None:
    """A damaged disk looks like this."""
    with pytest.raises(MalformedHistory, match="h:2: not UTF-8 text"):
        load(b"{:process 0\n\xff}", "h")


def test_a_model_that_does_not_exist_is_answered_with_those_that_do() -> None:
    """The mistake and the way out, in one line."""
    with pytest.raises(UnknownModel, match=r"no model 'regster'; there are bank, bank-l"):
        check_file("h", WRITE.encode(), "regster", Budget())
    with pytest.raises(UnknownModel, match="no level 'snapshot'; there are read-uncommitted"):
        check_file(
            "h",
            b"{:process 0 :type :invoke :value [[:append 1 1]]}",
            "list-append:snapshot",
            Budget(),
        )


def test_a_name_is_one_models_and_every_model_is_described() -> None:
    """No alias hides a model, and the list for people is the table that judges."""
    names = [name for entry in ENTRIES.values() for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))
    for name, entry in ENTRIES.items():
        assert name == entry.name
        assert entry.judges
        assert entry.decided_by
        assert entry.make is None or entry.make().name == name
        judge_of(name)


def test_a_history_in_which_nothing_happened_is_no_pass() -> None:
    """Vacuous is said, not swallowed."""
    for text in ("", "[]", "INFO nothing\n", '{"squall":"history","version":1}\n'):
        verdict = check_file("h", text.encode(), None, Budget())
        assert verdict.validity is Validity.UNKNOWN
        assert verdict.reason == "vacuous: there is no operation to judge"
