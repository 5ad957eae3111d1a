"""The node's log: of the level asked for, in JSON or text, on every output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from squall.node.logs import LEVELS, Log


def lines_of(path: Path, *, layout: str, level: str) -> list[str]:
    log = Log((str(path),), layout, level)
    log.debug("small", msg="a detail", n=1)
    log.info("usual")
    log.warn("odd", msg="worth a look", member="7f")
    log.error("bad")
    log.fatal("end", msg="no way on")
    return path.read_text().splitlines()


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_below_the_level_is_left_out(level: str, tmp_path: Path) -> None:
    shown = [json.loads(line) for line in lines_of(tmp_path / "log", layout="json", level=level)]
    assert [line["event"] for line in shown] == [
        event
        for event, its_level in zip(
            ("small", "usual", "odd", "bad", "end"),
            ("debug", "info", "warn", "error", "fatal"),
            strict=True,
        )
        if LEVELS.index(its_level) >= LEVELS.index(level)
    ]


def test_a_line_is_an_object_or_a_sentence(tmp_path: Path) -> None:
    (line, *_) = lines_of(tmp_path / "json", layout="json", level="warn")
    fields = json.loads(line)
    assert fields.pop("ts").endswith("+00:00")
    assert fields == {"level": "warn", "event": "odd", "msg": "worth a look", "member": "7f"}
    (line, *_) = lines_of(tmp_path / "text", layout="text", level="warn")
    assert line.partition(" ")[2] == "WARN  odd: worth a look member=7f"


def test_every_output_gets_every_line_and_a_file_is_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    for boot in ("first", "second"):
        Log((str(path), "stdout", "default")).info(boot)
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == [
        "first",
        "second",
    ]
    printed = capsys.readouterr()
    assert printed.out == printed.err == path.read_text()
