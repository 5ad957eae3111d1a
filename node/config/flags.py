"""Every flag of etcd 3.4: its name, how its text is parsed, its default, and what becomes of it.

There are three tables. `HONOURED` flags work as in etcd. `NO_EFFECT` flags tune machinery that this
node does not have: they are accepted, and a note is logged when one is set. `REFUSED` flags ask for
something that this node cannot do: any value but the default is an error, so that no flag that a
user may rely on is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from squall.node.config.endpoints import ConfigError, endpoint


def urls(text: str) -> tuple[str, ...]:
    """Parse comma-separated URLs."""
    found = tuple(url.strip().rstrip("/") for url in text.split(",") if url.strip())
    for url in found:
        endpoint(url)
    return found


def cluster(text: str) -> dict[str, tuple[str, ...]]:
    """Parse name=URL pairs; a name with several URLs occurs several times."""
    members: dict[str, tuple[str, ...]] = {}
    for pair in filter(None, text.split(",")):
        name, equals, url = pair.strip().partition("=")
        if not name or not equals:
            raise ConfigError(f"--initial-cluster wants name=URL pairs, not {pair!r}")
        members[name] = (*members.get(name, ()), *urls(url))
    return members


def boolean(text: str) -> bool:
    """Parse a boolean as Go does."""
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise ConfigError(f"true or false, not {text!r}")


def natural(text: str) -> int:
    """Parse a whole number of at least 0."""
    if not text.isdecimal():
        raise ConfigError(f"a whole number of at least 0, not {text!r}")
    return int(text)


_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration_s(text: str) -> float:
    """Parse a duration as Go writes it (1h30m); returns seconds."""
    if text == "0":
        return 0.0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(f"a duration such as 10m or 1h30m, not {text!r}")
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def words(text: str) -> tuple[str, ...]:
    """Parse comma-separated words."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser that accepts only these words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ConfigError(f"one of {', '.join(choices)}, not {text!r}")
        return text

    return parse


class Flag(msgspec.Struct, frozen=True):
    """A flag: `parse` raises ConfigError; `default` is a text; `help` is shown by --help."""

    name: str
    parse: Callable[[str], Any]
    default: str
    help: str

    @property
    def field(self) -> str:
        """Its field in `Config`."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return "ETCD_" + self.field.upper()

    @property
    def source(self) -> str:
        """Its name on the command line."""
        return f"--{self.name}"


HONOURED = (
    Flag("name", str, "default", "name of this member"),
    Flag("data-dir", str, "", "data directory (default: NAME.etcd)"),
    Flag("wal-dir", str, "", "directory of the log (default: member/wal in --data-dir)"),
    Flag("listen-peer-urls", urls, "http://localhost:2380", "where peers are listened for"),
    Flag(
        "initial-advertise-peer-urls",
        urls,
        "http://localhost:2380",
        "this member's peer URLs as the others see them",
    ),
    Flag("listen-client-urls", urls, "http://localhost:2379", "where clients are listened for"),
    Flag(
        "advertise-client-urls",
        urls,
        "http://localhost:2379",
        "this member's client URLs as clients see them",
    ),
    Flag("initial-cluster", cluster, "", "name=URL pairs (default: this member alone)"),
    Flag("initial-cluster-token", str, "etcd-cluster", "distinguishes clusters with equal URLs"),
    Flag("initial-cluster-state", one_of("new", "existing"), "new", "new or existing"),
    Flag("force-new-cluster", boolean, "false", "go on alone, with this member's data"),
    Flag("heartbeat-interval", natural, "100", "milliseconds between heartbeats"),
    Flag("election-timeout", natural, "1000", "milliseconds without a leader before an election"),
    Flag("snapshot-count", natural, "100000", "applied entries between snapshots"),
    Flag("max-wals", natural, "5", "WAL segments kept (0: all)"),
    Flag("max-snapshots", natural, "5", "snapshots kept (0: all)"),
    Flag("listen-metrics-urls", urls, "", "where /health, /version and /metrics are served"),
    Flag("host-whitelist", words, "*", "names HTTP requests without TLS may call this node by"),
    Flag("quota-backend-bytes", natural, "0", "bytes the store may grow to (0: 2 GiB)"),
    Flag("max-txn-ops", natural, "128", "operations in a transaction"),
    Flag("max-request-bytes", natural, "1572864", "bytes in a request"),
    Flag("max-concurrent-streams", natural, "4294967295", "calls a client may have open at once"),
    Flag("grpc-keepalive-min-time", duration_s, "5s", "least time between a client's pings"),
    Flag("grpc-keepalive-interval", duration_s, "2h", "between pings to a client (0: none)"),
    Flag("grpc-keepalive-timeout", duration_s, "20s", "for its answer before it is disconnected"),
    Flag("logger", one_of("zap", "capnslog"), "zap", "zap logs JSON, capnslog logs text"),
    Flag(
        "log-level",
        one_of("debug", "info", "warn", "error", "panic", "fatal"),
        "info",
        "least level that is logged",
    ),
    Flag("log-outputs", words, "default", "stderr, stdout or file names"),
    Flag("log-format", one_of("", "json", "text"), "", "json or text (default: as --logger)"),
    Flag("debug", boolean, "false", "log everything: --log-level=debug"),
    Flag("pre-vote", boolean, "true", "ask before disturbing: §9.6 of the Raft thesis"),
    Flag("strict-reconfig-check", boolean, "true", "refuse changes that would lose quorum"),
    Flag("auto-compaction-mode", one_of("periodic", "revision"), "periodic", "how to compact"),
    Flag("auto-compaction-retention", str, "0", "how much history to keep (0: all)"),
    Flag(
        "experimental-watch-progress-notify-interval",
        duration_s,
        "10m",
        "between promises of progress to an idle watch that asked for them",
    ),
    Flag("auth-token", one_of("simple"), "simple", "what kind of tokens clients get"),
    Flag("auth-token-ttl", natural, "300", "seconds a token lives without being used"),
    Flag("bcrypt-cost", natural, "10", "logarithm of the work to check a password (4 to 31)"),
    Flag("cert-file", str, "", "certificate of this server for its clients"),
    Flag("key-file", str, "", "private key of this server for its clients"),
    Flag("trusted-ca-file", str, "", "whose certificates clients may have"),
    Flag("client-cert-auth", boolean, "false", "take only clients with a certificate"),
    Flag("client-crl-file", str, "", "certificates of clients that were taken back (PEM)"),
    Flag("auto-tls", boolean, "false", "serve clients under a certificate made at the start"),
    Flag("peer-cert-file", str, "", "certificate of this member for the others"),
    Flag("peer-key-file", str, "", "private key of this member for the others"),
    Flag("peer-trusted-ca-file", str, "", "whose certificates other members may have"),
    Flag("peer-client-cert-auth", boolean, "false", "take only members with a certificate"),
    Flag("peer-crl-file", str, "", "certificates of members that were taken back (PEM)"),
    Flag("peer-cert-allowed-cn", str, "", "the name members' certificates must be for"),
    Flag("peer-cert-allowed-hostname", str, "", "a host members' certificates must be for"),
    Flag("peer-auto-tls", boolean, "false", "use certificates that members do not verify"),
    Flag(
        "experimental-initial-corrupt-check",
        boolean,
        "false",
        "compare data with the other members before serving",
    ),
    Flag(
        "experimental-corrupt-check-time",
        duration_s,
        "0s",
        "between comparisons of all members' data by the leader (0: none)",
    ),
    Flag("digest-every", natural, "64", "applied entries between state digests in the log"),
)

NO_EFFECT = (
    Flag("initial-election-tick-advance", boolean, "true", "the first election waits as any other"),
    Flag("backend-batch-interval", str, "", "each batch of the log is durable before its answers"),
    Flag(
        "backend-batch-limit", natural, "0", "each batch of the log is durable before its answers"
    ),
    Flag("cors", str, "*", "there is no HTTP API that a browser could call"),
    Flag("discovery-fallback", one_of("exit", "proxy"), "proxy", "there is no discovery"),
    Flag("metrics", one_of("basic", "extensive"), "basic", "all metrics are always shown"),
    Flag("log-package-levels", str, "", "one level holds for all: --log-level"),
    Flag("proxy-failure-wait", natural, "5000", "there is no proxy mode"),
    Flag("proxy-refresh-interval", natural, "30000", "there is no proxy mode"),
    Flag("proxy-dial-timeout", natural, "1000", "there is no proxy mode"),
    Flag("proxy-write-timeout", natural, "5000", "there is no proxy mode"),
    Flag("proxy-read-timeout", natural, "0", "there is no proxy mode"),
    Flag(
        "experimental-backend-bbolt-freelist-type",
        one_of("array", "map"),
        "array",
        "no database file is kept open, so there is no free list",
    ),
    Flag(
        "experimental-compaction-batch-limit",
        natural,
        "1000",
        "compaction is done in memory at once",
    ),
    Flag(
        "experimental-peer-skip-client-san-verification",
        boolean,
        "false",
        "a peer's certificate is checked against the CA, never against its address",
    ),
    Flag(
        "experimental-warning-apply-duration", duration_s, "100ms", "slow requests are not logged"
    ),
)
"""Flags without effect; `help` says why."""

REFUSED = (
    Flag(
        "discovery", str, "", "there is no discovery service: name the members, --initial-cluster"
    ),
    Flag("discovery-proxy", str, "", "there is no discovery service: use --initial-cluster"),
    Flag("discovery-srv", str, "", "there is no discovery by DNS: use --initial-cluster"),
    Flag("discovery-srv-name", str, "", "there is no discovery by DNS: use --initial-cluster"),
    Flag("proxy", one_of("off", "readonly", "on"), "off", "there is no proxy mode"),
    Flag("enable-v2", boolean, "false", "the v2 API is not served"),
    Flag("experimental-enable-v2v3", str, "", "the v2 API is not served"),
    Flag("enable-pprof", boolean, "false", "there is no Go runtime to profile; try py-spy"),
    Flag("client-cert-allowed-hostname", str, "", "host names of clients are not checked"),
    Flag("cipher-suites", str, "", "TLS uses OpenSSL's default suites"),
    Flag(
        "experimental-enable-lease-checkpoint",
        boolean,
        "false",
        "a new leader gives every lease its full time again",
    ),
)
"""Flags refused at any value but the default; `help` says why."""
