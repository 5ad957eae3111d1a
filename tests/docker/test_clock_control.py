"""The clock's control file: lines that continue, a monotonic clock that never goes back."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import PATIENCE_S

DOCKER = Path(__file__).resolve().parents[2] / "docker"


def _load() -> ModuleType:
    loader = SourceFileLoader("squall_clock", str(DOCKER / "squall-clock"))
    spec = importlib.util.spec_from_loader("squall_clock", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["squall_clock"] = module
    write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = write
    return module


clock = _load()
WALL, MONOTONIC = 1_790_000_000 * clock.BILLION, 5_000 * clock.BILLION

steps = st.lists(
    st.one_of(
        st.tuples(st.just("jump"), st.integers(-(10**14), 10**14)),
        st.tuples(st.just("rate"), st.sampled_from([0.5, 0.9, 1.0, 1.25, 2.0])),
        st.tuples(st.just("reset"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 10**11)),
    ),
    max_size=12,
)


@given(steps)
def test_the_monotonic_clock_never_goes_back_nor_leaps(told: list[tuple[str, float]]) -> None:
    now, segment = clock.Now(WALL, MONOTONIC), clock.Segment()
    for what, value in told:
        before = segment.shown(now).monotonic_ns
        if what == "wait":
            now = clock.Now(now.wall_ns + int(value), now.monotonic_ns + int(value))
            assert segment.shown(now).monotonic_ns >= before
            continue
        if what == "jump":
            segment = clock.jumped(segment, now, int(value))
            assert segment.shown(now).wall_ns == now.wall_ns + int(value)
        elif what == "rate":
            wall = segment.shown(now).wall_ns
            segment = clock.drifting(segment, now, value)
            assert segment.shown(now).wall_ns == wall
        else:
            segment = clock.reset(segment, now)
            assert segment.shown(now).wall_ns == now.wall_ns
        assert segment.shown(now).monotonic_ns == before


def test_a_drifting_clock_gains_what_its_rate_says() -> None:
    now = clock.Now(WALL, MONOTONIC)
    segment = clock.drifting(clock.Segment(), now, 1.25)
    later = clock.Now(WALL + 4 * clock.BILLION, MONOTONIC + 4 * clock.BILLION)
    assert segment.shown(later).wall_ns == WALL + 5 * clock.BILLION
    assert segment.shown(later).monotonic_ns == MONOTONIC + 5 * clock.BILLION


def test_a_new_control_file_leaves_every_clock_true() -> None:
    now = clock.Now(WALL, MONOTONIC)
    assert clock.current(clock.blank()).shown(now) == now


def test_what_is_installed_is_in_force_and_the_other_slot_is_kept_whole() -> None:
    control = bytearray(clock.blank())
    first, second = clock.Segment(1, 2, 3, 4, 5), clock.Segment(6, 7, 8, 9, 10)
    clock.install(control, first)
    assert clock.current(bytes(control)) == first
    clock.install(control, second)
    assert clock.current(bytes(control)) == second
    assert clock.encode(first) in bytes(control)


def test_a_rate_that_would_stop_or_reverse_time_is_refused() -> None:
    with pytest.raises(ValueError, match="rate"):
        clock.drifting(clock.Segment(), clock.Now(0, 0), 0.0)


def test_initialising_twice_keeps_what_is_in_force(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    clock.initialise(str(path))
    control = bytearray(path.read_bytes())
    clock.install(control, clock.Segment(1, 2, 3, 4, 5))
    path.write_bytes(control)
    clock.initialise(str(path))
    assert clock.current(path.read_bytes()) == clock.Segment(1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here; the image build has its own")
    built = tmp_path_factory.mktemp("shim") / "clock.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(built), str(DOCKER / "clock.c")]
    subprocess.run(command, check=True)
    return built


def _under(shim: Path, control: Path, program: str) -> list[str]:
    environment = {**os.environ, "LD_PRELOAD": str(shim), "SQUALL_CLOCK": str(control)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return done.stdout.split()


def _tell(control: Path, *command: str) -> None:
    environment = {**os.environ, "SQUALL_CLOCK": str(control)}
    subprocess.run([sys.executable, DOCKER / "squall-clock", *command], env=environment, check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the shim is for Linux")
class TestTheShim:
    """A process under the shim reads clocks as the control file says."""

    def test_a_process_is_shown_the_jumped_wall_clock(self, shim: Path, tmp_path: Path) -> None:
        control = tmp_path / "clock"
        _tell(control, "init")
        _tell(control, "jump", str(3600 * 10**9))
        before = time.time_ns()
        shown = int(_under(shim, control, "import time; print(time.time_ns())")[0])
        after = time.time_ns()
        assert before < shown - 3600 * 10**9 < after

    def test_without_a_control_file_time_is_true(self, shim: Path, tmp_path: Path) -> None:
        shown = _under(shim, tmp_path / "none", "import time; print(time.monotonic_ns())")
        assert int(shown[0]) > 0

    def test_timed_waits_end_on_a_clock_that_is_hours_ahead(
        self, shim: Path, tmp_path: Path
    ) -> None:
        """Untranslated, each of these deadlines would lie hours in the kernel's future."""
        control = tmp_path / "clock"
        _tell(control, "init")
        content = bytearray(control.read_bytes())
        hours = 10 * 3600 * clock.BILLION
        clock.install(content, clock.Segment(0, hours, 0, hours, 2 * clock.BILLION))
        control.write_bytes(content)
        waits = (
            "import asyncio, queue, threading, time\n"
            "begin = time.monotonic()\n"
            "time.sleep(0.1)\n"
            "threading.Event().wait(0.1)\n"
            "try: queue.Queue().get(timeout=0.1)\n"
            "except queue.Empty: pass\n"
            "asyncio.run(asyncio.sleep(0.1))\n"
            "stop = []\n"
            "def spin():\n"
            "    while not stop: pass\n"
            "thread = threading.Thread(target=spin); thread.start()\n"
            "time.sleep(0.01); stop.append(1); thread.join()\n"
            "print(time.monotonic() - begin >= 0.4)\n"
        )
        assert _under(shim, control, waits) == ["True"]
