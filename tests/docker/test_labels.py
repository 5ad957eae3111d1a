"""From the labels alone one can tell whether a resource's owner still lives."""

from __future__ import annotations

import subprocess
import sys

from msgspec.structs import replace

from squall.harness.docker.labels import Owner, is_alive, owner_of, this_process


def test_labels_tell_whose_a_resource_is() -> None:
    owner = this_process("run-7")
    labels = owner.labels("n3")
    assert owner_of(labels) == owner
    assert labels["squall.run"] == "run-7"
    assert labels["squall.node"] == "n3"


def test_a_resource_without_our_label_is_nobodys() -> None:
    assert owner_of({"com.docker.compose.project": "shop"}) is None
    assert owner_of({"squall.run": "x", "squall.pid": "not a number"}) is None


def test_this_process_is_alive() -> None:
    assert is_alive(this_process("run"))


def test_a_process_that_ended_is_dead() -> None:
    program = (
        "import json; from squall.harness.docker.labels import this_process\n"
        "print(json.dumps(this_process('r').labels()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    import json

    owner = owner_of(json.loads(done.stdout))
    assert owner is not None
    assert not is_alive(owner)


def test_a_recycled_process_id_is_not_the_owner() -> None:
    owner = this_process("run")
    if owner.started:
        assert not is_alive(replace(owner, started="1"))


def test_after_a_reboot_nobody_is_alive() -> None:
    owner = this_process("run")
    assert not is_alive(replace(owner, boot="another boot"))


def test_a_controller_elsewhere_counts_as_alive() -> None:
    assert is_alive(Owner(run="r", pid=1, started="1", host="elsewhere", boot="x"))
