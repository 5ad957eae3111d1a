"""The command line: etcd's flags in etcd's spellings, and one clear line for what cannot be."""

from __future__ import annotations

import subprocess
import sys

import pytest

from squall.node.config.endpoints import ConfigError
from squall.node.config.settings import Config, parse

THREE = "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380"


def parsed(line: str, **environment: str) -> Config:
    return parse(line.split(), environment)


def squall_node(flag: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "squall.node", flag]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_lone_node_needs_no_flags() -> None:
    config = parsed("")
    assert config.name == "default"
    assert config.data_dir == "default.etcd"
    assert config.initial_cluster == {"default": ("http://localhost:2380",)}
    assert config.heartbeat_interval == 100
    assert config.election_timeout == 1000
    # What a real etcd with these settings calls itself and its cluster.
    assert f"{config.member.id:x}" == "8e9e05c52164694d"
    assert f"{config.cluster_id:x}" == "cdf818194e3a8c32"


@pytest.mark.parametrize(
    "line",
    ["--name n2 --pre-vote=false", "--name=n2 --pre-vote=false", "-name n2 -pre-vote=false"],
)
def test_every_spelling_of_go_is_understood(line: str) -> None:
    urls = "--initial-advertise-peer-urls http://10.0.0.2:2380"
    config = parsed(f"{line} {urls} --initial-cluster {THREE}")
    assert config.member.name == "n2"
    assert not config.pre_vote


def test_the_environment_sets_what_the_command_line_leaves_out() -> None:
    config = parsed("--name a", ETCD_NAME="b", ETCD_ELECTION_TIMEOUT="2000")
    assert config.name == "a"
    assert config.election_timeout == 2000


def test_all_members_compute_the_same_identities() -> None:
    ids = set()
    for number in (1, 2, 3):
        urls = f"--initial-advertise-peer-urls http://10.0.0.{number}:2380"
        config = parsed(f"--name n{number} {urls} --initial-cluster {THREE}")
        ids.add((config.cluster_id, config.members))
        assert config.member.peer_urls == (f"http://10.0.0.{number}:2380",)
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--nmae x", "unrecognized arguments: --nmae"),
        ("--election-timeout soon", "--election-timeout: a whole number"),
        ("--election-timeout 300", "at least 5 times --heartbeat-interval"),
        ("--election-timeout 60000", "at most 50000 ms"),
        ("--listen-client-urls localhost:2379", "not a URL of the form"),
        ("--listen-client-urls https://localhost:2379", "https URLs need --cert-file"),
        ("--name n9 --initial-cluster n1=http://a:1", "does not name this member"),
        ("--name n1 --initial-cluster n1=http://a:1", "--initial-advertise-peer-urls is"),
        ("--initial-cluster-state old", "one of new, existing"),
        ("--pre-vote=perhaps", "true or false"),
        ("--initial-cluster http://a:1", "wants name=URL pairs"),
        ("--auto-compaction-retention soon", "a duration such as 10m"),
        ("--auto-compaction-mode revision --auto-compaction-retention 1h", "a whole number"),
        ("--heartbeat-interval 0", "at least 1 ms"),
    ],
)
def test_what_cannot_be_is_refused_by_name(line: str, words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parsed(line)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_wrong_variable_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="ETCD_PRE_VOTE: true or false"):
        parsed("", ETCD_PRE_VOTE="perhaps")


def test_a_usage_error_is_one_line_and_exit_code_4() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "squall.node", "--no-such-flag"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert done.stderr == "squall-node: unrecognized arguments: --no-such-flag\n"


def test_the_version_is_printed_as_etcd_prints_it() -> None:
    done = squall_node("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("etcd Version: 3.5.0\n")
