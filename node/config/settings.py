"""A node's settings, from etcd's flags, environment variables or configuration file.

`--flag value`, `--flag=value` and Go's single dash all work; the variable `ETCD_FLAG_NAME` sets a
flag that the command line does not. As in etcd, a `--config-file` replaces both. `flags` has the
flags and their defaults. Member and cluster ids are computed as etcd computes them, so both call a
member by the same number.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from squall.node.config import file, flags
from squall.node.config.endpoints import ConfigError, endpoint
from squall.node.config.flags import Flag

USAGE_EXIT_CODE = 4
VERSION = "3.5.0"
"""The level of etcd's API this node speaks; clients parse it as a semantic version."""

ELECTION_TIMEOUT_MS_MAX = 50_000  # as etcd
ELECTION_PER_HEARTBEAT_MIN = 5  # as etcd: with fewer, a lost heartbeat causes an election


BCRYPT_COST_MIN, BCRYPT_COST_MAX = 4, 31  # bcrypt's own

_FORMATS = {"zap": "json", "capnslog": "text"}
_FOR_OTHERS = {"ETCD_CONFIG_FILE", "ETCD_UNSUPPORTED_ARCH"}
"""Variables with a flag's prefix that are no flags."""


class Member(msgspec.Struct, frozen=True):
    """A member of the initial cluster."""

    id: int
    name: str
    peer_urls: tuple[str, ...]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The value of every honoured flag; see `flags` for meanings and defaults.

    `notes` are warnings, one a line, about flags that were set and have no effect.
    """

    name: str
    data_dir: str
    wal_dir: str
    listen_peer_urls: tuple[str, ...]
    initial_advertise_peer_urls: tuple[str, ...]
    listen_client_urls: tuple[str, ...]
    advertise_client_urls: tuple[str, ...]
    initial_cluster: dict[str, tuple[str, ...]]
    initial_cluster_token: str
    initial_cluster_state: str
    force_new_cluster: bool
    heartbeat_interval: int
    election_timeout: int
    snapshot_count: int
    max_wals: int
    max_snapshots: int
    listen_metrics_urls: tuple[str, ...]
    host_whitelist: tuple[str, ...]
    quota_backend_bytes: int
    max_txn_ops: int
    max_request_bytes: int
    max_concurrent_streams: int
    grpc_keepalive_min_time: float
    grpc_keepalive_interval: float
    grpc_keepalive_timeout: float
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
    experimental_initial_corrupt_check: bool
    experimental_corrupt_check_time: float
    auth_token: str
    auth_token_ttl: int
    bcrypt_cost: int
    cert_file: str
    key_file: str
    trusted_ca_file: str
    client_cert_auth: bool
    client_crl_file: str
    auto_tls: bool
    peer_cert_file: str
    peer_key_file: str
    peer_trusted_ca_file: str
    peer_client_cert_auth: bool
    peer_crl_file: str
    peer_cert_allowed_cn: str
    peer_cert_allowed_hostname: str
    peer_auto_tls: bool
    notes: tuple[str, ...] = ()

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
        """Age at which history is compacted; 0 for never. Bare numbers are hours."""
        text = self.auto_compaction_retention
        if self.auto_compaction_mode != "periodic":
            return 0
        hours = text.isdecimal()
        return int((float(text) * 3600 if hours else flags.duration_s(text)) * 1_000_000)

    @property
    def compaction_revisions(self) -> int:
        """Number of revisions that compaction keeps; 0 for no compaction."""
        if self.auto_compaction_mode != "revision":
            return 0
        return flags.natural(self.auto_compaction_retention)

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
    parser.add_argument("--config-file", "-config-file", help="YAML or JSON, in place of all else")
    for title, table in (
        (None, flags.HONOURED),
        ("without effect here", flags.NO_EFFECT),
        ("refused unless they ask for the default", flags.REFUSED),
    ):
        group = parser.add_argument_group(title) if title else parser
        for flag in table:
            names = (flag.source, f"-{flag.name}")
            shown = f"{flag.help} [{flag.default}]".replace("%", "%%")
            if flag.parse is flags.boolean:  # Go's booleans may stand alone
                group.add_argument(*names, dest=flag.field, nargs="?", const="true", help=shown)
            else:
                group.add_argument(*names, dest=flag.field, help=shown)
    return parser


class _Given:
    """The text of each flag, from the command line or a file, or else from the environment."""

    def __init__(self, texts: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self._texts = texts
        self._environment = environment

    def text_of(self, flag: Flag) -> tuple[str | None, str]:
        """Return (text or None, name of the flag or variable that gave it)."""
        text = self._texts.get(flag.name)
        if text is None and flag.variable in self._environment:
            return self._environment[flag.variable], flag.variable
        return text, flag.source

    def value(self, flag: Flag) -> Any:
        """Return a flag's parsed value; raises ConfigError."""
        text, source = self.text_of(flag)
        try:
            return flag.parse(flag.default if text is None else text)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None

    def differs(self, flag: Flag) -> bool:
        """Return whether a flag is set to anything but its default; raises ConfigError."""
        text, _ = self.text_of(flag)
        return bool(text) and self.value(flag) != flag.parse(flag.default)


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """Return the settings; raises ConfigError. Prints and exits for --help and --version."""
    given = vars(_parser().parse_args(list(arguments)))
    if given["version"]:
        sys.stdout.write(
            f"etcd Version: {VERSION}\nsquall-node on Python {sys.version.split()[0]}\n"
        )
        raise SystemExit(0)
    path = given["config_file"] or environment.get("ETCD_CONFIG_FILE")
    every = (*flags.HONOURED, *flags.NO_EFFECT, *flags.REFUSED)
    if path:
        given_texts = _Given(file.read(path, {flag.name for flag in every}), {})
    else:
        texts = {flag.name: given[flag.field] for flag in every if given[flag.field] is not None}
        given_texts = _Given(texts, environment)
    for flag in flags.REFUSED:
        if given_texts.differs(flag):
            raise ConfigError(f"{given_texts.text_of(flag)[1]} is not served: {flag.help}")
    values = {flag.field: given_texts.value(flag) for flag in flags.HONOURED}
    if values.pop("debug"):
        values["log_level"] = "debug"
    values["log_format"] = values["log_format"] or _FORMATS[values["logger"]]
    values["data_dir"] = values["data_dir"] or f"{values['name']}.etcd"
    if not values["initial_cluster"]:
        values["initial_cluster"] = {values["name"]: values["initial_advertise_peer_urls"]}
    notes = [
        f"{given_texts.text_of(flag)[1]} has no effect: {flag.help}"
        for flag in flags.NO_EFFECT
        if given_texts.differs(flag)
    ]
    if not path:
        known = {flag.variable for flag in every} | _FOR_OTHERS
        notes += [
            f"{name} in the environment names no flag"
            for name in sorted(environment)
            if name.startswith("ETCD_") and name not in known
        ]
    config = Config(**values, notes=tuple(notes))
    _check(config)
    return config


def _check_certificates(config: Config, side: str, listened: Sequence[str]) -> None:
    """Check that https URLs have a certificate and a key. `side` is "" or "peer_"."""

    def given(name: str) -> Any:
        return getattr(config, side + name)

    flag = "--" + side.replace("_", "-")
    if bool(given("cert_file")) != bool(given("key_file")):
        raise ConfigError(f"{flag}cert-file and {flag}key-file go together")
    if given("client_cert_auth") and not given("trusted_ca_file"):
        raise ConfigError(f"{flag}client-cert-auth needs {flag}trusted-ca-file")
    names = config.peer_cert_allowed_cn or config.peer_cert_allowed_hostname
    if side and names and not given("trusted_ca_file"):
        raise ConfigError(f"{flag}cert-allowed-cn and its like need {flag}trusted-ca-file")
    has_certificate = given("cert_file") or given("auto_tls")
    if any(endpoint(url).tls for url in listened) and not has_certificate:
        raise ConfigError(f"https URLs need {flag}cert-file and {flag}key-file, or {flag}auto-tls")


def _check(config: Config) -> None:
    """Raise ConfigError for settings that contradict each other or cannot be honoured."""
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
