"""The version of this Squall, and the commit it was checked out or built from.

In a checkout the commit comes from git; a wheel has the commit it was built from in `_commit.txt`.
A checkout that was not installed has no recorded version.
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
"""Prefix of the line with the commit in the output of `git status --porcelain=v2`."""


@functools.cache
def version() -> str:
    """Return the installed distribution's version."""
    try:
        return metadata.version("squall")
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


@functools.cache
def commit() -> tuple[str, bool]:
    """Return the commit ("" if unknown), and whether the code was changed since."""
    root = Path(__file__).resolve().parent.parent
    recorded = root / "_commit.txt"
    if recorded.is_file():
        revision, _, changes = recorded.read_text().strip().partition("+")
        return revision, bool(changes)
    if not (root / ".git").exists():
        return "", False
    try:
        status = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=GIT_TIMEOUT_S,
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return "", False
    revision = next((line[len(OID) :] for line in status if line.startswith(OID)), "(initial)")
    if revision == "(initial)":
        return "", False
    return revision[:COMMIT_CHARS], any(not line.startswith("#") for line in status)


def described() -> str:
    """Return version and commit as one phrase, for `--version`."""
    revision, changed = commit()
    built = f" ({revision}{', changed since' if changed else ''})" if revision else ""
    return f"{version()}{built}"
