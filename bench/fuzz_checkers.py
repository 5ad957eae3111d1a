"""Fuzzes the checkers with damaged histories: each must be judged, or refused in one clear line.

    python -m bench.fuzz_checkers SECONDS SEED FILE...

Files are cut, bytes flipped, lines swapped, repeated and dropped, values exchanged. Any result but
a verdict, a MalformedHistory whose message is one line that begins with the file's name, or an
UnknownModel is a bug: seed and traceback are printed, and the exit code is 1. What could be read is
written as EDN and must be readable again. A file of lanes (`.txt`, as the checkers' test cases) is
converted to JSON lines before it is damaged.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from pathlib import Path

from squall.checkers.budget import Meter, OutOfBudget
from squall.checkers.formats.edn_writer import encode_history
from squall.checkers.formats.jsonl import encode_history as encode_jsonl
from squall.checkers.history import MalformedHistory
from squall.checkers.registry import ENTRIES, UnknownModel, judge_file, read_file
from squall.checkers.text.lanes import parse
from squall.checkers.verdict import Budget

SNIPPETS = (
    *(b"nil", b"[", b"]", b"{", b"}", b'"', b"\\", b"\0", b"\xff", b"-1", b"1e999", b"NaN"),
    *(b":ok", b":info", b":fail", b":invoke", b":txn", b"[[:append 1 2]]", b"#{1 2}", b"null"),
    *(b"99999999999999999999999", b"true", b":process nil", b":f 3", b"[1 [2 3]]", b"{}", b"()"),
    *(b'"value":{"a":1}', b'"key":[]', b":value {}", b":value [[:r {} []]]", b':error "x"'),
)
MODELS = (None, None, None, *ENTRIES)


def damage(chance: random.Random, data: bytes) -> bytes:
    """Damage a file in one to four ways."""
    for _ in range(chance.randint(1, 4)):
        if not data:
            break
        at, upto = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        way = chance.randrange(7)
        if way == 0:
            data = data[:at]
        elif way == 1:
            data = data[:at] + chance.choice(SNIPPETS) + data[at:]
        elif way == 2:
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        elif way == 3:
            data = data[:at] + data[min(upto, at + chance.randrange(200)) :]
        elif way == 4:
            lines = data.split(b"\n")
            one, other = (chance.randrange(len(lines)) for _ in range(2))
            lines[one], lines[other] = lines[other], lines[one]
            data = b"\n".join(lines)
        elif way == 5:
            lines = data.split(b"\n")
            one = chance.randrange(len(lines))
            data = b"\n".join([*lines[:one], lines[one], *lines[one:]])
        else:
            words = data.split(b" ")
            one, other = (chance.randrange(len(words)) for _ in range(2))
            words[one] = words[other]
            data = b" ".join(words)
    return data


HEADINGS = ("checker", "node", "recovered", "unrecovered", "requested")


def read(path: Path) -> bytes:
    """Return a file's content; lanes become JSON lines."""
    if path.suffix != ".txt" or "testdata" not in path.parts:
        return path.read_bytes()
    lanes = path.read_text().partition("----\n")[0].splitlines()
    kept = [line for line in lanes if not line.startswith(HEADINGS)]
    return b"".join(encode_jsonl(parse("\n".join(kept))))


def check(name: str, data: bytes, model: str | None, budget: Budget) -> None:
    """Read, judge, write and read again."""
    found = read_file(name, data, model, Meter(budget))
    judge_file(name, found, budget)
    written = "".join(encode_history(found.history)).encode()
    base = (found.model or "none").partition(":")[0]
    read_file(f"{name} again", written, base, Meter(budget))


def main() -> int:
    """Damage and judge until the time is up; return the exit code."""
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    files = [Path(name) for name in sys.argv[3:]]
    contents = [(path.name, read(path)) for path in files]
    # The first lines find as much as whole files, and faster.
    contents = [(name, b"\n".join(data.split(b"\n")[:60])) for name, data in contents]
    until_s = time.monotonic() + seconds
    judged = refused = 0
    while time.monotonic() < until_s:
        seed += 1
        chance = random.Random(seed)
        name, data = chance.choice(contents)
        budget = Budget(time_s=0.5, now_s=time.monotonic)
        try:
            check(name, damage(chance, data), chance.choice(MODELS), budget)
            judged += 1
        except OutOfBudget:
            judged += 1  # undecided, and said so
        except (MalformedHistory, UnknownModel) as error:
            refused += 1
            if "\n" in str(error) or not str(error).startswith((name, "no model", "no level")):
                print(f"seed {seed}: {name}: not one clear line: {error}")
                return 1
        except Exception:  # noqa: BLE001 - whatever it is, it is the find
            print(f"seed {seed}: {name}")
            traceback.print_exc()
            return 1
    print(f"{judged} judged, {refused} refused, last seed {seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
