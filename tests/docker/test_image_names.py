"""An image is named by what goes into it: the same content is found again, a change is not."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from squall.harness.cluster import HarnessError
from squall.harness.docker.image.build import (
    SHIM_AND_SCRIPTS,
    context_archive,
    deps_key,
    ensure_image,
    node_key,
    read_package,
    recipe_directory,
)

from .conftest import STANDIN


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    return Path(shutil.copytree(recipe_directory(), tmp_path / "docker"))


def test_a_changed_node_gets_a_name_of_its_own(recipes: Path, tmp_path: Path) -> None:
    node = Path(shutil.copytree(STANDIN, tmp_path / "node"))
    before = node_key(recipes, read_package(node), "deps:1")
    assert node_key(recipes, read_package(STANDIN), "deps:1") == before
    (node / "extra.py").write_text("x = 1\n")
    assert node_key(recipes, read_package(node), "deps:1") != before
    assert node_key(recipes, read_package(STANDIN), "deps:2") != before


def test_what_python_caches_changes_no_name(recipes: Path, tmp_path: Path) -> None:
    node = Path(shutil.copytree(STANDIN, tmp_path / "node"))
    before = node_key(recipes, read_package(node), "deps:1")
    (node / "__pycache__").mkdir(exist_ok=True)
    (node / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert node_key(recipes, read_package(node), "deps:1") == before


@pytest.mark.parametrize("name", ["Dockerfile", *SHIM_AND_SCRIPTS])
def test_every_recipe_file_counts_for_the_dependencies(recipes: Path, name: str) -> None:
    before = deps_key(recipes, ("aetcd==1",))
    with (recipes / name).open("a") as file:
        file.write("\n")
    assert deps_key(recipes, ("aetcd==1",)) != before


def test_versions_of_packages_count_for_the_dependencies(recipes: Path) -> None:
    assert deps_key(recipes, ("aetcd==1",)) != deps_key(recipes, ("aetcd==2",))


def test_the_same_files_make_the_same_build_context_and_scripts_stay_executable() -> None:
    files = {"entrypoint.sh": b"#!/bin/sh\n", "wheels/a.whl": b"x"}
    first, second = context_archive(files), context_archive(dict(reversed(files.items())))
    assert first.getvalue() == second.getvalue()
    with tarfile.open(fileobj=first) as tar:
        assert {member.name: member.mode for member in tar} == {
            "entrypoint.sh": 0o755,
            "wheels/a.whl": 0o644,
        }


def test_a_folder_that_is_no_node_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no __main__\.py"):
        ensure_image(tmp_path, print)
