"""Where a node listens and connects to: URLs as etcd's flags have them."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec


class ConfigError(Exception):
    """The command line or the environment asks for what cannot be; one line says what."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where to listen or to connect."""

    host: str
    port: int
    tls: bool = False


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
