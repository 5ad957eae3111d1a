"""The architecture is a failing test when broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def test_imports_follow_the_arrows_of_the_design() -> None:
    """Effects stand on pure code; the judge shares no code with the accused."""
    pytest.importorskip("importlinter")
    found = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_workflows_fit_the_schema_and_hold_no_known_hazard() -> None:
    """What GitHub would refuse, or an auditor would flag, is refused here."""
    pytest.importorskip("check_jsonschema")
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert workflows
    for command in (
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows],
        [BIN / "zizmor", "--offline", "--quiet", *workflows],
    ):
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
