"""Records the commit a wheel is built from, so that an installed copy can name it.

Writes `squall/_commit.txt` into the wheel: the revision, and `+changes` where the tree differed.
Nothing is written when the source is no checkout (an unpacked sdist names none).
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):  # type: ignore[misc]
    """Adds the file to wheels that are no editable installs: those ask git when they run."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file to what is packed; `version` is `standard` or `editable`."""
        if self.target_name != "wheel" or version == "editable":
            return
        commit = _commit(Path(self.root))
        if commit:
            path = Path(tempfile.mkdtemp(prefix="squall-build-")) / "_commit.txt"
            path.write_text(commit + "\n")
            build_data["force_include"][str(path)] = "squall/_commit.txt"


def _commit(root: Path) -> str:
    if not (root / ".git").exists():
        return ""
    try:
        revision, changes = (
            subprocess.run(
                ["git", *words], cwd=root, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{revision}+changes" if changes else revision
