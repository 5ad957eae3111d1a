"""The style of the house, as tests: what reviewers would otherwise have to say twice."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from squall.harness.cli.main import cli

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("checkers", "harness", "node", "reports", "workloads")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
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
def test_a_module_has_a_theory_and_functions_of_bounded_length(path: Path) -> None:
    """A module opens with what it is for, and no function is longer than a page."""
    text = path.read_text()
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), "a module docstring says what the module is for"
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
        *(
            "bench",
            "src",
            "CONTRIBUTING.md",
            "SECURITY.md",
            ".pre-commit-config.yaml",
            ".github",
            ".ci",
            ".gitignore",
        ),
    }
    found = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert found <= expected, found - expected


def test_every_make_target_the_readme_names_exists() -> None:
    """The README's commands work."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


DOCUMENTS = sorted(
    path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")] if path.stem != "CHANGELOG"
)
NAMED_PATH = re.compile(
    r"(?<![\w./~-])((?:bench|checkers|docker|docs|harness|node|reports|src|tests|workloads"
    r"|\.github|\.ci)/[\w./*-]*)"
)
NAMED_MODULE = re.compile(rf"(?<![\w./-])squall\.(?:{'|'.join(PACKAGES)})(?:\.\w+)*")
PLACEHOLDER = re.compile(r"NAME|ROOM")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_and_module_that_a_document_names_exists(path: Path) -> None:
    """A document does not outlive what it describes. `NAME` stands for a name of the reader's."""
    text = re.sub(r"\]\([^)]*\)", "]", path.read_text())  # links have a test of their own
    for named in NAMED_PATH.findall(text):
        wanted = named.rstrip(".")
        if not PLACEHOLDER.search(wanted):
            assert any(ROOT.glob(wanted.rstrip("/"))), f"{path.name} names {wanted}"
    for named in NAMED_MODULE.findall(text):
        assert resolved(named), f"{path.name} names {named}"


def resolved(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name within one."""
    parts = dotted.split(".")
    for end in range(len(parts), 1, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part, None)
        return found is not None
    return False


def blocks(path: Path, *languages: str) -> Iterator[str]:
    """The code blocks of a document: fenced in these languages, and indented ones as ""."""
    text = path.read_text()
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language in languages:
            yield body
    if "" in languages:
        unfenced = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        yield "\n".join(line[4:] for line in unfenced.split("\n") if line.startswith("    "))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_document_shows_is_understood(path: Path) -> None:
    """The commands exist, and so do their options."""
    for body in blocks(path, "console", "sh", ""):
        for line in body.replace("\\\n", " ").splitlines():
            typed = re.match(r"(?:\$ )?(?:\.venv/bin/)?squall (?P<rest>[a-z].*)", line)
            if typed:
                name, *rest = shlex.split(typed["rest"], comments=True)
                command = cli.get_command(click.Context(cli), name)
                assert command is not None, f"{path.name}: squall {name}"
                known = {opt for param in command.params for opt in (*param.opts, "--help")}
                asked = {word.partition("=")[0] for word in rest if word.startswith("--")}
                assert asked <= known, f"{path.name}: squall {name}: {asked - known}"


def test_the_examples_of_the_library_reference_run() -> None:
    """What a user of the library copies from there works."""
    for body in blocks(ROOT / "docs" / "reference.md", "python"):
        exec(compile(body, "docs/reference.md", "exec"), {})


def test_the_library_reference_lists_what_there_is() -> None:
    """Mkdocstrings leaves out, without a word, a member that does not exist."""
    text = (ROOT / "docs" / "reference.md").read_text()
    listed = re.findall(r"^::: (\S+)\n    options:\n      members: \[(.*)\]$", text, re.MULTILINE)
    assert len(listed) == text.count("\n::: ")
    for module, members in listed:
        for member in members.split(", "):
            assert hasattr(importlib.import_module(module), member), f"{module}.{member}"


def test_every_document_is_part_of_the_site() -> None:
    """`make docs` warns of a page outside the navigation only in passing."""
    navigation = (ROOT / ".github" / "mkdocs.yml").read_text()
    for path in (ROOT / "docs").glob("*.md"):
        assert f": {path.name}\n" in navigation, path.name
