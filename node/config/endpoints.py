"""Network endpoints: the URLs of etcd's flags, parsed."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec


class ConfigError(Exception):
    """The settings are invalid; the text is one line."""


class Endpoint(msgspec.Struct, frozen=True):
    """A host and port to listen at or to connect to."""

    host: str
    port: int
    tls: bool = False


def endpoint(url: str) -> Endpoint:
    """Parse a URL; raises ConfigError for one that etcd would refuse."""
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
