"""`squall check FILE`: anybody's history, judged by name or by looking."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from squall.checkers.run import Run
from squall.harness.cli import main

DOCS = Path(__file__).resolve().parents[3] / "docs"

STALE = """{:process 0 :type :invoke :f :write :value 1}
{:process 0 :type :ok :f :write :value 1}
{:process 1 :type :invoke :f :read :value nil}
{:process 1 :type :ok :f :read :value 1}
{:process 0 :type :invoke :f :write :value 2}
{:process 0 :type :ok :f :write :value 2}
{:process 1 :type :invoke :f :read :value nil}
{:process 1 :type :ok :f :read :value 1}
"""

TOLD = """\
✗ linearizable  1 anomaly in 1 key, 4 operations
  claim: Every operation takes effect at one instant between its call and its return.
  decided by zones: 1 key

stale-read: p1 read 1 from register, after p0's write of 2 had returned.  (3 ops of 4)

Let W1 be p0's write of 1 (op 0, 0.000 s to 0.001 s),
    W2 be p0's write of 2 (op 4, 0.004 s to 0.005 s),
    R1 be p1's read of 1 (op 6, 0.006 s to 0.007 s).
Then W1 came before W2, because W1 had returned at 0.001 s when W2 was called at 0.004 s.
And 1 was written only once, so register held it during one unbroken stretch of time, which \
therefore ended before 2 took its place.
However, W2 had returned at 0.005 s when R1 was called at 0.006 s, and R1 still read 1.

p0: |-write register 1-| |-write register 2-|
p1:                                           |-read register 1-|

read 8 lines: 4 operations, 4 judged
note: no times: the order of the lines is the order of events

INVALID
"""

SKEWED = """[{:process 0 :type :invoke :f :txn :value [[:append :x 1]]}
 {:process 0 :type :ok :f :txn :value [[:append :x 1]]}
 {:process 1 :type :invoke :f :txn :value [[:r :x nil]]}
 {:process 1 :type :ok :f :txn :value [[:r :x []]]}
 {:process 1 :type :invoke :f :txn :value [[:r :x nil]]}
 {:process 1 :type :ok :f :txn :value [[:r :x [1]]]}]
"""


def squall(capfd: Any, *words: str) -> tuple[int, str, str]:
    """Run a command line; return its exit code, standard output and standard error."""
    code = main.exit_code_of(list(words))
    out, err = capfd.readouterr()
    return code, out, err


def test_a_foreign_history_is_judged_and_explained(capfd: Any, tmp_path: Path) -> None:
    """What was broken, by which path that was decided, the proof, the lanes, the word."""
    path = tmp_path / "history.edn"
    path.write_text(STALE)
    code, out, err = squall(capfd, "check", str(path))
    assert code == 1
    assert not err
    assert re.sub(r", in \d+\.\d+ s", "", out) == TOLD


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 1),
        (("--model", "list-append"), 1),
        (("--model", "list-append:serializable"), 0),
        (("--workload", "append"), 1),
        (("--workload", "append:serializable"), 0),
    ],
)
def test_the_model_is_found_by_looking_or_named(
    words: tuple[str, ...], code: int, capfd: Any, tmp_path: Path
) -> None:
    """The level follows a colon; what one level forbids another allows."""
    path = tmp_path / "history.edn"
    path.write_text(SKEWED)
    found, out, _ = squall(capfd, "check", str(path), *words)
    assert found == code
    assert "decided by dependency graph" in out


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (STALE, ("--model", "regster"), "no model 'regster'; there are bank, bank-linearizable"),
        (STALE, ("--workload", "moon"), "no model 'moon'; there are bank, bank-linearizable"),
        (SKEWED, ("--model", "list-append:odd"), "no level 'odd'; there are read-uncommitted"),
        (STALE, ("--model", "set", "--workload", "set"), "name one of them"),
        (STALE.replace(":read", ":peek"), (), "history.edn: no model is known for operations"),
        (STALE, ("--time-limit", "5"), "'5' is no duration; say the unit, as in 5s"),
        (STALE, ("--memory", "4G"), "'4G' is no size; say the unit, as in 512MiB or 4GiB"),
        (STALE, ("--memory", "0GiB"), "'0GiB' is no size"),
        (STALE + "{:process", (), "history.edn:9: '{' is never closed"),
        (
            STALE + "{:process 5 :type :ok :f :read :value 1}",
            (),
            "history.edn:9: read completes without",
        ),
        ("{:process 0 :type :invoke\n\0", (), "history.edn:2: a NUL byte"),
        (STALE, ("--model", "moon.py:Bell"), "moon.py does not exist"),
    ],
)
def test_what_cannot_be_judged_is_one_line_and_exit_4(
    text: str, words: tuple[str, ...], message: str, capfd: Any, tmp_path: Path
) -> None:
    """With the file and the line where there is one, and with what to write instead."""
    path = tmp_path / "history.edn"
    path.write_text(text)
    code, out, err = squall(capfd, "check", str(path), *words)
    assert (code, out) == (4, "")
    assert message in err
    assert err.count("\n") == 1


WRITTEN = """{:process "a" :type :invoke :f :write :value 1}
{:process "a" :type :ok :f :write :value 1}
{:process "b" :type :invoke :f :read :value nil}
{:process "b" :type :ok :f :read :value 1}
"""

UNKEPT = """{:process "b" :type :invoke :f :read :value nil}
{:process "b" :type :ok :f :read :value nil}
"""


def test_what_is_left_out_is_told_and_under_strict_no_pass(capfd: Any, tmp_path: Path) -> None:
    """How many lines and operations, how many are judged, which are not and why."""
    path = tmp_path / "history.edn"
    path.write_text(WRITTEN + UNKEPT)
    code, out, _ = squall(capfd, "check", str(path))
    assert code == 0
    assert "\nread 6 lines: 3 operations, 2 judged, 1 left out: a read" in out
    assert squall(capfd, "check", str(path), "--strict")[0] == 2
    code, out, _ = squall(capfd, "check", str(path), "--json")
    told = json.loads(out)["stats"]["accounting"]
    assert (told["lines"], told["operations"], told["judged"]) == (6, 3, 2)
    assert list(told["left_out"].values()) == [1]
    path.write_text(WRITTEN)
    assert squall(capfd, "check", str(path), "--strict")[0] == 0


def test_a_register_of_ours_in_which_nothing_was_read_is_no_pass(
    capfd: Any, tmp_path: Path
) -> None:
    """Valid without operations, as documented."""
    path = tmp_path / "history.jsonl"
    op = '{"index":%d,"time_ns":%d,"process":"a","type":"%s","f":"write","key":"x","value":1}\n'
    header = '{"squall":"history","version":1}\n'
    path.write_text(header + op % (0, 1, "invoke") + op % (1, 2, "ok"))
    code, out, _ = squall(capfd, "check", str(path))
    assert code == 2
    assert "vacuous: nothing was read" in out


@pytest.mark.parametrize("name", ["history.edn", "history.txt", "history.edn.gz"])
def test_a_folder_of_jepsens_store_is_judged(name: str, capfd: Any, tmp_path: Path) -> None:
    """By the history in it."""
    text = STALE
    if name.endswith(".txt"):
        fields = re.findall(r":process (\d) :type (:\w+) :f (:\w+) :value (\w+)", STALE)
        text = "".join("\t".join(one) + "\n" for one in fields)
    data = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(data)
    code, out, _ = squall(capfd, "check", str(tmp_path))
    assert code == 1
    assert "stale-read" in out


def test_a_folder_of_etcds_robustness_tests_is_judged(capfd: Any, tmp_path: Path) -> None:
    """All clients together; one of its files alone, too."""
    client = tmp_path / "client-1"
    client.mkdir()
    (client / "operations.json").write_text(
        '{"ClientId":1,"Input":{"Type":"range","Range":{"Start":"k","End":""}},"Call":1,'
        '"Output":{"Range":{"KVs":null,"Count":0},"Revision":1},"Return":2}\n'
    )
    for path in (tmp_path, client, client / "operations.json"):
        code, out, _ = squall(capfd, "check", str(path))
        assert code == 0
        assert "etcd-order" in out


def test_a_folder_without_any_history_is_one_line(capfd: Any, tmp_path: Path) -> None:
    """Which says what was looked for."""
    code, out, err = squall(capfd, "check", str(tmp_path))
    assert (code, out) == (4, "")
    assert "history.edn" in err
    assert err.count("\n") == 1


def unwritable_run(folder: Path) -> Path:
    """Make a run's folder that was never judged, and cannot be written to."""
    header = '{"squall":"history","version":1,"workload":"register"}\n'
    op = '{"index":%d,"time_ns":%d,"process":0,"type":"%s","f":"read","key":"x"}\n'
    (folder / "history.jsonl").write_text(header + op % (0, 1, "invoke") + op % (1, 2, "ok"))
    run = Run(
        id="r", workload="register", cluster="sim", seed=1, nodes=("n1",), faults=(), time_limit_s=1
    )
    (folder / "run.json").write_bytes(msgspec.json.encode(run))
    (folder / ".evidence.json.new").mkdir()  # who is root may write wherever files may be
    return folder


def test_a_run_that_cannot_be_written_to_is_judged_all_the_same(capfd: Any, tmp_path: Path) -> None:
    """The verdict is printed, and one line says that it is not stored."""
    code, out, err = squall(capfd, "check", str(unwritable_run(tmp_path)))
    assert code == 2
    assert "UNKNOWN" in out
    assert err.count("\n") == 1
    assert "the verdict is not stored: the store at" in err
    assert not (tmp_path / "verdict.json").exists()


def test_a_report_that_cannot_be_written_is_one_line(capfd: Any, tmp_path: Path) -> None:
    """With the verdict, and exit 3: the database is not to blame."""
    code, out, err = squall(capfd, "report", str(unwritable_run(tmp_path)))
    assert (code, out) == (3, "")
    assert "judged UNKNOWN, but the verdict is not stored" in err
    assert err.count("\n") == 1


def test_a_spent_budget_is_unknown(capfd: Any, tmp_path: Path) -> None:
    """Not a pass, not a failure, and it says what to raise."""
    path = tmp_path / "history.edn"
    path.write_text(STALE)
    code, out, _ = squall(capfd, "check", str(path), "--memory", "1KiB")
    assert code == 2
    assert "history.edn: gave up at 0.0 GiB of memory" in out
    assert out.endswith("\n\nUNKNOWN\n")


def test_the_models_are_listed(capfd: Any) -> None:
    """Name, what is judged, by which path."""
    code, out, _ = squall(capfd, "check", "--models")
    assert code == 0
    assert "\nbank " in "\n" + out
    assert "\nlist-append " in out


def documented_model() -> str:
    """Return the model that the documentation shows: the first block of its section."""
    section = (DOCS / "checkers.md").read_text().partition("## A model of your own")[2]
    lines = itertools.dropwhile(lambda line: not line.startswith("    "), section.splitlines())
    block = itertools.takewhile(lambda line: not line.startswith("    squall check"), lines)
    return "\n".join(line[4:] for line in block) + "\n"


BELL = documented_model()

RUNG = """{:process 0 :type :invoke :f :ring}
{:process 0 :type :ok :f :ring}
{:process 0 :type :invoke :f :hear}
{:process 0 :type :ok :f :hear :value 1}
"""


def test_a_model_of_ones_own_is_named_by_its_file(capfd: Any, tmp_path: Path) -> None:
    """The history is searched for an order that the user's own class explains."""
    (tmp_path / "bell.py").write_text(BELL)
    path = tmp_path / "rung.edn"
    path.write_text(RUNG)
    assert squall(capfd, "check", str(path), "--model", f"{tmp_path}/bell.py:Bell")[0] == 0
    path.write_text(RUNG.replace(":value 1", ":value 2"))
    code, out, _ = squall(capfd, "check", str(path), "--model", f"{tmp_path}/bell.py:Bell")
    assert code == 1
    assert "`hear 2`" in out


def test_the_documented_model_has_fifteen_lines() -> None:
    """As documented."""
    lines = [line for line in BELL.splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 15


@pytest.mark.parametrize(
    ("old", "new", "name", "message"),
    [
        ("", "", "Gong", "bell.py has no class 'Gong'; its models are Bell"),
        ("class Bell", "class Gong", "Hush", "bell.py has no class 'Hush'; its models are Gong"),
        ("init = 0", "begin = 0", "Bell", "bell.py: Bell has no init"),
        ('"bell"', '"queue"', "Bell", "Bell is called 'queue', which is a model of Squall's"),
        ("state + 1", "state + one", "Bell", "bell.py:10: NameError: name 'one' is not defined"),
        ("class Bell:", "class Bell", "Bell", "bell.py:3: SyntaxError: expected ':'"),
    ],
)
def test_a_broken_model_is_the_users_to_mend(
    old: str, new: str, name: str, message: str, capfd: Any, tmp_path: Path
) -> None:
    """One line with the place in the user's file, exit 4."""
    (tmp_path / "bell.py").write_text(BELL.replace(old, new))
    path = tmp_path / "rung.edn"
    path.write_text(RUNG)
    code, _, err = squall(capfd, "check", str(path), "--model", f"{tmp_path}/bell.py:{name}")
    assert code == 4
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("form", ["edn", "jsonl", "porcupine"])
def test_a_history_is_exported(form: str, capfd: Any, tmp_path: Path) -> None:
    """To a file or to standard output; what comes out is judged as what went in."""
    path, there = tmp_path / "history.edn", tmp_path / f"out.{form}"
    path.write_text(STALE)
    code, out, err = squall(capfd, "export", str(path), "--to", form)
    assert (code, err) == (0, "")
    assert squall(capfd, "export", str(path), "--to", form, "-o", str(there))[0] == 0
    assert there.read_text() == out
    if form == "porcupine":
        assert '"Description":"write 2"' in out
    else:
        assert squall(capfd, "check", str(there))[0] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "pdf"), "no format is called 'pdf'; there are: edn, porcupine, jsonl"),
        (("--to", "porcupine", "--model", "set"), "a set cannot make sense of this history"),
        (("--to", "porcupine", "--model", "watch"), "name one of register, cas-register"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    words: tuple[str, ...], message: str, capfd: Any, tmp_path: Path
) -> None:
    """And exit 4."""
    path = tmp_path / "history.edn"
    path.write_text(STALE)
    code, out, err = squall(capfd, "export", str(path), *words)
    assert (code, out) == (4, "")
    assert message in err
    assert err.count("\n") == 1


def test_what_a_verdict_depends_on_is_said_below_it(capfd: Any, tmp_path: Path) -> None:
    """An option that would change it, where the user alone can know; and what a bank claims."""
    path = tmp_path / "history.edn"
    path.write_text(
        "{:process 0 :type :invoke :f :read :value nil}{:process 0 :type :ok :f :read :value 0}"
        "{:process 0 :type :invoke :f :write :value 1}{:process 0 :type :ok :f :write :value 1}"
    )
    code, out, _ = squall(capfd, "check", str(path))
    assert code == 1
    assert "hint: if it was there at the start, say so with --initial '0'\n" in out
    code, out, _ = squall(capfd, "check", str(path), "--initial", "0")
    assert code == 0
    assert "hint" not in out
    path.write_text(
        "{:process 0 :type :invoke :f :read :value nil}"
        "{:process 0 :type :ok :f :read :value {0 9, 1 -1}}"
    )
    code, out, _ = squall(capfd, "check", str(path), "--model", "bank")
    assert code == 1
    assert "hint: if accounts may be overdrawn, judge by --model bank:negative\n" in out
    code, out, _ = squall(capfd, "check", str(path), "--model", "bank:negative")
    assert code == 0
    assert "judged by --model bank-linearizable\n" in out
