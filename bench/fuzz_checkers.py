"""Feeds damaged histories to the checkers: every file is judged or refused with one clear line.

    python bench/fuzz_checkers.py SECONDS [SEED] FILE...

Files are cut, bytes flipped, lines swapped, repeated and dropped, values exchanged. Anything but a
verdict, a MalformedHistory whose message is one line that begins with the file's name, or an
UnknownModel is a bug: the seed and the traceback are printed, and the exit code is 1.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from pathlib import Path

from checkers.catalogue import UnknownModel, check_file
from checkers.history import MalformedHistory
from checkers.verdict import Budget

SNIPPETS = (
    *(b"nil", b"[", b"]", b"{", b"}", b'"', b"\\", b"\0", b"\xff", b"-1", b"1e999", b"NaN"),
    *(b":ok", b":info", b":fail", b":invoke", b":txn", b"[[:append 1 2]]", b"#{1 2}", b"null"),
    *(b"99999999999999999999999", b"true", b":process nil", b":f 3", b"[1 [2 3]]", b"{}", b"()"),
    *(b'"value":{"a":1}', b'"key":[]', b":value {}", b":value [[:r {} []]]", b':error "x"'),
)
MODELS = (
    None,
    None,
    None,
    "kv",
    "bank",
    "set",
    "counter",
    "mutex",
    "queue",
    "list-append",
    "rw-register",
    "multi-register",
    "long-fork",
    "fenced-mutex",
    "cas-register",
)


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


def main() -> int:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    files = [Path(name) for name in sys.argv[3:]]
    contents = [(path.name, path.read_bytes()) for path in files]
    # Whole files make slow tests: the first lines teach as much.
    contents = [(name, b"\n".join(data.split(b"\n")[:60])) for name, data in contents]
    until_s = time.monotonic() + seconds
    judged = refused = 0
    while time.monotonic() < until_s:
        seed += 1
        chance = random.Random(seed)
        name, data = chance.choice(contents)
        budget = Budget(time_s=0.5, now_s=time.monotonic)
        try:
            check_file(name, damage(chance, data), chance.choice(MODELS), budget)
            judged += 1
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
