"""Every flag of etcd 3.4: honoured, without effect and said to be, or refused with the reason."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from squall.node.api.service import limits
from squall.node.config import flags
from squall.node.config.endpoints import ConfigError
from squall.node.config.settings import parse
from squall.node.rpc import Limits
from tests.node.config.test_settings import parsed
from tests.node.server.processes import Cluster

ALL = (*flags.HONOURED, *flags.NO_EFFECT, *flags.REFUSED)


def test_every_flag_that_etcd_tells_of_is_understood(program: Any) -> None:
    help_text = subprocess.run(
        [program("etcd"), "--help"], capture_output=True, text=True, check=False
    )
    names = re.findall(r"^  --([a-z0-9-]+)", help_text.stdout + help_text.stderr, re.MULTILINE)
    assert len(names) >= 80
    assert set(names) <= {flag.name for flag in ALL}


@pytest.mark.parametrize("flag", ALL, ids=lambda flag: flag.name)
def test_its_default_may_be_given_literally(flag: flags.Flag) -> None:
    assert not parsed(f"--{flag.name}={flag.default}").notes


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("--backend-batch-limit 7", "--backend-batch-limit has no effect: each batch"),
        ("--cors=http://a", "--cors has no effect: there is no HTTP API"),
        ("--initial-election-tick-advance=false", "the first election waits as any other"),
        ("--metrics extensive", "all metrics are always shown"),
    ],
)
def test_what_there_is_nothing_to_tune_for_is_taken_and_said(line: str, note: str) -> None:
    (said,) = parsed(line).notes
    assert note in said


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--discovery http://d", "--discovery is not served: there is no discovery service"),
        ("--enable-v2", "--enable-v2 is not served: the v2 API"),
        ("--proxy on", "--proxy is not served"),
        ("--auth-token jwt,pub-key=a", "--auth-token: one of simple"),
        ("--proxy sideways", "--proxy: one of off, readonly, on"),
    ],
)
def test_what_cannot_be_given_is_refused_with_the_reason(line: str, why: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parsed(line)
    assert why in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_environment_is_judged_by_the_same_rules() -> None:
    assert "ETCD_CORS has no effect" in parsed("", ETCD_CORS="http://a").notes[0]
    with pytest.raises(ConfigError, match="ETCD_DISCOVERY is not served"):
        parsed("", ETCD_DISCOVERY="http://d")
    (note,) = parsed("", ETCD_ELECTION_TIMEOT="2000").notes
    assert note == "ETCD_ELECTION_TIMEOT in the environment names no flag"


@pytest.mark.parametrize(
    ("line", "level", "layout"),
    [
        ("", "info", "json"),
        ("--logger capnslog", "info", "text"),
        ("--logger capnslog --log-format json", "info", "json"),
        ("--debug", "debug", "json"),
        ("--log-level warn --log-format text", "warn", "text"),
    ],
)
def test_logs_are_json_or_text_of_a_level(line: str, level: str, layout: str) -> None:
    config = parsed(line)
    assert (config.log_level, config.log_format) == (level, layout)


def test_clients_are_limited_and_pinged_as_etcd_would() -> None:
    assert limits(parsed("")) == Limits(16_384, 5.0, 7200.0, 20.0)
    line = (
        "--max-concurrent-streams 9 --grpc-keepalive-min-time=1s --grpc-keepalive-interval 0s "
        "--grpc-keepalive-timeout 1m"
    )
    assert limits(parsed(line)) == Limits(9, 1.0, 0.0, 60.0)


PAGE = Path(__file__).resolve().parents[3] / "docs" / "node.md"


def table(rows: tuple[flags.Flag, ...]) -> str:
    return "".join(
        f"| `--{flag.name}` | {f'`{flag.default}`' if flag.default else ''} | {flag.help} |\n"
        for flag in rows
    )


def test_the_page_shows_every_flag() -> None:
    page = PAGE.read_text()
    heads = re.findall(r"^\| flag .*\n\|.*\n((?:\| `.*\n)*)", page, re.MULTILINE)
    wanted = [table(each) for each in (flags.HONOURED, flags.NO_EFFECT, flags.REFUSED)]
    if os.environ.get("SQUALL_REWRITE"):
        parts = re.split(r"(^\| flag .*\n\|.*\n)(?:\| `.*\n)*", page, flags=re.MULTILINE)
        for number, rows in enumerate(wanted):
            parts[1 + 2 * number] += rows
        PAGE.write_text("".join(parts))
    else:
        assert heads == wanted


YAML = """\
# etcd's own sample, shortened
name: n1
data-dir:
snapshot-count: 500
listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2
initial-advertise-peer-urls: http://10.0.0.1:2380
initial-cluster: n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380
pre-vote: false
auto-compaction-retention: "1"
log-outputs: [stderr, /tmp/log]
client-transport-security:
  cert-file: c.pem
  key-file: k.pem
  client-cert-auth: false
peer-transport-security:
  cert-file: pc.pem
  key-file: pk.pem
"""


def test_a_file_in_place_of_flags(tmp_path: Path) -> None:
    """As etcd: what the command line and the environment say is not looked at then."""
    path = tmp_path / "etcd.conf.yml"
    path.write_text(YAML)
    for config in (
        parse(["--config-file", str(path), "--name", "other"], {"ETCD_NAME": "another"}),
        parse([], {"ETCD_CONFIG_FILE": str(path)}),
    ):
        assert config.name == "n1"
        assert config.data_dir == "n1.etcd"
        assert config.snapshot_count == 500
        assert config.listen_client_urls == ("http://127.0.0.1:1", "http://127.0.0.1:2")
        assert not config.pre_vote
        assert config.compaction_period_us == 3600 * 1_000_000
        assert config.log_outputs == ("stderr", "/tmp/log")
        assert (config.cert_file, config.key_file) == ("c.pem", "k.pem")
        assert (config.peer_cert_file, config.peer_key_file) == ("pc.pem", "pk.pem")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nmae: n1", "--config-file: nmae names no flag"),
        ("peer-transport-security: {cert: x}", "peer-cert names no flag"),
        ("peer-transport-security: x", "must hold names and values"),
        ("- name", "must hold names and values"),
        ("name: [", "--config-file: while parsing"),
        ("election-timeout: soon", "--election-timeout: a whole number"),
        ("discovery: http://d", "--discovery is not served"),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_one_line(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "conf"
    path.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        parse(["--config-file", str(path)], {})
    assert why in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_no_file_where_one_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--config-file: .*No such file"):
        parsed("--config-file /nowhere/at/all")


def test_a_node_runs_from_a_file_and_says_what_has_no_effect(cluster_of: Any) -> None:
    cluster: Cluster = cluster_of(1)
    (node,) = cluster.nodes
    path = node.directory / "etcd.conf.yml"
    client, http = f"http://{node.endpoint}", f"http://127.0.0.1:{node.http}"
    path.write_text(
        f"name: {node.name}\ndata-dir: {node.directory / node.name}\nlisten-client-urls: {client}\n"
        f"advertise-client-urls: {client}\nlisten-peer-urls: {node.peer_url}\n"
        f"initial-advertise-peer-urls: {node.peer_url}\ninitial-cluster: {cluster.initial}\n"
        f"listen-metrics-urls: {http}\nbackend-batch-limit: 7\n"
    )
    node.extra = ["--config-file", str(path)]
    cluster.start()
    assert node.put(b"k", b"v").header.revision == 2
    (line,) = node.events("setting-without-effect")
    assert line["level"] == "warn"
    assert line["msg"].startswith("--backend-batch-limit has no effect")
