"""Which Squall this is: its version, and the commit it was checked out from.

Code that runs from a checkout without having been installed has no recorded version; the commit
then says more anyway.
"""

from __future__ import annotations

import functools
import subprocess
from importlib import metadata
from pathlib import Path

NOT_INSTALLED = "0+checkout"
GIT_TIMEOUT_S = 10
COMMIT_CHARS = 12
OID = "# branch.oid "
"""How git's status begins the line that names the commit."""


@functools.cache
def version() -> str:
    """Return the installed distribution's version."""
    try:
        return metadata.version("squall")
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


@functools.cache
def commit() -> tuple[str, bool]:
    """Return the commit of the checkout this code runs from, and whether it was changed since."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return "", False
    try:
        told = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=GIT_TIMEOUT_S,
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return "", False
    revision = next((line[len(OID) :] for line in told if line.startswith(OID)), "(initial)")
    if revision == "(initial)":
        return "", False
    return revision[:COMMIT_CHARS], any(not line.startswith("#") for line in told)


def described() -> str:
    """Return version and commit in one phrase, for `--version`."""
    revision, changed = commit()
    built = f" ({revision}{', changed since' if changed else ''})" if revision else ""
    return f"{version()}{built}"
