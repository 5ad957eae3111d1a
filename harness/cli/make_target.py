"""Runs a command for a make target, and prints what its exit code means.

make turns every failure into its own exit code 2, which for squall would mean `unknown`; so the
last line of a target states the result. The command runs as a child in the foreground: Ctrl-C
reaches it directly, and SIGTERM and SIGHUP are forwarded to it.

    python -m squall.harness.cli.make_target squall run register --faults kill
"""

from __future__ import annotations

import signal
import subprocess
import sys
from types import FrameType

MEANINGS = {
    0: "the run ended VALID (squall's exit code 0)",
    1: "the run ended INVALID (squall's exit code 1; make itself exits 2 for every failure)",
    2: "the run ended UNKNOWN (squall's exit code 2, as make's for every failure)",
    3: "the harness or its surroundings failed: ERROR, the database is not blamed (squall's exit "
    "code 3; make itself exits 2 for every failure)",
    4: "squall was called wrongly (squall's exit code 4; make itself exits 2 for every failure)",
    130: "the run was interrupted (squall's exit code 130; make itself exits 2 for every failure)",
}


def meaning(code: int) -> str:
    """Return the meaning of an exit code of squall; a negative one is the number of a signal."""
    if code < 0:
        return (
            f"squall was killed by {signal.Signals(-code).name}: no verdict (make itself exits 2 "
            "for every failure)"
        )
    other = f"squall ended with exit code {code} (make itself exits 2 for every failure)"
    return MEANINGS.get(code, other)


def main(command: list[str]) -> int:
    """Run a command to its end; returns its exit code, as a shell would give it."""
    print(" ".join(command), flush=True)
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []  # signals that arrived before the child was started

    def forward(number: int, _: FrameType | None) -> None:
        if children:
            children[0].send_signal(number)
        else:
            early.append(number)

    # Handlers, not SIG_IGN: a child does not inherit them.
    signal.signal(signal.SIGINT, lambda *_: None)  # the terminal sends it to the child as well
    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGHUP, forward)
    children.append(subprocess.Popen(command))
    for number in early:
        children[0].send_signal(number)
    code = children[0].wait()
    print(f"make: {meaning(code)}", flush=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
