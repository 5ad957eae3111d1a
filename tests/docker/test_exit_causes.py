"""A process that ended by itself is evidence against the node; one that was ended is trouble."""

from __future__ import annotations

import json

import pytest

from squall.checkers.evidence import NodeEvidence
from squall.harness.docker.evidence import split_trouble
from squall.harness.docker.exec import ContainerState
from squall.harness.docker.exit_causes import (
    exit_cause,
    find_environment_trouble,
    sent_signal,
    stopped_in_order,
)


def ended(exit_code: int, *, out_of_memory: bool = False) -> ContainerState:
    return ContainerState(
        running=False, paused=False, exit_code=exit_code, out_of_memory=out_of_memory
    )


@pytest.mark.parametrize(
    ("exit_code", "name"), [(137, "SIGKILL"), (143, "SIGTERM"), (130, "SIGINT"), (129, "SIGHUP")]
)
def test_a_signal_that_the_harness_did_not_send_is_trouble_and_is_named(exit_code, name) -> None:
    cause = exit_cause("n3", ended(exit_code), "some lines")
    assert not cause.own
    assert f"n3 was killed from outside the harness ({name}, exit code {exit_code})" in cause.text
    assert "run again" in cause.text
    assert "\n" not in cause.text


@pytest.mark.parametrize("exit_code", [134, 139, 135, 136, 132])
def test_a_signal_that_only_the_nodes_own_code_raises_is_evidence(exit_code) -> None:
    """An abort, a segmentation fault, a bus error, a division, an illegal instruction."""
    cause = exit_cause("n3", ended(exit_code), "Fatal Python error")
    assert cause.own
    assert cause.text == f"exit code {exit_code}: Fatal Python error"


def test_a_fatal_signal_that_somebody_sent_through_the_engine_is_not_the_nodes_own() -> None:
    assert not exit_cause("n3", ended(139), "", requested="SIGSEGV").own


@pytest.mark.parametrize("exit_code", [0, 1, 2, 3, 124, 200])
def test_an_exit_code_of_its_own_is_evidence_with_its_last_words(exit_code) -> None:
    cause = exit_cause("n1", ended(exit_code), "AssertionError: two leaders")
    assert cause.own
    assert "AssertionError: two leaders" in cause.text


def test_the_kernels_out_of_memory_killer_is_told_apart_from_a_kill_by_hand() -> None:
    cause = exit_cause("n2", ended(137, out_of_memory=True), "")
    assert not cause.own
    assert "OOMKilled" in cause.text
    assert "its container may use 2g" in cause.text


def test_whether_the_engine_was_asked_to_send_the_signal_is_said() -> None:
    asked = exit_cause("n2", ended(137), "", requested="SIGKILL").text
    unknown = exit_cause("n2", ended(137), "").text
    assert "The engine was asked to send it SIGKILL" in asked
    assert "dmesg" in unknown


def test_an_orderly_stop_that_nobody_of_ours_asked_for_is_trouble() -> None:
    """`docker stop` ends a node with exit code 0; one that just leaves is to blame itself."""
    assert not exit_cause("n2", ended(0), "", stopped=True).own
    assert exit_cause("n2", ended(0), "").own


def test_a_node_that_stops_in_order_says_so_last() -> None:
    def line(event: str) -> str:
        return json.dumps({"event": event})

    assert stopped_in_order([line("started"), "words", line("stopped"), ""])
    assert not stopped_in_order([line("stopped"), line("started")])
    assert not stopped_in_order([line("started"), line("stopped"), "Traceback"])
    assert not stopped_in_order([])
    assert not stopped_in_order([line("started"), line("removed"), line("stopped")]), (
        "it believed to be removed, which nobody had done"
    )
    assert stopped_in_order([line("removed"), line("stopped"), line("started"), line("stopped")])


@pytest.mark.parametrize(
    "words",
    [
        "DiskError('cannot sync /data/member/wal/1: No space left on device. The node stops')",
        "OSError(28, 'No space left on device')",
        "OSError: [Errno 5] Input/output error",
        "OSError: [Errno 30] Read-only file system: '/data'",
    ],
)
def test_a_full_or_broken_disk_beneath_a_node_is_trouble(words) -> None:
    cause = exit_cause("n4", ended(2), f"{words}\nTraceback (most recent call last):")
    assert not cause.own
    assert "the disk beneath it failed" in cause.text
    assert "docker system df" in cause.text


def test_a_nodes_own_assertion_is_evidence_even_if_it_speaks_of_a_disk() -> None:
    words = "AssertionError: acknowledged before No space left on device was requested"
    assert exit_cause("n4", ended(2), words).own
    assert find_environment_trouble(words) == ""


def test_a_container_that_fails_before_its_node_begins_is_trouble() -> None:
    cause = exit_cause("n4", ended(125), "squall-clock: no such file")
    assert not cause.own
    assert "squall-clock: no such file" in cause.text


def test_the_signal_counts_that_was_sent_since_the_last_start() -> None:
    def event(action: str, **attributes: str) -> dict[str, object]:
        return {"Action": action, "Actor": {"Attributes": attributes}}

    killed = event("kill", signal="9")
    assert sent_signal([event("start"), killed, event("die", exitCode="137")]) == "SIGKILL"
    assert sent_signal([killed, event("die"), event("start")]) == ""
    assert sent_signal([event("kill", signal="15"), killed]) == "SIGKILL"
    assert sent_signal([event("kill", signal="SIGTERM")]) == "SIGTERM"
    assert sent_signal([]) == ""


def test_what_the_surroundings_forced_is_taken_out_of_the_evidence_against_a_node() -> None:
    own, full = "AssertionError: commit went back", "OSError(28, 'No space left on device')"
    left, trouble = split_trouble(NodeEvidence(node="n1", assertions=(own, full)))
    assert left.assertions == (own,)
    assert len(trouble) == 1
    assert "n1 stopped because the disk beneath it failed" in trouble[0]
