"""A `--config-file` as etcd takes it: YAML or JSON, flag names as keys.

The two sections for TLS are etcd's: `client-transport-security` and `peer-transport-security` hold
the flags without and with the prefix `peer-`. A key without a value is ignored. A key that names no
flag is refused, since a misspelt setting would silently not apply.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

import yaml

from squall.node.config.endpoints import ConfigError

_SECTIONS: Final = {"client-transport-security": "", "peer-transport-security": "peer-"}


def read(path: str, known: AbstractSet[str]) -> dict[str, str]:
    """Return the text of each flag in the file; raises ConfigError. `known`: all flag names."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"--config-file: {reason}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"--config-file: {path} must hold names and values")
    texts: dict[str, str] = {}
    for key, value in content.items():
        prefix = _SECTIONS.get(key)
        inner = {key: value} if prefix is None else value or {}
        if not isinstance(inner, dict):
            raise ConfigError(f"--config-file: {key} must hold names and values")
        for name, one in inner.items():
            flag = f"{prefix or ''}{name}"
            if flag not in known:
                raise ConfigError(f"--config-file: {key if prefix is None else flag} names no flag")
            if one is not None:
                texts[flag] = _text(one)
    return texts


def _text(value: Any) -> str:
    """Format a value as on the command line."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
