"""What the engine refuses for a moment is asked again; what it refuses for good is trouble."""

from __future__ import annotations

import docker.errors
import pytest

from squall.harness.cluster import HarnessError
from squall.harness.docker import processes
from squall.harness.docker.exec import ContainerState


class Engine:
    """Refuses to pause a given number of times."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.paused, self.api = refusals, False, self

    def pause(self, container: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise docker.errors.APIError("OCI runtime pause failed: unable to freeze")
        self.paused = True


class ContainerExec:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def state(self, container: str) -> ContainerState:
        return ContainerState(
            running=True, paused=self._engine.paused, exit_code=0, out_of_memory=False
        )


def freeze(refusals: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Engine, object]:
    monkeypatch.setattr(processes, "RETRY_S", 0)
    engine = Engine(refusals)
    made = processes.Processes(engine, ContainerExec(engine), {"n1": "box"})  # type: ignore[arg-type]
    made.freeze("n1")
    return engine, made.measured_thaw(("n1",))


def test_a_process_that_cannot_be_frozen_just_then_is_frozen_a_little_later(monkeypatch) -> None:
    """A busy disk keeps a process uninterruptible for a moment; that is no trouble."""
    engine, measured = freeze(processes.FREEZE_ATTEMPTS - 1, monkeypatch)
    assert engine.paused
    assert measured.effective


def test_an_engine_that_never_freezes_is_trouble_and_says_why(monkeypatch) -> None:
    """The last refusal is raised, with the engine's text."""
    with pytest.raises(HarnessError, match="unable to freeze"):
        freeze(processes.FREEZE_ATTEMPTS, monkeypatch)
