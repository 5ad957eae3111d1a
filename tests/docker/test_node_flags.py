"""What the driver passes on the command line is what the node understands."""

from __future__ import annotations

from squall.harness.docker.nodes import NodeSettings, command
from squall.node.config.settings import parse

ADDRESSES = {"n1": "10.213.4.75", "n2": "10.213.4.76", "n3": "10.213.4.77"}


def test_the_node_accepts_every_flag_and_finds_itself_in_the_cluster() -> None:
    config = parse(command("n2", ADDRESSES, "squall-run", NodeSettings()), {})
    assert config.member.name == "n2"
    assert len(config.members) == 3
    assert config.max_wals == config.max_snapshots == 0
    assert config.log_format == "json"


def test_a_runs_own_settings_reach_the_node() -> None:
    settings = NodeSettings(
        election_timeout_ms=2500,
        heartbeat_interval_ms=250,
        snapshot_count=77,
        extra_flags=("--digest-every", "8"),
    )
    config = parse(command("n1", ADDRESSES, "t", settings), {})
    assert (config.election_timeout, config.heartbeat_interval) == (2500, 250)
    assert (config.snapshot_count, config.digest_every) == (77, 8)
