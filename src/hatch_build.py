"""Records the commit a distribution is built from, so that an installed copy can name it.

Writes `squall/_commit.txt`: the revision, and `+changes` where the tree differed. An sdist carries
the file, so that a wheel built from it has it as well. Without git nothing is written.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

RECORDED = "src/squall/_commit.txt"
"""Where an sdist keeps it."""


class CommitHook(BuildHookInterface):  # type: ignore[misc]
    """Adds the file to sdists and wheels; editable installs ask git when they run."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file to what is packed; `version` is `standard` or `editable`."""
        if version == "editable":
            return
        target = RECORDED if self.target_name == "sdist" else "squall/_commit.txt"
        path = Path(self.root) / RECORDED
        if not path.is_file():
            commit = _commit(Path(self.root))
            if not commit:
                return
            path = Path(tempfile.mkdtemp(prefix="squall-build-")) / "_commit.txt"
            path.write_text(commit + "\n")
        build_data["force_include"][str(path)] = target


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
