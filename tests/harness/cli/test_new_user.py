"""What a new user writes in thirty lines: an asyncio recorder of a store of his own.

He guesses the field names, forgets the header line, gives his clients names. Whatever he writes is
judged rightly, or refused in one line that says what to write.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squall.harness.cli import main

HEADER = '{"squall":"history","version":1}\n'


class Store:
    """A register; `wrong` forgets what it acknowledged, or answers from an old copy."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong, self.value, self.old = wrong, None, None

    async def write(self, value: Any) -> None:
        """Acknowledge a write."""
        await asyncio.sleep(0)
        if self.wrong != "forgets":
            self.old, self.value = self.value, value

    async def read(self) -> Any:
        """Answer a read."""
        await asyncio.sleep(0)
        return self.old if self.wrong == "stale" and self.value == 6 else self.value


def recorded(store: Store, clock: Callable[[], float], names: dict[str, str]) -> str:
    """Let three clients use a store; return a line an event, under the recorder's own names."""
    lines: list[str] = []

    def note(process: str, kind: str, f: str, value: Any) -> None:
        fields = {"index": len(lines), "time": clock(), "process": process, "type": kind, "f": f}
        told = {names.get(name, name): said for name, said in (*fields.items(), ("value", value))}
        lines.append(json.dumps({name: said for name, said in told.items() if name}) + "\n")

    async def use(process: str, writes: bool) -> None:
        for number in range(1, 7):
            if writes:
                note(process, "invoke", "write", number)
                await store.write(number)
                note(process, "ok", "write", number)
            else:
                note(process, "invoke", "read", None)
                note(process, "ok", "read", await store.read())

    async def all_of_them() -> None:
        await use("writer", writes=True)
        await asyncio.gather(use("reader-1", writes=False), use("reader-2", writes=False))

    asyncio.run(all_of_them())
    return "".join(lines)


WAYS: dict[str, tuple[str, Callable[[], float], dict[str, str]]] = {
    "our own format": (HEADER, time.monotonic_ns, {"time": "time_ns"}),
    "Jepsen's fields": ("", time.monotonic_ns, {}),
    "seconds, no index": ("", time.time, {"index": ""}),
    "no times": ("", time.time, {"time": "", "index": ""}),
}


def check(text: str, path: Path, capfd: Any) -> tuple[int, str, str]:
    """Run `squall check` on a file with this text."""
    path.write_text(text)
    code = main.exit_code_of(["check", str(path)])
    return code, *capfd.readouterr()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrong", ["", "stale", "forgets"])
def test_a_store_is_judged_by_what_its_first_recorder_wrote(
    way: str, wrong: str, capfd: Any, tmp_path: Path
) -> None:
    """Right stores pass, wrong ones do not, and nothing that was read is lost on the way."""
    header, clock, names = WAYS[way]
    text = header + recorded(Store(wrong), clock, names)
    code, out, err = check(text, tmp_path / "history.jsonl", capfd)
    assert not err
    if not wrong:
        assert code == 0
        assert "18 operations, 18 judged" in out
    elif wrong == "stale":
        assert code == 1
        assert "reader" in out
    elif header:
        assert code == 1  # a read of nothing after six acknowledged writes
    else:
        assert code == 2  # null is Knossos' word for an answer that nobody kept
        assert "vacuous" in out
        assert "12 left out" in out


@pytest.mark.parametrize(
    ("header", "names", "message"),
    [
        ("", {"time": "time_ns"}, "add it as the first line"),
        ("", {"type": "kind"}, "an event without a type"),
        ("", {"type": "", "time": "start"}, "one record an operation"),
        ("", {"f": "op"}, "an event without f is a transaction"),
        (HEADER, {}, "time_ns is in whole nanoseconds"),
    ],
)
def test_a_recorder_that_guessed_wrong_is_told_what_to_write(
    header: str, names: dict[str, str], message: str, capfd: Any, tmp_path: Path
) -> None:
    """In one line, with exit 4: it is no verdict on the store."""
    text = header + recorded(Store("forgets"), time.monotonic_ns, names)
    code, out, err = check(text, tmp_path / "history.jsonl", capfd)
    assert (code, out) == (4, "")
    assert message in err
    assert err.count("\n") == 1
