"""What a target of the Makefile says last, for every way in which squall can end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from squall.harness.vocabulary import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_UNKNOWN,
    EXIT_USAGE,
    EXIT_VALID,
)

ROOT = Path(__file__).parents[3]
UNDER_MAKE = [sys.executable, "-m", "squall.harness.cli.make_target"]


def ended(*command: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [*UNDER_MAKE, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (EXIT_VALID, "the run ended VALID (squall's exit code 0)"),
        (EXIT_INVALID, "the run ended INVALID (squall's exit code 1; make itself exits 2 for"),
        (EXIT_UNKNOWN, "the run ended UNKNOWN (squall's exit code 2"),
        (EXIT_ERROR, "the harness or its surroundings failed: ERROR"),
        (EXIT_USAGE, "squall was called wrongly"),
        (EXIT_INTERRUPTED, "the run was interrupted"),
        (77, "exit code 77"),
    ],
)
def test_every_exit_code_is_said_in_words_and_passed_on(code: int, words: str) -> None:
    got, lines = ended("sh", "-c", f"echo told; exit {code}")
    assert got == code
    assert lines[-2] == "told"
    assert lines[-1].startswith("make: ")
    assert words in lines[-1]


def test_a_squall_that_was_killed_came_to_no_verdict() -> None:
    code, lines = ended("sh", "-c", "kill -KILL $$")
    assert code == 128 + signal.SIGKILL
    assert "killed by SIGKILL: no verdict" in lines[-1]


def test_what_make_is_sent_reaches_squall() -> None:
    """It heals and judges before it ends; what it says then is waited for."""
    script = "trap 'echo healed; exit 130' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(
        [*UNDER_MAKE, "sh", "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        while running.stdout.readline().strip() != "ready":
            pass
        running.send_signal(signal.SIGTERM)
        rest = running.stdout.read().splitlines()
    assert rest[0] == "healed"
    assert "interrupted" in rest[-1]
    assert running.returncode == EXIT_INTERRUPTED


def test_every_target_that_runs_squall_says_what_it_came_to() -> None:
    recipes = [
        line for line in (ROOT / "Makefile").read_text().splitlines() if " run register" in line
    ]
    assert len(recipes) == 6
    assert all(re.match(r"\t\s*\$\(TELL(:@%=%)?\) run", line) for line in recipes), recipes
