"""A node's settings: etcd's own flag names, its environment names, its defaults.

`--flag value`, `--flag=value` and Go's single dash all work; `ETCD_FLAG_NAME` in the environment
sets what the command line leaves out. A flag that cannot be honoured is refused, not ignored.
Identities are computed as etcd computes them, so both speak of a member by the same number.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

import msgspec

USAGE_EXIT_CODE = 4
VERSION = "3.5.0"
"""The level of etcd's API this node speaks; clients parse it as a semantic version."""

ELECTION_TIMEOUT_MS_MAX = 50_000  # as etcd
ELECTION_PER_HEARTBEAT_MIN = 5  # as etcd: fewer heartbeats a timeout elect without need


BCRYPT_COST_MIN, BCRYPT_COST_MAX = 4, 31  # bcrypt's own


class ConfigError(Exception):
    """The command line or the environment asks for what cannot be; one line says what."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where to listen or to connect."""

    host: str
    port: int
    tls: bool = False


class Member(msgspec.Struct, frozen=True):
    """A member of the initial cluster."""

    id: int
    name: str
    peer_urls: tuple[str, ...]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the command line says; see `flags` for meanings and defaults."""

    name: str
    data_dir: str
    listen_peer_urls: tuple[str, ...]
    initial_advertise_peer_urls: tuple[str, ...]
    listen_client_urls: tuple[str, ...]
    advertise_client_urls: tuple[str, ...]
    initial_cluster: dict[str, tuple[str, ...]]
    initial_cluster_token: str
    initial_cluster_state: str
    heartbeat_interval: int
    election_timeout: int
    snapshot_count: int
    max_wals: int
    max_snapshots: int
    listen_metrics_urls: tuple[str, ...]
    quota_backend_bytes: int
    max_txn_ops: int
    max_request_bytes: int
    logger: str
    log_level: str
    log_outputs: tuple[str, ...]
    log_format: str
    pre_vote: bool
    strict_reconfig_check: bool
    auto_compaction_mode: str
    auto_compaction_retention: str
    digest_every: int
    experimental_watch_progress_notify_interval: float
    auth_token: str
    auth_token_ttl: int
    bcrypt_cost: int
    cert_file: str
    key_file: str
    trusted_ca_file: str
    client_cert_auth: bool
    auto_tls: bool
    peer_cert_file: str
    peer_key_file: str
    peer_trusted_ca_file: str
    peer_client_cert_auth: bool
    peer_auto_tls: bool

    @property
    def members(self) -> tuple[Member, ...]:
        """The initial cluster, in order of id."""
        token = self.initial_cluster_token
        members = [
            Member(member_id(urls, token), name, urls)
            for name, urls in self.initial_cluster.items()
        ]
        return tuple(sorted(members, key=lambda member: member.id))

    @property
    def member(self) -> Member:
        """The member of the initial cluster that is this node."""
        return next(member for member in self.members if member.name == self.name)

    @property
    def compaction_period_us(self) -> int:
        """How long history is kept by itself; 0 for no such limit. Bare numbers are hours."""
        text = self.auto_compaction_retention
        if self.auto_compaction_mode != "periodic":
            return 0
        return int((float(text) * 3600 if text.isdecimal() else _duration_s(text)) * 1_000_000)

    @property
    def compaction_revisions(self) -> int:
        """How many revisions of history are kept by themselves; 0 for no such limit."""
        if self.auto_compaction_mode != "revision":
            return 0
        return _natural(self.auto_compaction_retention)

    @property
    def cluster_id(self) -> int:
        """The initial cluster's identity."""
        return cluster_id(member.id for member in self.members)


def member_id(peer_urls: Sequence[str], token: str) -> int:
    """Return a member's id: the first 8 bytes of SHA-1 over its sorted URLs and the token."""
    text = "".join(sorted(peer_urls)) + token
    return int.from_bytes(hashlib.sha1(text.encode(), usedforsecurity=False).digest()[:8])


def cluster_id(member_ids: Any) -> int:
    """Return a cluster's id: the first 8 bytes of SHA-1 over its members' sorted ids."""
    data = b"".join(member.to_bytes(8) for member in sorted(member_ids))
    return int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8])


def endpoint(url: str) -> Endpoint:
    """Return where a URL points; raises ConfigError for one etcd would not take."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise ConfigError(f"not a URL of the form http://host:port: {url!r}")
    if parts.path not in ("", "/"):
        raise ConfigError(f"a URL must not have a path: {url!r}")
    return Endpoint(parts.hostname, port, parts.scheme == "https")


def _urls(text: str) -> tuple[str, ...]:
    urls = tuple(url.strip().rstrip("/") for url in text.split(",") if url.strip())
    for url in urls:
        endpoint(url)
    return urls


def _cluster(text: str) -> dict[str, tuple[str, ...]]:
    members: dict[str, tuple[str, ...]] = {}
    for pair in filter(None, text.split(",")):
        name, equals, url = pair.strip().partition("=")
        if not name or not equals:
            raise ConfigError(f"--initial-cluster wants name=URL pairs, not {pair!r}")
        members[name] = (*members.get(name, ()), *_urls(url))
    return members


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise ConfigError(f"true or false, not {text!r}")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"a whole number of at least 0, not {text!r}")
    return int(text)


_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _duration_s(text: str) -> float:
    """Read a duration as Go writes it, 1h30m, in seconds."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(f"a duration such as 10m or 1h30m, not {text!r}")
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ConfigError(f"one of {', '.join(choices)}, not {text!r}")
        return text

    return parse


class _Flag(msgspec.Struct, frozen=True):
    """A flag: how its text is read, what it is when nobody gives it, what `--help` says."""

    name: str
    parse: Callable[[str], Any]
    default: str
    help: str

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        return "ETCD_" + self.field.upper()


_FLAGS = (
    _Flag("name", str, "default", "name of this member"),
    _Flag("data-dir", str, "", "data directory (default: NAME.etcd)"),
    _Flag("listen-peer-urls", _urls, "http://localhost:2380", "where peers are listened for"),
    _Flag(
        "initial-advertise-peer-urls",
        _urls,
        "http://localhost:2380",
        "this member's peer URLs as the others see them",
    ),
    _Flag("listen-client-urls", _urls, "http://localhost:2379", "where clients are listened for"),
    _Flag(
        "advertise-client-urls",
        _urls,
        "http://localhost:2379",
        "this member's client URLs as clients see them",
    ),
    _Flag("initial-cluster", _cluster, "", "name=URL pairs (default: this member alone)"),
    _Flag("initial-cluster-token", str, "etcd-cluster", "tells clusters with equal URLs apart"),
    _Flag("initial-cluster-state", _one_of("new", "existing"), "new", "new or existing"),
    _Flag("heartbeat-interval", _natural, "100", "milliseconds between heartbeats"),
    _Flag("election-timeout", _natural, "1000", "milliseconds without a leader before an election"),
    _Flag("snapshot-count", _natural, "100000", "applied entries between snapshots"),
    _Flag("max-wals", _natural, "5", "WAL segments kept (0: all)"),
    _Flag("max-snapshots", _natural, "5", "snapshots kept (0: all)"),
    _Flag("listen-metrics-urls", _urls, "", "where /health, /version and /metrics are served"),
    _Flag("quota-backend-bytes", _natural, "0", "bytes the store may grow to (0: 2 GiB)"),
    _Flag("max-txn-ops", _natural, "128", "operations in a transaction"),
    _Flag("max-request-bytes", _natural, "1572864", "bytes in a request"),
    _Flag("logger", _one_of("zap", "capnslog"), "zap", "accepted for etcd's sake"),
    _Flag(
        "log-level",
        _one_of("debug", "info", "warn", "error", "panic", "fatal"),
        "info",
        "least level that is logged",
    ),
    _Flag("log-outputs", _words, "default", "stderr, stdout or file names"),
    _Flag("log-format", _one_of("json", "text"), "json", "json or text"),
    _Flag("pre-vote", _boolean, "true", "ask before disturbing: §9.6 of the Raft thesis"),
    _Flag("strict-reconfig-check", _boolean, "true", "refuse changes that would lose quorum"),
    _Flag("auto-compaction-mode", _one_of("periodic", "revision"), "periodic", "how to compact"),
    _Flag("auto-compaction-retention", str, "0", "how much history to keep (0: all)"),
    _Flag(
        "experimental-watch-progress-notify-interval",
        _duration_s,
        "10m",
        "between promises of progress to an idle watch that asked for them",
    ),
    _Flag("auth-token", _one_of("simple"), "simple", "what kind of tokens clients get"),
    _Flag("auth-token-ttl", _natural, "300", "seconds a token lives without being used"),
    _Flag("bcrypt-cost", _natural, "10", "logarithm of the work to check a password (4 to 31)"),
    _Flag("cert-file", str, "", "certificate of this server for its clients"),
    _Flag("key-file", str, "", "private key of this server for its clients"),
    _Flag("trusted-ca-file", str, "", "whose certificates clients may have"),
    _Flag("client-cert-auth", _boolean, "false", "take only clients with a certificate"),
    _Flag("auto-tls", _boolean, "false", "serve clients under a certificate made at the start"),
    _Flag("peer-cert-file", str, "", "certificate of this member for the others"),
    _Flag("peer-key-file", str, "", "private key of this member for the others"),
    _Flag("peer-trusted-ca-file", str, "", "whose certificates other members may have"),
    _Flag("peer-client-cert-auth", _boolean, "false", "take only members with a certificate"),
    _Flag("peer-auto-tls", _boolean, "false", "talk to members under certificates nobody checks"),
    _Flag("digest-every", _natural, "64", "applied entries between state digests in the log"),
)


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose error is one line and exit code 4."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError(message)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="squall-node",
        description="An etcd-v3-compatible key-value store on Raft.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", "-version", action="store_true", help="print and exit")
    for flag in _FLAGS:
        names = (f"--{flag.name}", f"-{flag.name}")
        shown = f"{flag.help} [{flag.default}]".replace("%", "%%")
        if flag.parse is _boolean:  # Go's booleans may stand alone
            parser.add_argument(*names, dest=flag.field, nargs="?", const="true", help=shown)
        else:
            parser.add_argument(*names, dest=flag.field, help=shown)
    return parser


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """Return the settings; raises ConfigError. Prints and exits for --help and --version."""
    given = vars(_parser().parse_args(list(arguments)))
    if given["version"]:
        sys.stdout.write(
            f"etcd Version: {VERSION}\nsquall-node on Python {sys.version.split()[0]}\n"
        )
        raise SystemExit(0)
    values: dict[str, Any] = {}
    for flag in _FLAGS:
        text = given[flag.field]
        source = f"--{flag.name}"
        if text is None and flag.variable in environment:
            text, source = environment[flag.variable], flag.variable
        try:
            values[flag.field] = flag.parse(flag.default if text is None else text)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None
    values["data_dir"] = values["data_dir"] or f"{values['name']}.etcd"
    if not values["initial_cluster"]:
        values["initial_cluster"] = {values["name"]: values["initial_advertise_peer_urls"]}
    config = Config(**values)
    _check(config)
    return config


def _check_certificates(config: Config, side: str, listened: Sequence[str]) -> None:
    """Refuse https without a certificate, and half a certificate. `side` is "" or "peer_"."""

    def given(name: str) -> Any:
        return getattr(config, side + name)

    flag = "--" + side.replace("_", "-")
    if bool(given("cert_file")) != bool(given("key_file")):
        raise ConfigError(f"{flag}cert-file and {flag}key-file go together")
    if given("client_cert_auth") and not given("trusted_ca_file"):
        raise ConfigError(f"{flag}client-cert-auth needs {flag}trusted-ca-file")
    has_certificate = given("cert_file") or given("auto_tls")
    if any(endpoint(url).tls for url in listened) and not has_certificate:
        raise ConfigError(f"https URLs need {flag}cert-file and {flag}key-file, or {flag}auto-tls")


def _check(config: Config) -> None:
    """Refuse settings that contradict each other or cannot be honoured."""
    if config.name not in config.initial_cluster:
        raise ConfigError(f"--initial-cluster does not name this member, {config.name!r}")
    advertised = sorted(config.initial_advertise_peer_urls)
    if sorted(config.initial_cluster[config.name]) != advertised:
        raise ConfigError(
            f"--initial-cluster has {config.name}={','.join(config.initial_cluster[config.name])} "
            f"but --initial-advertise-peer-urls is {','.join(advertised)}"
        )
    if len({member.id for member in config.members}) != len(config.members):
        raise ConfigError("--initial-cluster names one peer URL for two members")
    if config.heartbeat_interval == 0:
        raise ConfigError("--heartbeat-interval must be at least 1 ms")
    if config.election_timeout < ELECTION_PER_HEARTBEAT_MIN * config.heartbeat_interval:
        raise ConfigError("--election-timeout must be at least 5 times --heartbeat-interval")
    if config.election_timeout > ELECTION_TIMEOUT_MS_MAX:
        raise ConfigError(f"--election-timeout must be at most {ELECTION_TIMEOUT_MS_MAX} ms")
    try:
        _ = (config.compaction_period_us, config.compaction_revisions)
    except ConfigError as error:
        raise ConfigError(f"--auto-compaction-retention: {error}") from None
    _check_certificates(config, "", (*config.listen_client_urls, *config.listen_metrics_urls))
    _check_certificates(config, "peer_", config.listen_peer_urls)
    if not BCRYPT_COST_MIN <= config.bcrypt_cost <= BCRYPT_COST_MAX:
        raise ConfigError(f"--bcrypt-cost must be {BCRYPT_COST_MIN} to {BCRYPT_COST_MAX}")
    if not config.listen_peer_urls or not config.listen_client_urls:
        raise ConfigError("--listen-peer-urls and --listen-client-urls must not be empty")
