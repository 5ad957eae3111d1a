"""Another copy of the node under test: a patched one, or that of another checkout.

Containers are built from the copy. The simulator runs the node in its own process, and a process
can load only one package called `node`; so the command is run once more in a process that finds
that copy first, and nothing else of where it lies.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

MAIN = "from harness.__main__ import main; main()"


def node_package(source: Path | None) -> Path | None:
    """Accept the node package itself, or a checkout that contains it."""
    if source is None or (source / "__main__.py").is_file():
        return source
    return source / "node"


def is_loaded(source: Path) -> bool:
    """Whether `import node` in this process is that copy."""
    found = importlib.util.find_spec("node")
    if found is None or found.origin is None:
        return False
    return Path(found.origin).resolve().parent == source.resolve()


def rerun(source: Path, words: list[str]) -> int:
    """Run a command line of ours once more with that copy of the node; returns its exit code."""
    with tempfile.TemporaryDirectory(prefix="squall-node-") as folder:
        (Path(folder) / "node").symlink_to(source.resolve(), target_is_directory=True)
        harness = Path(__file__).resolve().parents[1]
        found_first = [folder, str(harness), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, found_first))}
        # The child hears Ctrl-C as well, and it is the child that ends the run in good order.
        before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
        try:
            # -P: the folder in which one happens to stand must not come first.
            command = [sys.executable, "-P", "-c", MAIN, *words]
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)
