"""`squall doctor` names what is missing and how to install it, and never fails itself."""

from __future__ import annotations

import pytest

from squall.harness.cli.doctor import Diagnosis, Finding, diagnose


def test_without_an_engine_there_is_one_finding_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    found = {finding.name: finding for finding in diagnose()}
    assert found["docker engine"].ok is False
    assert "DOCKER_HOST" in found["docker engine"].remedy
    assert "iptables" not in found


def test_only_what_a_run_needs_makes_a_machine_unfit() -> None:
    nice = Finding(name="netem", ok=False, detail="no", remedy="modprobe")
    assert Diagnosis((nice,)).healthy
    assert not Diagnosis((nice, Finding(name="x", ok=False, detail="", needed=True))).healthy


def test_remedies_are_shown_for_what_is_not_there() -> None:
    text = Diagnosis(
        (
            Finding(name="python", ok=True, detail="3.12", remedy="install"),
            Finding(name="netem", ok=False, detail="unknown qdisc", remedy="modprobe sch_netem"),
            Finding(name="clock shim", ok=None, detail="not known yet", remedy="squall image"),
        )
    ).text()
    assert "install" not in text
    assert "-> modprobe sch_netem" in text
    assert [line[:2] for line in text.splitlines() if "->" not in line] == ["ok", "--", "??"]


@pytest.mark.docker
def test_with_an_engine_every_probe_gives_a_finding(standin_image: str) -> None:
    found = {finding.name: finding for finding in diagnose()}
    assert {"docker engine", "image", "iptables", "clock shim", "netem", "fuse"} <= found.keys()
    assert found["clock shim"].ok, found["clock shim"]
