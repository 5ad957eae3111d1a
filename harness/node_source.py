"""Runs Squall with another copy of the node: a patched one, or that of another checkout.

Containers are built from the copy. The simulator runs the node in its own process, which can load
only one package `squall.node`; so the command is run again in a child process whose
`squall` consists of that copy and of the other packages of this installation (`overlay`).
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from squall.harness.cluster import HarnessError

MAIN = "from squall.harness.__main__ import main; main()"
PACKAGE = Path(__file__).parents[1]
"""The package `squall`, not resolved: in a checkout its folders are links."""
RERUN_OF = "SQUALL_RERUN_OF"
"""Environment variable of the child process: the copy that it must have loaded."""


def node_package(source: Path | None) -> Path | None:
    """Return the node package of `source`, which is that package or a checkout with it."""
    if source is None or (source / "__main__.py").is_file():
        return source
    return source / "node"


def is_loaded(source: Path) -> bool:
    """Whether `import squall.node` in this process is that copy."""
    found = importlib.util.find_spec("squall.node")
    if found is None or found.origin is None:
        return False
    return Path(found.origin).resolve().parent == source.resolve()


def overlay(source: Path, folder: Path) -> None:
    """Create a `squall` in `folder` from links: its node is `source`, the rest is our own."""
    whole = folder / "squall"
    whole.mkdir()
    parts = {path.name: path for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    for name, path in (parts | {"node": source}).items():
        (whole / name).symlink_to(path.resolve())


def rerun(source: Path, words: list[str]) -> int:
    """Run a command line of Squall in a child with that copy of the node; returns its exit code.

    Raises HarnessError in such a child: it did not load the copy, and another one would not either.
    """
    if RERUN_OF in os.environ:
        raise HarnessError(f"{source} was put first on PYTHONPATH, and another node was loaded")
    with tempfile.TemporaryDirectory(prefix="squall-node-") as folder:
        overlay(source, Path(folder))
        found_first = [folder, os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, found_first)),
            RERUN_OF: str(source),
        }
        # Ctrl-C reaches the child as well, which ends the run in order.
        before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
        try:
            # -P: keeps the current directory out of the module search path.
            command = [sys.executable, "-P", "-c", MAIN, *words]
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)
