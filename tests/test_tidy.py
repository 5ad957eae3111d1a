"""The style of the house, as tests: what reviewers would otherwise have to say twice."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("checkers", "harness", "node", "reports", "workloads")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FILE_LINES_MAX = 900
FUNCTION_LINES_MAX = 80


def tracked() -> list[Path]:
    """Return the files git knows, or every file when this is no checkout."""
    found = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode:
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    return [ROOT / name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_a_theory_one_noun_and_a_bounded_length(path: Path) -> None:
    """A module opens with what it is for and stays short enough to live in."""
    text = path.read_text()
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), "a module docstring says what the module is for"
    assert text.count("\n") <= FILE_LINES_MAX, "find the missing noun"
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_unfinished_business_is_left_in_the_source(package: str) -> None:
    """Open work belongs into an issue, not into a comment."""
    for path in (ROOT / package).rglob("*.py"):
        found = re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text())
        assert not found, f"{path.relative_to(ROOT)}: {found and found.group()}"


def test_links_between_documents_resolve() -> None:
    """A link in a document leads somewhere."""
    for path in tracked():
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
            if "://" not in target and not target.startswith("mailto:"):
                assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} -> {target}"


def test_the_root_holds_what_a_reader_expects() -> None:
    """Nobody has to guess what a file at the top is for."""
    expected = {
        *("pyproject.toml", "Makefile", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE"),
        *("harness", "node", "workloads", "checkers", "reports", "docker", "tests", "docs"),
        *("bench", ".github", ".ci", ".gitignore"),
    }
    found = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert found <= expected, found - expected


def test_every_make_target_the_readme_names_exists() -> None:
    """The README's commands work."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
