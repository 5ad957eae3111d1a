"""What a command loads, and how it ends when it is interrupted or nobody reads what it prints."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from squall.harness import vocabulary
from squall.harness.cli import command_group
from squall.harness.nemesis.scheduler import FaultScheduler
from squall.workloads import MODULES, WORKLOADS

ROOT = Path(__file__).resolve().parents[3]
SQUALL = [sys.executable, "-m", "squall.harness"]

GOOD = """{:process 0 :type :invoke :f :write :value 1}
{:process 0 :type :ok :f :write :value 1}
{:process 1 :type :invoke :f :read :value nil}
{:process 1 :type :ok :f :read :value 1}
"""
STALE = (
    GOOD
    + """{:process 0 :type :invoke :f :write :value 2}
{:process 0 :type :ok :f :write :value 2}
{:process 1 :type :invoke :f :read :value nil}
{:process 1 :type :ok :f :read :value 1}
"""
)

RUNNING = {
    "docker",
    "grpc",
    "aetcd",
    "google.protobuf",
    "asyncio",
    "uvloop",
    "squall.node",
    "squall.harness.sim",
}
"""What only a run needs."""
JUDGING = {
    "squall.checkers",
    "squall.reports",
    "msgspec",
    "networkx",
    "sortedcontainers",
    "rich",
    "jinja2",
}

LISTING = """
import atexit, json, sys
atexit.register(lambda: print("\\n" + json.dumps(sorted(sys.modules)), file=sys.stderr))
from squall.harness.__main__ import main
main()
"""


def environment(*first: Path) -> dict[str, str]:
    """Find this checkout's packages, and before them what is in `first`."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*first, ROOT / "src")))}


def modules_loaded(words: Sequence[str], within: Path) -> set[str]:
    """Return the names of the modules that a command line has loaded when it ends."""
    ended = subprocess.run(
        [sys.executable, "-c", LISTING, *words],
        cwd=within,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return set(json.loads(ended.stderr.splitlines()[-1]))


def of(packages: set[str], modules: set[str]) -> set[str]:
    """Return those modules that belong to one of the packages."""
    return {
        module
        for module in modules
        for package in packages
        if module == package or module.startswith(f"{package}.")
    }


@pytest.mark.parametrize(
    "line",
    [
        "--version",
        "--help",
        "run --help",
        "sweep --help",
        "trace --help",
        "run regster",
        "run --time 60",
        "run --faults kil",
        "run --frobnicate",
        "frobnicate",
        "sweep --seeds 5..1",
    ],
)
def test_help_version_and_usage_errors_load_the_parser_alone(line: str, tmp_path: Path):
    """Each of them takes a fraction of the time that the work itself needs to load."""
    loaded = modules_loaded(line.split(), tmp_path)
    assert "click" in loaded
    assert not of(
        RUNNING | JUDGING | {"squall.workloads.register", "squall.harness.nemesis"}, loaded
    )


def test_a_judged_file_loads_neither_a_cluster_nor_the_report(tmp_path: Path):
    """No sockets, no containers, no simulator, no templates; graphs only where one is drawn."""
    (tmp_path / "good.edn").write_text(GOOD)
    loaded = modules_loaded(["check", "good.edn"], tmp_path)
    assert "squall.checkers.linearizability.checker" in loaded
    assert not of(RUNNING | {"jinja2", "networkx"}, loaded)


def test_the_list_of_runs_loads_no_judge(tmp_path: Path):
    """A row is read from two small files."""
    loaded = modules_loaded(["list"], tmp_path)
    assert "squall.harness.store" in loaded
    assert not of(RUNNING | {"jinja2", "networkx", "rich", "squall.checkers.registry"}, loaded)


def test_a_rebuilt_report_loads_no_cluster(tmp_path: Path):
    """The missing file is reported without loading what a run needs."""
    loaded = modules_loaded(["report", "."], tmp_path)
    assert "squall.harness.run.judging" in loaded
    assert not of(RUNNING, loaded)


def test_names_on_the_command_line_are_those_of_the_registries():
    """Workloads, faults and backends are known by name before they are loaded."""
    for name, module in MODULES.items():
        assert importlib.import_module(module).WORKLOAD.name == name
        assert WORKLOADS[name] is importlib.import_module(module).WORKLOAD
    found = {
        path.stem
        for path in (ROOT / "workloads").glob("*.py")
        if re.search(r"^WORKLOAD\b", path.read_text(), re.MULTILINE)
    }
    assert found == {module.removeprefix("squall.workloads.") for module in MODULES.values()}
    assert FaultScheduler(vocabulary.KINDS).kinds == vocabulary.KINDS
    for kind in vocabulary.KINDS:
        importlib.import_module(f"squall.harness.nemesis.{kind}")
    for module in vocabulary.BACKENDS.values():
        assert callable(importlib.import_module(module).execute)


def test_an_unknown_workload_is_a_missing_key():
    """The registry answers as a dictionary would."""
    assert "regster" not in WORKLOADS
    assert WORKLOADS.get("regster") is None
    assert len(WORKLOADS) == len(list(WORKLOADS.values()))


@pytest.mark.parametrize("name", list(command_group.LAZY))
def test_a_command_that_is_loaded_late_is_listed_as_it_describes_itself(name: str):
    """The list of commands shows the first paragraph of each command's help."""
    module, sentence = command_group.LAZY[name]
    command = getattr(importlib.import_module(module), name)
    assert command.name == name
    assert command.help.split("\n\n")[0] == sentence


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let a child be interrupted, even where this process inherited an ignored SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


BLOCKED = """
import os, sys
os.write(1, b"importing\\n")
try:
    sys.stdin.read()
except BaseException as error:
    raise ImportError("an alternative is tried") from error
"""
"""A module whose import goes on until the test ends it, and that swallows an exception."""


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("--version", "click"),
        ("run", "msgspec"),
        ("check good.edn", "rich"),
        ("run --cluster sim", "crc32c"),
        ("sweep --seeds 1", "sortedcontainers"),
    ],
)
def test_an_interrupt_while_modules_are_loaded_is_exit_130_and_one_line(
    line: str, module: str, tmp_path: Path, interruptible: None
):
    """Nothing has begun, so the only message is that it was interrupted."""
    slow = tmp_path / "slow" / module
    slow.mkdir(parents=True)
    (slow / "__init__.py").write_text(BLOCKED)
    (tmp_path / "good.edn").write_text(GOOD)
    with subprocess.Popen(
        [*SQUALL, *line.split()],
        cwd=tmp_path,
        env=environment(slow.parent),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "", "squall: interrupted\n")


def unread(words: Sequence[str], within: Path, *, errors_too: bool = False) -> tuple[int, str]:
    """Run a command line whose standard output nobody reads; its exit code and standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [*SQUALL, *words],
            cwd=within,
            env=environment(),
            stdout=writing,
            stderr=writing if errors_too else subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    return ended.returncode, ended.stderr or ""


@pytest.mark.parametrize(("history", "code"), [(GOOD, 0), (STALE, 1)])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_verdict_that_nobody_reads_is_still_the_exit_code(
    history: str, code: int, form: tuple[str, ...], tmp_path: Path
):
    """`squall check FILE | head -1` under pipefail: valid is 0, and only invalid is 1."""
    (tmp_path / "history.edn").write_text(history)
    assert unread(["check", *form, "history.edn"], tmp_path) == (code, "")
    assert unread(["check", *form, "history.edn"], tmp_path, errors_too=True) == (code, "")


def test_a_transcript_that_nobody_reads_to_its_end_ends_quietly(tmp_path: Path):
    """`squall trace 3 | head`: how the run ended stays on standard error and in the exit code."""
    code, err = unread(["trace", "3", "--time", "1s", "--rate", "50"], tmp_path)
    assert code == 0
    assert err.startswith("seed 3: ok\n")
    assert "Broken" not in err


@pytest.mark.parametrize(
    "line", ["--help", "run --help", "--version", "workloads", "list", "export good.edn --to jsonl"]
)
def test_text_that_nobody_reads_is_no_verdict(line: str, tmp_path: Path):
    """Exit code 141, as a shell reports SIGPIPE: never 1, which would be called invalid."""
    (tmp_path / "good.edn").write_text(GOOD)
    assert unread(line.split(), tmp_path) == (141, "")


def test_results_that_find_no_room_are_trouble_of_the_surroundings(tmp_path: Path):
    """Exit code 3 and one line, whatever was to be printed."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*SQUALL, "workloads"],
            cwd=tmp_path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 3
    assert ended.stderr.startswith("squall: standard output: No space left on device")
    assert ended.stderr.count("\n") == 1


def test_a_run_whose_progress_nobody_reads_goes_on_to_its_verdict(tmp_path: Path):
    """`squall run 2>&1 | head -3`: the run is kept, judged, and ends with its own exit code."""
    words = ["run", "--cluster", "sim", "--faults", "none", "--time", "2s", "--seed", "1"]
    code, err = unread(words, tmp_path)
    assert "starting the cluster" in err
    assert unread(words, tmp_path, errors_too=True) == (code, "")
    kept = tmp_path.glob("store/register/*-1/verdict.json")
    assert [json.loads(path.read_bytes())["exit_code"] for path in kept] == [code, code]
    assert code in (0, 2)
