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


def test_without_root_the_message_says_what_to_run(engine, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HarnessError, match="sudo squall image") as found:
        base.ensure_base(engine, lambda line: None)
    assert "\n" not in str(found.value)


def test_a_base_that_is_there_is_not_pulled(engine) -> None:
    engine.images = {base.PULLED}
    said: list[str] = []
    assert base.ensure_base(engine, said.append) == base.PULLED
    assert said == []


def test_a_base_of_ones_own_that_cannot_be_had_is_named(engine, monkeypatch) -> None:
    monkeypatch.setenv("SQUALL_BASE_IMAGE", "corp/debian:12")
    with pytest.raises(HarnessError, match="corp/debian:12"):
        base.ensure_base(engine, lambda line: None)
