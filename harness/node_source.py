"""Another copy of the node under test: a patched one, or that of another checkout.

Containers are built from the copy. The simulator runs the node in its own process, which can load
only one package `squall.node`; so the command is run once more in a process that finds a `squall`
first whose `node` is that copy and whose other packages are ours (`overlay`).
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
"""Environment variable of the second process: the copy that it must have loaded."""


def node_package(source: Path | None) -> Path | None:
    """Accept the node package itself, or a checkout that contains it."""
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
    """Make a `squall` in `folder` out of links: `source` is its node, all else is this package."""
    whole = folder / "squall"
    whole.mkdir()
    parts = {path.name: path for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    for name, path in (parts | {"node": source}).items():
        (whole / name).symlink_to(path.resolve())


def rerun(source: Path, words: list[str]) -> int:
    """Run a command line of ours once more with that copy of the node; returns its exit code.

    Raises HarnessError in a second process: it did not load the copy, and neither would a third.
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
        # The child hears Ctrl-C as well, and it is the child that ends the run in good order.
        before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
        try:
            # -P: the folder in which one happens to stand must not come first.
            command = [sys.executable, "-P", "-c", MAIN, *words]
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)
