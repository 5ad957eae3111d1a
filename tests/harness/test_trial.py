"""What a run writes down of itself, and what becomes of it when its store or its nodes fail."""

from __future__ import annotations

from pathlib import Path

from harness.trial import relative


def test_paths_are_recorded_as_seen_from_the_working_directory() -> None:
    """A store elsewhere stays as it was typed: it has no part in what a run does."""
    here = Path("/home/me/work")
    typed = ["run", "--store", "/home/me/work/store", "--node-source=/home/me/node", "--time=5s"]
    assert relative(typed, here) == [
        "run",
        "--store",
        "store",
        "--node-source=../node",
        "--time=5s",
    ]
    assert relative(["--store=/mnt/x", "--seed", "7"], here) == ["--store=/mnt/x", "--seed", "7"]
    assert relative(["--node-source", "/n"], here) == ["--node-source", "../../../n"]
