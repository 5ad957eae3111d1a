"""Squall as a library: one's own clients recorded, their history judged, nothing else needed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import squall
from squall import Budget, History, Op, OpType, Recorder, Validity, check_file, judge, models
from squall.checkers.formats.jsonl import read_history

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = (
    *("grpc", "docker", "cryptography", "aetcd", "bcrypt", "click", "crc32c", "google.protobuf"),
    *("h11", "hpack", "jinja2", "prometheus_client", "rich", "yaml", "uvloop"),
)
"""What running needs and judging does not."""


class Clock:
    """A clock that a test moves, in nanoseconds."""

    def __init__(self) -> None:
        self.ns = 5_000

    def __call__(self) -> int:
        self.ns += 10
        return self.ns


def events(path: Path) -> History:
    """Read a recorded file back."""
    with path.open("rb") as lines:
        return read_history(lines).history


def test_a_recorded_history_is_judged_by_the_model_that_its_recorder_named(tmp_path: Path) -> None:
    """The thirty lines of a user: two clients, a store, a file and a verdict."""
    store: dict[str, int] = {}
    path = tmp_path / "history.jsonl"
    with Recorder(path, model="cas-register") as recorder:
        alice, bob = recorder.client("alice"), recorder.client("bob")
        with alice.invoke("write", key="x", value=1) as op:
            store["x"] = 1
            op.ok()
        with bob.invoke("read", key="x") as op:
            op.ok(store["x"])
    verdict = check_file(path)
    assert verdict.validity is Validity.VALID
    assert verdict.stats["model"] == "cas-register"
    assert verdict.stats["accounting"]["judged"] == 2


def test_a_stale_read_is_told_with_the_clients_names(tmp_path: Path) -> None:
    """What was recorded in memory is judged like the file."""
    with Recorder(tmp_path / "h.jsonl", now_ns=Clock()) as recorder:
        alice, bob = recorder.client("alice"), recorder.client("bob")
        for value in (1, 2):
            with alice.invoke("write", key="x", value=value) as op:
                op.ok()
        with bob.invoke("read", key="x") as op:
            op.ok(1)
        verdict = judge(recorder.history, "register")
    assert verdict.validity is Validity.INVALID
    assert "alice" in verdict.anomalies[0].explanation


def test_an_invocation_is_on_disk_before_its_block_runs(tmp_path: Path) -> None:
    """And its answer when `ok` returns."""
    path = tmp_path / "h.jsonl"
    with Recorder(path) as recorder, recorder.client("a").invoke("read", key="x") as op:
        assert [one.type for one in events(path)] == [OpType.INVOKE]
        op.ok(None)
        assert [one.type for one in events(path)] == [OpType.INVOKE, OpType.OK]


def test_an_exception_leaves_the_outcome_open_and_the_process_retires(tmp_path: Path) -> None:
    """It comes out of the block as it was raised, a cancellation too."""
    path = tmp_path / "h.jsonl"
    with Recorder(path) as recorder:
        alice = recorder.client("alice")
        with pytest.raises(TimeoutError), alice.invoke("write", key="x", value=1):
            raise TimeoutError("no answer")
        with pytest.raises(asyncio.CancelledError), alice.invoke("write", key="x", value=2):
            raise asyncio.CancelledError
        with alice.invoke("write", key="x", value=3):
            pass
        with alice.invoke("write", key="x", value=4) as op:
            op.ok()
    invoked = [one.process for one in events(path) if one.type is OpType.INVOKE]
    assert invoked == ["alice", "alice/2", "alice/3", "alice/4"]
    completed = [(one.type, one.error) for one in events(path) if one.type is not OpType.INVOKE]
    assert completed == [
        (OpType.INFO, "TimeoutError: no answer"),
        (OpType.INFO, "CancelledError"),
        (OpType.INFO, "the block ended without an answer"),
        (OpType.OK, None),
    ]


def test_only_what_the_caller_names_is_a_failure(tmp_path: Path) -> None:
    """By exception, or by saying so; then the process goes on."""
    with Recorder(tmp_path / "h.jsonl") as recorder:
        client = recorder.client()
        assert client.process == 0
        refused = client.invoke("write", key="x", value=1, fail_on=(ConnectionRefusedError,))
        with pytest.raises(ConnectionRefusedError), refused:
            raise ConnectionRefusedError
        with client.invoke("write", key="x", value=2) as op:
            op.fail("read-only")
        assert client.process == 0
        assert [one.outcome for one in recorder.history.operations] == [OpType.FAIL, OpType.FAIL]
        with client.invoke("write", key="x", value=3) as op:
            op.info("half an answer")
        assert client.process == 1
        assert recorder.client().process == 2


def test_threads_and_tasks_record_into_one_file_in_order_of_time(tmp_path: Path) -> None:
    """Indexes, times and lines agree whoever writes; every client is sequential."""
    path = tmp_path / "h.jsonl"

    def write(client: squall.Client) -> None:
        for value in range(200):
            with client.invoke("write", key=client.name, value=value) as op:  # type: ignore[arg-type]
                op.ok()

    async def read(client: squall.Client) -> None:
        for _ in range(100):
            with client.invoke("read", key="x") as op:
                await asyncio.sleep(0)
                op.ok(None)

    async def readers(recorder: Recorder) -> None:
        await asyncio.gather(*(read(recorder.client()) for _ in range(3)))

    with Recorder(path) as recorder:
        threads = [
            threading.Thread(target=write, args=(recorder.client(f"w{at}"),)) for at in range(4)
        ]
        for thread in threads:
            thread.start()
        asyncio.run(readers(recorder))
        for thread in threads:
            thread.join()
        kept = recorder.history
    history = events(path)
    assert list(history) == list(kept)
    assert len(history.operations) == 4 * 200 + 3 * 100
    assert judge(history, "register").validity is Validity.VALID


@pytest.mark.parametrize(
    ("misuse", "words"),
    [
        (lambda recorder: recorder.client("nemesis"), "no client can be called 'nemesis'"),
        (lambda recorder: recorder.client("taken"), "there is a client 'taken' already"),
        (lambda recorder: recorder.client(True), "called by a text or a number, not True"),
        (lambda recorder: recorder.client("a").invoke("write", key=7), "key is a text, not 7"),
        (lambda recorder: recorder.client("a").invoke("write", value=object()), "value of JSON"),
    ],
)
def test_misuse_is_refused_in_words(tmp_path: Path, misuse: Any, words: str) -> None:
    """Nothing of it is recorded."""
    with Recorder(tmp_path / "h.jsonl") as recorder:
        recorder.client("taken")
        with pytest.raises((ValueError, TypeError), match=words):
            misuse(recorder)
        assert len(recorder.history) == 0


def test_a_client_does_one_thing_at_a_time_and_answers_once(tmp_path: Path) -> None:
    """A read says what it read, if only None; a recorder that is closed records nothing."""
    recorder = Recorder(tmp_path / "h.jsonl")
    client = recorder.client("a")
    with client.invoke("read", key="x") as op:
        with pytest.raises(RuntimeError, match="a client does one operation at a time"):
            client.invoke("read", key="y").__enter__()
        with pytest.raises(TypeError, match="a read answers something"):
            op.ok()
        op.ok(3)
        with pytest.raises(RuntimeError, match="has its answer already"):
            op.ok(4)
    recorder.close()
    recorder.close()
    with pytest.raises(ValueError, match="the history is closed"):
        client.invoke("read").__enter__()


def test_a_value_is_recorded_as_it_was(tmp_path: Path) -> None:
    """What its owner does to a list later is another matter."""
    found = [1, 2]
    with Recorder(tmp_path / "h.jsonl") as recorder:
        with recorder.client("a").invoke("read", key="s") as op:
            op.ok(found)
        found.append(3)
        assert recorder.history[1].value == [1, 2]


def test_an_earlier_history_is_not_overwritten_unasked(tmp_path: Path) -> None:
    """A file holds one run."""
    path = tmp_path / "h.jsonl"
    Recorder(path).close()
    with pytest.raises(FileExistsError, match="say overwrite=True"):
        Recorder(path)
    Recorder(path, overwrite=True).close()
    assert len(events(path)) == 0


def test_a_clock_that_goes_back_is_refused(tmp_path: Path) -> None:
    """Times that are not in order would be read as another history."""
    times = iter([100, 200, 150])
    with Recorder(tmp_path / "h.jsonl", now_ns=lambda: next(times)) as recorder:
        op = recorder.client("a").invoke("write", value=1)
        op.__enter__()
        with pytest.raises(ValueError, match="the clock went back from 100 to 50 ns"):
            op.ok()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_raised_before_the_request_leaves(tmp_path: Path) -> None:
    """A header that cannot be written is none."""
    with pytest.raises(OSError, match="No space left"):
        Recorder("/dev/full", overwrite=True)


def test_a_model_of_ones_own_judges_a_history_in_memory() -> None:
    """A class is enough; plain text names the kinds of event, names the clients."""

    class Latch:
        name = "latch"
        init = False
        functions = frozenset({"set", "get"})

        def step(self, state: Any, given: tuple[str, Any], answer: Any) -> tuple[bool, Any]:
            if given[0] == "set":
                return True, True
            return answer is models.UNKNOWN or answer == state, state

        def read_only(self, given: tuple[str, Any], answer: Any) -> bool:
            return given[0] == "get"

        def describe(self, given: tuple[str, Any], answer: Any) -> str:
            return f"{given[0]} {answer}"

    def history(seen: bool, f: str = "get") -> list[Op]:
        told = [("a", "invoke", "set", None), ("a", "ok", "set", None)]
        told += [("b", "invoke", f, None), ("b", "ok", f, seen)]
        return [
            Op(index=at, time_ns=at, process=process, type=type_, f=f, value=value)  # type: ignore[arg-type]
            for at, (process, type_, f, value) in enumerate(told)
        ]

    assert judge(history(True), Latch).validity is Validity.VALID
    assert judge(history(False), Latch).validity is Validity.INVALID
    assert judge(history(True, "peek"), Latch).reason == "key None: a latch has no operation peek"


def test_an_event_is_of_a_known_kind_and_somebodys() -> None:
    """Plain text becomes the kind it names; all else is refused."""
    op = Op(index=0, time_ns=0, process="alice", type="invoke", f="read")  # type: ignore[arg-type]
    assert op.type is OpType.INVOKE
    with pytest.raises(ValueError, match="one of invoke, ok, fail, info, not 'done'"):
        Op(index=0, time_ns=0, process=1, type="done", f="read")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a process is a number or a name, not None"):
        Op(index=0, time_ns=0, process=None, type=OpType.OK, f="read")  # type: ignore[arg-type]


def test_a_budget_has_a_clock_unless_it_is_taken_away() -> None:
    """An hour's search ends when its time is over."""
    assert Budget().now_s is not None
    assert squall.UNTIMED.now_s is None


def run(program: str, *, path: Path) -> str:
    """Run a program of its own in a folder; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=path,
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_recording_and_judging_need_nothing_of_what_running_needs(tmp_path: Path) -> None:
    """Neither grpc nor docker nor cryptography, nor any other; a cycle's graph needs networkx."""
    program = f"""
import sys
for name in {ELSEWHERE!r}:
    sys.modules[name] = None
import squall
with squall.Recorder("history.jsonl", model="list-append") as recorder:
    a, b = recorder.client("a"), recorder.client("b")
    with a.invoke("txn", value=[["append", "x", 1]]) as op:
        op.ok()
    with b.invoke("txn", value=[["r", "x", None]]) as op:
        op.ok([["r", "x", []]])
print(squall.check_file("history.jsonl").validity)
print(squall.check_file("history.jsonl", "list-append:serializable").validity)
print(squall.judge([], "cas-register").validity)
"""
    assert run(program, path=tmp_path).split() == ["invalid", "valid", "unknown"]


def test_importing_squall_loads_nothing_and_recording_little(tmp_path: Path) -> None:
    """No asyncio, no node, no judge: a program under test stays as quick as it was."""
    program = """
import sys
import squall
assert not [one for one in sys.modules if one.startswith("squall.")]
squall.Recorder
heavy = {"asyncio", "grpc", "docker", "cryptography", "networkx", "sortedcontainers"}
print(sorted(heavy & set(sys.modules)))
print([one for one in sys.modules if one.startswith(("squall.node", "squall.workloads"))])
"""
    assert run(program, path=tmp_path).split() == ["[]", "[]"]


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    """`__all__` is what is documented, and what is lazily loaded."""
    assert set(squall.__all__) <= set(dir(squall))
    for name in squall.__all__:
        found = getattr(squall, name)
        assert getattr(found, "__doc__", None), name
    with pytest.raises(AttributeError, match="has no attribute 'Recoder'"):
        squall.Recoder  # type: ignore[attr-defined]  # noqa: B018


USER_PROGRAM = """
import squall
from squall import Budget, History, Op, OpType, Recorder, Verdict, check_file, judge, models

with Recorder("h.jsonl", model="cas-register") as recorder:
    client = recorder.client("alice")
    with client.invoke("write", key="x", value=1, fail_on=(ConnectionError,)) as op:
        op.ok()
    history: History = recorder.history
verdict: Verdict = judge(history, models.CasRegister, Budget(time_s=5.0))
again: Verdict = check_file("h.jsonl", budget=Budget(now_s=None))
first: Op = history[0]
some: tuple[Op, ...] = history[0:2]
names: list[str] = [each.explanation for each in verdict.anomalies]
kind: OpType = first.type
"""

WRONG_PROGRAM = """
import squall

recorder = squall.Recorder(7)
squall.judge([], "cas-register", 5.0)
squall.Recoder
"""


def test_a_users_program_is_checked_strictly_against_the_public_types(tmp_path: Path) -> None:
    """py.typed: mypy passes the right program, and finds each mistake of the wrong one."""
    pytest.importorskip("mypy")
    for name, text in (("right.py", USER_PROGRAM), ("wrong.py", WRONG_PROGRAM)):
        (tmp_path / name).write_text(text)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nmypy_path = {ROOT / 'src'}\n")
    found = {}
    for name in ("right.py", "wrong.py"):
        command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", name]
        found[name] = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False
        ).stdout
    assert "Success" in found["right.py"], found["right.py"]
    assert found["wrong.py"].count("error:") == 3, found["wrong.py"]
