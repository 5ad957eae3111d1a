"""What a user types, and what comes back: a line for an error, an exit code for the verdict."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall.checkers.history import Op
from squall.harness import backends
from squall.harness.cli import main
from squall.harness.cli.durations import parse_duration_ns, show_duration
from squall.harness.cluster import HarnessError, NodeNeverReady
from squall.harness.nemesis.scheduler import FaultScheduler
from squall.harness.run.controller import conduct
from squall.harness.run.progress import Progress
from squall.harness.run.recorder import Recorder
from squall.harness.run.run import BackendResult
from squall.harness.run.seeds import Seeds
from squall.harness.store import RunFolder
from squall.workloads import WORKLOADS
from tests.harness.fake import FakeCluster
from tests.harness.virtual import virtual_runtime


def squall(capfd: Any, *words: str) -> tuple[int, str, str]:
    """Run a command line; return its exit code, standard output and standard error."""
    code = main.exit_code_of(list(words))
    out, err = capfd.readouterr()
    return code, out, err


@pytest.fixture
def fake_backend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let `squall run` conduct on a cluster in memory."""

    def install(
        prepare: Callable[[FakeCluster], None] = lambda cluster: None,
        *,
        interrupted: bool = False,
        **made: Any,
    ) -> None:
        def backend(
            request: Any,
            folder: RunFolder,
            progress: Progress,
            sink: Callable[[Op], None],
        ) -> BackendResult:
            runtime = virtual_runtime()
            cluster = FakeCluster(runtime, nodes=request.nodes, **made)
            prepare(cluster)
            findings = runtime.run(
                conduct(
                    runtime=runtime,
                    cluster=cluster,
                    workload=WORKLOADS[request.workload],
                    nemesis=FaultScheduler(request.faults),
                    recorder=Recorder(runtime, sink),
                    seeds=Seeds(request.seed),
                    options=request.options,
                    progress=progress,
                    into=folder.nodes,
                )
            )
            return BackendResult(
                findings=findings,
                versions=cluster.versions,
                unsupported=cluster.unsupported,
                interrupted=interrupted,
            )

        monkeypatch.setattr(backends, "load_backend", lambda name: backend)

    return install


USAGE_ERRORS = """
run regster                      no workload is called 'regster'; did you mean register?
run --time 60                    '60' is no duration; say the unit, as in 60s
run --time fast                  'fast' is no duration; say the unit, as in 60s
run --time 0s                    '0s' is no time at all
run --faults kil                 no fault is called 'kil'; did you mean kill?
run --faults fire                no fault is called 'fire'; there are: kill, pause, partition, clock
run --faults kill,all            `all` and `none` stand alone
run --nodes 4                    '4' is not one of '3', '5', '7'
run --concurrency many           'many' is no number of clients; write 20, or 4n
run --cluster moon               no world is called 'moon'; there are: docker, sim, auto
run --rate 0                     0.0 is not in the range x>0
run --seed -1                    -1 is not in the range x>=0
run --node-source nowhere        'nowhere' does not exist
check nowhere                    nowhere does not exist
report nowhere                   'nowhere' does not exist
frobnicate                       No such command 'frobnicate'
run --frobnicate                 No such option
"""


@pytest.mark.parametrize("line", [line for line in USAGE_ERRORS.splitlines() if line])
def test_a_command_line_that_makes_no_sense_is_one_line_and_exit_4(line: str, capfd: Any):
    """A usage error names what is available."""
    typed, message = (part.strip() for part in line.split("  ", 1))
    code, out, err = squall(capfd, *typed.split())
    assert code == 4
    assert message in err
    assert err.count("\n") == 1
    assert not out


def test_a_correct_store_is_valid(fake_backend: Any, capfd: Any, tmp_path: Path):
    """The whole path: load, faults, final phase, checkers, reports, exit code 0."""
    fake_backend()
    code, out, err = squall(capfd, "run", "--time", "20s", "--seed", "3", "--store", str(tmp_path))
    folder = RunFolder(tmp_path / "latest")
    assert code == 0, out
    assert out.rstrip().splitlines()[-1].startswith("VALID")
    assert "✓ linearizable" in out
    assert "✓ coverage" in out
    assert "seed 3" in err.splitlines()[0]
    for name in ("run.json", "schedule.json", "history.jsonl", "verdict.json", "report.html",
                 "junit.xml", "summary.md", "evidence.json"):  # fmt: skip
        assert (folder.path / name).stat().st_size, name
    schedule = json.loads((folder.path / "schedule.json").read_bytes())
    assert {fault["kind"] for fault in schedule["faults"]} == {
        "kill",
        "pause",
        "partition",
        "clock",
    }
    assert (found := folder.read_run()) is not None
    assert found.parameters["concurrency"] == 20
    assert found.versions["node"] == "fake"


@pytest.mark.parametrize("broken", ["stale", "lossy"])
def test_a_broken_store_is_invalid(fake_backend: Any, capfd: Any, tmp_path: Path, broken: str):
    """Stale reads and lost writes are found, proved, and exit 1."""
    fake_backend(broken=broken)
    code, out, _ = squall(
        capfd, "run", "--time", "20s", "--faults", "none", "--seed", "3", "--store", str(tmp_path)
    )
    assert code == 1
    assert "✗ linearizable" in out
    assert out.rstrip().splitlines()[-1].startswith("INVALID")
    again, out, _ = squall(capfd, "check", str(tmp_path / "latest"))
    assert again == 1
    assert "✗ linearizable" in out


def test_trouble_of_the_harness_is_exit_3(fake_backend: Any, capfd: Any, tmp_path: Path):
    """The database is not blamed."""
    fake_backend(lambda cluster: cluster.failing.add("cut"))
    code, out, _ = squall(
        capfd, "run", "--time", "10s", "--faults", "partition", "--store", str(tmp_path)
    )
    assert code == 3
    assert "the engine refused to cut" in out
    assert out.rstrip().splitlines()[-1].startswith("ERROR")


def test_a_node_that_never_gets_ready_is_exit_3_with_its_last_words(
    fake_backend: Any, capfd: Any, tmp_path: Path
):
    """The last lines give the reason."""

    def prepare(cluster: FakeCluster) -> None:
        async def start() -> None:
            raise NodeNeverReady("n3 was not ready within 60 s. Its last line: address in use")

        cluster.start = start  # type: ignore[method-assign]

    fake_backend(prepare)
    code, _, err = squall(capfd, "run", "--store", str(tmp_path))
    assert code == 3
    assert err.splitlines()[-1] == (
        "squall: n3 was not ready within 60 s. Its last line: address in use"
    )


def test_without_an_engine_there_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path
):
    """What is missing, and what to do."""

    def no_engine(*_: Any) -> BackendResult:
        raise HarnessError("no Docker engine answers: start Docker, or use --cluster sim")

    monkeypatch.setattr(backends, "load_backend", lambda name: no_engine)
    code, _, err = squall(capfd, "run", "--quiet", "--store", str(tmp_path))
    assert code == 3
    assert err == "squall: no Docker engine answers: start Docker, or use --cluster sim\n"
    assert not list(tmp_path.glob("*/*")), "nothing happened, so nothing is kept"


def test_auto_falls_back_to_the_simulator_and_says_so_loudly(
    fake_backend: Any, capfd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A simulated run must not be mistaken for one with containers."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    fake_backend()
    words = ("--cluster", "auto", "--time", "2s", "--faults", "none", "--quiet")
    code, _, err = squall(capfd, "run", *words, "--store", str(tmp_path))
    assert code == 0
    assert "NO CONTAINERS: this run is SIMULATED" in err
    described = RunFolder(tmp_path / "latest").read_run()
    assert described is not None
    assert described.cluster == "sim"


def test_a_node_that_dies_by_its_own_assertion_is_invalid(
    fake_backend: Any, capfd: Any, tmp_path: Path
):
    """The assertion is the proof."""

    def prepare(cluster: FakeCluster) -> None:
        cluster.ends_by_itself = {"n2": "AssertionError: committed entry changed"}

    fake_backend(prepare)
    code, out, _ = squall(capfd, "run", "--time", "10s", "--store", str(tmp_path))
    assert code == 1
    assert "committed entry changed" in out


def test_quiet_prints_the_last_line_only(fake_backend: Any, capfd: Any, tmp_path: Path):
    """For loops and logs."""
    fake_backend(broken="stale")
    _, out, err = squall(
        capfd, "run", "--time", "5s", "--faults", "none", "--quiet", "--store", str(tmp_path)
    )
    assert out.startswith("INVALID")
    assert (out.count("\n"), err) == (1, "")


def test_json_prints_the_verdict_for_machines(fake_backend: Any, capfd: Any, tmp_path: Path):
    """Standard output is JSON and nothing else."""
    fake_backend(broken="stale")
    _, out, _ = squall(
        capfd, "run", "--time", "5s", "--faults", "none", "--json", "--store", str(tmp_path)
    )
    found = json.loads(out)
    assert (found["format"], found["word"], found["exit_code"]) == (1, "INVALID", 1)


def test_a_run_whose_controller_was_killed_is_judged_on_what_there_is(
    fake_backend: Any, capfd: Any, tmp_path: Path
):
    """The folder has a history and no verdict; afterwards it has both."""
    fake_backend()
    squall(capfd, "run", "--time", "5s", "--faults", "none", "--quiet", "--store", str(tmp_path))
    folder = tmp_path / "latest"
    for name in ("verdict.json", "evidence.json", "report.html"):
        (folder / name).unlink()
    lines = (folder / "history.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "history.jsonl").write_bytes(b"".join(lines[:900]) + lines[900][:20])
    code, out, err = squall(capfd, "check", str(folder))
    assert code == 2
    assert "line 901 was cut" in err
    assert "✓ linearizable" in out
    assert (folder / "report.html").exists()


GOOD = """{"squall":"history","version":1}
{"index":0,"time_ns":1,"process":0,"type":"invoke","f":"write","key":"x","value":1}
{"index":1,"time_ns":2,"process":0,"type":"ok","f":"write","key":"x","value":1}
{"index":2,"time_ns":3,"process":1,"type":"invoke","f":"read","key":"x"}
{"index":3,"time_ns":4,"process":1,"type":"ok","f":"read","key":"x","value":1}
"""


STALE = GOOD.rstrip().removesuffix(',"value":1}') + "}\n"


@pytest.mark.parametrize(
    ("history", "code", "line"),
    [(GOOD, 0, "✓ linearizable"), (STALE, 1, "✗ linearizable")],
    ids=["good", "stale"],
)
def test_a_history_written_by_hand_is_judged_on_what_it_contains(
    history: str, code: int, line: str, capfd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Logs are not required; a file and standard input are judged alike."""
    path = tmp_path / "by-hand.jsonl"
    path.write_text(history)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(history.encode())))
    for name in (str(path), "-"):
        found, out, err = squall(capfd, "check", name)
        assert (found, err) == (code, ""), name
        assert line in out


def test_a_malformed_line_is_named_by_its_number(capfd: Any, tmp_path: Path):
    """Exit 4, one line."""
    path = tmp_path / "broken.jsonl"
    path.write_text(GOOD.replace('"f":"read"', '"f":', 1))
    code, _, err = squall(capfd, "check", str(path))
    assert code == 4
    assert f"{path}:4:" in err
    assert err.count("\n") == 1


def test_reports_are_views_that_can_be_rebuilt(fake_backend: Any, capfd: Any, tmp_path: Path):
    """From the folder alone, under the name it had then, to the same bytes."""
    fake_backend()
    store = str(tmp_path)
    squall(capfd, "run", "--time", "5s", "--faults", "none", "--quiet", "--store", store)
    folder = (tmp_path / "latest").resolve()
    names = ("report.html", "junit.xml", "summary.md")
    before = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        (folder / name).unlink()
    code, out, _ = squall(capfd, "report", str(folder))
    assert code == 0
    assert out.strip() == str(folder / "report.html")
    assert {name: (folder / name).read_bytes() for name in names} == before


@pytest.mark.parametrize("older", ["11", "12"])
def test_the_store_is_listed_newest_first(
    fake_backend: Any, capfd: Any, tmp_path: Path, older: str
):
    """One line a run with its verdict, by the time at which it started, whatever its name."""
    fake_backend()
    store = str(tmp_path)
    for seed in ("11", "12"):
        squall(capfd, "run", "--time", "2s", "--faults", "none", "--seed", seed,
               "--quiet", "--store", store)  # fmt: skip
    (described,) = tmp_path.glob(f"register/*-{older}/run.json")
    run = json.loads(described.read_bytes()) | {"started_at": "2001-01-01T00:00:00+00:00"}
    described.write_text(json.dumps(run))
    code, out, _ = squall(capfd, "list", "--store", store)
    head, *rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert head == ["verdict", "workload", "faults", "cluster", "seed", "folder"]
    newer = {"11": "12", "12": "11"}[older]
    assert [row[:-1] for row in rows] == [
        ["✓", "VALID", "register", "none", "docker", seed] for seed in (newer, older)
    ]


def test_an_interrupted_run_is_judged_and_is_no_pass(fake_backend: Any, capfd: Any, tmp_path: Path):
    """What there is was fine; what there is not was not looked at. Exit 130."""
    fake_backend(interrupted=True)
    code, out, _ = squall(
        capfd, "run", "--time", "5s", "--faults", "none", "--store", str(tmp_path)
    )
    assert code == 130
    assert "✓ linearizable" in out
    assert out.rstrip().splitlines()[-1].startswith("UNKNOWN")


def test_an_interrupt_before_anything_ran_is_exit_130(
    monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path
):
    """Ctrl-C is no error of anybody's."""
    # A shell's background jobs inherit an ignored interrupt.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(*_: Any) -> BackendResult:
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the interrupt came")

    monkeypatch.setattr(backends, "load_backend", lambda name: interrupted)
    try:
        assert squall(capfd, "run", "--quiet", "--store", str(tmp_path))[0] == 130
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_nobody_foresaw_is_ours(monkeypatch: pytest.MonkeyPatch, capfd: Any):
    """Exit 3 and a traceback: the one case in which a line does not suffice."""

    def buggy(*_: Any) -> Any:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(backends, "load_backend", buggy)
    code, _, err = squall(capfd, "run", "--quiet")
    assert code == 3
    assert "Traceback" in err
    assert "this is a bug of the harness: ZeroDivisionError: oops" in err


def test_workloads_and_faults_are_listed_with_what_they_are(capfd: Any):
    """One line each, from their own documentation."""
    assert squall(capfd, "workloads")[1].startswith("register ")
    code, out, _ = squall(capfd, "faults")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["kill", "pause", "partition", "clock"]


def test_the_version_names_the_program(capfd: Any):
    """And the commit, in a checkout."""
    code, out, _ = squall(capfd, "--version")
    assert code == 0
    assert out.startswith("squall, version ")


def test_every_command_explains_itself(capfd: Any):
    """-h works everywhere."""
    assert isinstance(main.cli, click.Group)
    for name in main.cli.commands:
        code, out, _ = squall(capfd, name, "-h")
        assert code == 0
        assert "Usage: squall" in out


@given(st.integers(min_value=1, max_value=10**7).map(lambda ms: ms * 1_000_000))
def test_durations_read_back_as_they_were_written(duration_ns: int):
    """What run.json says can be typed again."""
    assert parse_duration_ns(show_duration(duration_ns)) == duration_ns
