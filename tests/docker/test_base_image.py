"""Without a registry the base is made here; where that cannot be done, one line says why."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, cast

import docker.errors
import pytest

from squall.harness.cluster import HarnessError
from squall.harness.docker.image import base

UNREACHABLE = 'Get "https://registry.example/v2/": no such host'


class Unreachable:
    """An engine whose registry does not answer."""

    def __init__(self, timeout_s: int = 0) -> None:
        self.api = SimpleNamespace(pull=self._pull)
        self.images: set[str] = set()

    def _pull(self, name: str, **_: Any) -> Any:
        raise docker.errors.APIError(UNREACHABLE)

    def image_id(self, name: str) -> str:
        return "sha256:1" if name in self.images else ""

    def close(self) -> None:
        pass


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("SQUALL_BASE_IMAGE", raising=False)
    monkeypatch.setattr(base, "Docker", Unreachable)
    return cast("Any", Unreachable())


class Machine:
    """A machine on which programs are only said to be run."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def run(self, command: list[str]) -> None:
        self.told.append(f"run: {' '.join(command)}")

    def say(self, line: str) -> None:
        self.told.append(f"say: {line}")

    @property
    def runs(self) -> list[str]:
        return [line.split()[1] for line in self.told if line.startswith("run: ")]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a machine with these programs and this user; it records what is said and run."""

    def make(*programs: str, user: int = 0, forbid: str | None = None) -> Machine:
        made = Machine()
        monkeypatch.setattr(os, "geteuid", lambda: user)
        monkeypatch.setattr(base.shutil, "which", lambda name: name in programs or None)
        monkeypatch.setattr(base, "_run", made.run)
        monkeypatch.setattr(base, "_import", lambda engine, root: None)
        monkeypatch.delenv(base.NO_INSTALL, raising=False)
        if forbid is not None:
            monkeypatch.setenv(base.NO_INSTALL, forbid)
        return made

    return make


def refusal(engine: Any, machine: Machine) -> str:
    """Return the one line of the error; nothing has been run by then."""
    with pytest.raises(HarnessError) as found:
        base.ensure_base(engine, machine.say)
    assert found.value.exit_code == 3
    assert "\n" not in str(found.value)
    assert machine.runs == []
    return str(found.value)


def test_root_without_the_tool_has_it_installed_and_is_told_before(engine, machine) -> None:
    """Loudly, with the commands and with the way to forbid it: a first run is one command."""
    here = machine("apt-get")
    assert base.ensure_base(engine, here.say) == base.MADE
    assert here.runs == ["apt-get", "apt-get", "debootstrap"]
    warning = here.told[here.told.index("run: apt-get update -qq") - 1]
    assert "INSTALLING debootstrap and debian-archive-keyring ON THIS MACHINE" in warning
    assert "apt-get install -y debootstrap" in warning
    assert "SQUALL_NO_INSTALL=1 or --no-install forbids it" in warning


def test_root_with_the_tool_has_nothing_installed(engine, machine) -> None:
    here = machine("apt-get", "debootstrap")
    base.ensure_base(engine, here.say)
    assert here.runs == ["debootstrap"]
    assert not any("INSTALLING" in line for line in here.told)


@pytest.mark.parametrize("word", ["1", "yes", "true"])
def test_where_it_is_forbidden_the_error_is_the_command_to_type(engine, machine, word) -> None:
    said = refusal(engine, machine("apt-get", forbid=word))
    assert "type `apt-get install debootstrap debian-archive-keyring`" in said
    assert "SQUALL_NO_INSTALL" in said


@pytest.mark.parametrize("word", ["", "0", "no"])
def test_a_prohibition_that_is_switched_off_is_none(engine, machine, word) -> None:
    here = machine("apt-get", forbid=word)
    base.ensure_base(engine, here.say)
    assert "debootstrap" in here.runs


def test_a_prohibition_does_not_keep_the_tool_that_is_there_from_use(engine, machine) -> None:
    here = machine("debootstrap", forbid="1")
    base.ensure_base(engine, here.say)
    assert here.runs == ["debootstrap"]


def test_nobody_but_root_installs_anything(engine, machine) -> None:
    said = refusal(engine, machine("apt-get", user=1000))
    assert "`sudo apt-get install debootstrap debian-archive-keyring`" in said
    assert "`sudo squall image`" in said


def test_without_root_the_tool_that_is_there_is_not_installed_again(engine, machine) -> None:
    said = refusal(engine, machine("apt-get", "debootstrap", user=1000))
    assert "sudo squall image" in said
    assert "apt-get" not in said


def test_without_apt_the_tool_has_to_be_had_in_another_way(engine, machine) -> None:
    said = refusal(engine, machine())
    assert "there is no apt-get" in said
    assert "SQUALL_BASE_IMAGE" in said


def test_a_base_that_is_there_is_not_pulled(engine) -> None:
    engine.images = {base.PULLED}
    said: list[str] = []
    assert base.ensure_base(engine, said.append) == base.PULLED
    assert said == []


def test_a_base_of_ones_own_that_cannot_be_had_is_named(engine, monkeypatch) -> None:
    monkeypatch.setenv("SQUALL_BASE_IMAGE", "corp/debian:12")
    with pytest.raises(HarnessError, match="corp/debian:12"):
        base.ensure_base(engine, lambda line: None)
