"""The architecture is a failing test when broken."""

from __future__ import annotations

import subprocess
import sys
import tomllib
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


def test_every_dependency_names_the_lowest_version_that_is_tested() -> None:
    """`make test-lowest` installs exactly these, in CI too; no extra promises what no code has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    bounds = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    assert [one for one in bounds if ">=" not in one] == []
    assert set(extras) == {"uvloop", "dev", "docs"}, "what make test-lowest and make docs install"
    assert "make test-lowest" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


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
